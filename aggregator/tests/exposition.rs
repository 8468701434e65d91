//! Every family with hostile label values, in both formats: `promtool` reads the text format, a strict reader of the
//! OpenMetrics grammar (<https://prometheus.io/docs/specs/om/open_metrics_spec/>, version 1.0) the other.

use std::collections::HashSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use nodescope_aggregator::metrics::own::Metrics;
use nodescope_aggregator::metrics::{Descriptor, Format, Scope, SeriesLabels, catalogue};
use proptest::prelude::*;

const HOSTILE: &[&str] = &[
    "",
    "plain",
    "\"",
    "\\",
    "a\nb",
    "}\n# EOF\n",
    "\",x=\"",
    "\u{1b}[2J\r\0",
    "\u{feff}é\u{10ffff}",
    "\\n\\",
];

/// Exit status of promtool when it can read a page and only complains of names.
const LINT_COMPLAINTS: i32 = 3;
/// In the order of promtool's complaints.
const COUNTERS_WITHOUT_TOTAL: [&str; 3] = [
    "container_jvm_gc_time_seconds",
    "container_jvm_safepoint_sync_time_seconds",
    "container_jvm_safepoint_time_seconds",
];

fn labels(family: &Descriptor, value: &str) -> SeriesLabels {
    let labels: Vec<_> = family.all_labels().map(|name| (name, value)).collect();
    SeriesLabels::new(&labels)
}

fn page(format: Format, values: &[&str]) -> String {
    let own = Metrics::new("1.0.0");
    own.add_series_dropped("budget", 1);
    let page = own.page(format, |page| {
        for family in catalogue::all().filter(|family| family.scope != Scope::Own) {
            page.family(family);
            for (number, value) in values.iter().enumerate() {
                page.sample(&labels(family, value), number as f64 / 3.0);
            }
        }
    });
    String::from_utf8(page).expect("UTF-8")
}

/// Reads OpenMetrics text and complains about the first thing the specification forbids.
fn check_openmetrics(page: &str) -> Result<usize, String> {
    let body = page.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
    let mut families = HashSet::new();
    let mut series = HashSet::new();
    let (mut family, mut kind) = (String::new(), String::new());
    for line in body.split_terminator('\n') {
        if let Some(comment) = line.strip_prefix("# ") {
            let (keyword, rest) = comment.split_once(' ').ok_or("empty comment")?;
            let (name, text) = rest.split_once(' ').ok_or("no text in a comment")?;
            match keyword {
                "HELP" if families.insert(name.to_owned()) => name.clone_into(&mut family),
                "TYPE" if name == family => text.clone_into(&mut kind),
                _ => return Err(format!("unexpected {line}")),
            }
            continue;
        }
        let sample = check_sample(line, &family, &kind)?;
        if !series.insert(sample) {
            return Err(format!("twice: {line}"));
        }
    }
    Ok(series.len())
}

/// A sample line; returns its name and labels.
fn check_sample(line: &str, family: &str, kind: &str) -> Result<String, String> {
    let end = line
        .find(['{', ' '])
        .ok_or_else(|| format!("no value: {line}"))?;
    let (name, rest) = line.split_at(end);
    let suffixes: &[&str] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "gauge" | "unknown" => &[""],
        _ => return Err(format!("type {kind}")),
    };
    if !suffixes
        .iter()
        .any(|suffix| name.strip_suffix(suffix) == Some(family))
    {
        return Err(format!("{name} is not of the {kind} {family}"));
    }
    let rest = if let Some(rest) = rest.strip_prefix('{') {
        check_labels(rest)?
    } else {
        rest
    };
    let value = rest
        .strip_prefix(' ')
        .ok_or_else(|| format!("no space before the value: {line}"))?;
    let number: f64 = value.parse().map_err(|_| format!("not a number: {line}"))?;
    if kind == "counter" && !(number.is_finite() && number >= 0.0) {
        return Err(format!("not a counter's value: {line}"));
    }
    Ok(line[..line.len() - value.len()].to_owned())
}

/// Labels up to their closing brace; returns what follows.
fn check_labels(mut rest: &str) -> Result<&str, String> {
    let mut names = HashSet::new();
    loop {
        let (name, value) = rest.split_once("=\"").ok_or("a label without value")?;
        let word = name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !word || name.is_empty() || !names.insert(name) {
            return Err(format!("label {name}"));
        }
        let mut letters = value.char_indices();
        let end = loop {
            match letters.next().ok_or("a value without end")? {
                (end, '"') => break end,
                (_, '\\') if !matches!(letters.next(), Some((_, 'n' | '"' | '\\'))) => {
                    return Err("escape".into());
                }
                _ => {}
            }
        };
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => {
                return rest
                    .strip_prefix('}')
                    .ok_or_else(|| "no closing brace".into());
            }
        }
    }
}

#[test]
fn openmetrics_is_as_specified() {
    let families = catalogue::all()
        .filter(|family| family.scope != Scope::Own)
        .count();
    let series = check_openmetrics(&page(Format::OpenMetrics, HOSTILE)).unwrap();
    assert!(
        series > families * HOSTILE.len(),
        "{series} series of {families} families"
    );
}

#[test]
fn the_reader_of_this_test_finds_mistakes() {
    for wrong in [
        "",
        "a 1\n# EOF\n",
        "# HELP a b\n# TYPE a gauge\na 1\n",
        "# HELP a b\n# TYPE a counter\na 1\n# EOF\n",
        "# HELP a b\n# TYPE a counter\na_total -1\n# EOF\n",
        "# HELP a b\n# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n# EOF\n",
        "# HELP a b\n# TYPE a gauge\na{x=\"\\t\"} 1\n# EOF\n",
        "# HELP a b\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"1\"} 2\n# EOF\n",
        "# HELP a b\n# TYPE a gauge\na 1\n# HELP c d\n# TYPE c gauge\n# HELP a b\n# EOF\n",
    ] {
        assert!(check_openmetrics(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn promtool_accepts_the_text_format() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        assert!(
            std::env::var_os("CI").is_none(),
            "promtool (Debian's package prometheus) is missing"
        );
        eprintln!("skipped: promtool (Debian's package prometheus) is missing");
        return;
    };
    let page = page(Format::Text, HOSTILE);
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    // Some counters have names that others chose; no other complaint is accepted.
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = COUNTERS_WITHOUT_TOTAL
        .map(|name| format!("{name} counter metrics should have \"_total\" suffix\n"));
    assert_eq!(complaints, expected.concat());
    assert_eq!(output.status.code(), Some(LINT_COMPLAINTS));
}

proptest! {
    #[test]
    fn any_label_value_gives_a_page_that_can_be_read(first in "\\PC{0,20}|[\\\\\"\n,={}# ]{0,20}", second in any::<String>()) {
        let values = [first.as_str(), second.as_str()];
        prop_assert!(check_openmetrics(&page(Format::OpenMetrics, &values)).is_ok());
    }
}
