//! Opens the performance data of a Java virtual machine: `/tmp/hsperfdata_USER/PID` of the process's own root, which the
//! machine maps and keeps current (HotSpot's `perfMemory_posix.cpp`). The aggregator reads it; nothing of it is here.
//!
//! Why the sensor: the file is readable by its user alone, and another process's root by nobody without
//! `CAP_SYS_PTRACE`. That right is not kept either, since with it one may read the memory of every process. Instead
//! the process's mount table, which all may read, says on which file system its `/tmp` is and where; the same place is
//! reached through the sensor's own mounts with the search permission the broker has anyway. No symbolic link is
//! followed, no other mount entered, and the file must be a regular one of the process's own user, in a directory that
//! only this user can write. So whatever number is asked for, one gets what that very process wrote for others to read.
//!
//! Known limits: a `/tmp` that is mounted in the container's namespace alone (`docker run --tmpfs /tmp`, rootless
//! runtimes), that is a symbolic link, or whose users are mapped by the mount (idmapped) is not reached; nor is one on a
//! network file system, which could hang.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nodescope_schema::Refusal;

use super::mount_table::{Table, check_mount, read_file};
use super::mounts::{Mount, Mounts, Way};
use super::process_status::ProcessStatus;
use super::walk::{self, Owners, file_type, refusal};

/// Where the machine keeps it; no setting of it changes that.
const TEMPORARY: &str = "/tmp";
/// Longest file: it has 32 KiB unless `-XX:PerfDataMemorySize` says otherwise.
const MAX_BYTES: u64 = 1 << 20;
/// Longest directory that is listed: tens of thousands of names, and a bound on what a listing can cost the kernel.
const MAX_DIRECTORY_BYTES: i64 = 4 << 20;
/// Names looked at in it.
const MAX_NAMES: usize = 16_384;
/// Directories `hsperfdata_*` looked into.
const MAX_USERS: usize = 64;

const DIRECTORY: OFlag = OFlag::O_PATH
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

/// Opens performance data.
#[derive(Debug, Default)]
pub struct JvmData {
    own_mounts: Table,
}

impl JvmData {
    /// Opens that of a process.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if there is none or no way to it, [`Refusal::Forbidden`] if it is not as it should be.
    pub fn open(&mut self, pid: u32) -> Result<OwnedFd, Refusal> {
        let file = |name| read_file(&format!("/proc/{pid}/{name}")).map_err(|_| Refusal::NotFound);
        let process = ProcessStatus::parse(&file("status")?).ok_or(Refusal::NotFound)?;
        let spot = Mounts::parse(&file("mountinfo")?)
            .spot(Path::new(TEMPORARY))
            .ok_or(Refusal::NotFound)?;
        let ways = self.own_mounts.fresh().map_err(|_| Refusal::Io)?;
        first(ways.ways_to(&spot).iter(), |way| {
            let temporary = enter(way)?;
            open_in(temporary.as_fd(), &way.mount, process)
        })
    }
}

/// The first that opens, else the gravest refusal: a file that is there and may not be given out.
fn first<T>(
    candidates: impl Iterator<Item = T>,
    mut open: impl FnMut(T) -> Result<OwnedFd, Refusal>,
) -> Result<OwnedFd, Refusal> {
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
fn enter(way: &Way) -> Result<OwnedFd, Refusal> {
    let mut here = open(&way.mount.point, DIRECTORY, Mode::empty()).map_err(refusal)?;
    for part in &way.below {
        here = openat(&here, part, DIRECTORY, Mode::empty()).map_err(refusal)?;
    }
    check_mount(&here, &way.mount)?;
    Ok(here)
}

fn open_in(
    temporary: BorrowedFd<'_>,
    mount: &Mount,
    process: ProcessStatus,
) -> Result<OwnedFd, Refusal> {
    let stat = fstat(temporary).map_err(refusal)?;
    if stat.st_size > MAX_DIRECTORY_BYTES {
        return Err(Refusal::Forbidden);
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = Dir::openat(temporary, ".", flags, Mode::empty()).map_err(refusal)?;
    let users = listing.iter().take(MAX_NAMES).filter_map(|entry| {
        let name = entry.ok()?.file_name().to_owned();
        name.to_bytes().starts_with(b"hsperfdata_").then_some(name)
    });
    first(users.take(MAX_USERS), |name| {
        open_of_user(temporary, mount, &name, process)
    })
}

/// Opens the file in the directory of one user, if the process is that user's.
fn open_of_user(
    temporary: BorrowedFd<'_>,
    mount: &Mount,
    name: &CStr,
    process: ProcessStatus,
) -> Result<OwnedFd, Refusal> {
    let directory = openat(temporary, name, DIRECTORY, Mode::empty()).map_err(refusal)?;
    check_mount(&directory, mount)?;
    if !is_of(&fstat(&directory).map_err(refusal)?, process.uid) {
        return Err(Refusal::NotFound);
    }
    let owners = Owners {
        system: process.uid,
        user: None,
        base_of_group: false,
    };
    let name = process.own_pid.to_string();
    let file = walk::place(directory.as_fd(), OsStr::new(&name))?;
    check_mount(&file, mount)?;
    walk::open_place(&file, owners, MAX_BYTES)
}

/// The rule of HotSpot itself for the directory: nobody else may put anything there.
fn is_of(directory: &FileStat, uid: u32) -> bool {
    file_type(directory) == SFlag::S_IFDIR
        && directory.st_uid == uid
        && directory.st_mode & 0o022 == 0
}

#[cfg(test)]
mod tests;
