//! Retransmitted segments, compared with the kernel's own count of the same network namespace.

use nodescope_tests::*;

/// Drops every fifth segment with payload that arrives at port 8080. Where it is sent from, a dropped segment would be
/// an error of the call and not a loss.
const LOSS: &str = "table inet loss { chain input { type filter hook input priority 0; \
    tcp dport 8080 tcp flags & (syn|fin|rst) == 0 meta length > 200 numgen inc mod 5 == 0 drop; }; }";

#[test]
fn as_many_as_the_kernel_says() {
    require_root!();
    let (agent, unit) = (Agent::start(), Unit::service("loss"));
    let (netns, far) = (Netns::linked(), Netns::linked());
    let [_, address] = netns.link_with(&far);
    let there = Place {
        netns: Some(&far),
        ..Place::default()
    };
    let server = Server::start(there, &format!("{address}:8080"));
    let to = server.address();
    far.nft(LOSS);
    let before = netns.snmp("Tcp", "RetransSegs");
    let words = format!("connect --to {to} --count 4 --parallel 2 --upload 3000000 --download 10");
    let report = run_load(Place::in_unit(&unit).and_netns(&netns), &words);
    assert_eq!(report.established, 4);
    let retransmitted = netns.snmp("Tcp", "RetransSegs") - before;
    assert!(
        retransmitted > 10,
        "the rules drop too little: {retransmitted}"
    );
    let destination = to.to_string();
    let labels = [
        ("container_id", unit.path()),
        ("destination", destination.as_str()),
    ];
    agent.settles(
        "container_net_tcp_retransmits_total",
        &labels,
        retransmitted,
    );
    // However often a byte was sent again, it counts once.
    agent.settles(
        "container_net_tcp_bytes_sent_total",
        &labels,
        report.sent_bytes,
    );
    agent.settles(
        "container_net_tcp_bytes_received_total",
        &labels,
        report.received_bytes,
    );
}

#[test]
fn no_more_than_the_kernel_says_without_loss() {
    require_root!();
    let (agent, unit, netns) = (Agent::start(), Unit::service("lossless"), Netns::linked());
    let server = Server::start(Agent::here(), &format!("[{}]:8080", netns.outer6()));
    let to = server.address();
    let words = format!("connect --to {to} --count 10 --upload 200000");
    let report = run_load(Place::in_unit(&unit).and_netns(&netns), &words);
    let expected = Expected {
        connects: 10,
        sent_bytes: report.sent_bytes,
        ..Expected::default()
    };
    expected.settles(&agent, unit.path(), &to.to_string());
    // As a rule none; a machine that pauses makes TCP probe for a loss that was none, and that until all is closed.
    let retransmitted = netns.snmp("Tcp", "RetransSegs");
    agent.settles(
        "container_net_tcp_retransmits_total",
        &[("container_id", unit.path())],
        retransmitted,
    );
}
