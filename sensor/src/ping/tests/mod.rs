//! The pinger on real sockets, in a network namespace of the test's own. Needs root.

mod delay;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nodescope_schema::Ping;

use super::*;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Runs `test` in a thread with a network namespace that has nothing but loopback.
fn alone(test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        test();
    });
    thread.join().unwrap();
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}

/// A pinger with these targets, and what it lost.
struct Running {
    pinger: Pinger,
    losses: Losses,
}

impl Running {
    fn new(targets: &[IpAddr]) -> Self {
        let mut pinger = Pinger::open(Duration::from_secs(1));
        for hook in pinger.hooks() {
            assert_eq!(hook.verdict, Verdict::Ok, "{hook:?}");
        }
        let mut losses = Losses::default();
        let asked = Asked {
            addresses: targets.iter().copied().collect(),
            refused: 0,
        };
        let seen = asked.addresses.clone();
        pinger.set(&asked, &seen, &mut losses);
        Self { pinger, losses }
    }

    /// Runs until all targets fit, and returns them.
    fn until(&mut self, fits: impl Fn(&Ping) -> bool) -> Vec<Ping> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            self.pinger.tick(Instant::now(), &mut self.losses);
            let mut pings = Vec::new();
            self.pinger.tell(true, |record| match record {
                Record::Ping(ping) => pings.push(*ping),
                other => panic!("{other:?}"),
            });
            if pings.iter().all(&fits) {
                return pings;
            }
            assert!(Instant::now() < deadline, "{pings:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn both_protocols_are_answered() {
    alone(|| {
        let mut running = Running::new(&[V4, V6]);
        let pings = running.until(|ping| ping.answered >= 3);
        assert_eq!(pings.len(), 2);
        for ping in pings {
            assert!(ping.rtt_ns > 0 && ping.rtt_ns < 1_000_000_000, "{ping:?}");
            assert!(ping.sent - ping.answered <= 1, "{ping:?}");
            assert!(
                ping.generation > 0 && ping.answered_ns > ping.generation,
                "{ping:?}"
            );
        }
        assert_eq!(running.losses.total(Lost::PingAnswersForeign), 0);
        assert_eq!(running.losses.total(Lost::PingsNotSent), 0);
    });
}

#[test]
fn changes_are_told_once() {
    alone(|| {
        let mut running = Running::new(&[V4]);
        running.until(|ping| ping.answered >= 1);
        let mut told = 0;
        running.pinger.tell(false, |_| told += 1);
        assert_eq!(told, 0, "they were all told by then");
        running.pinger.clear();
        assert!(running.pinger.is_empty());
        running.pinger.tell(true, |_| told += 1);
        assert_eq!(told, 0);
    });
}

#[test]
fn who_does_not_answer_is_lost_and_who_cannot_be_sent_to_is_counted() {
    alone(|| {
        ip("link add quiet type veth peer name other");
        ip("address add 10.77.0.1/24 dev quiet");
        ip("neighbour add 10.77.0.9 lladdr 02:00:00:00:00:09 dev quiet");
        ip("link set quiet up");
        ip("link set other up");
        let silent = IpAddr::from([10, 77, 0, 9]);
        let mut running = Running::new(&[silent]);
        let pings = running.until(|ping| ping.lost >= 1);
        assert_eq!((pings[0].answered, pings[0].rtt_ns), (0, 0));

        // No route, and the broadcast address of a subnet, for which the socket has no permission.
        for refused in ["198.51.100.1", "10.77.0.255", "2001:db8::1"] {
            let mut running = Running::new(&[refused.parse().unwrap()]);
            running.until(|ping| ping.sent == 0);
            let deadline = Instant::now() + Duration::from_secs(30);
            while running.losses.total(Lost::PingsNotSent) == 0 {
                assert!(Instant::now() < deadline, "{refused} was sent to");
                running.until(|ping| ping.sent == 0);
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
}

#[test]
fn forged_answers_are_counted_and_change_nothing() {
    alone(|| {
        let mut running = Running::new(&[V4, V6]);
        let identifier = running.pinger.identifier;
        let own = |identifier, cookie| Echo {
            identifier,
            sequence: 0,
            cookie,
        };
        // Replies that nobody asked for, from the address that is asked.
        for (socket, ip) in sockets(&running.pinger.probes).zip([V4, V6]) {
            let forge = |identifier, cookie| {
                let request = echo::request(socket.family(), own(identifier, cookie));
                socket
                    .send(ip, &as_reply(socket.family(), request))
                    .unwrap();
            };
            (0..20).for_each(|cookie| forge(identifier, cookie));
            // The kernel's filter keeps these out.
            (0..20).for_each(|cookie| forge(identifier.wrapping_add(1), cookie));
        }
        let pings = running.until(|ping| ping.answered >= 2);
        for ping in pings {
            assert!(ping.answered <= ping.sent && ping.rtt_ns < 1_000_000_000);
        }
        assert_eq!(running.losses.total(Lost::PingAnswersForeign), 40);
    });
}

/// A request made into its reply: the sums differ by that of the type.
fn as_reply(family: Family, mut message: [u8; echo::ECHO_BYTES]) -> [u8; echo::ECHO_BYTES] {
    message[0] = family.reply();
    if family == Family::V4 {
        let sum = u32::from(u16::from_be_bytes([message[2], message[3]])) + 0x0800;
        let folded = (sum & 0xffff) + (sum >> 16);
        message[2..4].copy_from_slice(&(folded as u16).to_be_bytes());
    }
    message
}

#[test]
fn a_flood_of_answers_takes_bounded_work() {
    alone(|| {
        let mut running = Running::new(&[]);
        let identifier = running.pinger.identifier;
        let socket = sockets(&running.pinger.probes).next().unwrap();
        for cookie in 0..20_000 {
            let echo = Echo {
                identifier,
                sequence: 0,
                cookie,
            };
            let reply = as_reply(Family::V4, echo::request(Family::V4, echo));
            socket.send(V4, &reply).unwrap();
        }
        running.pinger.read_replies(&mut running.losses);
        let read = running.losses.total(Lost::PingAnswersForeign);
        assert_eq!(read, PACKETS_PER_TICK as u64);
    });
}

#[test]
fn the_kernel_says_when_a_request_left_and_its_answer_came() {
    alone(|| {
        for (family, ip) in [(Family::V4, V4), (Family::V6, V6)] {
            let socket = RawSocket::open(family, 77).unwrap();
            let echo = Echo {
                identifier: 77,
                sequence: 3,
                cookie: 4,
            };
            let before = clock_ns(ClockId::CLOCK_REALTIME);
            socket.send(ip, &echo::request(family, echo)).unwrap();
            let (sent, sent_ns) = socket.sent().unwrap().unwrap();
            let Some(Incoming::Reply(from, answer, received_ns)) = socket.receive() else {
                panic!("no answer");
            };
            let after = clock_ns(ClockId::CLOCK_REALTIME);
            assert_eq!((sent, answer, from), (echo, echo, ip));
            assert!(before <= sent_ns && sent_ns <= received_ns && received_ns <= after);
            assert_eq!(socket.receive(), None);
            assert_eq!(socket.sent(), None);
        }
    });
}

#[test]
fn without_the_right_it_says_so() {
    alone(|| {
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW).unwrap();
        let mut pinger = Pinger::open(INTERVAL);
        for hook in pinger.hooks() {
            assert_eq!(
                (hook.verdict, hook.rung, hook.detail),
                (Verdict::Unsupported, "", "CAP_NET_RAW is missing")
            );
        }
        let (asked, mut losses) = (Asked::of(&[[7; 16]]), Losses::default());
        let seen = asked.addresses.clone();
        pinger.set(&asked, &seen, &mut losses);
        assert!(pinger.is_empty());
        assert_eq!(pinger.next_tick(), None);
    });
}

#[test]
fn switched_off_it_does_nothing() {
    let pinger = Pinger::open(Duration::ZERO);
    let hooks: Vec<_> = pinger.hooks().collect();
    assert!(
        hooks
            .iter()
            .all(|hook| hook.verdict == Verdict::Unsupported)
    );
    assert!(hooks[0].detail.contains("--ping-interval-s"));
}

#[test]
fn what_is_asked_is_sorted_out() {
    let good = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets();
    let bad = Ipv6Addr::LOCALHOST.octets();
    let asked = Asked::of(&[good, bad, good, [0xff; 16], [0; 16]]);
    assert_eq!((asked.addresses.len(), asked.refused), (1, 3));
}
