//! The process that follows events: the only one that keeps `CAP_NET_ADMIN` after the start.
//!
//! It is forked while the sensor starts, keeps five descriptors (two netlink sockets, the two maps of connections under
//! way, a pipe for its totals), `CAP_NET_ADMIN` for dumps and `CAP_BPF` for the maps (needed before Linux 5.19), and then
//! only the system calls of [`seccomp::FOLLOWER_CALLS`](crate::seccomp::FOLLOWER_CALLS). It reads nothing but the kernel's
//! messages and ends with the sensor. When it ends by itself the sensor goes on without it and says so in the hook's verdict.
#![expect(unsafe_code, reason = "fork, signal, close_range and _exit")]

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use caps::Capability;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, pipe2, read, write};

use super::follow::{Follower, Sink, Totals};
use super::socket::Socket;
use crate::{privilege, seccomp};

/// Events that may wait: about ten thousand.
const EVENT_BUFFER_BYTES: usize = 4 << 20;
/// Reads of the pipe in one go.
const READS_MAX: usize = 1024;

/// The running child, as the sensor sees it.
#[derive(Debug)]
pub struct Child {
    totals: Totals,
    pipe: OwnedFd,
    has_ended: bool,
}

impl Child {
    /// Forks it. To be called while there is one thread, in the namespace to follow.
    ///
    /// # Errors
    /// A socket could not be opened, or the kernel gives no process.
    pub fn start(sink: impl Sink) -> io::Result<Self> {
        let events = Socket::subscribe(EVENT_BUFFER_BYTES)?;
        events.keep_only_translated()?;
        let dumps = Socket::open()?;
        let (pipe, report) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Nobody waits for it, so the kernel is not to keep its status: it is the only child, and the pipe tells its end.
        // SAFETY: no handler is installed.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
        let parent = getpid();
        // SAFETY: the sensor has one thread when it starts, so that no lock is held by a thread the child has not. The
        // child runs `serve` and ends by `_exit`: nothing of the parent's is dropped twice.
        match unsafe { fork() }? {
            ForkResult::Parent { .. } => Ok(Self {
                totals: Totals::default(),
                pipe,
                has_ended: false,
            }),
            ForkResult::Child => {
                let mut kept = sink.descriptors();
                kept.extend([events.as_fd(), dumps.as_fd(), report.as_fd()]);
                close_all_but(kept.iter().map(AsRawFd::as_raw_fd).collect());
                let follower = Follower::new(events, dumps, sink);
                let _ = catch_unwind(AssertUnwindSafe(|| serve(follower, &report, parent)));
                // SAFETY: it does not return.
                unsafe { libc::_exit(1) }
            }
        }
    }

    /// What it last told.
    pub fn totals(&mut self) -> Totals {
        let mut bytes = [0; Totals::BYTES];
        for _ in 0..READS_MAX {
            match read(&self.pipe, &mut bytes) {
                Ok(Totals::BYTES) => self.totals = Totals::from_bytes(&bytes),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Ok(_) | Err(_) => {
                    self.has_ended = true;
                    break;
                }
            }
        }
        self.totals
    }

    /// Whether it is no more; known after [`Child::totals`].
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// Until the sensor ends or nothing more can be read.
fn serve(mut follower: Follower<impl Sink>, report: &OwnedFd, parent: Pid) {
    if confine(parent).is_err() {
        return;
    }
    let mut told = Totals::default();
    while let Ok(totals) = follower.step() {
        // A pipe that is full takes them another time: they are totals.
        if totals != told && write(report, &totals.to_bytes()) == Ok(Totals::BYTES) {
            told = totals;
        }
    }
}

fn confine(parent: Pid) -> Result<(), Box<dyn std::error::Error>> {
    let kept = HashSet::from([Capability::CAP_NET_ADMIN, Capability::CAP_BPF]);
    privilege::drop_all_but(&kept)?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err("the sensor has ended".into());
    }
    seccomp::restrict_follower()?;
    Ok(())
}

/// Closes every other descriptor but the standard ones.
fn close_all_but(mut kept: Vec<i32>) {
    kept.sort_unstable();
    let mut first = libc::STDERR_FILENO + 1;
    for fd in kept {
        close_range(first, fd - 1);
        first = fd + 1;
    }
    close_range(first, i32::MAX);
}

fn close_range(first: i32, last: i32) {
    if first > last {
        return;
    }
    // SAFETY: whoever owns these descriptors in the child is never run or dropped there. Kernels before 5.9 have no such
    // call and are below the floor.
    unsafe {
        libc::syscall(libc::SYS_close_range, first, last, 0);
    }
}
