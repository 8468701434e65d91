//! Full maps: nothing is lost that has a place to go, and what is lost is counted.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nodescope_schema::{FlowKind, FlowTotals, Record};
use nodescope_sensor::kernel::{Kernel, Source as _};

use super::support::{Cgroup, Node, Told};

const DESTINATIONS: u8 = 40;

/// Fails to connect to as many addresses, at a port where nobody listens.
fn fail_to_connect(hosts: std::ops::Range<u8>) {
    let held = TcpListener::bind((Ipv4Addr::new(127, 1, 2, 255), 0)).expect("a port");
    let port = held.local_addr().expect("an address").port();
    for host in hosts {
        TcpStream::connect((Ipv4Addr::new(127, 1, 2, host), port)).expect_err("nobody listens");
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
    assert!(other.failures >= 40 - 16, "{other:?}");
    assert_eq!(failures(&told, node.own.id), u64::from(DESTINATIONS));
    assert_eq!(lost(&told), Vec::<&(String, u64)>::new());
}

/// What is told after `first` and then this process failed to connect, with room for one flow and one owner more.
fn compete(node: &Node, first: &Cgroup) -> Told {
    let mut kernel = node.load_with(|options| {
        options.sizes.flows = 1;
        options.sizes.other_flows = 1;
    });
    first.enter();
    fail_to_connect(0..3);
    node.own.enter();
    fail_to_connect(0..1);
    node.snapshot(&mut kernel)
}

#[test]
fn what_finds_no_room_at_all_is_counted_as_lost() {
    let Some(node) = Node::new("lost") else {
        return;
    };
    let first = node.cgroup("first");
    // Somebody else of this machine may take the place.
    let told = std::iter::repeat_with(|| compete(&node, &first))
        .take(20)
        .find(|told| failures(told, first.id) == 3)
        .expect("a moment in which nobody else connects");
    assert_eq!(failures(&told, node.own.id), 0);
    let full = told
        .losses
        .iter()
        .find(|(name, _)| name == "kernel_flows/full")
        .expect("the counter");
    assert!(full.1 > 0, "{:?}", told.losses);
}

/// What a poll told, and the totals of the flows of a cgroup that it said go.
fn poll(kernel: &mut Kernel, cgroup: u64) -> (Told, Vec<FlowTotals>) {
    let (mut told, mut gone) = (Told::default(), Vec::new());
    kernel
        .poll(&mut |record| {
            told.take(record);
            let Record::FlowEvicted(key) = record else {
                return;
            };
            if key.owner.workload.cgroup_v2 == cgroup {
                let remote = SocketAddr::new(key.remote_ip.into(), key.remote_port);
                gone.push(told.flows[&(cgroup, remote)]);
            }
        })
        .expect("a poll");
    (told, gone)
}

#[test]
fn idle_flows_go_after_their_totals_were_told() {
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
    let (told, gone) = poll(&mut kernel, node.own.id);
    assert!(!gone.is_empty(), "41 of 48 is more than three quarters");
    assert!(gone.iter().all(|totals| totals.failures == 1), "{gone:?}");
    assert_eq!(failures(&told, node.own.id), u64::from(DESTINATIONS));

    let after = node.snapshot(&mut kernel);
    let left = u64::from(DESTINATIONS) - gone.len() as u64;
    assert_eq!(failures(&after, node.own.id), left);
    let remote = super::support::mapped(listener.local_addr().expect("an address"));
    assert_eq!(
        after.flows[&(node.own.id, remote)].active,
        1,
        "a flow with a connection stays"
    );
    drop(stream);
    let evicted = ("kernel_flows/evicted".to_owned(), gone.len() as u64);
    let (counted, others): (Vec<_>, Vec<_>) = lost(&after)
        .into_iter()
        .partition(|(name, _)| *name == evicted.0);
    // Other processes of the machine have flows too.
    assert!(counted.iter().all(|loss| loss.1 >= evicted.1) && counted.len() == 1);
    assert_eq!(others, Vec::<&(String, u64)>::new());
}
