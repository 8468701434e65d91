//! The model on records as the sensor sends them.

mod held_logs;
mod latency;
mod life;
mod network;

use std::time::Duration;

use nodescope_schema::{
    Cgroup, CgroupKey, DelayTotals, Delays, Flow, FlowKey, FlowKind, FlowTotals, Listen, Owner,
    Processes, Record, SensorHello, Workload,
};

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

/// The series whose names begin with `prefix`, as the rest of the name and what follows `label` in it.
pub(super) fn lines_of(model: &Model, prefix: &str, label: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut page = Exposition::new(Format::Text, &mut out);
    model.render(&mut page);
    assert_eq!(page.finish().duplicates, 0);
    let page = String::from_utf8(out).unwrap();
    page.lines()
        .filter_map(|line| line.strip_prefix(prefix))
        .map(|line| {
            let (name, rest) = line.split_once('{').unwrap();
            format!("{name} {}", rest.split_once(label).unwrap().1)
        })
        .collect()
}

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

/// Small ids are of the v2 tree.
fn key(id: u64) -> CgroupKey {
    CgroupKey {
        hierarchy: if id < 100 { 0 } else { V1 },
        id,
    }
}

fn cgroup(id: u64, path: &[u8]) -> Record<'_> {
    removed_at(id, path, 0)
}

fn removed(id: u64, path: &[u8]) -> Record<'_> {
    removed_at(id, path, 5)
}

fn removed_at(id: u64, path: &[u8], removed_ns: u64) -> Record<'_> {
    Record::Cgroup(Cgroup {
        key: key(id),
        path,
        created_ns: 0,
        removed_ns,
    })
}

fn processes(id: u64, live: u32, started: u64, restarts: u64) -> Record<'static> {
    Record::Processes(Processes {
        cgroup: key(id),
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
        cgroup: key(id),
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
            actual_ip: std::net::Ipv6Addr::UNSPECIFIED,
            actual_port: 0,
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

/// The same flow, translated.
fn to_server(flow: Record<'static>, actual: &str) -> Record<'static> {
    let Record::Flow(mut flow) = flow else {
        panic!("not a flow: {flow:?}");
    };
    let actual: std::net::SocketAddrV6 = actual.parse().unwrap();
    flow.key.actual_ip = *actual.ip();
    flow.key.actual_port = actual.port();
    Record::Flow(flow)
}

const DB: &str = "[::ffff:10.0.0.5]:5432";
const UNIT: &[u8] = b"/system.slice/web.service";

fn unit_node() -> Node {
    let mut node = Node::new(Settings::default());
    node.apply(&[cgroup(10, UNIT), cgroup(110, UNIT), processes(10, 1, 1, 0)]);
    node.resolve("");
    node
}
