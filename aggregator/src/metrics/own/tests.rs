use std::collections::{BTreeMap, BTreeSet};

use nodescope_schema::{Hook, Loss, MapFill, SensorStatus, Verdict};

use super::{Metrics, Usage};
use crate::logs::tail::Report;
use crate::metrics::catalogue::container::RESTARTS;
use crate::metrics::catalogue::own::FAMILIES;
use crate::metrics::{Format, SeriesLabels};

fn moved() -> Metrics {
    let own = Metrics::new("1.2.3");
    own.add_records_received("flow", 7);
    own.set_loss(&Loss {
        stage: "kernel_flows",
        reason: "map_full",
        total: 9,
    });
    own.add_decode_error();
    own.add_sequence_gap(2);
    own.set_sensor_connected(true);
    own.add_sensor_reconnect();
    own.set_hook(&Hook {
        name: "tcp_state",
        rung: "",
        verdict: Verdict::Failed,
        detail: "",
    });
    own.set_hook(&Hook {
        name: "tcp_state",
        rung: "tp_btf/x",
        verdict: Verdict::Ok,
        detail: "",
    });
    own.set_map_fill(&MapFill {
        name: "flows",
        entries: 3,
        capacity: 8,
    });
    let status = SensorStatus {
        resident_bytes: 5,
        cpu_ns: 1_500_000_000,
        ..SensorStatus::default()
    };
    own.set_sensor_status(&status);
    own.set_aggregator_usage(Usage {
        resident_bytes: 6,
        cpu_seconds: 0.5,
    });
    own.add_series_dropped("budget", 4);
    own.add_collector_error("disk");
    own.set_containers(10);
    own.set_queue_length("requests", 2);
    let report = Report {
        read_bytes: 1,
        skipped_bytes: 2,
        ..Report::default()
    };
    own.add_log_report(&report, &Report::default());
    own.add_log_error("read");
    own.set_log_files(1, 2, 3);
    own
}

fn page(own: &Metrics, format: Format) -> String {
    let labels = SeriesLabels::new(&[
        ("machine_id", ""),
        ("system_uuid", ""),
        ("container_id", ""),
        ("app_id", ""),
    ]);
    let page = own.page(format, |exposition| {
        exposition.family(&RESTARTS);
        exposition.sample(&labels, 1u64);
        exposition.sample(&labels, 1u64);
    });
    String::from_utf8(page).unwrap()
}

#[test]
fn every_declared_family_is_moved_and_has_its_labels() {
    let page = page(&moved(), Format::Text);
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("nodescope_")) {
        let end = line.find(['{', ' ']).unwrap();
        let (name, rest) = line.split_at(end);
        let block = rest
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
            .map_or("", |(block, _)| block);
        let names = block
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, _)| name);
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        labels
            .entry(family.unwrap_or(name))
            .or_default()
            .extend(names.filter(|name| *name != "le"));
    }
    for family in FAMILIES {
        let found = labels
            .remove(family.name)
            .unwrap_or_else(|| panic!("{} is never moved", family.name));
        assert_eq!(
            found,
            family.labels.iter().copied().collect(),
            "{}",
            family.name
        );
        let header = format!(
            "# HELP {0} {1}.\n# TYPE {0} {2}\n",
            family.name,
            family.help,
            family.kind.as_str()
        );
        assert!(page.contains(&header), "{header}");
    }
    assert!(labels.is_empty(), "not in the catalogue: {labels:?}");
}

#[test]
fn values_are_as_set() {
    let page = page(&moved(), Format::OpenMetrics);
    for line in [
        "nodescope_records_lost_total{stage=\"kernel_flows\",reason=\"map_full\"} 9",
        "nodescope_sensor_hook{hook=\"tcp_state\",rung=\"tp_btf/x\",verdict=\"ok\"} 1",
        "nodescope_sensor_cpu_seconds_total 1.5",
        "nodescope_series{family=\"container_restarts_total\"} 1",
        "nodescope_series_dropped_total{reason=\"duplicate\"} 1",
        "nodescope_series_dropped_total{reason=\"budget\"} 4",
        "nodescope_scrape_duration_seconds_count 1",
        "nodescope_containers 10",
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "{line} is not in\n{page}"
        );
    }
    assert!(!page.contains("verdict=\"failed\""), "{page}");
    assert!(page.ends_with("\n# EOF\n"), "{page}");
}

#[test]
fn a_new_sensor_begins_without_the_old_ones_hooks_and_losses() {
    let own = moved();
    own.clear_sensor();
    let page = page(&own, Format::Text);
    for gone in [
        "nodescope_sensor_hook",
        "nodescope_records_lost_total",
        "nodescope_sensor_map_",
    ] {
        assert!(!page.contains(gone), "{gone}");
    }
}

#[test]
fn what_no_sensor_saw_outlives_sensors() {
    let own = moved();
    own.set_unseen_connects(31);
    own.clear_sensor();
    let page = page(&own, Format::Text);
    let losses: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("nodescope_records_lost_total"))
        .collect();
    let unseen = "nodescope_records_lost_total{stage=\"connects\",reason=\"no_sensor\"} 31";
    assert_eq!(losses, [unseen]);
}

#[test]
fn a_sensor_cannot_make_labels_without_end() {
    let own = Metrics::new("");
    for number in 0..10_000 {
        let name = number.to_string();
        own.set_loss(&Loss {
            stage: &name,
            reason: "",
            total: 1,
        });
        own.set_map_fill(&MapFill {
            name: &name,
            entries: 0,
            capacity: 0,
        });
        own.set_hook(&Hook {
            name: &name,
            rung: "",
            verdict: Verdict::Ok,
            detail: "",
        });
    }
    assert!(page(&own, Format::Text).lines().count() < 1_200);
}

#[test]
fn a_state_that_is_known_already_is_none_to_tell() {
    let own = Metrics::new("1.0.0");
    let told = [
        (Verdict::Ok, ""),
        (Verdict::Ok, ""),
        (Verdict::Degraded, "missing: a half"),
        (Verdict::Degraded, "missing: a half"),
        (Verdict::Degraded, "missing: all"),
        (Verdict::Ok, ""),
    ]
    .map(|(verdict, detail)| {
        own.set_hook(&Hook {
            name: "delays",
            rung: "tp_btf/x",
            verdict,
            detail,
        })
    });
    assert_eq!(told, [true, false, true, false, true, true]);
    let page = page(&own, Format::Text);
    let series = page
        .matches("nodescope_sensor_hook{hook=\"delays\"")
        .count();
    assert_eq!(series, 1);
}
