//! The process that asks taskstats: the only one that keeps `CAP_NET_ADMIN` for it after the start.
//!
//! It is forked while the sensor starts, keeps `CAP_NET_ADMIN` alone, two netlink sockets, the directories `/proc` and of the
//! cgroup trees, and a pipe for what it tells; and then only the system calls of [`seccomp::TASKSTATS_CALLS`] and
//! [`seccomp::HELPER_CALLS`]. It opens files for reading only, and ends with the sensor. When it ends by itself the sensor
//! goes on without it and says so in the hook's verdict.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use caps::Capability;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read, write};
use nodescope_ebpf::abi::CgroupKey;

use super::TaskstatsError;
use super::accounts::{Account, make_room};
use super::follow::{Follower, Options};
use super::ledger::Losses;
use super::report::{BYTES, Report};
use crate::{helper, privilege, seccomp};

const NAME: &CStr = c"nodescope-delay";
/// What a pipe may hold without further rights: reports of ten thousand cgroups.
const PIPE_BYTES: i32 = 1 << 20;
/// Reports taken by one read.
const REPORTS: usize = 64;
/// Reads of the pipe in one go; more than it holds, so that it ends.
const READS_MAX: usize = 1024;

/// The running child, as the sensor sees it.
#[derive(Debug)]
pub struct Child {
    pipe: OwnedFd,
    cgroups_max: usize,
    cgroups: HashMap<CgroupKey, Account>,
    losses: Losses,
    followed: u32,
    has_ended: bool,
}

impl Child {
    /// Forks it. To be called while there is one thread.
    ///
    /// # Errors
    /// taskstats cannot be had, or the kernel gives no process.
    pub fn start(options: &Options, clock_ns: fn() -> u64) -> Result<Self, TaskstatsError> {
        let follower = Follower::open(options, clock_ns)?;
        let (pipe, report) =
            pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(io::Error::from)?;
        // A smaller one only takes longer.
        let _ = fcntl(&report, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        let mut kept = follower.descriptors();
        kept.push(report.as_fd());
        let kept = kept.iter().map(AsRawFd::as_raw_fd).collect();
        helper::start(NAME, kept, || serve(follower, &report))?;
        Ok(Self {
            pipe,
            cgroups_max: options.limits.cgroups,
            cgroups: HashMap::new(),
            losses: Losses::default(),
            followed: 0,
            has_ended: false,
        })
    }

    /// Takes what it told, as of now.
    pub fn hear(&mut self, now_ns: u64) {
        let mut bytes = [0; BYTES * REPORTS];
        for _ in 0..READS_MAX {
            match read(&self.pipe, &mut bytes) {
                Ok(0) => {
                    self.has_ended = true;
                    return;
                }
                Ok(length) => self.take(bytes.get(..length).unwrap_or_default(), now_ns),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => {
                    self.has_ended = true;
                    return;
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8], now_ns: u64) {
        let (reports, _) = bytes.as_chunks::<BYTES>();
        for report in reports.iter().filter_map(Report::from_bytes) {
            match report {
                Report::Account(key, account) => {
                    if !self.cgroups.contains_key(&key) {
                        make_room(&mut self.cgroups, self.cgroups_max, |one| one.updated_ns);
                    }
                    let updated_ns = now_ns;
                    let account = Account {
                        updated_ns,
                        ..account
                    };
                    self.cgroups.insert(key, account);
                }
                Report::Losses(losses, followed) => {
                    self.losses = losses;
                    self.followed = followed;
                }
            }
        }
    }

    /// The cgroups of which it has told.
    pub fn cgroups(&self) -> &HashMap<CgroupKey, Account> {
        &self.cgroups
    }

    /// What it lost.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// How many processes it follows.
    pub fn followed(&self) -> u32 {
        self.followed
    }

    /// Whether it is no more; known after [`Child::hear`].
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// Until the sensor ends or nothing more can be read.
fn serve(mut follower: Follower, report: &OwnedFd) {
    if confine().is_err() {
        return;
    }
    let mut told = None;
    while follower.step().is_ok() {
        // A pipe that is full takes them another time: they are totals.
        let tell = |report_of: Report| write(report, &report_of.to_bytes()) == Ok(BYTES);
        let ledger = &mut follower.ledger;
        ledger
            .accounts
            .tell_changed(|key, account| tell(Report::Account(*key, *account)));
        let followed = u32::try_from(ledger.followed()).unwrap_or(u32::MAX);
        let losses = ledger.losses();
        let now = Some((losses, followed));
        if now != told && tell(Report::Losses(losses, followed)) {
            told = now;
        }
    }
}

fn confine() -> Result<(), Box<dyn std::error::Error>> {
    privilege::drop_all_but(&HashSet::from([Capability::CAP_NET_ADMIN]))?;
    seccomp::restrict_taskstats()?;
    Ok(())
}
