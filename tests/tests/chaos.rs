//! SIGKILL to both processes again and again while connections come and go: nothing is counted twice, nothing goes back,
//! and what nobody counted is counted as lost.

use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nodescope_tests::*;

const CONNECTS: &str = "container_net_tcp_successful_connects_total";
const LOST: &str = "nodescope_records_lost_total";
const NO_SENSOR: [(&str, &str); 2] = [("stage", "connects"), ("reason", "no_sensor")];

/// One test at a time: the connects of one would be those of others to the other.
static ALONE: Mutex<()> = Mutex::new(());

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
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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
    // The sensor never went away, so nothing was lost.
    agent.settles(LOST, &NO_SENSOR, 0);
}

/// Connects offered each second while sensors die.
const RATE: u64 = 400;
/// How long there is none each time, beside the time the next one takes to attach.
const AWAY: Duration = Duration::from_millis(1500);
const KILLS: u64 = 5;

/// Connects steadily until `stop`; returns how many there were.
fn keep_a_rate(place: Place<'_>, to: &str, stop: &AtomicBool) -> u64 {
    let words = format!("rate --to {to} --per-second {RATE} --seconds 1");
    let mut total = 0;
    while !stop.load(Ordering::Relaxed) {
        let report = run_load(place, &words);
        assert_eq!(
            (report.refused, report.timed_out, report.failed_otherwise),
            (0, 0, 0)
        );
        total += report.established;
    }
    total
}

/// Kills the sensor and waits for the next one, without a connect of our own. Returns how many connects there were
/// meanwhile in all networks of this machine but that of `load`.
fn replace_unseen(agent: &mut Agent, load: &Server) -> u64 {
    let file = format!("/proc/{}/net/snmp", load.pid());
    let ours = std::fs::metadata(file).expect("the server runs").ino();
    let (ready, before) = (agent.sensor_said("ready").len(), active_opens());
    agent.kill_sensor();
    std::thread::sleep(AWAY);
    agent.start_sensor();
    eventually("the next sensor counts", || {
        (agent.sensor_said("ready").len() > ready).then_some(())
    });
    let elsewhere = active_opens()
        .into_iter()
        .filter(|(namespace, _)| *namespace != ours);
    elsewhere
        .map(|(namespace, opened)| {
            opened.saturating_sub(before.get(&namespace).copied().unwrap_or(0))
        })
        .sum()
}

#[test]
fn the_sensor_dies_five_times() {
    require_root!();
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut agent, unit) = (Agent::start(), Unit::service("chaos-sensor"));
    // The load has a network of its own, so that connects of others on this machine can be told from it.
    let netns = Netns::linked();
    let outside = Place::default().and_netns(&netns);
    let address = || format!("{}:{}", netns.inner(), free_port());
    let holder = Server::start(outside, &address());
    let closer = format!("serve --listen {} --accept-only yes", address());
    let closer = Server::start_with(outside, &closer);
    let to = closer.address().to_string();
    let inside = Place::in_unit(&unit).and_netns(&netns);
    let _hold = Hold::open(inside, holder.address(), 10);
    let labels = [("container_id", unit.path())];
    agent.settles(CONNECTS, &labels, 10);
    agent.settles(LOST, &NO_SENSOR, 0);
    let stop = AtomicBool::new(false);
    let (total, foreign) = std::thread::scope(|scope| {
        let load = scope.spawn(|| keep_a_rate(inside, &to, &stop));
        let stop = Stop(&stop);
        let (mut last, mut foreign) = ([10.0, 0.0], 0);
        for round in 1..=KILLS {
            foreign += replace_unseen(&mut agent, &closer);
            last = agent.eventually("more counted and more lost", unit.path(), |scrape| {
                let counted = scrape.sum(CONNECTS, &labels).unwrap_or(0.0);
                let lost = scrape.sum(LOST, &NO_SENSOR).unwrap_or(0.0);
                assert!(
                    counted >= last[0] && lost >= last[1],
                    "round {round}: {counted} counted, {lost} lost after {last:?}"
                );
                (counted > last[0] && lost > last[1]).then_some([counted, lost])
            });
        }
        drop(stop);
        (load.join().expect("the load"), foreign)
    });
    let offered = total + 10;
    // The ten are still open, none was counted twice.
    agent.settles("container_net_tcp_active_connections", &labels, 10);
    let scrape = agent.scrape();
    let counted = scrape.sum(CONNECTS, &labels).unwrap_or(0.0) as u64;
    let lost = scrape.sum(LOST, &NO_SENSOR).unwrap_or(0.0) as u64;
    assert!(counted <= offered, "{counted} counted of {offered}");
    let missing = offered - counted;
    // What the two counts, taken one after the other, can be apart before and after each change of sensors: connects of
    // one poll of the sensor.
    let bound =
        KILLS * 2 * RATE * u64::try_from(Agent::POLL_INTERVAL.as_millis()).expect("it is short")
            / 1000;
    println!(
        "{offered} offered, {counted} counted, {missing} missing, {lost} lost, {foreign} of others"
    );
    assert!(
        lost + bound >= missing && lost <= missing + foreign + bound,
        "{lost} lost, {missing} missing of {offered}, {foreign} of others, bound {bound}"
    );
    let report = run_load(inside, &format!("connect --to {to} --count 100"));
    assert_eq!(report.established, 100);
    agent.settles(CONNECTS, &labels, counted + 100);
}
