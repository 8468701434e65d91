//! The real sensor under its own filter does everything it does in operation: polls, hints, rescans, makes room in a
//! full map, records. A system call that is missing in the list of `seccomp` would kill it here.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::{Peer, Seen, Sensor, Waited, is_root};
use nodescope_schema::{RecordingReader, decode_from_sensor};

/// Memory of an idle sensor that is its own. The design's target of 8 MiB is with the pages of the program, of which a
/// build for tests has twice as many as a release: the benchmark `overhead` measures that.
const IDLE_KIB: u64 = 2560;

#[test]
fn a_busy_time_under_the_filter() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let recording = directory.path().join("recording");
    let path = recording.to_str().unwrap();
    let flags = [
        "--max-flows",
        "64",
        "--flow-idle-s",
        "1",
        "--poll-interval-ms",
        "200",
        "--record",
        path,
    ];
    let mut sensor = Sensor::start(&flags);
    let mut peer = Peer::greeted(&sensor);
    peer.wait_for_snapshot();
    // More destinations than the map has room for, and hints from new listening sockets.
    let listeners: Vec<_> = (0..200)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    for listener in &listeners {
        drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        if listener.local_addr().unwrap().port() % 8 == 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let made_room = |seen: &Seen| seen.evicted > 0;
    let waited = peer.read_until(Duration::from_secs(20), made_room);
    assert_eq!(waited, Waited::Done, "{:?} {}", peer.seen, sensor.log());
    // At least one rescan, which is every ten seconds.
    assert_eq!(
        peer.read_for(Duration::from_secs(12)),
        Waited::TimedOut,
        "{}",
        sensor.log()
    );
    assert!(peer.seen.status.cpu_ns > 0 && peer.seen.status.resident_bytes > 0);
    println!("{} evicted, {:?}", peer.seen.evicted, peer.seen.status);
    sensor.serves();
    assert_eq!(sensor.end(), Some(0), "{}", sensor.log());

    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&recording).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let mut reader = RecordingReader::new(File::open(&recording).unwrap()).unwrap();
    let mut seen = Seen::default();
    while let Some(message) = reader.next_message().unwrap() {
        decode_from_sensor(message, &mut seen).unwrap();
    }
    assert!(
        seen.hello && seen.begins >= 3,
        "one by itself and one for each client: {seen:?}"
    );
    assert_eq!(seen.begins, seen.ends);
    assert!(seen.flows >= peer.seen.flows);
}

#[test]
fn an_idle_sensor_is_small() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut peer = Peer::greeted(&sensor);
    peer.wait_for_snapshot();
    peer.read_for(Duration::from_secs(3));
    let cpu = sensor.cpu();
    peer.read_for(Duration::from_secs(5));
    let used = sensor.cpu().checked_sub(cpu).unwrap();
    let own_kib = sensor.kib("RssAnon:");
    println!(
        "idle: {} KiB, {own_kib} of it its own, {used:?} of processor time in 5 s",
        sensor.kib("VmRSS:"),
    );
    assert!(own_kib <= IDLE_KIB, "{own_kib}");
    assert!(used < Duration::from_millis(250), "{used:?}");
    sensor.serves();
}
