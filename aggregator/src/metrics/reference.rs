//! The metric reference, made from the catalogue. A test keeps `docs/metrics.md` equal to it.

use super::{Descriptor, Scope, catalogue};

const INTRODUCTION: &str = "\
# Metrics

<!-- Made from the catalogue in aggregator/src/metrics/catalogue. After a change there:
     NODESCOPE_UPDATE=1 cargo test -p nodescope-aggregator --test catalogue -->

`/metrics` serves the text format 0.0.4 and, to a client that asks for it, OpenMetrics 1.0. There a counter's family is
called without `_total`; its samples have the same names in both.

Every `node_*` series has the labels `machine_id` and `system_uuid`; every `container_*` series has `machine_id`,
`system_uuid`, `container_id` and `app_id`. They are not repeated below. A label without a value is there with `\"\"`.

Sizes are in bytes, times in seconds. Memory that the kernel gives in kB is multiplied by 1024, because a kB of
`/proc/meminfo` is 1024 bytes; ticks are converted with the tick rate the system states.

A value that cannot be read is absent; it is never 0 instead.
";

/// The whole text of `docs/metrics.md`.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (scope, title) in [
        (Scope::Node, "The node"),
        (Scope::Container, "Containers and services"),
        (Scope::Own, "nodescope itself"),
    ] {
        text.push_str(&format!(
            "\n## {title}\n\n| Name | Type | Labels | Meaning |\n|---|---|---|---|\n"
        ));
        for family in catalogue::all().filter(|family| family.scope == scope) {
            text.push_str(&row(family));
        }
    }
    text
}

fn row(family: &Descriptor) -> String {
    let labels: Vec<String> = family
        .labels
        .iter()
        .map(|label| format!("`{label}`"))
        .collect();
    format!(
        "| `{}` | {} | {} | {} |\n",
        family.name,
        family.kind.as_str(),
        labels.join(", "),
        family.help
    )
}

/// One line a family, for the golden file: name, type, labels, help.
pub fn golden() -> String {
    catalogue::all()
        .map(|family| {
            let labels: Vec<&str> = family.all_labels().collect();
            format!(
                "{} {} {{{}}} {}\n",
                family.name,
                family.kind.as_str(),
                labels.join(","),
                family.help
            )
        })
        .collect()
}
