//! Opens the performance data of a Java virtual machine: `/tmp/hsperfdata_USER/PID` of the process's own root, which the
//! machine maps and keeps current (HotSpot's `perfMemory_posix.cpp`). The aggregator reads it; nothing of it is here.
//!
//! Why the sensor: the file is readable by its user alone, and another process's root by nobody without
//! `CAP_SYS_PTRACE`, see [`super::process_root`] for the way there. The file must be a regular one of the process's
//! own user, in a directory that only this user can write. So whatever number is asked for, one gets what that very
//! process wrote for others to read. A `/tmp` whose users are mapped by the mount (idmapped) is not reached.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nodescope_schema::Refusal;

use super::mount_table::{check_mount, read_file};
use super::mounts::Mount;
use super::process_root::{self, DIRECTORY, ProcessRoots};
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

/// Opens performance data.
#[derive(Debug, Default)]
pub struct JvmData {
    roots: ProcessRoots,
}

impl JvmData {
    /// Opens that of a process.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if there is none or no way to it, [`Refusal::Forbidden`] if it is not as it should be.
    pub fn open(&mut self, pid: u32) -> Result<OwnedFd, Refusal> {
        let status = read_file(&format!("/proc/{pid}/status")).map_err(|_| Refusal::NotFound)?;
        let process = ProcessStatus::parse(&status).ok_or(Refusal::NotFound)?;
        self.roots
            .open_in(pid, Path::new(TEMPORARY), |temporary, mount, _| {
                open_in(temporary, mount, process)
            })
    }
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
    process_root::first(users.take(MAX_USERS), |name| {
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
