//! The system calls that are left once the stream runs. Anything else kills the process.
//!
//! [`CALLS`] is the whole list, each with who needs it; where an argument decides what a call can do, the argument is
//! part of the row. The point of it: no program is started, no socket made, no file opened for writing, no BPF program
//! loaded, no memory made executable, no other process touched.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

/// An allowed system call.
#[derive(Debug)]
pub struct Call {
    /// Its number.
    pub number: c_long,
    /// What its arguments must be.
    pub when: When,
    /// Who needs it.
    pub why: &'static str,
}

/// What the arguments of a call must be.
#[derive(Debug)]
pub enum When {
    /// Anything.
    Always,
    /// These bits of the argument with this index are zero.
    BitsClear(u8, u64),
    /// The argument with this index is one of these.
    OneOf(u8, &'static [u64]),
}

/// Flags of `openat` with which a file can be changed or made. The last is the own bit of `O_TMPFILE`.
const WRITE_FLAGS: u64 = (libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_TRUNC
    | libc::O_APPEND
    | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u64;
const EXECUTABLE: u64 = libc::PROT_EXEC as u64;

/// Commands of `bpf(2)` used after the start, by their numbers in `linux/bpf.h`: those of `kernel/bpf.rs`.
const BPF_COMMANDS: [u64; 8] = [
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    7,  // BPF_OBJ_GET
    15, // BPF_OBJ_GET_INFO_BY_FD
    21, // BPF_MAP_LOOKUP_AND_DELETE_ELEM
    24, // BPF_MAP_LOOKUP_BATCH
    33, // BPF_ITER_CREATE
];
const FCNTL_COMMANDS: [u64; 4] = [
    libc::F_DUPFD_CLOEXEC as u64,
    libc::F_GETFD as u64,
    libc::F_SETFD as u64,
    libc::F_GETFL as u64,
];

const fn call(number: c_long, when: When, why: &'static str) -> Call {
    Call { number, when, why }
}

/// Every allowed call.
pub const CALLS: &[Call] = &[
    // Waiting and time.
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_poll, When::Always, "loop"),
    #[cfg(not(target_arch = "x86_64"))]
    call(
        libc::SYS_ppoll,
        When::Always,
        "loop: poll, where the kernel has no such call",
    ),
    call(
        libc::SYS_restart_syscall,
        When::Always,
        "a wait that a stop signal interrupted",
    ),
    call(
        libc::SYS_clock_gettime,
        When::Always,
        "loop, status; mostly answered without a call",
    ),
    call(
        libc::SYS_futex,
        When::Always,
        "queues between loop and broker, allocator",
    ),
    call(
        libc::SYS_sched_yield,
        When::Always,
        "queues between loop and broker",
    ),
    // The client.
    call(libc::SYS_accept4, When::Always, "connections"),
    call(libc::SYS_getsockopt, When::Always, "who connects"),
    call(libc::SYS_recvfrom, When::Always, "messages"),
    call(
        libc::SYS_sendmsg,
        When::Always,
        "packets and descriptors; echo requests",
    ),
    call(
        libc::SYS_recvmsg,
        When::Always,
        "echo replies and the kernel's times",
    ),
    // Files.
    call(
        libc::SYS_openat,
        When::BitsClear(2, WRITE_FLAGS),
        "broker; rescan reads /proc",
    ),
    call(libc::SYS_fstat, When::Always, "broker"),
    call(
        libc::SYS_newfstatat,
        When::Always,
        "broker, removing the socket",
    ),
    call(libc::SYS_statx, When::Always, "size of a file that is read"),
    call(
        libc::SYS_fstatfs,
        When::Always,
        "broker: how full a file system is",
    ),
    call(
        libc::SYS_getdents64,
        When::Always,
        "broker: whose performance data there is, which logs a pod has",
    ),
    call(
        libc::SYS_readlinkat,
        When::Always,
        "broker: links that root made",
    ),
    call(
        libc::SYS_fcntl,
        When::OneOf(1, &FCNTL_COMMANDS),
        "broker: a copy of the root's descriptor, listing a directory",
    ),
    call(
        libc::SYS_read,
        When::Always,
        "signals, wake-ups, iterators, /etc/passwd",
    ),
    call(libc::SYS_pread64, When::Always, "own memory use"),
    call(libc::SYS_lseek, When::Always, "size of a file that is read"),
    call(libc::SYS_write, When::Always, "log, recording, wake-ups"),
    call(libc::SYS_writev, When::Always, "log"),
    call(libc::SYS_close, When::Always, "everybody"),
    call(libc::SYS_unlinkat, When::Always, "removing the socket"),
    // The kernel side.
    call(
        libc::SYS_bpf,
        When::OneOf(0, &BPF_COMMANDS),
        "maps and iterators",
    ),
    // Memory.
    call(libc::SYS_brk, When::Always, "allocator"),
    call(libc::SYS_mmap, When::BitsClear(2, EXECUTABLE), "allocator"),
    call(
        libc::SYS_mprotect,
        When::BitsClear(2, EXECUTABLE),
        "allocator: heaps of threads",
    ),
    call(libc::SYS_mremap, When::Always, "allocator"),
    call(
        libc::SYS_munmap,
        When::Always,
        "allocator, ring buffer, end of a thread",
    ),
    call(
        libc::SYS_madvise,
        When::Always,
        "allocator, end of a thread",
    ),
    call(libc::SYS_getrandom, When::Always, "seeds of hash tables"),
    // The end.
    call(libc::SYS_rt_sigprocmask, When::Always, "end of a thread"),
    call(
        libc::SYS_rt_sigreturn,
        When::Always,
        "return from a signal handler",
    ),
    call(libc::SYS_sigaltstack, When::Always, "end of a thread"),
    call(libc::SYS_exit, When::Always, "end of a thread"),
    call(libc::SYS_exit_group, When::Always, "end of the process"),
];

/// What every helper of the sensor calls.
pub const HELPER_CALLS: &[Call] = &[
    call(
        libc::SYS_write,
        When::Always,
        "what it tells the sensor, and why it ends",
    ),
    call(
        libc::SYS_restart_syscall,
        When::Always,
        "a wait that a stop signal interrupted",
    ),
    call(libc::SYS_brk, When::Always, "allocator"),
    call(libc::SYS_mmap, When::BitsClear(2, EXECUTABLE), "allocator"),
    call(libc::SYS_mremap, When::Always, "allocator"),
    call(libc::SYS_munmap, When::Always, "allocator"),
    call(libc::SYS_madvise, When::Always, "allocator"),
    call(libc::SYS_exit_group, When::Always, "its end"),
];

/// Commands of `bpf(2)` of the process that follows connection tracking events: it reads, writes and deletes entries.
const FOLLOWER_BPF_COMMANDS: [u64; 3] = [1, 2, 3];

/// With [`HELPER_CALLS`], every call of the process that follows connection tracking events, see
/// [`crate::conntrack::child`].
pub const FOLLOWER_CALLS: &[Call] = &[
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_poll, When::Always, "waits for events"),
    call(libc::SYS_ppoll, When::Always, "waits for events"),
    call(libc::SYS_clock_gettime, When::Always, "deadlines"),
    call(libc::SYS_recvfrom, When::Always, "events and dumps"),
    call(libc::SYS_sendto, When::Always, "the request for a dump"),
    call(
        libc::SYS_bpf,
        When::OneOf(0, &FOLLOWER_BPF_COMMANDS),
        "writes translations",
    ),
];

/// With [`HELPER_CALLS`], every call of the process that asks taskstats, see [`crate::taskstats::child`].
pub const TASKSTATS_CALLS: &[Call] = &[
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_poll, When::Always, "waits for exit records"),
    call(libc::SYS_ppoll, When::Always, "waits for exit records"),
    call(libc::SYS_clock_gettime, When::Always, "the time of a walk"),
    call(libc::SYS_recvfrom, When::Always, "answers and exit records"),
    call(libc::SYS_sendto, When::Always, "questions"),
    call(
        libc::SYS_openat,
        When::BitsClear(2, WRITE_FLAGS),
        "/proc/PID/cgroup, the list of processes",
    ),
    call(libc::SYS_read, When::Always, "/proc/PID/cgroup"),
    call(libc::SYS_close, When::Always, "both"),
    call(libc::SYS_fstat, When::Always, "the list of processes"),
    call(
        libc::SYS_newfstatat,
        When::Always,
        "the inode of a cgroup, how many tasks a process has",
    ),
    call(libc::SYS_getdents64, When::Always, "the list of processes"),
    call(libc::SYS_lseek, When::Always, "the list of processes"),
    call(
        libc::SYS_fcntl,
        When::OneOf(1, &FCNTL_COMMANDS),
        "the list of processes",
    ),
];

/// Flags of `clone` as the process that has files looked at gives them: no thread, no namespace.
const FORK_FLAGS: [u64; 1] = [libc::SIGCHLD as u64];
const EXAMINER_PRCTLS: [u64; 1] = [libc::PR_SET_NO_NEW_PRIVS as u64];

/// With [`HELPER_CALLS`], every call of the process that has files looked at, and of its children until they give up
/// more: see [`crate::examiner`].
pub const EXAMINER_CALLS: &[Call] = &[
    call(libc::SYS_recvmsg, When::Always, "questions"),
    call(libc::SYS_close, When::Always, "the file"),
    call(
        libc::SYS_fcntl,
        When::OneOf(1, &[libc::F_GETFD as u64]),
        "the file: with debug assertions it is looked at before it is closed",
    ),
    call(
        libc::SYS_clone,
        When::OneOf(0, &FORK_FLAGS),
        "a child for each file",
    ),
    call(libc::SYS_wait4, When::Always, "its status"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_alarm, When::Always, "child: its time"),
    call(libc::SYS_setitimer, When::Always, "child: its time"),
    call(
        libc::SYS_prctl,
        When::OneOf(0, &EXAMINER_PRCTLS),
        "child: its own filter",
    ),
    call(libc::SYS_seccomp, When::Always, "child: its own filter"),
    call(libc::SYS_pread64, When::Always, "child: the file"),
];

/// Every call of a process that looks at a file.
pub const READER_CALLS: &[Call] = &[
    call(libc::SYS_pread64, When::Always, "the file"),
    call(
        libc::SYS_exit_group,
        When::Always,
        "its end, which is the answer",
    ),
];

/// The filter cannot be made or set.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// It cannot be made for this machine.
    #[error("cannot make the seccomp filter")]
    Compile(#[from] BackendError),
    /// The kernel does not take it.
    #[error("cannot set the seccomp filter: the kernel must have CONFIG_SECCOMP_FILTER")]
    Apply(#[from] seccompiler::Error),
}

/// Leaves only [`CALLS`] to all threads, for good.
///
/// # Errors
/// See [`SeccompError`]; nothing is restricted then.
pub fn restrict() -> Result<(), SeccompError> {
    apply_filter_all_threads(&filter(&[CALLS])?).map_err(SeccompError::Apply)
}

/// The same with [`FOLLOWER_CALLS`].
///
/// # Errors
/// See [`SeccompError`].
pub fn restrict_follower() -> Result<(), SeccompError> {
    apply_filter_all_threads(&filter(&[HELPER_CALLS, FOLLOWER_CALLS])?).map_err(SeccompError::Apply)
}

/// The same with [`TASKSTATS_CALLS`].
///
/// # Errors
/// See [`SeccompError`].
pub fn restrict_taskstats() -> Result<(), SeccompError> {
    apply_filter_all_threads(&filter(&[HELPER_CALLS, TASKSTATS_CALLS])?)
        .map_err(SeccompError::Apply)
}

/// The same with [`EXAMINER_CALLS`].
///
/// # Errors
/// See [`SeccompError`].
pub fn restrict_examiner() -> Result<(), SeccompError> {
    apply_filter_all_threads(&filter(&[HELPER_CALLS, EXAMINER_CALLS])?).map_err(SeccompError::Apply)
}

/// The filter that leaves only [`READER_CALLS`], to be set later.
///
/// # Errors
/// [`SeccompError::Compile`].
pub fn reader_filter() -> Result<BpfProgram, SeccompError> {
    Ok(filter(&[READER_CALLS])?)
}

fn filter(lists: &[&[Call]]) -> Result<BpfProgram, BackendError> {
    let mut rules = BTreeMap::new();
    for call in lists.iter().copied().flatten() {
        rules.insert(call.number, rules_of(&call.when)?);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        arch,
    )?
    .try_into()
}

/// One of these rules must hold; no rule at all means always.
fn rules_of(when: &When) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |index, operator, value| {
        let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)?;
        SeccompRule::new(vec![condition])
    };
    match when {
        When::Always => Ok(Vec::new()),
        When::BitsClear(index, bits) => Ok(vec![rule(*index, SeccompCmpOp::MaskedEq(*bits), 0)?]),
        When::OneOf(index, values) => values
            .iter()
            .map(|value| rule(*index, SeccompCmpOp::Eq, *value))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
