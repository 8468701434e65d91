//! More than the sensor should do: too many requests, replies nobody reads, too many connections.

use std::time::{Duration, Instant};

use nodescope_schema::{
    AggregatorHello, Refusal, Request, RequestKind, encode_aggregator_hello, encode_request,
};

use crate::GROWTH_KIB;
use crate::common::{DAEMON, Peer, Sensor, Waited, is_root};

/// More than the sensor reads, far more than it grants.
const OFFERED_PER_SECOND: u64 = 10_000;
const SECONDS: usize = 5;
/// On a busy machine some seconds are too short for the client itself.
const SECONDS_TRIED_MAX: usize = 60;

/// Offers that many requests, 100 every 10 ms, and reads what comes. Returns how many the socket took, and none when
/// the client needed more than a second.
fn flood_for_a_second(peer: &mut Peer, sensor: &Sensor, ids: &mut u64) -> (u64, bool) {
    let start = Instant::now();
    let mut taken = 0;
    let mut in_time = true;
    for batch in 1..=OFFERED_PER_SECOND / 100 {
        for _ in 0..100 {
            *ids += 1;
            let request = encode_request(&Request {
                id: *ids,
                kind: RequestKind::OpenFile(DAEMON),
            });
            taken += u64::from(peer.send(&request, None).is_ok());
        }
        in_time = start.elapsed() < Duration::from_secs(1);
        let rest = Duration::from_millis(batch * 10).saturating_sub(start.elapsed());
        let waited = peer.read_for(rest.max(Duration::from_millis(1)));
        assert_eq!(waited, Waited::TimedOut, "{}", sensor.log());
        peer.files.clear();
    }
    (taken, in_time)
}

#[test]
fn a_flood_of_requests_costs_little() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    sensor.put("etc/docker/daemon.json", "good");
    let mut peer = Peer::greeted(&sensor);
    peer.wait_for_snapshot();
    let (memory, cpu, start) = (sensor.resident_kib(), sensor.cpu(), Instant::now());
    let (mut offered, mut taken, mut whole_seconds, mut tried) = (0, 0, 0, 0);
    while whole_seconds < SECONDS {
        tried += 1;
        assert!(tried <= SECONDS_TRIED_MAX, "the client cannot offer enough");
        let (by_socket, in_time) = flood_for_a_second(&mut peer, &sensor, &mut offered);
        taken += by_socket;
        whole_seconds += usize::from(in_time);
    }
    let elapsed = start.elapsed();
    let used = sensor.cpu().checked_sub(cpu).unwrap();
    let answers = |wanted: fn(&Result<(), Refusal>) -> bool| {
        let replies = peer.seen.replies.iter();
        replies.filter(|reply| wanted(&reply.result)).count() as u64
    };
    let granted = answers(|result| result.is_ok());
    let limited = answers(|result| *result == Err(Refusal::RateLimited));
    let share = used.as_secs_f64() / elapsed.as_secs_f64();
    println!(
        "{offered} offered in {elapsed:?}, {taken} taken by the socket, {granted} granted, {limited} refused, \
         sensor {:.1} % of a core, {memory} -> {} KiB",
        share * 100.0,
        sensor.resident_kib(),
    );
    assert!(offered >= OFFERED_PER_SECOND * SECONDS as u64);
    // What the socket does not take waits with the client: the sensor reads no more than it can answer.
    assert!(taken < offered, "{taken} of {offered}");
    assert!(limited > 0 && granted > 0, "{limited} {granted}");
    assert!(granted * 4 < offered, "{granted} of {offered}");
    // A burst of 2000 and 500 a second.
    let most = 2000 + 500 * (elapsed.as_secs() + 1);
    assert!(granted <= most, "{granted} of at most {most}");
    assert!(share < 0.4, "{share}");
    assert!(
        sensor.resident_kib() <= memory + GROWTH_KIB,
        "{memory} {}",
        sensor.resident_kib()
    );
    sensor.serves();
}

#[test]
fn a_client_that_never_reads_costs_no_memory() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&["--poll-interval-ms", "100"]);
    sensor.put("etc/docker/daemon.json", "good");
    let (memory, cpu, descriptors) = (sensor.resident_kib(), sensor.cpu(), sensor.descriptors());
    let start = Instant::now();
    let peer = Peer::greeted(&sensor);
    let request = encode_request(&Request {
        id: 1,
        kind: RequestKind::OpenFile(DAEMON),
    });
    let status = encode_request(&Request {
        id: 2,
        kind: RequestKind::Status,
    });
    let mut sent = 0;
    for _ in 0..300 {
        for message in [&request, &status].repeat(50) {
            sent += usize::from(peer.send(message, None).is_ok());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(sent < 20_000, "{sent}: it was read on and on");
    let used = sensor.cpu().checked_sub(cpu).unwrap();
    assert!(
        used < start.elapsed() / 4,
        "{used:?}: it does not wait for the client"
    );
    let grown = sensor.resident_kib();
    assert!(grown <= memory + GROWTH_KIB, "{memory} {grown}");
    // What waits for the client: the broker's queue and one reply.
    assert!(
        sensor.descriptors() <= descriptors + 258 + 2,
        "{}",
        sensor.descriptors()
    );
    drop(peer);
    sensor.serves();
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        sensor.descriptors() <= descriptors + 1,
        "{}",
        sensor.descriptors()
    );
}

#[test]
fn storms_of_connections_leave_nothing_behind() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let (memory, cpu, descriptors) = (sensor.resident_kib(), sensor.cpu(), sensor.descriptors());
    let version = nodescope_schema::PROTOCOL_VERSION;
    let hello = AggregatorHello {
        version,
        oldest_version: version,
        release: "storm",
    };
    let hello = encode_aggregator_hello(&hello);
    let start = Instant::now();
    let mut connections = 0;
    while start.elapsed() < Duration::from_secs(4) {
        let peer = Peer::connect(&sensor).unwrap();
        if connections % 2 == 0 {
            let _ = peer.send(&hello, None);
        }
        connections += 1;
    }
    let used = sensor.cpu().checked_sub(cpu).unwrap();
    println!("{connections} connections in 4 s, sensor used {used:?}");
    assert!(
        (40..=200).contains(&connections),
        "{connections}: the rate is bounded"
    );
    assert!(used < Duration::from_secs(1), "{used:?}");
    sensor.serves();
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        sensor.descriptors() <= descriptors + 1,
        "{}",
        sensor.descriptors()
    );
    assert!(sensor.resident_kib() <= memory + GROWTH_KIB);
    let lines = sensor.log().lines().count();
    assert!(lines < 100, "{lines} lines of log");
}
