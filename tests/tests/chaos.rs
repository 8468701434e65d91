//! SIGKILL to both processes again and again while connections come and go: nothing is counted twice, nothing goes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nodescope_tests::*;

const CONNECTS: &str = "container_net_tcp_successful_connects_total";

/// Ends the load, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs connects until `stop`; returns how many there were.
fn keep_connecting(unit: &Unit, to: &str, stop: &AtomicBool) -> u64 {
    let mut total = 0;
    while !stop.load(Ordering::Relaxed) {
        total += run_load(
            Place::in_unit(unit),
            &format!("connect --to {to} --count 500"),
        )
        .established;
    }
    total
}

#[test]
fn the_aggregator_dies_twenty_times() {
    require_root!();
    let (mut agent, unit) = (Agent::start(), Unit::service("chaos"));
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address().to_string();
    let mut hold = Hold::open(Place::in_unit(&unit), server.address(), 10);
    let labels = [("container_id", unit.path()), ("destination", to.as_str())];
    let stop = AtomicBool::new(false);
    let total = std::thread::scope(|scope| {
        let load = scope.spawn(|| keep_connecting(&unit, &to, &stop));
        let stop = Stop(&stop);
        let mut last = 0.0;
        for round in 0..20 {
            agent.kill_aggregator();
            agent.start_aggregator();
            agent.wait_ready();
            let what = format!("round {round}: more than {last} connects");
            last = agent.eventually(&what, unit.path(), |scrape| {
                let value = scrape.sum(CONNECTS, &labels)?;
                assert!(value >= last, "round {round}: {value} after {last}");
                Some(value)
            });
        }
        drop(stop);
        load.join().expect("the load")
    });
    let report = hold.tell("exchange 7 8");
    let expected = Expected {
        connects: total + 10,
        active: 10,
        sent_bytes: report.sent_bytes,
        received_bytes: report.received_bytes,
        ..Expected::default()
    };
    expected.settles(&agent, unit.path(), &to);
}

#[test]
fn the_sensor_dies_five_times() {
    require_root!();
    let (mut agent, unit) = (Agent::start(), Unit::service("chaos-sensor"));
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address().to_string();
    let _hold = Hold::open(Place::in_unit(&unit), server.address(), 10);
    let labels = [("container_id", unit.path()), ("destination", to.as_str())];
    agent.settles(CONNECTS, &labels, 10);
    let stop = AtomicBool::new(false);
    let total = std::thread::scope(|scope| {
        let load = scope.spawn(|| keep_connecting(&unit, &to, &stop));
        let stop = Stop(&stop);
        let mut last = 10.0;
        for round in 1..=5 {
            // Nobody counts while there is none.
            agent.replace_sensor(Duration::from_millis(200));
            last = agent.eventually("the next sensor", unit.path(), |scrape| {
                let value = scrape.sum(CONNECTS, &labels).unwrap_or(0.0);
                assert!(value >= last, "round {round}: {value} after {last}");
                (value > last).then_some(value)
            });
        }
        drop(stop);
        load.join().expect("the load")
    });
    // What happened without a sensor is missing; what happened with one is there once.
    agent.settles("container_net_tcp_active_connections", &labels, 10);
    let counted = agent.scrape().sum(CONNECTS, &labels).unwrap_or(0.0);
    assert!(
        counted > 10.0 && counted <= (total + 10) as f64,
        "counted {counted}, there were {}",
        total + 10
    );
    let report = run_load(
        Place::in_unit(&unit),
        &format!("connect --to {to} --count 100"),
    );
    assert_eq!(report.established, 100);
    agent.settles(CONNECTS, &labels, counted as u64 + 100);
}
