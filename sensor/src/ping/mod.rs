//! The round trip to addresses that containers talk to, by ICMP echo.
//!
//! The aggregator cannot do it: a raw socket needs `CAP_NET_RAW`. It gives a set of addresses ([`targets`] says which
//! can be in it, the stream keeps those that a process has had a connection to); [`schedule`] sends each one request an
//! interval, spread over it, within a rate for all; [`flights`] waits for the answers. A compromised aggregator can so
//! have an address asked that it could itself connect to, seldom, and nothing else: the sensor makes the packets.
//!
//! Both times of a round trip are the kernel's, so nothing here is urgent: the sockets are read when the next requests
//! go out, a few times a second at most and never for a packet, whoever sends how many.
//!
//! Known limits: requests leave from the sensor's own network namespace, the host's, whoever talks to the address; an
//! address that means another machine in a container's namespace is not told apart. An unreachable address is one that
//! does not answer. While the sockets are open the kernel reads the clock for every packet that the node receives.

mod echo;
mod flights;
mod schedule;
mod socket;
mod targets;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use nodescope_schema::{Hook, Record, Verdict};

use crate::losses::{Losses, Lost};
use echo::{Echo, Family};
use flights::Flights;
use schedule::Schedule;
use socket::{Incoming, RawSocket};

/// How often a target is asked, unless a flag says otherwise.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// Least time between two rounds of sending and reading.
const TICK: Duration = Duration::from_millis(200);
/// Packets read from one socket in a tick: several times what a tick's requests bring. The rest waits, or is dropped by
/// the kernel where somebody sends more.
const PACKETS_PER_TICK: usize = 512;

/// One of the two protocols, and how well it works.
#[derive(Debug)]
struct Probe {
    name: &'static str,
    rung: &'static str,
    state: Result<RawSocket, Closed>,
}

/// Why there is no socket.
#[derive(Debug)]
struct Closed {
    verdict: Verdict,
    detail: String,
}

/// Sends requests and takes answers.
#[derive(Debug)]
pub struct Pinger {
    probes: [Probe; 2],
    identifier: u16,
    /// Makes cookies.
    keys: RandomState,
    /// Requests ever made: no two have the same cookie.
    count: u64,
    schedule: Schedule,
    flights: Flights,
    ticked: Instant,
}

impl Pinger {
    /// Opens the sockets; with an interval of zero it never sends anything. Where there is no socket, all else works:
    /// see [`Pinger::hooks`].
    pub fn open(interval: Duration) -> Self {
        if interval.is_zero() {
            return Self::with(INTERVAL, |_, _| Err(Closed::switched_off()));
        }
        Self::with(interval, |family, identifier| {
            RawSocket::open(family, identifier).map_err(Closed::because)
        })
    }

    fn with(interval: Duration, open: impl Fn(Family, u16) -> Result<RawSocket, Closed>) -> Self {
        let (keys, now) = (RandomState::new(), Instant::now());
        let identifier = keys.hash_one("identifier") as u16;
        let probe = |name, rung, family| Probe {
            name,
            rung,
            state: open(family, identifier),
        };
        Self {
            probes: [
                probe("ping_ipv4", "raw socket/icmp", Family::V4),
                probe("ping_ipv6", "raw socket/icmpv6", Family::V6),
            ],
            identifier,
            keys,
            count: 0,
            schedule: Schedule::new(interval, now),
            flights: Flights::default(),
            ticked: now,
        }
    }

    /// How well each protocol works.
    pub fn hooks(&self) -> impl Iterator<Item = Hook<'_>> {
        self.probes.iter().map(|probe| {
            let (rung, verdict, detail) = match &probe.state {
                Ok(_) => (probe.rung, Verdict::Ok, ""),
                Err(closed) => ("", closed.verdict, &*closed.detail),
            };
            Hook {
                name: probe.name,
                rung,
                verdict,
                detail,
            }
        })
    }

    /// Replaces the targets by those of `asked` that `seen` holds; counts the others.
    pub fn set(&mut self, asked: &Asked, seen: &HashSet<IpAddr>, losses: &mut Losses) {
        losses.add(Lost::PingTargetsNotAllowed, asked.refused);
        losses.add(
            Lost::PingTargetsNotSeen,
            (asked.addresses.len() - seen.len()) as u64,
        );
        let wanted: Vec<IpAddr> = seen
            .iter()
            .filter(|ip| self.socket(ip).is_some())
            .copied()
            .collect();
        self.schedule.set(&wanted, Instant::now(), monotonic_ns());
    }

    /// Addresses of all targets, to see whether they are still known.
    pub fn asked(&self) -> Asked {
        Asked {
            addresses: self.schedule.addresses().copied().collect(),
            refused: 0,
        }
    }

    /// Keeps only targets that `seen` holds.
    pub fn retain(&mut self, seen: &HashSet<IpAddr>) {
        self.schedule.retain(|ip| seen.contains(ip));
    }

    /// Ends all.
    pub fn clear(&mut self) {
        self.schedule.retain(|_| false);
    }

    /// Whether there is no target.
    pub fn is_empty(&self) -> bool {
        self.schedule.is_empty()
    }

    /// When [`Pinger::tick`] should be called.
    pub fn next_tick(&mut self) -> Option<Instant> {
        let due = self.schedule.next(self.ticked);
        let waiting = (!self.flights.is_empty()).then_some(self.ticked);
        let next = due.into_iter().chain(waiting).min()?;
        Some(next.max(self.ticked + TICK))
    }

    /// Reads what came and sends what is due, if it is time.
    pub fn tick(&mut self, now: Instant, losses: &mut Losses) {
        if self.next_tick().is_none_or(|next| now < next) {
            return;
        }
        self.ticked = now;
        self.read_stamps();
        self.read_replies(losses);
        while let Some(ip) = self.flights.take_lost(now) {
            if let Some(target) = self.schedule.get_mut(&ip) {
                target.lost();
            }
        }
        while let Some(ip) = self.schedule.take(now) {
            self.send(ip, now, losses);
        }
    }

    /// Tells of targets that changed, or of all.
    pub fn tell(&mut self, all: bool, mut emit: impl FnMut(&Record<'_>)) {
        for target in self.schedule.iter_mut() {
            if all || target.changed {
                target.changed = false;
                emit(&Record::Ping(target.ping));
            }
        }
    }

    fn socket(&self, ip: &IpAddr) -> Option<&RawSocket> {
        let wanted = if ip.is_ipv4() { Family::V4 } else { Family::V6 };
        sockets(&self.probes).find(|socket| socket.family() == wanted)
    }

    fn send(&mut self, ip: IpAddr, now: Instant, losses: &mut Losses) {
        self.count += 1;
        let echo = Echo {
            identifier: self.identifier,
            sequence: self.flights.next_sequence(),
            cookie: self.keys.hash_one((ip, self.count)),
        };
        let Some(socket) = self.socket(&ip) else {
            return;
        };
        let sent_ns = clock_ns(ClockId::CLOCK_REALTIME);
        let result = socket.send(ip, &echo::request(socket.family(), echo));
        if result.is_err() {
            losses.add(Lost::PingsNotSent, 1);
            return;
        }
        self.flights.sent(ip, echo.cookie, sent_ns, now);
        if let Some(target) = self.schedule.get_mut(&ip) {
            target.sent();
        }
    }

    fn read_stamps(&mut self) {
        for socket in sockets(&self.probes) {
            for _ in 0..PACKETS_PER_TICK {
                let Some(sent) = socket.sent() else { break };
                if let Some((echo, at_ns)) = sent {
                    self.flights.stamp(echo, at_ns);
                }
            }
        }
    }

    fn read_replies(&mut self, losses: &mut Losses) {
        let answered_ns = monotonic_ns();
        for socket in sockets(&self.probes) {
            for _ in 0..PACKETS_PER_TICK {
                let Some(incoming) = socket.receive() else {
                    break;
                };
                let answer = match incoming {
                    Incoming::Reply(from, echo, at_ns) => {
                        let rtt = self.flights.answer(from, echo, at_ns);
                        rtt.map(|rtt_ns| (from, rtt_ns))
                    }
                    Incoming::Foreign => None,
                };
                let Some((from, rtt_ns)) = answer else {
                    losses.add(Lost::PingAnswersForeign, 1);
                    continue;
                };
                // It may be no target any more.
                if let Some(target) = self.schedule.get_mut(&from) {
                    target.answered(rtt_ns, answered_ns);
                }
            }
        }
    }
}

/// The sockets that could be opened.
fn sockets(probes: &[Probe]) -> impl Iterator<Item = &RawSocket> {
    probes.iter().filter_map(|probe| probe.state.as_ref().ok())
}

/// Addresses that somebody wants to be targets.
#[derive(Debug, Default)]
pub struct Asked {
    /// Those that can be.
    pub addresses: HashSet<IpAddr>,
    /// How many cannot.
    pub refused: u64,
}

impl Asked {
    /// Sorts out what is not the address of one other machine.
    pub fn of(addresses: &[[u8; 16]]) -> Self {
        let mut asked = Self::default();
        for octets in addresses {
            match targets::target(*octets) {
                Some(ip) => drop(asked.addresses.insert(ip)),
                None => asked.refused += 1,
            }
        }
        asked
    }
}

impl Closed {
    fn because(errno: Errno) -> Self {
        let (verdict, detail) = match errno {
            Errno::EPERM | Errno::EACCES => {
                (Verdict::Unsupported, "CAP_NET_RAW is missing".to_owned())
            }
            Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT => (
                Verdict::Unsupported,
                "the kernel has no such protocol".to_owned(),
            ),
            other => (Verdict::Failed, format!("raw socket: {}", other.desc())),
        };
        Self { verdict, detail }
    }

    fn switched_off() -> Self {
        Self {
            verdict: Verdict::Unsupported,
            detail: "switched off by --ping-interval-s 0".to_owned(),
        }
    }
}

fn monotonic_ns() -> u64 {
    clock_ns(ClockId::CLOCK_MONOTONIC)
}

fn clock_ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
