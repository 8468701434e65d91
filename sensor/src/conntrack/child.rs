//! The process that follows events: the only one that keeps `CAP_NET_ADMIN` after the start.
//!
//! It is forked while the sensor starts, keeps five descriptors (two netlink sockets, the two maps of connections under
//! way, a pipe for its totals), `CAP_NET_ADMIN` for dumps and `CAP_BPF` for the maps (needed before Linux 5.19), and then
//! only the system calls of [`seccomp::FOLLOWER_CALLS`] and [`seccomp::HELPER_CALLS`]. It reads nothing but the kernel's
//! messages and ends with the sensor. When it ends by itself the sensor goes on without it and says so in the hook's verdict.
use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use caps::Capability;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};

use super::follow::{Follower, Sink, Totals};
use super::socket;
use crate::{helper, privilege, seccomp};

const NAME: &CStr = c"nodescope-nat";
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
        let events = socket::subscribe(EVENT_BUFFER_BYTES)?;
        socket::keep_only_translated(&events)?;
        let dumps = socket::open()?;
        let (pipe, report) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let mut kept = sink.descriptors();
        kept.extend([events.as_fd(), dumps.as_fd(), report.as_fd()]);
        let kept = kept.iter().map(AsRawFd::as_raw_fd).collect();
        helper::start(NAME, kept, || {
            serve(Follower::new(events, dumps, sink), &report);
        })?;
        Ok(Self {
            totals: Totals::default(),
            pipe,
            has_ended: false,
        })
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
fn serve(mut follower: Follower<impl Sink>, report: &OwnedFd) {
    if confine().is_err() {
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

fn confine() -> Result<(), Box<dyn std::error::Error>> {
    let kept = HashSet::from([Capability::CAP_NET_ADMIN, Capability::CAP_BPF]);
    privilege::drop_all_but(&kept)?;
    seccomp::restrict_follower()?;
    Ok(())
}
