//! The model on records as the sensor sends them.

use nodescope_schema::{
    Cgroup, CgroupKey, DelayTotals, Delays, Flow, FlowKey, FlowKind, FlowTotals, Listen, Owner,
    Processes, Record, SensorHello, Workload,
};

use std::time::Duration;

use super::*;
use crate::containers::{Class, Identity, Ignored, Resolution, RetryReason};
use crate::metrics::{Exposition, Format};

const SECOND: u64 = 1_000_000_000;
const V1: u32 = 4;
const WEB: Workload = Workload {
    cgroup_v2: 10,
    cgroup_v1: 110,
};
const DOCKER_ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Node {
    model: Model,
    now_ns: u64,
}

impl Node {
    fn new(settings: Settings) -> Self {
        let global = GlobalLabels {
            machine_id: "m".into(),
            system_uuid: String::new(),
        };
        let mut node = Self {
            model: Model::new(settings, global),
            now_ns: SECOND,
        };
        node.connect(1);
        node
    }

    fn connect(&mut self, run_id: u64) {
        self.model.connected(&SensorHello {
            version: 1,
            oldest_version: 1,
            release: "test",
            run_id,
            v1_hierarchy: V1,
            v1_controllers: "memory",
            host_netns: 7,
            hostname: "h",
            kernel_release: "k",
        });
    }

    fn apply(&mut self, records: &[Record<'_>]) {
        for record in records {
            self.model.apply(record, self.now_ns);
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now_ns += seconds * SECOND;
        self.model.settle(self.now_ns);
        self.model.expire(self.now_ns);
    }

    /// Answers every open question with a name made of the container's id, or the unit.
    fn resolve(&mut self, name: &str) {
        for ResolveJob { class } in self.model.next_to_resolve(self.now_ns, 100) {
            let id = match &class {
                Class::Unit(id) => id.clone(),
                _ => format!("/docker/{name}"),
            };
            self.model.resolved(
                &class,
                Resolution::Container(identity(id).into()),
                self.now_ns,
            );
        }
        self.model.settle(self.now_ns);
    }

    fn page(&self) -> String {
        let mut out = Vec::new();
        let mut page = Exposition::new(Format::Text, &mut out);
        self.model.render(&mut page);
        let summary = page.finish();
        assert_eq!(
            (
                summary.duplicates,
                summary.invalid_values,
                summary.out_of_order
            ),
            (0, 0, 0)
        );
        String::from_utf8(out).unwrap()
    }

    /// The value of the one series whose name and labels contain all of `parts`; none without such a series.
    fn value(&self, name: &str, parts: &[&str]) -> Option<f64> {
        let page = self.page();
        let lines: Vec<_> = page
            .lines()
            .filter(|line| {
                line.starts_with(&format!("{name}{{"))
                    && parts.iter().all(|part| line.contains(part))
            })
            .collect();
        assert!(lines.len() < 2, "{lines:?}");
        lines
            .first()
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    fn connects(&self, parts: &[&str]) -> Option<f64> {
        self.value("container_net_tcp_successful_connects_total", parts)
    }
}

fn identity(id: String) -> Identity {
    Identity {
        id,
        app_id: String::new(),
        image: Some("img:1".into()),
        runtime: "docker",
        ..Identity::default()
    }
}

fn cgroup(id: u64, path: &[u8]) -> Record<'_> {
    let key = CgroupKey {
        hierarchy: if id < 100 { 0 } else { V1 },
        id,
    };
    Record::Cgroup(Cgroup {
        key,
        path,
        created_ns: 0,
        removed_ns: 0,
    })
}

fn removed(id: u64, path: &[u8]) -> Record<'_> {
    let key = CgroupKey {
        hierarchy: if id < 100 { 0 } else { V1 },
        id,
    };
    Record::Cgroup(Cgroup {
        key,
        path,
        created_ns: 0,
        removed_ns: 5,
    })
}

fn processes(id: u64, live: u32, started: u64, restarts: u64) -> Record<'static> {
    Record::Processes(Processes {
        cgroup: CgroupKey {
            hierarchy: if id < 100 { 0 } else { V1 },
            id,
        },
        generation: 1,
        live,
        started,
        ended: started - u64::from(live),
        restarts,
        oom_kills: 0,
    })
}

fn delays(id: u64, generation: u64, accounted: bool, ms: u64) -> Record<'static> {
    Record::Delays(Delays {
        cgroup: CgroupKey {
            hierarchy: if id < 100 { 0 } else { V1 },
            id,
        },
        generation,
        accounted,
        totals: DelayTotals {
            cpu_ns: ms * 1_000_000,
            reclaim_ns: u64::from(accounted) * 500_000_000,
            ..DelayTotals::default()
        },
    })
}

fn flow(workload: Workload, remote: &str, connects: u64, active: u32) -> Record<'static> {
    let remote: std::net::SocketAddrV6 = remote.parse().unwrap();
    Record::Flow(Flow {
        key: FlowKey {
            owner: Owner {
                workload,
                executable: b"curl",
            },
            remote_ip: *remote.ip(),
            remote_port: remote.port(),
            host_netns: false,
            kind: FlowKind::Destination,
        },
        generation: 1,
        totals: FlowTotals {
            connects,
            active,
            sent_bytes: 100 * connects,
            ..FlowTotals::default()
        },
    })
}

const DB: &str = "[::ffff:10.0.0.5]:5432";
const UNIT: &[u8] = b"/system.slice/web.service";

fn unit_node() -> Node {
    let mut node = Node::new(Settings::default());
    node.apply(&[cgroup(10, UNIT), cgroup(110, UNIT), processes(10, 1, 1, 0)]);
    node.resolve("");
    node
}

#[test]
fn a_flow_counts_for_its_service() {
    let mut node = unit_node();
    node.apply(&[flow(WEB, DB, 3, 2)]);
    let web = [
        "container_id=\"/system.slice/web.service\"",
        "destination=\"10.0.0.5:5432\"",
    ];
    assert_eq!(node.connects(&web), Some(3.0));
    assert_eq!(
        node.value("container_net_tcp_active_connections", &web),
        Some(2.0)
    );
    node.apply(&[flow(WEB, DB, 3, 2), flow(WEB, DB, 4, 0)]);
    assert_eq!(node.connects(&web), Some(4.0));
    assert_eq!(
        node.value("container_net_tcp_active_connections", &web),
        None
    );
    assert_eq!(
        node.value("container_net_tcp_bytes_sent_total", &web),
        Some(400.0)
    );
    assert_eq!(
        node.value("container_net_tcp_failed_connects_total", &[]),
        None
    );
}

#[test]
fn totals_wait_for_a_name_and_are_not_lost() {
    let mut node = Node::new(Settings::default());
    node.apply(&[flow(WEB, DB, 1, 0)]);
    let path = format!("/docker/{DOCKER_ID}");
    node.apply(&[cgroup(10, path.as_bytes()), flow(WEB, DB, 5, 1)]);
    assert_eq!(node.connects(&[]), None);
    node.resolve("shop");
    assert_eq!(node.connects(&["/docker/shop"]), Some(5.0));
    assert_eq!(
        node.value("container_info", &["image=\"img:1\""]),
        Some(1.0)
    );
}

#[test]
fn a_renamed_container_goes_on_under_its_new_name() {
    let mut node = Node::new(Settings::default());
    let path = format!("/docker/{DOCKER_ID}");
    node.apply(&[cgroup(10, path.as_bytes()), flow(WEB, DB, 5, 1)]);
    node.resolve("old");
    node.pass(60);
    node.resolve("new");
    node.apply(&[flow(WEB, DB, 7, 1)]);
    assert_eq!(node.connects(&["/docker/old"]), None);
    assert_eq!(node.connects(&["/docker/new"]), Some(2.0));
    assert_eq!(
        node.value("container_net_tcp_active_connections", &["/docker/new"]),
        Some(1.0)
    );
}

#[test]
fn a_new_run_of_the_sensor_continues_the_counters() {
    let mut node = unit_node();
    node.apply(&[flow(WEB, DB, 10, 3), processes(10, 1, 4, 2)]);
    node.model.disconnected();
    assert_eq!(node.connects(&[]), Some(10.0));
    node.connect(2);
    let snapshot = [
        Record::SnapshotBegin,
        cgroup(10, UNIT),
        cgroup(110, UNIT),
        processes(10, 1, 1, 0),
        flow(WEB, DB, 1, 3),
        Record::SnapshotEnd,
    ];
    node.apply(&snapshot);
    assert_eq!(node.connects(&[]), Some(11.0));
    assert_eq!(
        node.value("container_net_tcp_active_connections", &[]),
        Some(3.0)
    );
    assert_eq!(node.value("container_restarts_total", &[]), Some(2.0));
    node.apply(&snapshot);
    assert_eq!(node.connects(&[]), Some(11.0));
}

#[test]
fn the_last_round_trip_is_shown() {
    const RTT: &str = "container_net_tcp_rtt_seconds";
    let with = |connects, rtt_ns| match flow(WEB, DB, connects, 1) {
        Record::Flow(mut flow) => {
            flow.totals.rtt_ns = rtt_ns;
            Record::Flow(flow)
        }
        other => other,
    };
    let mut node = unit_node();
    node.apply(&[with(1, 0)]);
    assert_eq!(node.value(RTT, &[]), None);
    node.apply(&[with(2, 20_000_000)]);
    assert_eq!(node.value(RTT, &["10.0.0.5:5432"]), Some(0.02));
    node.apply(&[with(3, 20_000_000), with(4, 1_000_000)]);
    assert_eq!(node.value(RTT, &["10.0.0.5:5432"]), Some(0.001));
    // Every other destination is one series, and has none.
    node.model.settings.destinations_per_container = 0;
    let Record::Flow(mut other) = with(1, 5) else {
        return;
    };
    other.key.remote_port = 1;
    node.apply(&[Record::Flow(other)]);
    assert_eq!(node.connects(&["~other"]), Some(1.0));
    assert_eq!(node.value(RTT, &["~other"]), None);
}

#[test]
fn waits_are_kept_over_names_cgroups_and_runs() {
    const CPU: &str = "container_resources_cpu_delay_seconds_total";
    const DISK: &str = "container_resources_disk_delay_seconds_total";
    const MEMORY: &str = "container_resources_memory_delay_seconds_total";
    let mut node = Node::new(Settings::default());
    let path = format!("/docker/{DOCKER_ID}");
    node.apply(&[
        cgroup(10, path.as_bytes()),
        processes(10, 1, 1, 0),
        delays(10, 1, false, 1500),
        delays(11, 1, false, 9000),
    ]);
    node.pass(1);
    assert_eq!(node.value(CPU, &[]), None);
    node.resolve("shop");
    assert_eq!(node.value(CPU, &["/docker/shop"]), Some(1.5));
    // The kernel does not account for anything else.
    assert_eq!(
        (node.value(DISK, &[]), node.value(MEMORY, &[])),
        (None, None)
    );
    node.apply(&[cgroup(110, path.as_bytes()), delays(110, 1, true, 1500)]);
    node.pass(1);
    assert_eq!(node.value(CPU, &[]), Some(1.5), "the same tasks");
    assert_eq!(node.value(DISK, &[]), Some(0.0));
    assert_eq!(node.value(MEMORY, &["kind=\"freepages\""]), Some(0.5));
    node.model.disconnected();
    node.connect(2);
    node.apply(&[
        Record::SnapshotBegin,
        cgroup(10, path.as_bytes()),
        processes(10, 1, 1, 0),
        delays(10, 7, true, 250),
        Record::SnapshotEnd,
    ]);
    assert_eq!(node.value(CPU, &["/docker/shop"]), Some(1.75));
    // The sensor removed the entry and made another one.
    node.apply(&[delays(10, 8, true, 250)]);
    node.pass(1);
    assert_eq!(node.value(CPU, &["/docker/shop"]), Some(2.0));
}

#[test]
fn what_a_snapshot_leaves_out_is_gone() {
    let mut node = unit_node();
    node.apply(&[flow(WEB, DB, 1, 1), flow(WEB, "[::ffff:10.0.0.6]:80", 1, 1)]);
    node.apply(&[
        Record::SnapshotBegin,
        cgroup(10, UNIT),
        flow(WEB, DB, 1, 1),
        Record::SnapshotEnd,
    ]);
    assert_eq!(
        node.value("container_net_tcp_active_connections", &["10.0.0.5:5432"]),
        Some(1.0)
    );
    assert_eq!(
        node.value("container_net_tcp_active_connections", &["10.0.0.6:80"]),
        None
    );
    assert_eq!(node.connects(&["10.0.0.6:80"]), Some(1.0));
    node.pass(601);
    assert_eq!(node.connects(&["10.0.0.6:80"]), None);
}

#[test]
fn destinations_over_the_budget_share_one_series() {
    let settings = Settings {
        destinations_per_container: 2,
        ..Settings::default()
    };
    let mut node = Node::new(settings);
    node.apply(&[cgroup(10, UNIT), processes(10, 1, 1, 0)]);
    node.resolve("");
    for port in 1..=5 {
        node.apply(&[flow(WEB, &format!("[::ffff:10.0.0.5]:{port}"), 2, 0)]);
    }
    assert_eq!(
        node.connects(&["destination=\"~other\"", "actual_destination=\"~other\""]),
        Some(6.0)
    );
    assert_eq!(
        node.page()
            .matches("container_net_tcp_successful_connects_total{")
            .count(),
        3
    );
    assert_eq!(node.model.limits().destinations, 3);
}

#[test]
fn after_a_restart_the_same_destinations_are_within_the_budget() {
    let aged = |port: u16, generation| {
        let Record::Flow(flow) = flow(WEB, &format!("[::ffff:10.0.0.5]:{port}"), 2, 0) else {
            unreachable!()
        };
        Record::Flow(Flow { generation, ..flow })
    };
    let settings = Settings {
        destinations_per_container: 2,
        ..Settings::default()
    };
    for order in [[1, 2, 3, 4], [4, 3, 2, 1], [3, 1, 4, 2]] {
        let mut node = Node::new(settings.clone());
        node.apply(&[
            Record::SnapshotBegin,
            cgroup(10, UNIT),
            processes(10, 1, 1, 0),
        ]);
        node.resolve("");
        node.apply(&order.map(|age| aged(age, age.into())));
        node.apply(&[Record::SnapshotEnd]);
        assert_eq!(
            node.connects(&["destination=\"10.0.0.5:1\""]),
            Some(2.0),
            "{order:?}"
        );
        assert_eq!(
            node.connects(&["destination=\"10.0.0.5:2\""]),
            Some(2.0),
            "{order:?}"
        );
        assert_eq!(
            node.connects(&["destination=\"~other\""]),
            Some(4.0),
            "{order:?}"
        );
    }
}

#[test]
fn filtered_destinations_are_left_out() {
    let mut node = unit_node();
    for remote in [
        "[::ffff:127.0.0.1]:80",
        "[::1]:80",
        "[::ffff:10.0.0.1]:40000",
        "[fe80::1]:80",
    ] {
        node.apply(&[flow(WEB, remote, 1, 0)]);
    }
    assert_eq!(node.connects(&[]), None);
}

#[test]
fn processes_of_no_service_are_shown_on_request_only() {
    for (report_other, expected) in [(false, None), (true, Some(1.0))] {
        let mut node = Node::new(Settings {
            report_other,
            ..Settings::default()
        });
        node.apply(&[
            cgroup(1, b"/"),
            flow(
                Workload {
                    cgroup_v2: 1,
                    cgroup_v1: 0,
                },
                DB,
                1,
                0,
            ),
        ]);
        node.model.settle(node.now_ns);
        assert_eq!(node.connects(&["container_id=\"/other/curl\""]), expected);
    }
}

#[test]
fn restarts_in_place_and_in_a_new_cgroup() {
    let mut node = unit_node();
    node.apply(&[processes(10, 1, 3, 2)]);
    assert_eq!(node.value("container_restarts_total", &[]), Some(2.0));
    node.apply(&[removed(10, UNIT), cgroup(11, UNIT), processes(11, 1, 1, 0)]);
    node.resolve("");
    assert_eq!(node.value("container_restarts_total", &[]), Some(3.0));
    node.apply(&[
        cgroup(12, b"/system.slice/web.service/sub"),
        processes(12, 1, 9, 5),
    ]);
    node.resolve("");
    assert_eq!(node.value("container_restarts_total", &[]), Some(3.0));
}

#[test]
fn a_process_in_both_hierarchies_counts_once() {
    let mut node = unit_node();
    node.apply(&[processes(10, 1, 2, 1), processes(110, 1, 2, 1)]);
    assert_eq!(node.value("container_restarts_total", &[]), Some(1.0));
}

#[test]
fn containers_without_processes_disappear_and_come_back() {
    let mut node = unit_node();
    node.apply(&[flow(WEB, DB, 1, 0), processes(10, 0, 1, 0)]);
    node.pass(1);
    node.pass(599);
    assert_eq!(node.connects(&[]), Some(1.0));
    node.pass(2);
    assert_eq!(node.page(), "");
    node.apply(&[processes(10, 1, 2, 1), flow(WEB, DB, 2, 0)]);
    node.resolve("");
    assert_eq!(node.value("container_restarts_total", &[]), Some(1.0));
    assert!(node.connects(&[]).is_some());
}

#[test]
fn listens_are_shown_per_address_and_stay_a_while_as_closed() {
    let mut node = unit_node();
    let listen = |open| {
        Record::Listen(Listen {
            cookie: 5,
            owner: Owner {
                workload: WEB,
                executable: b"web",
            },
            pid: 1,
            netns: 99,
            ip: "::ffff:0.0.0.0".parse().unwrap(),
            port: 8080,
            ipv6_only: false,
            open,
        })
    };
    node.apply(&[listen(true)]);
    assert_eq!(node.model.namespaces_to_read().len(), 1);
    let ips = ["127.0.0.1", "172.17.0.2"].map(|ip| ip.parse().unwrap());
    node.model
        .set_namespace_addresses([(99, ips.to_vec())].into());
    node.model.settle(node.now_ns);
    let shown = |node: &Node| {
        node.value(
            "container_net_tcp_listen_info",
            &["listen_addr=\"172.17.0.2:8080\"", "proxy=\"\""],
        )
    };
    assert_eq!(shown(&node), Some(1.0));
    assert_eq!(
        node.value("container_net_tcp_listen_info", &["127.0.0.1"]),
        None
    );
    node.apply(&[listen(false)]);
    node.model.settle(node.now_ns);
    assert_eq!(shown(&node), Some(0.0));
    node.pass(601);
    node.model.settle(node.now_ns);
    assert_eq!(shown(&node), None);
}

#[test]
fn unknown_containers_are_tried_again_and_hurt_nobody() {
    let mut node = unit_node();
    let path = format!("/docker/{DOCKER_ID}");
    node.apply(&[
        cgroup(20, path.as_bytes()),
        flow(
            Workload {
                cgroup_v2: 20,
                cgroup_v1: 0,
            },
            DB,
            1,
            0,
        ),
    ]);
    let jobs = node.model.next_to_resolve(node.now_ns, 10);
    assert_eq!(jobs.len(), 1);
    node.model.resolved(
        &jobs[0].class,
        Resolution::Retry {
            reason: RetryReason::NotFound,
            after: Duration::from_millis(200),
        },
        node.now_ns,
    );
    assert!(node.model.next_to_resolve(node.now_ns, 10).is_empty());
    node.now_ns += SECOND;
    let jobs = node.model.next_to_resolve(node.now_ns, 10);
    node.model.resolved(
        &jobs[0].class,
        Resolution::Ignored(Ignored::Pause),
        node.now_ns,
    );
    node.apply(&[flow(WEB, DB, 1, 0)]);
    assert_eq!(node.connects(&["web.service"]), Some(1.0));
}

#[test]
fn published_ports_are_listens_of_the_host() {
    let mut node = Node::new(Settings::default());
    let path = format!("/docker/{DOCKER_ID}");
    node.apply(&[cgroup(20, path.as_bytes()), processes(20, 1, 1, 0)]);
    let published = ["0.0.0.0:80", "[::]:80", "192.0.2.1:81", "0.0.0.0:40000"];
    for ResolveJob { class } in node.model.next_to_resolve(node.now_ns, 10) {
        let identity = Identity {
            published: published.map(|address| address.parse().unwrap()).to_vec(),
            ..identity("/docker/web".to_owned())
        };
        let resolution = Resolution::Container(identity.into());
        node.model.resolved(&class, resolution, node.now_ns);
    }
    let jobs = node.model.namespaces_to_read();
    assert_eq!((jobs[0].netns, &jobs[0].pids[..]), (7, &[1][..]));
    let host = ["127.0.0.1", "10.0.0.1", "fd00::1"].map(|ip| ip.parse().unwrap());
    node.model
        .set_namespace_addresses([(7, host.to_vec())].into());
    node.pass(1);
    let shown = |node: &Node| {
        let page = node.page();
        let mut lines: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("container_net_tcp_listen_info{"))
            .map(|line| line.split_once("listen_addr=\"").unwrap().1.to_owned())
            .collect();
        lines.sort();
        lines
    };
    let expected = |value| {
        [
            "10.0.0.1:80",
            "127.0.0.1:80",
            "192.0.2.1:81",
            "[fd00::1]:80",
        ]
        .map(|address| format!("{address}\",proxy=\"dockerd\"}} {value}"))
    };
    assert_eq!(shown(&node), expected(1));
    // They end with the container's last process, and do not keep it for ever.
    node.apply(&[processes(20, 0, 1, 0)]);
    node.pass(1);
    node.pass(1);
    assert_eq!(shown(&node), expected(0));
    node.pass(601);
    node.pass(601);
    assert_eq!(node.page().matches("/docker/web").count(), 0);
}
