//! What this process inherits from the one that started it: descriptors and environment. Nothing of it is kept but the
//! socket that systemd passes (`sd_listen_fds(3)`).
//!
//! The two system calls here have no safe wrapper among our dependencies.
#![expect(
    unsafe_code,
    reason = "close_range, clearenv and taking over an inherited descriptor"
)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// The first descriptor that systemd passes.
const FIRST_PASSED: RawFd = 3;

/// Starting clean failed.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// Inherited descriptors could not be closed.
    #[error("cannot close inherited descriptors")]
    Close(#[source] Errno),
    /// systemd passed another number of sockets than one.
    #[error("{0} sockets were passed, want one: check the socket unit")]
    Count(u32),
}

/// Closes every descriptor above standard error but a passed socket, and clears the environment. Returns the socket.
///
/// # Errors
/// See [`ActivationError`].
pub fn start_clean() -> Result<Option<OwnedFd>, ActivationError> {
    let passed = passed_descriptors(
        std::env::var("LISTEN_PID").ok().as_deref(),
        std::env::var("LISTEN_FDS").ok().as_deref(),
        std::process::id(),
    );
    let keep = passed.min(1);
    close_from(FIRST_PASSED + RawFd::from(keep == 1)).map_err(ActivationError::Close)?;
    // SAFETY: no other thread exists yet that could read the environment.
    unsafe { libc::clearenv() };
    match passed {
        0 => Ok(None),
        // SAFETY: systemd opened it for us, the line above left it open, and nothing else owns it.
        1 => Ok(Some(unsafe { OwnedFd::from_raw_fd(FIRST_PASSED) })),
        count => Err(ActivationError::Count(count)),
    }
}

/// How many descriptors were passed to this very process.
fn passed_descriptors(pid: Option<&str>, count: Option<&str>, own_pid: u32) -> u32 {
    let for_us = pid.and_then(|pid| pid.parse::<u32>().ok()) == Some(own_pid);
    if !for_us {
        return 0;
    }
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn close_from(first: RawFd) -> Result<(), Errno> {
    // SAFETY: takes three numbers. Nothing in this process owns a descriptor from `first` on: it has just started.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    match Errno::result(result) {
        // Linux before 5.9: closing by number is all there is.
        Err(Errno::ENOSYS) => close_each(first),
        other => other.map(drop),
    }
}

fn close_each(first: RawFd) -> Result<(), Errno> {
    let (limit, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    let limit = RawFd::try_from(limit)
        .unwrap_or(RawFd::MAX)
        .min(MAX_CLOSED_BY_NUMBER);
    for fd in first..limit {
        // SAFETY: as above. A number that is not open gives an error that does not matter.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Bounds the time that closing by number takes.
const MAX_CLOSED_BY_NUMBER: RawFd = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_meant_for_this_process() {
        assert_eq!(passed_descriptors(Some("42"), Some("1"), 42), 1);
        assert_eq!(passed_descriptors(Some("42"), Some("3"), 42), 3);
        for (pid, count) in [
            (Some("41"), Some("1")),
            (None, Some("1")),
            (Some("42"), None),
            (Some("42"), Some("")),
            (Some("42"), Some("-1")),
            (Some("x"), Some("1")),
        ] {
            assert_eq!(passed_descriptors(pid, count, 42), 0, "{pid:?} {count:?}");
        }
    }
}
