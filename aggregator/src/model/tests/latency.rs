//! Round trips.

use std::net::{IpAddr, Ipv4Addr};

use nodescope_schema::{MAX_PING_TARGETS, Ping};

use super::*;

const LATENCY: &str = "container_net_latency_seconds";
const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

fn ping(rtt_ns: u64, answered_ns: u64) -> Record<'static> {
    Record::Ping(Ping {
        ip: IP.to_ipv6_mapped(),
        generation: 1,
        sent: 9,
        answered: u64::from(answered_ns > 0),
        lost: 3,
        rtt_ns,
        answered_ns,
    })
}

fn with(remote: &str, totals: FlowTotals) -> Record<'static> {
    let Record::Flow(mut flow) = flow(WEB, remote, 0, 0) else {
        unreachable!("it is a flow");
    };
    flow.totals = totals;
    flow.key.host_netns = true;
    Record::Flow(flow)
}

fn connected(remote: &str, connects: u64, rtt_ns: u64) -> Record<'static> {
    let totals = FlowTotals {
        connects,
        rtt_ns,
        ..FlowTotals::default()
    };
    with(remote, totals)
}

#[test]
fn by_echo_and_without_an_answer_by_tcp() {
    let mut node = unit_node();
    node.apply(&[connected(DB, 1, 0)]);
    assert_eq!(node.value(LATENCY, &[]), None, "nothing measured yet");
    node.apply(&[connected(DB, 2, 20_000_000), ping(0, 0)]);
    let labels = [
        "container_id=\"/system.slice/web.service\"",
        "destination_ip=\"10.0.0.5\"",
    ];
    assert_eq!(node.value(LATENCY, &labels), Some(0.02));

    node.apply(&[ping(7_000_000, node.now_ns)]);
    assert_eq!(node.value(LATENCY, &labels), Some(0.007));
    node.pass(59);
    assert_eq!(node.value(LATENCY, &labels), Some(0.007));
    node.pass(2);
    assert_eq!(
        node.value(LATENCY, &labels),
        Some(0.02),
        "no answer for a minute"
    );
    node.apply(&[ping(6_000_000, node.now_ns - 61 * SECOND)]);
    assert_eq!(
        node.value(LATENCY, &labels),
        Some(0.02),
        "an old answer told again"
    );
    assert_eq!(
        node.value("container_net_tcp_rtt_seconds", &[]),
        Some(0.02),
        "this one is always of TCP"
    );
    node.pass(600);
    assert_eq!(
        node.value(LATENCY, &labels),
        None,
        "nobody has talked for long"
    );
    assert!(node.model.ping_targets().is_empty());
}

#[test]
fn several_ports_are_one_address() {
    let mut node = unit_node();
    node.apply(&[
        connected(DB, 1, 5_000_000),
        connected("[::ffff:10.0.0.5]:5433", 1, 3_000_000),
        connected("[fd00::7]:80", 1, 9_000_000),
    ]);
    assert_eq!(node.value(LATENCY, &["\"10.0.0.5\""]), Some(0.003));
    assert_eq!(node.value(LATENCY, &["\"fd00::7\""]), Some(0.009));
    let wanted: [IpAddr; 2] = [IP.into(), "fd00::7".parse().unwrap()];
    assert_eq!(node.model.ping_targets(), wanted);
}

#[test]
fn who_is_not_asked() {
    let mut node = unit_node();
    let failed = FlowTotals {
        failures: 3,
        ..FlowTotals::default()
    };
    node.apply(&[
        with("[::ffff:10.0.0.9]:80", failed),
        connected("[::ffff:127.0.0.1]:80", 1, 5),
        connected("[::1]:80", 1, 5),
        connected("[::ffff:169.254.169.254]:80", 1, 5),
    ]);
    assert_eq!(node.connects(&["127.0.0.1:80"]), Some(1.0));
    assert!(node.model.ping_targets().is_empty());
    assert_eq!(node.value(LATENCY, &[]), None);
    node.model.settings.destinations_per_container = 0;
    node.apply(&[connected(DB, 1, 5)]);
    assert_eq!(node.connects(&["~other"]), Some(1.0));
    assert!(node.model.ping_targets().is_empty());
    assert_eq!(node.value(LATENCY, &[]), None);
}

#[test]
fn a_container_that_has_ended_has_none() {
    let mut node = unit_node();
    node.apply(&[connected(DB, 1, 5_000_000)]);
    assert!(node.value(LATENCY, &[]).is_some());
    node.apply(&[processes(10, 0, 1, 0)]);
    assert_eq!(node.value(LATENCY, &[]), None);
    assert!(node.model.ping_targets().is_empty());
    node.apply(&[processes(10, 1, 2, 1)]);
    assert!(node.value(LATENCY, &[]).is_some());
}

#[test]
fn of_too_many_those_with_connections_come_first() {
    let mut node = Node::new(Settings {
        destinations_per_container: 10_000,
        ..Settings::default()
    });
    node.apply(&[cgroup(10, UNIT), cgroup(110, UNIT), processes(10, 1, 1, 0)]);
    node.resolve("");
    let count = MAX_PING_TARGETS as u32 + 100;
    for index in 0..count {
        let ip = Ipv4Addr::from(u32::from_be_bytes([10, 1, 0, 0]) + index);
        let totals = FlowTotals {
            connects: 1,
            // The last ones.
            active: u32::from(index >= count - 10),
            ..FlowTotals::default()
        };
        node.apply(&[with(&format!("[::ffff:{ip}]:80"), totals)]);
    }
    let targets = node.model.ping_targets();
    assert_eq!(targets.len(), MAX_PING_TARGETS);
    for index in count - 10..count {
        let ip = IpAddr::from(Ipv4Addr::from(u32::from_be_bytes([10, 1, 0, 0]) + index));
        assert!(targets.contains(&ip), "{ip}");
    }
    assert!(targets.is_sorted());
    assert_eq!(node.model.limits().ping_targets, 100);
    assert_eq!(node.model.ping_targets(), targets, "the same ones again");
}
