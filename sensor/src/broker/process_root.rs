//! Directories of other processes' roots, where files of containers are.
//!
//! `/proc/PID/root` is for who has `CAP_SYS_PTRACE`, and with that right one may read the memory of every process, so the
//! sensor does not keep it. Instead the process's mount table, which all may read, says on which file system a path of
//! it is and where; the same place is reached through the sensor's own mounts, with the search permission the broker has
//! anyway. No symbolic link is followed and no other mount entered. Of a union of directories, as runtimes make them, it is
//! the directory with what was written that is looked into, where runtimes and the sensor's table agree on it: a file that
//! is open there does not keep a container's root from being unmounted.
//!
//! Known limits: a directory that is mounted in the container's namespace alone (`docker run --tmpfs`, rootless
//! runtimes) or that is a symbolic link is not reached; nor is one on a network file system, which could hang.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nodescope_schema::{Refusal, StatFilesystem};

use super::mount_table::{Table, check_mount, read_file};
use super::mounts::{Mount, Mounts, Way};
use super::walk::refusal;

/// A descriptor that stands for a directory.
pub(super) const DIRECTORY: OFlag = OFlag::O_PATH
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

/// Finds them.
#[derive(Debug, Default)]
pub(super) struct ProcessRoots {
    own_mounts: Table,
}

impl ProcessRoots {
    /// Opens something in a directory of a process, which is given with the sensor's mount it is on and the file system it
    /// is on for the process.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if there is no such process or no way to the directory; else what `open` says.
    pub(super) fn open_in(
        &mut self,
        pid: u32,
        directory: &Path,
        open: impl FnOnce(BorrowedFd<'_>, &Mount, StatFilesystem) -> Result<OwnedFd, Refusal>,
    ) -> Result<OwnedFd, Refusal> {
        let mounts = read_file(&format!("/proc/{pid}/mountinfo")).map_err(|_| Refusal::NotFound)?;
        let spot = Mounts::parse(&mounts).spot(directory);
        let spot = spot.ok_or(Refusal::NotFound)?;
        let own_mounts = self.own_mounts.fresh().map_err(|_| Refusal::Io)?;
        let ways = own_mounts.ways_to(&spot);
        // They lead to the same place, but below a union a file has another device than in it: the first that is open is
        // the one, whatever is found there.
        let (directory, mount) = first(ways.iter(), |way| Ok((enter(way)?, &way.mount)))?;
        open(directory.as_fd(), mount, spot.filesystem)
    }
}

/// The first that opens, else the gravest refusal: a file that is there and may not be given out.
pub(super) fn first<T, R>(
    candidates: impl Iterator<Item = T>,
    mut open: impl FnMut(T) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let mut refused = Refusal::NotFound;
    for candidate in candidates {
        match open(candidate) {
            Ok(file) => return Ok(file),
            Err(Refusal::NotFound) => {}
            Err(refusal) => refused = refusal,
        }
    }
    Err(refused)
}

/// Walks to the directory, step by step so that no link is followed.
pub(super) fn enter(way: &Way) -> Result<OwnedFd, Refusal> {
    let mut here = open(&way.mount.point, DIRECTORY, Mode::empty()).map_err(refusal)?;
    for part in &way.below {
        here = openat(&here, part, DIRECTORY, Mode::empty()).map_err(refusal)?;
    }
    check_mount(&here, &way.mount)?;
    Ok(here)
}
