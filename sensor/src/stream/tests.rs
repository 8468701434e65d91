//! The whole loop with a source made of a list and real sockets.

mod support;

use nodescope_schema::{
    FileKind, OpenFile, PROTOCOL_VERSION, Refusal, RequestKind, SetPingTargets, decode_from_sensor,
};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use support::{Fake, Peer, Seen, start, with_ids};

#[test]
fn hello_snapshot_then_what_changes() {
    let fake = with_ids(&[1, 2]);
    let running = start(fake.clone(), None);
    let mut peer = Peer::greeted(&running);
    peer.wait_for("end");
    assert_eq!(peer.seen.0[..4], ["hello here", "begin", "1", "2"]);
    assert_eq!(
        peer.seen.0[4..7],
        ["hook ping_ipv4", "hook ping_ipv6", "status"]
    );
    fake.ids.lock().unwrap().push(3);
    peer.wait_for("3");
}

#[test]
fn the_newest_client_wins_once_it_said_hello() {
    let running = start(with_ids(&[1]), None);
    let mut first = Peer::greeted(&running);
    first.wait_for("end");
    let mut second = Peer::connect(&running);
    second.wait_for("hello here");
    first.ask(1, RequestKind::Status);
    first.wait_for("reply 1 Ok(())");
    second.hello(PROTOCOL_VERSION);
    second.wait_for("end");
    assert!(first.is_closed());
}

#[test]
fn another_version_or_no_hello_is_closed() {
    let running = start(with_ids(&[1]), None);
    let mut newer = Peer::connect(&running);
    newer.hello(PROTOCOL_VERSION + 1);
    assert!(newer.is_closed());
    assert!(!newer.seen.has("begin"));
    let mut hasty = Peer::connect(&running);
    hasty.ask(1, RequestKind::Status);
    assert!(hasty.is_closed());
    let mut good = Peer::greeted(&running);
    good.wait_for("loss protocol_error 2");
}

#[test]
fn garbage_ends_the_connection_and_the_next_is_served() {
    let running = start(with_ids(&[1]), None);
    let zeros = vec![0; nodescope_schema::MAX_MESSAGE_BYTES + 1];
    for garbage in [&b"x"[..], &[0xff; 1000], &zeros] {
        let mut peer = Peer::greeted(&running);
        peer.wait_for("end");
        peer.send(garbage);
        assert!(peer.is_closed());
    }
    Peer::greeted(&running).wait_for("loss protocol_error 3");
}

#[test]
fn requests_are_answered() {
    let running = start(with_ids(&[1]), None);
    let mut peer = Peer::greeted(&running);
    let missing = OpenFile {
        kind: FileKind::DockerDaemon,
        container: b"",
        namespace: b"",
        root: b"",
        uid: 0,
        generation: 0,
    };
    let bad = OpenFile {
        container: b"..",
        ..missing
    };
    peer.ask(1, RequestKind::OpenFile(missing));
    peer.ask(2, RequestKind::OpenFile(bad));
    peer.ask(3, RequestKind::Status);
    peer.wait_for(&format!("reply 1 Err({:?})", Refusal::NotFound));
    peer.wait_for(&format!("reply 2 Err({:?})", Refusal::BadArgument));
    peer.wait_for("reply 3 Ok(())");
}

#[test]
fn ping_targets_are_those_that_were_seen() {
    let fake = with_ids(&[1]);
    let seen = |last| IpAddr::from([192, 0, 2, last]);
    *fake.destinations.lock().unwrap() = vec![seen(1), seen(2), seen(2)];
    let running = start(fake, None);
    let mut peer = Peer::greeted(&running);
    let v4 = |last| Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped().octets();
    let addresses = [v4(1), v4(2), v4(3), [0; 16], [0xff; 16]];
    let targets = SetPingTargets {
        addresses: &addresses,
    };
    peer.ask(1, RequestKind::SetPingTargets(targets));
    peer.wait_for("reply 1 Ok(())");
    peer.ask(2, RequestKind::Status);
    peer.wait_for("loss not_allowed 2");
    peer.wait_for("loss not_seen 1");
    for id in 3..30 {
        peer.ask(id, RequestKind::SetPingTargets(targets));
    }
    peer.wait_for(&format!("reply 29 Err({:?})", Refusal::RateLimited));
}

#[test]
fn who_asks_is_told_hooks_and_losses_but_not_every_time_anew() {
    let fake = with_ids(&[1]);
    let running = start(fake.clone(), None);
    let mut peer = Peer::greeted(&running);
    peer.wait_for("end");
    let begun = Instant::now();
    for id in 1..=100 {
        peer.ask(id, RequestKind::Status);
    }
    peer.wait_for("reply 100 Ok(())");
    peer.wait_for("hook tcp_state");
    peer.ask(101, RequestKind::Status);
    peer.wait_for("reply 101 Ok(())");
    let most = 2 + begun.elapsed().as_millis() / REPORT_INTERVAL.as_millis();
    let reports = u128::from(*fake.reports.lock().unwrap());
    assert!((1..=most).contains(&reports), "{reports} of at most {most}");
}

#[test]
fn a_client_that_does_not_read_gets_a_snapshot_when_it_does() {
    let fake = with_ids(&(0..2000).collect::<Vec<_>>());
    let running = start(fake.clone(), None);
    let mut peer = Peer::greeted(&running);
    // A megabyte does not fit into the socket: the snapshot breaks off.
    std::thread::sleep(client::PACKET_WAIT * 3);
    fake.ids.lock().unwrap().push(2000);
    peer.wait_for("end");
    let begins = peer.seen.0.iter().filter(|word| *word == "begin").count();
    assert_eq!(begins, 2, "one that broke off and one that did not");
    assert!(peer.seen.has("2000"));
    let lost = peer
        .seen
        .0
        .iter()
        .rfind(|word| word.starts_with("loss client_slow "));
    assert_ne!(lost.unwrap(), "loss client_slow 0");
}

#[test]
fn a_snapshot_that_is_not_whole_has_no_end() {
    let fake = with_ids(&[1]);
    *fake.snapshots_fail.lock().unwrap() = true;
    let running = start(fake.clone(), None);
    let mut peer = Peer::greeted(&running);
    peer.wait_for("loss map_unreadable 1");
    assert!(!peer.seen.has("end"));
    *fake.snapshots_fail.lock().unwrap() = false;
    peer.wait_for("end");
}

#[test]
fn a_recording_needs_no_client() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("recording");
    let mut running = start(with_ids(&[7]), Some(path.clone()));
    std::thread::sleep(Duration::from_millis(200));
    running.stop().unwrap();
    let mut reader =
        nodescope_schema::RecordingReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut seen = Seen::default();
    while let Some(message) = reader.next_message().unwrap() {
        decode_from_sensor(message, &mut seen).unwrap();
    }
    assert_eq!(seen.0[..3], ["hello here", "begin", "7"]);
    assert!(seen.has("end"));
}

#[test]
fn hints_without_end_are_taken_at_a_bounded_rate() {
    let wake = nix::sys::eventfd::EventFd::from_value(1).unwrap();
    let fake = Fake {
        wake: Some(Arc::new(wake.into())),
        ..with_ids(&[1])
    };
    let running = start(fake.clone(), None);
    let start = Instant::now();
    Peer::greeted(&running).wait_for("end");
    std::thread::sleep(Duration::from_millis(300));
    let most = start.elapsed().as_millis() / URGENT_INTERVAL.as_millis() + 2;
    let urgents = u128::from(*fake.urgents.lock().unwrap());
    assert!((5..=most).contains(&urgents), "{urgents}");
}
