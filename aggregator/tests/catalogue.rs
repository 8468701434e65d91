//! The catalogue against the committed list of metrics and the metric reference.
//!
//! `NODESCOPE_UPDATE=1` writes both files instead of comparing them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nodescope_aggregator::metrics::{Kind, Scope, catalogue, reference};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn assert_file_is(path: &str, wanted: &str) {
    let path = repository(path);
    if std::env::var_os("NODESCOPE_UPDATE").is_some() {
        return std::fs::write(&path, wanted).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "{}:{}", path.display(), line + 1);
    }
    assert!(
        found == wanted,
        "{} has missing or surplus lines; see the head of this test",
        path.display()
    );
}

/// Counters whose names coroot-node-agent made without it.
const WITHOUT_TOTAL: [&str; 3] = [
    "container_jvm_gc_time_seconds",
    "container_jvm_safepoint_sync_time_seconds",
    "container_jvm_safepoint_time_seconds",
];

#[test]
fn golden_list_is_current() {
    assert_file_is("aggregator/tests/golden/metrics.txt", &reference::golden());
}

#[test]
fn reference_is_current() {
    assert_file_is("docs/metrics.md", &reference::markdown());
}

#[test]
fn every_family_is_complete() {
    let mut names = BTreeSet::new();
    for family in catalogue::all() {
        let name = family.name;
        assert!(names.insert(name), "{name} is declared twice");
        assert!(
            !family.help.is_empty() && !family.help.ends_with('.'),
            "help of {name}"
        );
        let labels: Vec<_> = family.all_labels().collect();
        assert_eq!(
            labels.iter().collect::<BTreeSet<_>>().len(),
            labels.len(),
            "labels of {name}"
        );
        let prefix = match family.scope {
            Scope::Node => "node_",
            Scope::Container => "container_",
            Scope::Own => "nodescope_",
        };
        assert!(name.starts_with(prefix), "{name} is in the wrong file");
        assert_eq!(
            name.ends_with("_total") || WITHOUT_TOTAL.contains(&name),
            family.kind == Kind::Counter,
            "{name} and its type"
        );
    }
}

#[test]
fn every_static_is_in_its_table() {
    for (file, families) in [
        ("node", catalogue::node::FAMILIES),
        ("container", catalogue::container::FAMILIES),
        ("own", catalogue::own::FAMILIES),
    ] {
        let path = repository(&format!("aggregator/src/metrics/catalogue/{file}.rs"));
        let declared = std::fs::read_to_string(path)
            .unwrap()
            .matches("family!(")
            .count();
        assert_eq!(declared, families.len(), "{file}.rs");
    }
}

#[test]
fn the_node_families_are_those_of_the_reference() {
    assert_eq!(catalogue::node::FAMILIES.len(), 23);
}
