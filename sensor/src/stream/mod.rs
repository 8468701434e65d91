//! The sensor's main loop: records from the kernel to the client, requests from the client to the broker.
//!
//! One thread waits for whatever comes first: a signal, a hint of the kernel, a connection, a message of the client, an
//! answer of the broker, or the time of the next poll. There is one client; a new one takes over as soon as it has said
//! hello. It first gets a snapshot. If it does not read, nothing is kept for it: what it misses is counted, and when it
//! reads again it gets a new snapshot, which holds the same totals and later ones.

pub mod client;
pub mod door;
pub mod outlet;
mod pings;
pub mod recording;
pub mod requests;
pub mod schedule;
mod usage;
mod wait;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nodescope_schema::{Record, SensorStatus};

use crate::exit::{chain, say};
use crate::kernel::{Source, SourceError};
use crate::losses::Lost;
use crate::packet::{self, Received};
use crate::ping::Pinger;
use crate::rate::TokenBucket;
use crate::socket::Listener;
use door::{Door, Refused};
use outlet::Outlet;
use recording::Recording;
use requests::{Requests, Turn};
use schedule::Every;
use usage::Usage;
use wait::Event;

/// How long a snapshot may wait, in all, for a client that reads slowly.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(10);
/// How long one poll may wait for it.
const ROUND_PATIENCE: Duration = Duration::from_millis(500);
/// Least time between two snapshots, whoever asks for them.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two looks at the kernel's hints: however many come, they are taken together.
const URGENT_INTERVAL: Duration = Duration::from_millis(20);
/// Least time between two answers to a wish for the status; what comes meanwhile is answered together.
const REPORT_INTERVAL: Duration = Duration::from_millis(200);
/// How often open files are searched for the holders of listening sockets.
const RESCAN_INTERVAL: Duration = Duration::from_secs(10);
/// How often ping targets are looked for in the kernel's counts.
const TARGET_CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// How often the sensor tells about itself.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// Messages of the client read a second, and at once; more wait in its socket.
const MESSAGES_PER_SECOND: u32 = 2000;
const MESSAGES_BURST: u32 = 2000;
/// Lines logged at once; after that one a second.
const LINES_BURST: u32 = 20;
/// Messages read before something else gets its turn.
const MESSAGES_PER_TURN: usize = 64;

/// The parts of a stream.
#[derive(Debug)]
pub struct Parts<S> {
    /// Where records come from.
    pub source: S,
    /// Where clients come from.
    pub listener: Listener,
    /// Who answers requests.
    pub requests: Requests,
    /// Who measures round trips.
    pub pinger: Pinger,
    /// Readable when the stream must end.
    pub stop: OwnedFd,
    /// The sensor's first message.
    pub hello: Vec<u8>,
    /// Where the stream is also written to.
    pub recording: Option<Recording>,
    /// How often the source is polled.
    pub poll_interval: Duration,
}

/// The main loop and all its state.
#[derive(Debug)]
pub struct Stream<S> {
    source: S,
    door: Door,
    requests: Requests,
    pinger: Pinger,
    stop: OwnedFd,
    outlet: Outlet,
    inbound: Box<[u8]>,
    usage: Usage,
    snapshot_wanted: bool,
    snapshot_allowed: Instant,
    urgent_allowed: Instant,
    report_wanted: bool,
    report_allowed: Instant,
    polls: Every,
    rescans: Every,
    statuses: Every,
    target_checks: Every,
    messages: TokenBucket,
    lines: TokenBucket,
}

impl<S: Source> Stream<S> {
    /// Puts the parts together.
    pub fn new(parts: Parts<S>) -> Self {
        let now = Instant::now();
        let snapshot_wanted = parts.recording.is_some();
        let mut outlet = Outlet::new(parts.recording);
        outlet.record_hello(&parts.hello);
        Self {
            source: parts.source,
            door: Door::new(parts.listener, parts.hello, now),
            requests: parts.requests,
            pinger: parts.pinger,
            stop: parts.stop,
            outlet,
            inbound: packet::buffer(),
            usage: Usage::open(),
            snapshot_wanted,
            snapshot_allowed: now,
            urgent_allowed: now,
            report_wanted: false,
            report_allowed: now,
            polls: Every::new(parts.poll_interval, now),
            rescans: Every::new(RESCAN_INTERVAL, now),
            statuses: Every::new(STATUS_INTERVAL, now),
            target_checks: Every::new(TARGET_CHECK_INTERVAL, now),
            messages: TokenBucket::new(MESSAGES_PER_SECOND, MESSAGES_BURST, now),
            lines: TokenBucket::new(1, LINES_BURST, now),
        }
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// Waiting itself failed.
    pub fn run(&mut self) -> Result<(), Errno> {
        loop {
            let now = Instant::now();
            self.do_what_is_due(now);
            for (event, flags) in self.wait(now)? {
                match event {
                    Event::Stop => return Ok(()),
                    Event::Kernel => self.urgent(now),
                    Event::Answer => self.answers(),
                    Event::Connection => {
                        let opened = self.door.open(now);
                        self.admit(opened);
                    }
                    Event::Client => self.client_event(flags, now),
                    Event::Guest => self.greet(),
                }
            }
        }
    }

    fn do_what_is_due(&mut self, now: Instant) {
        let expired = self.door.expire(now);
        self.admit(expired);
        if self.outlet.client.is_none() {
            self.forget_client();
        }
        if self.rescans.is_due(now) {
            let result = self.source.rescan();
            self.check_source(&result);
        }
        if self.polls.is_due(now) {
            self.outlet.begin(ROUND_PATIENCE);
            let result = self.source.poll(&mut |record| self.outlet.push(record));
            self.pinger.tell(false, |record| self.outlet.push(record));
            self.outlet.finish();
            self.check_source(&result);
        }
        if self.statuses.is_due(now) {
            self.status();
        }
        self.ping(now);
        if self.report_wanted && now >= self.report_allowed {
            self.report(now);
        }
        if self.snapshot_wanted && now >= self.snapshot_allowed {
            self.snapshot(now);
        }
    }

    /// Sends everything. One that is not whole has no end, so that the reader does not take what is missing for gone.
    fn snapshot(&mut self, now: Instant) {
        self.outlet.begin_snapshot(SNAPSHOT_PATIENCE);
        self.outlet.push(&Record::SnapshotBegin);
        let result = self.source.snapshot(&mut |record| self.outlet.push(record));
        for hook in self.pinger.hooks() {
            self.outlet.push(&Record::Hook(hook));
        }
        self.pinger.tell(true, |record| self.outlet.push(record));
        self.push_status();
        if result.is_ok() {
            self.outlet.push(&Record::SnapshotEnd);
        }
        self.outlet.finish();
        self.snapshot_wanted = result.is_err();
        self.snapshot_allowed = now + SNAPSHOT_INTERVAL;
        self.check_source(&result);
    }

    fn urgent(&mut self, now: Instant) {
        self.urgent_allowed = now + URGENT_INTERVAL;
        self.outlet.begin(ROUND_PATIENCE);
        self.source.urgent(&mut |record| self.outlet.push(record));
        self.outlet.finish();
    }

    fn status(&mut self) {
        self.outlet.begin(ROUND_PATIENCE);
        self.push_status();
        self.outlet.finish();
    }

    /// What a client that asks is told.
    fn report(&mut self, now: Instant) {
        self.outlet.begin(ROUND_PATIENCE);
        let result = self.source.report(&mut |record| self.outlet.push(record));
        for hook in self.pinger.hooks() {
            self.outlet.push(&Record::Hook(hook));
        }
        self.push_status();
        self.outlet.finish();
        self.report_wanted = false;
        self.report_allowed = now + REPORT_INTERVAL;
        self.check_source(&result);
    }

    fn push_status(&mut self) {
        let status = SensorStatus {
            resident_bytes: self.usage.resident_bytes(),
            cpu_ns: Usage::cpu_ns(),
            records_sent: self.outlet.records_sent,
            requests_granted: self.requests.granted,
            requests_refused: self.requests.refused,
            requests_waiting: self.requests.waiting,
        };
        self.outlet.push(&Record::Status(status));
        for loss in self.outlet.losses.records() {
            self.outlet.push(&loss);
        }
    }

    fn check_source(&mut self, result: &Result<(), SourceError>) {
        let Err(error) = result else { return };
        self.outlet.losses.add(Lost::SourceFailed, 1);
        self.tell(format_args!("{}", chain(error)));
    }

    /// Takes over a client that said hello.
    fn greet(&mut self) {
        let greeted = self.door.greet(&mut self.inbound);
        let client = self.admit(greeted).flatten();
        let Some((client, release)) = client else {
            return;
        };
        self.tell(format_args!("client {release} is connected"));
        self.forget_client();
        self.outlet.client = Some(client);
        self.snapshot_wanted = true;
    }

    /// Counts and tells of one who did not get in.
    fn admit<T>(&mut self, result: Result<T, Refused>) -> Option<T> {
        match result {
            Ok(value) => return Some(value),
            Err(Refused::Accept(_)) => {}
            Err(Refused::User(_)) => self.outlet.losses.add(Lost::PeerRefused, 1),
            Err(_) => self.outlet.losses.add(Lost::ClientBroken, 1),
        }
        if let Err(refused) = result {
            self.tell(format_args!("{refused}"));
        }
        None
    }

    fn client_event(&mut self, flags: PollFlags, now: Instant) {
        let Some(client) = &self.outlet.client else {
            return;
        };
        if flags.contains(PollFlags::POLLIN) {
            self.read_client(now);
        } else if flags.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            self.take_turn(Turn::Gone);
        } else if flags.contains(PollFlags::POLLOUT) {
            self.snapshot_wanted |= client.is_lagging();
            let turn = self.requests.retry(client);
            self.take_turn(turn);
        }
    }

    fn read_client(&mut self, now: Instant) {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(client) = &self.outlet.client else {
                return;
            };
            if self.requests.is_blocked() || !self.messages.take(now) {
                return;
            }
            let turn = match packet::receive(client.as_fd(), &mut self.inbound) {
                Ok(Received::Packet(length)) => {
                    let message = self.inbound.get(..length).unwrap_or_default();
                    self.requests
                        .message(message, client, &mut self.outlet.losses)
                }
                Ok(Received::TooLong) => Turn::Broken,
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) | Err(_) => Turn::Gone,
            };
            self.take_turn(turn);
        }
    }

    fn answers(&mut self) {
        while !self.requests.is_blocked() {
            let Some(turn) = self.requests.answer(self.outlet.client.as_ref()) else {
                return;
            };
            self.take_turn(turn);
        }
    }

    fn take_turn(&mut self, turn: Turn) {
        match turn {
            Turn::Continue => {}
            Turn::PingTargets => self.set_ping_targets(),
            Turn::Status => self.report_wanted = true,
            Turn::Broken => {
                self.outlet.losses.add(Lost::ClientBroken, 1);
                self.tell(format_args!("closed a connection that broke the protocol"));
                self.close();
            }
            Turn::Gone => {
                self.tell(format_args!("client is gone"));
                self.close();
            }
        }
    }

    fn close(&mut self) {
        self.outlet.client = None;
        self.forget_client();
    }

    /// What the client asked for ends with it.
    fn forget_client(&mut self) {
        self.requests.forget();
        self.pinger.clear();
    }

    /// Writes a line, unless there were too many.
    fn tell(&mut self, line: std::fmt::Arguments<'_>) {
        if self.lines.take(Instant::now()) {
            say(line);
        }
    }
}

#[cfg(test)]
mod tests;
