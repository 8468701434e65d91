//! Follows the events of new entries and writes where their connections go.
//!
//! Only what is translated is delivered (a filter in the kernel), into a buffer of bounded size. When that was full, what
//! is missing is read by a dump, at most once a second.
//!
//! Known limit: IPVS does not mark what it translates, so that the filter leaves it out.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::dump::dump;
use super::entry::{Translated, translated};
use super::message::{Message, Messages};
use crate::netlink::socket::{READ_BYTES, Received, Socket};

/// Least time between two dumps.
const DUMP_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait for an event before something else gets its turn.
const PATIENCE: Duration = Duration::from_secs(1);
/// More reads than the buffer of events can hold, so that the reading of it ends.
const WAITING_MAX: usize = 65_536;

/// Where a translation goes.
pub trait Sink {
    /// Takes one.
    ///
    /// # Errors
    /// It could not be written.
    fn take(&mut self, found: &Translated) -> io::Result<Taken>;

    /// What it needs, to be kept where all else is closed.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;
}

/// What became of a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A connection waits for it.
    Waiting,
    /// Its connection was established before and counted without it.
    Late,
    /// No connection of this node that is of interest.
    Unknown,
}

/// What happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Times the kernel had no room for events.
    pub overruns: u64,
    /// Connections counted without their actual destination because it came too late.
    pub late: u64,
    /// Messages, dumps and writes that failed.
    pub failures: u64,
}

impl Totals {
    /// Length of [`Totals::to_bytes`].
    pub const BYTES: usize = 24;

    /// As the child writes them.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (field, value) in
            bytes
                .chunks_exact_mut(8)
                .zip([self.overruns, self.late, self.failures])
        {
            field.copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// As the parent reads them.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let [overruns, late, failures] = [0, 8, 16].map(|offset| {
            let field = bytes[offset..offset + 8].try_into().unwrap_or_default();
            u64::from_ne_bytes(field)
        });
        Self {
            overruns,
            late,
            failures,
        }
    }
}

/// The sockets and what they brought.
#[derive(Debug)]
pub struct Follower<S> {
    events: Socket,
    dumps: Socket,
    sink: S,
    totals: Totals,
    dump_wanted: bool,
    dump_allowed: Instant,
    buffer: Vec<u8>,
}

impl<S: Sink> Follower<S> {
    /// Of these sockets, which are in the namespace to follow.
    pub fn new(events: Socket, dumps: Socket, sink: S) -> Self {
        Self {
            events,
            dumps,
            sink,
            totals: Totals::default(),
            dump_wanted: false,
            dump_allowed: Instant::now(),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Waits for some events and takes them. Returns the totals.
    ///
    /// # Errors
    /// The socket cannot be read any more.
    pub fn step(&mut self) -> io::Result<Totals> {
        let patience = if self.dump_wanted {
            self.dump_allowed.saturating_duration_since(Instant::now())
        } else {
            PATIENCE
        };
        self.receive(patience)?;
        if self.dump_wanted && Instant::now() >= self.dump_allowed {
            self.make_up()?;
        }
        Ok(self.totals)
    }

    /// One read. False when there was nothing.
    fn receive(&mut self, patience: Duration) -> io::Result<bool> {
        match self.events.receive(&mut self.buffer, patience)? {
            Received::Bytes(length) => self.take_events(length),
            Received::Nothing => return Ok(false),
            Received::Overrun => {
                self.totals.overruns += 1;
                self.dump_wanted = true;
            }
        }
        Ok(true)
    }

    fn take_events(&mut self, length: usize) {
        let bytes = self.buffer.get(..length).unwrap_or_default();
        for message in Messages::new(bytes) {
            match message {
                Message::Entry { attributes, .. } => {
                    if let Some(found) = translated(attributes) {
                        take(&mut self.sink, &mut self.totals, &found);
                    }
                }
                Message::Done(_) | Message::Other => {}
                Message::Refused(_) | Message::Broken => self.totals.failures += 1,
            }
        }
    }

    /// Reads what was missed. First what waits: until all of that is read the kernel drops what comes, and says so no
    /// second time. What is missed after that leads to another dump.
    fn make_up(&mut self) -> io::Result<()> {
        self.dump_wanted = false;
        for _ in 0..WAITING_MAX {
            if !self.receive(Duration::ZERO)? {
                break;
            }
        }
        let (sink, totals) = (&mut self.sink, &mut self.totals);
        let dumped = dump(&self.dumps, &mut |found| take(sink, totals, found));
        if !dumped.is_ok_and(|dumped| !dumped.interrupted) {
            self.totals.failures += 1;
            self.dump_wanted = true;
        }
        self.dump_allowed = Instant::now() + DUMP_INTERVAL;
        Ok(())
    }
}

fn take(sink: &mut impl Sink, totals: &mut Totals, found: &Translated) {
    match sink.take(found) {
        Ok(Taken::Late) => totals.late += 1,
        Ok(Taken::Waiting | Taken::Unknown) => {}
        Err(_) => totals.failures += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_pass_through_a_pipe() {
        let totals = Totals {
            overruns: 1,
            late: u64::MAX,
            failures: 3,
        };
        assert_eq!(Totals::from_bytes(&totals.to_bytes()), totals);
    }
}
