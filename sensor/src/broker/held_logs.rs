//! Opens log files that processes hold open to write to them, and those that were rotated away beside them.
//!
//! Why the sensor: the directories of logs are closed to others, and another process's root is out of reach for the
//! aggregator; see [`super::process_root`] for the way there. Which files these are the kernel has said: the file must be
//! the very one that a process had open for writing below `/var/log` of its own root, by its number and file system,
//! however it is named now. Like that, nobody can have the sensor open a file that he could not write to, whatever he
//! mounts there in the meantime. A rotated file must lie in the same directory, belong to the same user, have a name made
//! of that of the log and digits, and be held as no other log. No file with a second name is opened: that one may be in a
//! directory of somebody else's.
//!
//! Known limit: a file that came with an image is not found if the sensor can reach the union of directories but not
//! the one below it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nodescope_schema::Refusal;

use super::arguments::Query;
use super::mount_table::check_mount;
use super::mounts::Mount;
use super::process_root::ProcessRoots;
use super::walk::{self, file_type, refusal};
use crate::held_logs::HeldLogs;
use crate::rotated::is_rotated;

/// Longest directory that is listed: thousands of names, and a bound on what a listing can cost the kernel.
const MAX_DIRECTORY_BYTES: i64 = 1 << 20;
/// Names looked at in it.
const MAX_NAMES: usize = 4096;
/// Rotated files of one log that are looked at.
const MAX_ROTATED: usize = 128;

/// A descriptor that stands for a file a log may be in, and what it is.
type Found = (OwnedFd, FileStat);

/// Opens them.
#[derive(Debug)]
pub(super) struct HeldLogFiles {
    held: HeldLogs,
    roots: ProcessRoots,
}

impl HeldLogFiles {
    pub(super) fn new(held: HeldLogs) -> Self {
        Self {
            held,
            roots: ProcessRoots::default(),
        }
    }

    /// Opens the file of a log that was opened last, or with a generation one that was rotated away.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if nobody holds the log, there is no way to it or it has two names, [`Refusal::BadArgument`] if
    /// there are not so many rotated files.
    pub(super) fn open(&mut self, query: &Query) -> Result<OwnedFd, Refusal> {
        let number = query.container.parse().map_err(|_| Refusal::BadArgument)?;
        let log = self.held.get(number).ok_or(Refusal::NotFound)?;
        let newest = log.files.last().ok_or(Refusal::NotFound)?;
        let path = newest.path();
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Refusal::NotFound);
        };
        let known_as = Path::new(OsStr::from_bytes(&log.path)).file_name();
        let held = &self.held;
        self.roots
            .open_in(newest.pid, directory, |directory, mount, filesystem| {
                if filesystem != newest.filesystem {
                    return Err(Refusal::NotFound);
                }
                let files = Directory {
                    directory,
                    mount,
                    log: known_as.unwrap_or(name),
                };
                let (place, stat) = files.find(name, newest.inode)?;
                let Some(index) = query.generation.checked_sub(1) else {
                    return walk::reopen(&place);
                };
                let is_rotated = |other: &FileStat| {
                    let is_other = || held.is_of_another(number, filesystem, other.st_ino);
                    other.st_uid == stat.st_uid && other.st_ino != stat.st_ino && !is_other()
                };
                files.open_rotated(index as usize, is_rotated)
            })
    }
}

/// The directory of a log.
struct Directory<'a> {
    directory: BorrowedFd<'a>,
    mount: &'a Mount,
    /// Name of the log.
    log: &'a OsStr,
}

impl Directory<'_> {
    /// The file with this number, which had this name a moment ago and may have been rotated since.
    fn find(&self, name: &OsStr, inode: u64) -> Result<Found, Refusal> {
        let is_it = |found: &Found| found.1.st_ino == inode;
        if let Some(found) = self.look_at(name).ok().filter(is_it) {
            return Ok(found);
        }
        let mut rotated = self.rotated()?;
        rotated.find(is_it).ok_or(Refusal::NotFound)
    }

    /// Opens the newest but `index` of the rotated files that are right.
    fn open_rotated(
        &self,
        index: usize,
        is_right: impl Fn(&FileStat) -> bool,
    ) -> Result<OwnedFd, Refusal> {
        let mut found: Vec<Found> = self.rotated()?.filter(|(_, stat)| is_right(stat)).collect();
        found.sort_by_key(|(_, stat)| std::cmp::Reverse((stat.st_mtime, stat.st_mtime_nsec)));
        let (place, _) = found.into_iter().nth(index).ok_or(Refusal::BadArgument)?;
        walk::reopen(&place)
    }

    /// Files with names that rotating gives.
    fn rotated(&self) -> Result<impl Iterator<Item = Found>, Refusal> {
        let stat = fstat(self.directory).map_err(refusal)?;
        if stat.st_size > MAX_DIRECTORY_BYTES {
            return Err(Refusal::Forbidden);
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut listing =
            Dir::openat(self.directory, ".", flags, Mode::empty()).map_err(refusal)?;
        let names = listing.iter().take(MAX_NAMES).filter_map(|entry| {
            let entry = entry.ok()?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            is_rotated(name.as_bytes(), self.log.as_bytes()).then(|| name.to_owned())
        });
        let names: Vec<OsString> = names.take(MAX_ROTATED).collect();
        Ok(names
            .into_iter()
            .filter_map(|name| self.look_at(&name).ok()))
    }

    fn look_at(&self, name: &OsStr) -> Result<Found, Refusal> {
        let place = walk::place(self.directory, name)?;
        check_mount(&place, self.mount)?;
        let stat = fstat(&place).map_err(refusal)?;
        if file_type(&stat) != SFlag::S_IFREG || stat.st_nlink > 1 {
            return Err(Refusal::Forbidden);
        }
        Ok((place, stat))
    }
}

#[cfg(test)]
mod tests;
