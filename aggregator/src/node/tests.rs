use std::collections::BTreeSet;
use std::path::Path;

use super::{COLLECTORS, Collectors, NodeFacts};
use crate::host::HostRoot;
use crate::metrics::catalogue::node::FAMILIES;
use crate::metrics::{Exposition, Format, SeriesLabels};

fn render(collectors: &mut Collectors, facts: &NodeFacts) -> (String, Vec<&'static str>) {
    let (readings, failures) = collectors.collect(facts);
    let machine = SeriesLabels::new(&[("machine_id", "m"), ("system_uuid", "u")]);
    let mut out = Vec::new();
    let mut exposition = Exposition::new(Format::Text, &mut out);
    readings.render(&machine, &mut exposition);
    assert_eq!(exposition.finish().duplicates, 0);
    (
        String::from_utf8(out).unwrap(),
        failures.iter().map(|failure| failure.collector).collect(),
    )
}

/// A machine of which only `/proc/uptime` and `/proc/meminfo` can be read, and the latter is broken.
fn broken_host(root: &Path) -> HostRoot {
    std::fs::create_dir(root.join("proc")).unwrap();
    std::fs::write(root.join("proc/uptime"), "5.5 6.5\n").unwrap();
    std::fs::write(root.join("proc/meminfo"), "MemTotal: 1 kB\nMemFree: x kB\n").unwrap();
    HostRoot::new(root)
}

#[test]
fn every_file_is_a_registered_collector() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/node");
    let not_collectors = ["mod", "readings", "tests"];
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !not_collectors.contains(&name.as_str()))
        .collect();
    let names: Vec<_> = COLLECTORS
        .iter()
        .map(|make| make().name().to_owned())
        .collect();
    assert_eq!(names.iter().cloned().collect::<BTreeSet<_>>(), files);
    assert_eq!(names.len(), files.len(), "a name occurs twice: {names:?}");
}

#[test]
fn a_failed_collector_costs_only_its_own_metrics() {
    let root = tempfile::tempdir().unwrap();
    let facts = NodeFacts {
        version: "1.0".into(),
        hostname: Some("web \"1\"".into()),
        kernel_release: Some("6.1.0".into()),
    };
    let (page, failed) = render(&mut Collectors::new(broken_host(root.path())), &facts);
    assert_eq!(failed, ["cpu", "memory", "disk", "net"]);
    assert!(!page.contains("node_resources_memory"), "{page}");
    for line in [
        "node_agent_info{machine_id=\"m\",system_uuid=\"u\",version=\"1.0\"} 1",
        "node_info{machine_id=\"m\",system_uuid=\"u\",hostname=\"web \\\"1\\\"\",kernel_version=\"6.1.0\"} 1",
        "node_uptime_seconds{machine_id=\"m\",system_uuid=\"u\"} 5.5",
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "{line} is not in\n{page}"
        );
    }
    assert!(
        page.contains(
            "node_cloud_info{machine_id=\"m\",system_uuid=\"u\",provider=\"\",account_id=\"\","
        ),
        "{page}"
    );
}

#[test]
fn this_machine_has_what_needs_no_hardware() {
    let (page, failed) = render(
        &mut Collectors::new(HostRoot::default()),
        &NodeFacts::default(),
    );
    assert_eq!(failed, [""; 0]);
    let needs_hardware = |name: &str| name.contains("_disk_") || name.contains("_net_");
    for family in FAMILIES
        .iter()
        .filter(|family| !needs_hardware(family.name))
    {
        assert!(
            page.contains(&format!("\n{}{{", family.name)),
            "{} is not in\n{page}",
            family.name
        );
    }
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(
        page.contains(&format!("hostname=\"{}\"", hostname.trim_end())),
        "{page}"
    );
}
