//! Forks a process that helps the sensor with fewer rights than it, or with other ones.
#![expect(unsafe_code, reason = "fork, signal, close_range and _exit")]

use std::ffi::CStr;
use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

/// Forks it: with these descriptors and the standard ones it runs `body`, and ends when that does or the sensor. Tools that
/// list processes show it by this name, of 15 bytes at most. To be called while there is one thread.
///
/// # Errors
/// The kernel gives no process.
pub(crate) fn start(name: &CStr, kept: Vec<RawFd>, body: impl FnOnce()) -> io::Result<()> {
    // Nobody waits for helpers, so the kernel is not to keep their status: what they write to says that they ended.
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
    let sensor = getpid();
    // SAFETY: the sensor has one thread when it starts, so that no lock is held by a thread the child has not. The
    // child runs `body` and ends by `_exit`: nothing of the parent's is dropped twice.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(()),
        ForkResult::Child => {
            close_all_but(kept);
            let _ = catch_unwind(AssertUnwindSafe(|| {
                if ends_with(sensor) && prctl::set_name(name).is_ok() {
                    body();
                }
            }));
            // SAFETY: it does not return.
            unsafe { libc::_exit(1) }
        }
    }
}

/// Has the kernel end this process with its parent; false if that has ended already.
fn ends_with(parent: Pid) -> bool {
    prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == parent
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
