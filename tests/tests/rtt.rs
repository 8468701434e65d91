//! The round trip of TCP connections.

use std::process::Command;
use std::time::Duration;

use nodescope_tests::*;

const RTT: &str = "container_net_tcp_rtt_seconds";

/// The sensor has polled and the aggregator has heard of it.
const POLLS: Duration = Duration::from_millis(2500);

/// The round trip, once there is one.
fn round_trip(agent: &Agent, unit: &Unit, to: &str) -> f64 {
    let labels = [
        ("container_id", unit.path()),
        ("destination", to),
        ("actual_destination", to),
    ];
    agent.eventually("a round trip", unit.path(), |scrape| {
        scrape.sum(RTT, &labels)
    })
}

#[test]
fn is_short_over_loopback_and_through_a_veth() {
    require_root!();
    let (agent, unit, netns) = (Agent::start(), Unit::service("rtt"), Netns::linked());
    let near = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let far = Server::start(Agent::here(), &format!("{}:8080", netns.outer()));
    for (server, place) in [
        (&near, Place::in_unit(&unit)),
        (&far, Place::in_unit(&unit).and_netns(&netns)),
    ] {
        let to = server.address();
        let words = format!("connect --to {to} --count 20 --upload 1000 --download 1000");
        assert_eq!(run_load(place, &words).established, 20);
        let seconds = round_trip(&agent, &unit, &to.to_string());
        eprintln!("{to}: {seconds} s");
        // Nothing leaves the machine; the rest is the scheduler's and the server's.
        assert!(seconds > 0.0 && seconds < 0.05, "{to}: {seconds} s");
    }
}

/// What the kernel says of the one connection to `to`, in seconds (`rtt:MILLISECONDS/VARIANCE`).
fn by_kernel(to: &str) -> f64 {
    let text = run_output(Command::new("ss").args(["-tinH", "dst", to]));
    let (_, rtt) = text
        .split_once(" rtt:")
        .expect("a connection with a round trip");
    let (millis, _) = rtt.split_once('/').expect("its variance");
    millis.parse::<f64>().expect("a number") / 1e3
}

#[test]
fn is_what_the_kernel_has() {
    require_root!();
    let (agent, unit) = (Agent::start(), Unit::service("rtt-held"));
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address().to_string();
    let mut hold = Hold::open(Place::in_unit(&unit), server.address(), 1);
    let labels = [("container_id", unit.path()), ("destination", &to)];
    // A measurement that came with the last segment is seen when the next one goes out.
    let (value, expected) = agent.eventually("the kernel's round trip", unit.path(), |_| {
        for _ in 0..10 {
            hold.tell("exchange 3000 100000");
        }
        std::thread::sleep(POLLS);
        let (value, expected) = (agent.scrape().sum(RTT, &labels)?, by_kernel(&to));
        // `ss` rounds to microseconds.
        let near = (value - expected).abs() <= expected * 0.05 + 1e-6;
        near.then_some((value, expected))
    });
    eprintln!("{value} s, expected {expected} s");
}

#[test]
fn is_absent_where_nobody_answered() {
    require_root!();
    let (agent, unit) = (Agent::start(), Unit::service("no-rtt"));
    let to = format!("127.0.0.1:{}", free_port());
    run_load(
        Place::in_unit(&unit),
        &format!("connect --to {to} --count 3"),
    );
    let labels = [("container_id", unit.path()), ("destination", to.as_str())];
    agent.settles("container_net_tcp_failed_connects_total", &labels, 3);
    assert_eq!(agent.scrape().sum(RTT, &labels), None);
}
