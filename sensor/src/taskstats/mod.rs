//! Delays of tasks through taskstats (generic netlink): for where BPF programs cannot read them from the tasks.
//!
//! The programs of `ebpf/programs/delays.bpf.h` come first, because they need no right after the start, miss nothing that a
//! task waits for behind its exit record, know of each task in which cgroup it was when it ended, and have the wait for a
//! CPU also while `kernel.task_delayacct` is 0, when taskstats says nothing at all. Where a kernel does not let them read
//! tasks, or a setting asks for it, there is taskstats: the same numbers, asked for all tasks of each process that lives
//! ([`follow`]), and told of each task that ends.
//!
//! Why the aggregator cannot do it: each question needs `CAP_NET_ADMIN`. The sensor gives that up when it has started; only
//! a process of its own keeps it, and nothing else ([`child`]). Why the cgroups of processes are looked up there: of one
//! that has ended they are to be had for a moment only, and what it waited for must outlive an aggregator that is away.
//!
//! Known limits. Counted as lost: exit records that come faster than they are read; processes of which nobody knows where
//! they were; before Linux 5.19 those that end without executing a program, which cannot be told from tasks of others. Not
//! counted: a process that is gone before anybody has looked where it is counts where its parent is.
//!
//! Parsing is pure: [`message`] and [`stats`]; so is adding up, in [`ledger`].

pub mod accounts;
pub mod child;
pub mod follow;
pub mod ledger;
pub mod message;
mod process;
pub mod report;
pub mod stats;

use std::io;

use stats::StatsError;

/// taskstats cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TaskstatsError {
    /// The kernel was built without it.
    #[error("this kernel has no taskstats (CONFIG_TASKSTATS)")]
    Missing,
    /// The kernel tells of processes that end only to who sees all of them.
    #[error("taskstats: the sensor is not in the first pid and user namespace")]
    Namespace,
    /// A call or a request failed.
    #[error("taskstats: {0}")]
    Refused(#[from] io::Error),
    /// There is no answer.
    #[error("taskstats: the answer takes too long")]
    Slow,
    /// The answer is no netlink message, or not to this question.
    #[error("taskstats: the answer is broken")]
    Broken,
    /// The statistics cannot be read.
    #[error(transparent)]
    Layout(#[from] StatsError),
    /// What is needed beside it cannot be opened.
    #[error("taskstats: /proc, a cgroup tree or the list of CPUs: {0}")]
    Node(#[source] io::Error),
}

impl TaskstatsError {
    /// This kernel or the place of the sensor cannot do it.
    pub fn is_unsupported(&self) -> bool {
        match self {
            Self::Missing | Self::Namespace | Self::Layout(_) => true,
            Self::Refused(error) => matches!(
                error.raw_os_error(),
                Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP)
            ),
            Self::Slow | Self::Broken | Self::Node(_) => false,
        }
    }
}
