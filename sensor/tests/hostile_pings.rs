//! A client that wants the sensor to scan or flood a network, in a network namespace of the test's own: what goes out is
//! what the namespace has counted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Peer, Sensor, Waited, is_root};
use nix::sched::{CloneFlags, unshare};
use nodescope_schema::{
    MAX_MESSAGE_BYTES, MAX_PING_TARGETS, Refusal, Request, RequestKind, SetPingTargets,
    encode_request,
};

/// Talked to; only attempted; a machine that nobody has talked to. All three are this one and would answer.
const SEEN: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 1);
const FAILED: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 2);
const UNSEEN: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 3);
/// The sensor may grow by this much under attack: buffers it fills once.
const GROWTH_KIB: u64 = 3 * 1024;

/// Runs `test` in a thread with a network namespace of its own, where a sensor runs that asks each target every second.
fn alone(test: fn(&mut Sensor)) {
    if !is_root() {
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        for words in [
            "link set lo up",
            "address add 10.79.0.1/32 dev lo",
            "address add 10.79.0.2/32 dev lo",
            "address add 10.79.0.3/32 dev lo",
        ] {
            let status = Command::new("ip").args(words.split(' ')).status().unwrap();
            assert!(status.success(), "ip {words}");
        }
        let mut sensor = Sensor::start(&["--ping-interval-s", "1", "--poll-interval-ms", "100"]);
        let listener = TcpListener::bind((SEEN, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(TcpStream::connect((SEEN, port)).unwrap());
        TcpStream::connect((FAILED, port)).unwrap_err();
        test(&mut sensor);
        sensor.serves();
    });
    thread.join().unwrap();
}

/// Echo requests that came in, in this thread's namespace.
fn requests() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("Icmp: "))
        .map(|line| line.split(' '));
    let names = lines.next().unwrap();
    let mut pairs = names.zip(lines.next().unwrap());
    let (_, value) = pairs.find(|(name, _)| *name == "InEchos").unwrap();
    value.parse().unwrap()
}

fn octets(ip: impl Into<IpAddr>) -> [u8; 16] {
    match ip.into() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn set(peer: &Peer, id: u64, addresses: &[[u8; 16]]) {
    peer.ask(
        id,
        RequestKind::SetPingTargets(SetPingTargets { addresses }),
    )
    .unwrap();
}

/// Waits until `ip` has answered so often.
fn wait_for_answers(peer: &mut Peer, ip: Ipv4Addr, count: u64) {
    let ip = IpAddr::V4(ip);
    let waited = peer.read_until(Duration::from_secs(60), |seen| {
        seen.pings
            .get(&ip)
            .is_some_and(|ping| ping.answered >= count)
    });
    assert_eq!(waited, Waited::Done, "{:?}", peer.seen.pings);
}

#[test]
fn only_addresses_with_a_connection_are_asked() {
    alone(|sensor| {
        let mut peer = Peer::greeted(sensor);
        peer.wait_for_snapshot();
        let addresses: Vec<[u8; 16]> = [
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "169.254.169.254",
            "::1",
            "::",
            "ff02::1",
            "fe80::1",
        ]
        .iter()
        .map(|text| octets(text.parse::<IpAddr>().unwrap()))
        .chain([SEEN, FAILED, UNSEEN, Ipv4Addr::new(10, 79, 0, 255)].map(octets))
        .collect();
        set(&peer, 1, &addresses);
        assert_eq!(peer.reply(1).result, Ok(()));
        wait_for_answers(&mut peer, SEEN, 4);
        peer.read_for(Duration::from_millis(500));
        assert_eq!(peer.seen.pings.len(), 1, "{:?}", peer.seen.pings);
        let ping = peer.seen.pings[&IpAddr::V4(SEEN)];
        assert!(ping.rtt_ns > 0 && ping.lost == 0, "{ping:?}");
        // One may have gone out since the sensor last told.
        assert!(
            (ping.sent..=ping.sent + 1).contains(&requests()),
            "{ping:?} {}",
            requests()
        );
        peer.ask(2, RequestKind::Status).unwrap();
        peer.reply(2);
        peer.read_for(Duration::from_millis(200));
        assert_eq!(peer.seen.loss("ping_targets/not_allowed"), 10);
        assert_eq!(peer.seen.loss("ping_targets/not_seen"), 3);
        assert_eq!(peer.seen.loss("pings/foreign_answer"), 0);
    });
}

#[test]
fn nobody_is_asked_more_often_for_being_put_in_again() {
    alone(|sensor| {
        let mut peer = Peer::greeted(sensor);
        peer.wait_for_snapshot();
        let (cpu, memory, start) = (sensor.cpu(), sensor.resident_kib(), Instant::now());
        let mut id = 0;
        while start.elapsed() < Duration::from_secs(6) {
            // Out and in again, as fast as it goes.
            for addresses in [&[octets(SEEN)][..], &[]] {
                id += 1;
                set(&peer, id, addresses);
            }
            peer.read_for(Duration::from_millis(5));
        }
        let seconds = start.elapsed().as_secs_f64();
        let granted = peer
            .seen
            .replies
            .iter()
            .filter(|reply| reply.result.is_ok());
        let granted = granted.count() as f64;
        assert!(
            granted >= 5.0 && granted <= seconds + 6.0,
            "{granted} in {seconds} s"
        );
        let limited = |reply: &&nodescope_schema::Reply| reply.result == Err(Refusal::RateLimited);
        assert!(peer.seen.replies.iter().filter(limited).count() > 10);
        assert!(
            requests() as f64 <= seconds + 1.0,
            "{} in {seconds} s",
            requests()
        );
        let share = (sensor.cpu() - cpu).as_secs_f64() / seconds;
        assert!(share < 0.4, "{share}");
        assert!(sensor.resident_kib() <= memory + GROWTH_KIB);
    });
}

#[test]
fn a_million_addresses_are_looked_up_and_forgotten() {
    alone(|sensor| {
        let mut peer = Peer::greeted(sensor);
        peer.wait_for_snapshot();
        let memory = sensor.resident_kib();
        let mut next = u32::from_be_bytes([10, 80, 0, 0]);
        for id in 1..=489 {
            let addresses: Vec<_> = (next..next + MAX_PING_TARGETS as u32)
                .map(|ip| octets(Ipv4Addr::from(ip)))
                .collect();
            next += MAX_PING_TARGETS as u32;
            set(&peer, id, &addresses);
            let refused = matches!(peer.reply(id).result, Ok(()) | Err(Refusal::RateLimited));
            assert!(refused);
        }
        assert_eq!(requests(), 0);
        assert!(peer.seen.pings.is_empty());
        assert!(sensor.resident_kib() <= memory + GROWTH_KIB);
    });
}

/// A request for so many addresses, whatever the encoder thinks of it: the list is at its end.
fn oversized(id: u64, count: usize) -> Vec<u8> {
    let most = vec![octets(SEEN); MAX_PING_TARGETS];
    let targets = SetPingTargets { addresses: &most };
    let kind = RequestKind::SetPingTargets(targets);
    let mut packet = encode_request(&Request { id, kind });
    let bytes = |count: usize| ((count * 16) as u32) << 3 | 2;
    let length = bytes(MAX_PING_TARGETS).to_le_bytes();
    let at = packet.windows(4).position(|word| word == length).unwrap();
    packet[at..at + 4].copy_from_slice(&bytes(count).to_le_bytes());
    let more = octets(SEEN).repeat(count - MAX_PING_TARGETS);
    packet.extend(&more);
    // The table of segments: how many there are after the first, then the length of each in words.
    let last = 4 * (1 + usize::from(packet[0]));
    let length: [u8; 4] = packet[last..last + 4].try_into().unwrap();
    let words = u32::from_le_bytes(length) + (more.len() / 8) as u32;
    packet[last..last + 4].copy_from_slice(&words.to_le_bytes());
    packet
}

#[test]
fn too_many_addresses_are_refused() {
    alone(|sensor| {
        let mut peer = Peer::greeted(sensor);
        peer.wait_for_snapshot();
        for (id, count) in (1..).zip([MAX_PING_TARGETS + 1, 4080]) {
            peer.send(&oversized(id, count), None).unwrap();
            assert_eq!(peer.reply(id).result, Err(Refusal::BadArgument), "{count}");
        }
        let longer = oversized(3, 10_000);
        assert!(longer.len() > MAX_MESSAGE_BYTES);
        peer.send(&longer, None).unwrap();
        assert!(peer.is_closed());
        assert_eq!(requests(), 0);
    });
}

#[test]
fn requests_end_with_the_connection() {
    alone(|sensor| {
        let mut peer = Peer::greeted(sensor);
        peer.wait_for_snapshot();
        set(&peer, 1, &[octets(SEEN)]);
        wait_for_answers(&mut peer, SEEN, 1);
        drop(peer);
        let mut peer = Peer::greeted(sensor);
        peer.wait_for_snapshot();
        let before = requests();
        peer.read_for(Duration::from_secs(3));
        assert_eq!(requests(), before);
        assert!(peer.seen.pings.is_empty());
    });
}
