//! Opens one file by walking to it directory by directory, so that what is checked is what is used.
//!
//! Each step opens one component without following links and looks at the result through its descriptor: nobody can
//! swap a directory between check and use. `openat2` with `RESOLVE_*` could do the walk in one call, but takes its
//! flags in memory, where a seccomp filter cannot see them; this way the filter can forbid opening for writing.
//!
//! - A directory must belong to root (in a user's part also to that user) and must not be writable by others; in the
//!   system's part not by its group either, except in a base of which its kind says so.
//! - In the base a symbolic link is followed if root made it in a directory that only root can write. Links that a user
//!   made, and all links below the base, are refused.
//! - The file must be a regular one with a single name, of the right owner and at most as long as its kind allows. It
//!   is looked at before it is opened, and then opened through the descriptor that was looked at: opening a FIFO or a
//!   device can have effects, and by then the name may be that of one.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{self, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nodescope_schema::Refusal;

/// Symbolic links followed on the way to a file.
const MAX_LINKS: usize = 8;
/// Components walked, those of links included.
const MAX_COMPONENTS: usize = 64;

/// Whose files and directories are accepted.
#[derive(Debug, Clone, Copy)]
pub struct Owners {
    /// Root, or the sensor's own user where it does not run as root.
    pub system: u32,
    /// The user of a rootless runtime.
    pub user: Option<u32>,
    /// A directory of the base may be writable by its group.
    pub base_of_group: bool,
}

impl Owners {
    fn accept(self, uid: u32) -> bool {
        uid == self.system || self.user == Some(uid)
    }

    /// The owner the file itself must have.
    fn of_file(self) -> u32 {
        self.user.unwrap_or(self.system)
    }

    /// Whether only accepted owners can change what is in this directory.
    fn trust_directory(self, stat: &FileStat, in_base: bool) -> bool {
        let trust_group = stat.st_uid != self.system || in_base && self.base_of_group;
        let writers = if trust_group { 0o002 } else { 0o022 };
        self.accept(stat.st_uid) && stat.st_mode & writers == 0
    }
}

/// Opens `file` below the directory `base`, both taken from `root`, for reading.
///
/// # Errors
/// [`Refusal::NotFound`], [`Refusal::Forbidden`] by the rules above, or [`Refusal::Io`].
pub fn open(
    root: BorrowedFd<'_>,
    base: &str,
    file: &str,
    owners: Owners,
    max_bytes: u64,
) -> Result<OwnedFd, Refusal> {
    let (directories, name) = file.rsplit_once('/').unwrap_or(("", file));
    let directory = directory(root, base, directories, owners)?;
    open_file(directory.as_fd(), OsStr::new(name), owners, max_bytes)
}

/// A descriptor that stands for the directory `directories` below `base`; nothing can be read from it.
///
/// # Errors
/// As [`open`].
pub fn directory(
    root: BorrowedFd<'_>,
    base: &str,
    directories: &str,
    owners: Owners,
) -> Result<OwnedFd, Refusal> {
    let mut walk = Walk::new(root, owners)?;
    walk.enter(base.as_bytes(), Links::OfRoot)?;
    walk.enter(directories.as_bytes(), Links::None)?;
    walk.finish()
}

/// Which symbolic links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    None,
    OfRoot,
}

/// The directories walked through, from the root to where we are.
struct Walk {
    directories: Vec<Directory>,
    owners: Owners,
    links_left: usize,
    components_left: usize,
}

struct Directory {
    fd: OwnedFd,
    /// Owned by root and writable only by it: what lies in it was put there by root.
    only_system_writes: bool,
}

impl Walk {
    fn new(root: BorrowedFd<'_>, owners: Owners) -> Result<Self, Refusal> {
        let fd = root.try_clone_to_owned().map_err(|_| Refusal::Io)?;
        Ok(Self {
            directories: vec![Directory {
                fd,
                only_system_writes: true,
            }],
            owners,
            links_left: MAX_LINKS,
            components_left: MAX_COMPONENTS,
        })
    }

    fn finish(mut self) -> Result<OwnedFd, Refusal> {
        let last = self.directories.pop().ok_or(Refusal::Io)?;
        Ok(last.fd)
    }

    fn here(&self) -> BorrowedFd<'_> {
        // The root is never removed.
        self.directories[self.directories.len() - 1].fd.as_fd()
    }

    /// Walks along `path`, which may come from a link and so may hold `..`, but never leaves the root.
    fn enter(&mut self, path: &[u8], links: Links) -> Result<(), Refusal> {
        let mut pending: Vec<Vec<u8>> = components(path);
        while let Some(name) = pending.pop() {
            self.components_left = self
                .components_left
                .checked_sub(1)
                .ok_or(Refusal::Forbidden)?;
            if name == b".." {
                self.directories.truncate(1.max(self.directories.len() - 1));
                continue;
            }
            if let Some(target) = self.step(OsStr::from_bytes(&name), links)? {
                if target.first() == Some(&b'/') {
                    self.directories.truncate(1);
                }
                pending.extend(components(&target));
            }
        }
        Ok(())
    }

    /// Enters `name`, or returns the target of the link that it is.
    fn step(&mut self, name: &OsStr, links: Links) -> Result<Option<Vec<u8>>, Refusal> {
        let fd = place(self.here(), name)?;
        let stat = fstat(&fd).map_err(refusal)?;
        match file_type(&stat) {
            SFlag::S_IFDIR if self.owners.trust_directory(&stat, links == Links::OfRoot) => {
                let only_system_writes =
                    stat.st_uid == self.owners.system && stat.st_mode & 0o022 == 0;
                self.directories.push(Directory {
                    fd,
                    only_system_writes,
                });
                Ok(None)
            }
            SFlag::S_IFLNK if links == Links::OfRoot && self.trust_link(&stat) => {
                self.links_left = self.links_left.checked_sub(1).ok_or(Refusal::Forbidden)?;
                let target = readlinkat(&fd, "").map_err(refusal)?;
                Ok(Some(target.as_bytes().to_vec()))
            }
            SFlag::S_IFDIR | SFlag::S_IFLNK => Err(Refusal::Forbidden),
            _ => Err(Refusal::NotFound),
        }
    }

    fn trust_link(&self, link: &FileStat) -> bool {
        let directory = self.directories.last();
        link.st_uid == self.owners.system && directory.is_some_and(|dir| dir.only_system_writes)
    }
}

/// The components of a path, the first one last.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path
        .split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."));
    let mut parts: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
    parts.reverse();
    parts
}

/// Opens the file `name` in `directory` for reading.
///
/// # Errors
/// As [`open`].
pub fn open_file(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    owners: Owners,
    max_bytes: u64,
) -> Result<OwnedFd, Refusal> {
    open_place(&place(directory, name)?, owners, max_bytes)
}

/// A descriptor that stands for what has this name in `directory`, be it a link; nothing can be read from it.
///
/// # Errors
/// As [`open`].
pub fn place(directory: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Refusal> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::empty()).map_err(refusal)
}

/// Opens the very file that a descriptor of [`place`] stands for, whatever has its name by now.
///
/// # Errors
/// As [`open`].
pub fn open_place(place: &OwnedFd, owners: Owners, max_bytes: u64) -> Result<OwnedFd, Refusal> {
    check_file(&fstat(place).map_err(refusal)?, owners, max_bytes)?;
    reopen(place)
}

/// The same for a file that was checked. It must be a regular one: to open others can have effects.
///
/// # Errors
/// [`Refusal::Forbidden`] or [`Refusal::Io`].
pub(super) fn reopen(place: &OwnedFd) -> Result<OwnedFd, Refusal> {
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    // Who has a lease on the file could else keep this waiting.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    fcntl::open(path.as_str(), flags, Mode::empty()).map_err(refusal)
}

fn check_file(stat: &FileStat, owners: Owners, max_bytes: u64) -> Result<(), Refusal> {
    let short = u64::try_from(stat.st_size).is_ok_and(|bytes| bytes <= max_bytes);
    let ours = stat.st_uid == owners.of_file();
    // A second name may lie where somebody else put it.
    let one_name = stat.st_nlink <= 1;
    let regular = file_type(stat) == SFlag::S_IFREG;
    if regular && ours && one_name && short {
        Ok(())
    } else {
        Err(Refusal::Forbidden)
    }
}

pub(super) fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

pub(super) fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG => Refusal::NotFound,
        Errno::ELOOP | Errno::EACCES | Errno::EPERM => Refusal::Forbidden,
        _ => Refusal::Io,
    }
}

#[cfg(test)]
mod tests;
