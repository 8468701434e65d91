//! Full maps: nothing is lost that has a place to go, and what is lost is counted.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use nodescope_schema::{FlowKey, FlowKind, Record};
use nodescope_sensor::kernel::{Kernel, Source as _};

use super::support::{Node, Told};

const DESTINATIONS: u64 = 40;

/// Fails to connect to as many ports of an address that nobody listens at.
fn fail_to_connect(ports: std::ops::Range<u64>) {
    for port in ports {
        let port = 20_000 + u16::try_from(port).expect("a port");
        TcpStream::connect((Ipv4Addr::new(127, 1, 2, 3), port)).expect_err("nobody listens");
    }
}

fn failures(told: &Told, cgroup: u64) -> u64 {
    let own = |owner: u64| owner == cgroup;
    let single = told.flows.iter().filter(|((owner, _), _)| own(*owner));
    let sums = told.sums.iter().filter(|((owner, _), _)| own(*owner));
    single.map(|(_, totals)| totals.failures).sum::<u64>()
        + sums.map(|(_, totals)| totals.failures).sum::<u64>()
}

fn lost(told: &Told) -> Vec<&(String, u64)> {
    told.losses.iter().filter(|(_, total)| *total > 0).collect()
}

#[test]
fn destinations_without_room_are_counted_as_other() {
    let Some(node) = Node::new("other") else {
        return;
    };
    let mut kernel = node.load_with(|options| options.sizes.flows = 16);
    fail_to_connect(0..DESTINATIONS);
    let told = node.snapshot(&mut kernel);
    assert!(told.flows_of(node.own.id) <= 16);
    let other = told.sums[&(node.own.id, FlowKind::Other)];
    assert!(other.failures >= DESTINATIONS - 16, "{other:?}");
    assert_eq!(failures(&told, node.own.id), DESTINATIONS);
    assert_eq!(lost(&told), Vec::<&(String, u64)>::new());
}

#[test]
fn what_finds_no_room_at_all_is_counted_as_lost() {
    let Some(node) = Node::new("lost") else {
        return;
    };
    let mut kernel = node.load_with(|options| {
        options.sizes.flows = 1;
        options.sizes.other_flows = 1;
    });
    // Another owner takes the one place for the rest.
    let first = node.cgroup("first");
    first.enter();
    fail_to_connect(0..3);
    node.own.enter();
    fail_to_connect(0..1);
    let told = node.snapshot(&mut kernel);
    assert_eq!(failures(&told, first.id), 3);
    assert_eq!(failures(&told, node.own.id), 0);
    let full = told
        .losses
        .iter()
        .find(|(name, _)| name == "kernel_flows/full")
        .expect("the counter");
    assert!(full.1 > 0, "{:?}", told.losses);
}

/// Records of a poll, with how many evicted flows of a cgroup it names.
fn poll(kernel: &mut Kernel, cgroup: u64) -> (Told, u64) {
    let (mut told, mut evicted) = (Told::default(), 0);
    kernel
        .poll(&mut |record| {
            told.take(record);
            let own = |key: &FlowKey<'_>| key.owner.workload.cgroup_v2 == cgroup;
            evicted += u64::from(matches!(record, Record::FlowEvicted(key) if own(key)));
        })
        .expect("a poll");
    (told, evicted)
}

#[test]
fn idle_flows_go_and_their_totals_stay() {
    let Some(node) = Node::new("evicted") else {
        return;
    };
    let mut kernel = node.load_with(|options| {
        options.sizes.flows = 48;
        options.evict_idle = Duration::ZERO;
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let stream =
        TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    fail_to_connect(0..DESTINATIONS);
    let (told, evicted) = poll(&mut kernel, node.own.id);
    assert!(evicted > 0, "41 of 48 is more than three quarters");
    let sum = told.sums[&(node.own.id, FlowKind::Evicted)];
    assert_eq!(sum.failures, evicted);

    let after = node.snapshot(&mut kernel);
    assert_eq!(
        failures(&after, node.own.id),
        DESTINATIONS,
        "nothing was lost or counted twice"
    );
    let remote = super::support::mapped(listener.local_addr().expect("an address"));
    assert_eq!(
        after.flows[&(node.own.id, remote)].active,
        1,
        "a flow with a connection stays"
    );
    drop(stream);
    assert_eq!(lost(&after), Vec::<&(String, u64)>::new());
}
