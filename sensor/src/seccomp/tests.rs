//! Each test makes a system call in a child under the filter and looks at how the child ends.
#![expect(
    unsafe_code,
    reason = "forks, and makes system calls that have no safe form"
)]

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::*;

/// How a child ends that sets the filter and then does `action`.
fn outcome(lists: &[&[Call]], action: fn() -> c_long) -> WaitStatus {
    let filter = filter(lists).unwrap();
    // SAFETY: between fork and _exit the child makes only system calls, and allocates nothing.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        ForkResult::Child => {
            let status = if apply_filter_all_threads(&filter).is_ok() {
                action();
                0
            } else {
                99
            };
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(status) }
        }
    }
}

fn is_killed(action: fn() -> c_long) -> bool {
    is_killed_under(&[CALLS], action)
}

fn is_killed_under(lists: &[&[Call]], action: fn() -> c_long) -> bool {
    match outcome(lists, action) {
        WaitStatus::Signaled(_, Signal::SIGSYS, _) => true,
        WaitStatus::Exited(_, 0) => false,
        other => panic!("{other:?}"),
    }
}

const PATH: &std::ffi::CStr = c"/dev/null";

// SAFETY (all below): the calls get valid or null pointers, which the kernel checks.

fn open(flags: libc::c_int) -> c_long {
    // SAFETY: see above.
    unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, PATH.as_ptr(), flags, 0) }
}

fn bpf(command: c_long) -> c_long {
    // SAFETY: see above.
    unsafe { libc::syscall(libc::SYS_bpf, command, 0, 0) }
}

fn raw(number: c_long) -> c_long {
    // SAFETY: see above.
    unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) }
}

fn map(protection: libc::c_int) -> c_long {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: see above; a new mapping overlaps nothing.
    unsafe { libc::syscall(libc::SYS_mmap, 0, 4096, protection, flags, -1, 0) }
}

#[test]
fn starting_programs_is_fatal() {
    assert!(is_killed(|| raw(libc::SYS_execve)));
    assert!(is_killed(|| raw(libc::SYS_execveat)));
    assert!(is_killed(|| raw(libc::SYS_clone3)));
    assert!(is_killed(|| raw(libc::SYS_clone)));
}

#[test]
fn making_sockets_is_fatal() {
    for action in [
        || raw(libc::SYS_connect),
        || raw(libc::SYS_bind),
        || raw(libc::SYS_socketpair),
        // SAFETY: takes three numbers.
        || unsafe { libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0) },
    ] {
        assert!(is_killed(action));
    }
}

#[test]
fn opening_for_writing_is_fatal_and_for_reading_is_not() {
    assert!(is_killed(|| open(libc::O_WRONLY)));
    assert!(is_killed(|| open(libc::O_RDWR)));
    assert!(is_killed(|| open(libc::O_RDONLY | libc::O_CREAT)));
    assert!(is_killed(|| open(libc::O_RDONLY | libc::O_TRUNC)));
    assert!(is_killed(|| open(libc::O_WRONLY | libc::O_TMPFILE)));
    assert!(is_killed(|| raw(libc::SYS_openat2)));
    assert!(!is_killed(|| open(
        libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECTORY
    )));
    assert!(!is_killed(|| open(libc::O_PATH | libc::O_NOFOLLOW)));
}

#[test]
fn changing_files_and_mounts_is_fatal() {
    for number in [
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_fsopen,
        libc::SYS_renameat2,
        libc::SYS_linkat,
        libc::SYS_symlinkat,
        libc::SYS_mknodat,
        libc::SYS_mkdirat,
        libc::SYS_fchmodat,
        libc::SYS_fchownat,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_chroot,
    ] {
        let status = {
            static NUMBER: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
            NUMBER.store(number, std::sync::atomic::Ordering::Relaxed);
            is_killed(|| raw(NUMBER.load(std::sync::atomic::Ordering::Relaxed)))
        };
        assert!(status, "system call {number}");
    }
}

#[test]
fn touching_other_processes_is_fatal() {
    assert!(is_killed(|| raw(libc::SYS_ptrace)));
    assert!(is_killed(|| raw(libc::SYS_process_vm_readv)));
    assert!(is_killed(|| raw(libc::SYS_pidfd_getfd)));
    assert!(is_killed(|| raw(libc::SYS_kill)));
}

#[test]
fn bpf_reads_maps_and_loads_nothing() {
    assert!(!is_killed(|| bpf(1)));
    // BPF_MAP_CREATE, BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_LINK_CREATE, BPF_MAP_GET_FD_BY_ID
    assert!(is_killed(|| bpf(0)));
    assert!(is_killed(|| bpf(5)));
    assert!(is_killed(|| bpf(8)));
    assert!(is_killed(|| bpf(28)));
    assert!(is_killed(|| bpf(14)));
}

#[test]
fn memory_is_never_executable() {
    assert!(!is_killed(|| map(libc::PROT_READ | libc::PROT_WRITE)));
    assert!(is_killed(|| map(libc::PROT_READ | libc::PROT_EXEC)));
    assert!(is_killed(|| {
        // SAFETY: protects nothing: the length is zero.
        unsafe { libc::syscall(libc::SYS_mprotect, 0, 0, libc::PROT_EXEC) }
    }));
}

#[test]
fn each_call_has_one_row_with_a_reason() {
    for lists in [&[CALLS][..], FOLLOWER, TASKSTATS, EXAMINER, &[READER_CALLS]] {
        for call in lists.iter().copied().flatten() {
            let rows = lists
                .iter()
                .copied()
                .flatten()
                .filter(|row| row.number == call.number);
            assert_eq!(rows.count(), 1, "{call:?}");
            assert!(!call.why.is_empty());
        }
    }
}

/// What the kernel side calls after the start may be called; what it calls only to load may not.
#[test]
fn the_kernel_side_has_its_commands() {
    let source = include_str!("../kernel/bpf.rs");
    let commands = source.lines().filter_map(|line| {
        let (name, number) = line
            .strip_prefix("const ")?
            .split_once(": libc::c_long = ")?;
        Some((name, number.strip_suffix(';')?.parse::<u64>().ok()?))
    });
    let commands: Vec<_> = commands.collect();
    assert!(commands.len() >= BPF_COMMANDS.len(), "{commands:?}");
    for (name, number) in commands {
        assert_eq!(
            BPF_COMMANDS.contains(&number),
            name != "LINK_CREATE",
            "{name}"
        );
    }
}

#[test]
fn who_asks_taskstats_reads_and_asks_and_no_more() {
    for action in [
        || open(libc::O_RDONLY | libc::O_CLOEXEC),
        || raw(libc::SYS_sendto),
        || raw(libc::SYS_recvfrom),
        || raw(libc::SYS_getdents64),
    ] {
        assert!(!is_killed_under(TASKSTATS, action));
    }
    for action in [
        || open(libc::O_WRONLY),
        || open(libc::O_RDWR | libc::O_CREAT),
        || raw(libc::SYS_socket),
        || raw(libc::SYS_bind),
        || raw(libc::SYS_sendmsg),
        || raw(libc::SYS_recvmsg),
        || raw(libc::SYS_setsockopt),
        || raw(libc::SYS_ioctl),
        || raw(libc::SYS_setns),
        || raw(libc::SYS_clone),
        || raw(libc::SYS_clone3),
        || raw(libc::SYS_execve),
        || raw(libc::SYS_kill),
        || raw(libc::SYS_bpf),
        || raw(libc::SYS_pread64),
        || raw(libc::SYS_readlinkat),
        || raw(libc::SYS_mprotect),
    ] {
        assert!(is_killed_under(TASKSTATS, action));
    }
}

const FOLLOWER: &[&[Call]] = &[HELPER_CALLS, FOLLOWER_CALLS];
const TASKSTATS: &[&[Call]] = &[HELPER_CALLS, TASKSTATS_CALLS];
const EXAMINER: &[&[Call]] = &[HELPER_CALLS, EXAMINER_CALLS];

#[test]
fn who_has_programs_looked_at_forks_and_no_more() {
    let fork = || {
        // SAFETY: a copy of this process, which ends at once.
        match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
            // SAFETY: it does not return.
            0 => unsafe { libc::_exit(0) },
            pid => pid,
        }
    };
    assert!(!is_killed_under(EXAMINER, fork));
    let with_namespace = || {
        let flags = libc::SIGCHLD | libc::CLONE_NEWUSER;
        // SAFETY: it is killed.
        unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) }
    };
    assert!(is_killed_under(EXAMINER, with_namespace));
    for action in [
        || open(libc::O_RDONLY),
        || raw(libc::SYS_clone3),
        || raw(libc::SYS_execve),
        || raw(libc::SYS_socket),
        || raw(libc::SYS_kill),
        || raw(libc::SYS_bpf),
    ] {
        assert!(is_killed_under(EXAMINER, action));
    }
}

#[test]
fn who_looks_at_a_program_only_reads() {
    assert!(!is_killed_under(&[READER_CALLS], || raw(libc::SYS_pread64)));
    for action in [
        || open(libc::O_RDONLY),
        || raw(libc::SYS_write),
        || raw(libc::SYS_sendmsg),
        || raw(libc::SYS_recvmsg),
        || raw(libc::SYS_clone),
        || raw(libc::SYS_mmap),
        || raw(libc::SYS_prctl),
    ] {
        assert!(is_killed_under(&[READER_CALLS], action));
    }
}
