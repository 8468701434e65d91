//! Asks taskstats for the processes that live, now and then, and takes what it tells of those that end.
//!
//! Budget: asking for all takes at most one part in two hundred of a core ([`crate::walks`]), however many there are. What
//! an exit record costs is as much as a process that ends: one read, and of a process that nobody has met one look at
//! `/proc/PID/cgroup`.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::SockProtocol;

use super::TaskstatsError;
use super::ledger::{Ledger, Limits};
use super::message::{Message, Messages, exits_request, family_request, push_process_request};
use crate::netlink::socket::{READ_BYTES, Received, Socket};
use crate::processes::Processes;
use crate::walks::next_walk_ns;

/// Default of [`Options::exit_buffer_bytes`]: some four thousand exit records.
pub const EXIT_BUFFER_BYTES: usize = 8 << 20;
/// More reads than that holds, so that the reading of it ends.
const EXITS_MAX: usize = 65_536;
/// Questions sent at once; their answers fit into a socket of the usual size.
const QUESTIONS: usize = 64;
/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait for exit records before something else gets its turn.
const TURN: Duration = Duration::from_secs(1);
/// The CPUs there may ever be.
const CPUS: &str = "/sys/devices/system/cpu/possible";

/// Where things are, and how much of them is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where `/proc` is mounted.
    pub proc_root: PathBuf,
    /// Root of the cgroup v2 tree.
    pub cgroup_v2_root: PathBuf,
    /// Number and root of the v1 hierarchy that is watched.
    pub v1: Option<(u32, PathBuf)>,
    /// How much is kept.
    pub limits: Limits,
    /// Exit records that may wait, in bytes.
    pub exit_buffer_bytes: usize,
}

/// The sockets and what they brought.
#[derive(Debug)]
pub struct Follower {
    family: u16,
    exits: Socket,
    questions: Socket,
    processes: Processes,
    /// What was added up.
    pub ledger: Ledger,
    buffer: Vec<u8>,
    walk_after_ns: u64,
    clock_ns: fn() -> u64,
}

impl Follower {
    /// Opens everything and asks for exit records. To be called in the first pid and user namespace.
    ///
    /// # Errors
    /// The kernel has no taskstats, denies it (`CAP_NET_ADMIN`), or has a layout of its own.
    pub fn open(options: &Options, clock_ns: fn() -> u64) -> Result<Self, TaskstatsError> {
        let processes = Processes::open(
            &options.proc_root,
            &options.cgroup_v2_root,
            options.v1.as_ref(),
        )
        .map_err(TaskstatsError::Node)?;
        let [exits, questions] = [(); 2].map(|()| Socket::open(SockProtocol::NetlinkGeneric, 0));
        let mut follower = Self {
            family: 0,
            exits: exits?,
            questions: questions?,
            processes,
            ledger: Ledger::new(options.limits, options.v1.as_ref().map_or(0, |v1| v1.0)),
            buffer: vec![0; READ_BYTES],
            walk_after_ns: 0,
            clock_ns,
        };
        follower.family = follower.find_family()?;
        follower.try_layout()?;
        follower.exits.set_buffer(options.exit_buffer_bytes)?;
        let cpus = fs::read(Path::new(CPUS)).map_err(TaskstatsError::Node)?;
        follower.register(cpus.trim_ascii())?;
        Ok(follower)
    }

    /// What it needs, to be kept where all else is closed.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut descriptors = self.processes.descriptors();
        descriptors.extend([self.exits.as_fd(), self.questions.as_fd()]);
        descriptors
    }

    fn find_family(&mut self) -> Result<u16, TaskstatsError> {
        self.questions.send(&family_request())?;
        match self.answer()? {
            Message::Family(number) => Ok(number),
            Message::Answered(_, libc::ENOENT) => Err(TaskstatsError::Missing),
            other => Err(unexpected(other)),
        }
    }

    /// Asks for this process.
    fn try_layout(&mut self) -> Result<(), TaskstatsError> {
        let mut request = Vec::new();
        push_process_request(&mut request, self.family, std::process::id());
        self.questions.send(&request)?;
        match self.answer()? {
            Message::Living(..) => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    fn answer(&mut self) -> Result<Message, TaskstatsError> {
        let Received::Bytes(length) = self.questions.receive(&mut self.buffer, PATIENCE)? else {
            return Err(TaskstatsError::Slow);
        };
        let bytes = self.buffer.get(..length).unwrap_or_default();
        let first = Messages::new(bytes, self.family).next();
        first.ok_or(TaskstatsError::Broken)
    }

    fn register(&mut self, cpus: &[u8]) -> Result<(), TaskstatsError> {
        self.exits.send(&exits_request(self.family, cpus))?;
        // Exit records may come before the answer.
        for _ in 0..EXITS_MAX {
            let Received::Bytes(length) = self.exits.receive(&mut self.buffer, PATIENCE)? else {
                break;
            };
            let bytes = self.buffer.get(..length).unwrap_or_default();
            for message in Messages::new(bytes, self.family) {
                match message {
                    Message::Answered(_, 0) => return Ok(()),
                    Message::Ended(_) => {}
                    Message::Answered(_, libc::EINVAL) => return Err(TaskstatsError::Namespace),
                    other => return Err(unexpected(other)),
                }
            }
        }
        Err(TaskstatsError::Slow)
    }

    /// Waits for exit records until it is time for a walk, but not long, and takes them; then walks, if it is time.
    ///
    /// # Errors
    /// A socket or `/proc` cannot be read any more.
    pub fn step(&mut self) -> io::Result<()> {
        let left = Duration::from_nanos(self.walk_after_ns.saturating_sub((self.clock_ns)()));
        let received = self.exits.receive(&mut self.buffer, left.min(TURN))?;
        if received != Received::Nothing {
            self.take_exit(received);
            self.take_exits()?;
        }
        let begun_ns = (self.clock_ns)();
        if begun_ns >= self.walk_after_ns {
            self.walk()?;
            self.walk_after_ns = next_walk_ns(begun_ns, (self.clock_ns)());
        }
        Ok(())
    }

    /// All that wait.
    fn take_exits(&mut self) -> io::Result<()> {
        for _ in 0..EXITS_MAX {
            let received = self.exits.receive_now(&mut self.buffer)?;
            if received == Received::Nothing {
                break;
            }
            self.take_exit(received);
        }
        Ok(())
    }

    fn take_exit(&mut self, received: Received) {
        let Received::Bytes(length) = received else {
            self.ledger.losses.overruns += 1;
            return;
        };
        let bytes = self.buffer.get(..length).unwrap_or_default();
        for message in Messages::new(bytes, self.family) {
            match message {
                Message::Ended(exit) => {
                    let now_ns = (self.clock_ns)();
                    self.ledger.ended(&exit, now_ns, &mut self.processes);
                }
                Message::Other | Message::Answered(_, 0) => {}
                _ => self.ledger.losses.failed += 1,
            }
        }
    }

    fn walk(&mut self) -> io::Result<()> {
        self.ledger.begin_walk((self.clock_ns)());
        for pids in self.processes.list()?.chunks(QUESTIONS) {
            self.ask(pids)?;
            self.take_exits()?;
        }
        // Who is gone by now has had its record queued before: it is taken before anybody is missed.
        self.ledger.end_walk();
        Ok(())
    }

    fn ask(&mut self, pids: &[u32]) -> io::Result<()> {
        let mut requests = Vec::new();
        for pid in pids {
            push_process_request(&mut requests, self.family, *pid);
        }
        // Late answers to earlier questions tell of processes that may be gone. None comes without a question.
        while self.questions.receive_now(&mut self.buffer)? != Received::Nothing {}
        self.questions.send(&requests)?;
        let mut answers = 0;
        while answers < pids.len() {
            let Received::Bytes(length) = self.questions.receive(&mut self.buffer, PATIENCE)?
            else {
                break;
            };
            answers += self.take_answers(length);
        }
        self.ledger.losses.failed += (pids.len() - answers.min(pids.len())) as u64;
        Ok(())
    }

    /// Returns how many questions were answered.
    fn take_answers(&mut self, length: usize) -> usize {
        let bytes = self.buffer.get(..length).unwrap_or_default();
        let mut answers = 0;
        for message in Messages::new(bytes, self.family) {
            answers += 1;
            match message {
                Message::Living(pid, stats) => {
                    let now_ns = (self.clock_ns)();
                    self.ledger.living(pid, &stats, now_ns, &mut self.processes);
                }
                // It has ended since.
                Message::Answered(_, libc::ESRCH) => {}
                _ => self.ledger.losses.failed += 1,
            }
        }
        answers
    }
}

fn unexpected(message: Message) -> TaskstatsError {
    match message {
        Message::Answered(_, errno) => io::Error::from_raw_os_error(errno).into(),
        Message::Unknown(error) => error.into(),
        _ => TaskstatsError::Broken,
    }
}
