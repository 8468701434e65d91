//! Which file each process executes, from a walk over all tasks. Who asks has it walk; questions come many at once, so
//! what a walk found is kept for a moment.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};
use nodescope_ebpf::abi::{self, Decode};
use nodescope_ebpf::maps;
use nodescope_schema::StatFilesystem;

use super::SourceError;
use super::convert;
use super::existing::{Present, read_iterator};
use super::probes::SCAN_EXECUTABLES;
use super::table::{Batch, Opaque, Table};

/// How old a walk may be. A process may execute another file by then.
const MAX_AGE: Duration = Duration::from_millis(100);
/// From one walk to the next, and at least so many times as long as the walk took: what questions can cost, whoever asks.
const MIN_REST: Duration = Duration::from_millis(20);
const REST_FACTOR: u32 = 9;
/// Entries of the map, as `ebpf/include/abi.h` has it.
const MAX_PRINTED: u32 = 16 << 10;
/// Processes kept of a walk; those behind are not found.
const MAX_PROCESSES: usize = 32 << 10;
/// Files kept of a walk.
const MAX_FILES: usize = 16 << 10;

/// Key of `executables`.
type Printed = Opaque<16>;
/// File system and number.
type FileKey = (u32, u64);

/// A file that a process executes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExecutableFile {
    /// Its file system.
    pub filesystem: StatFilesystem,
    /// Its number.
    pub inode: u64,
    /// Its path from the root of the file system.
    pub path: PathBuf,
}

/// Asks the kernel. By default there is none to ask, and no file is found.
#[derive(Debug, Default)]
pub struct Executables {
    walker: Option<Walker>,
    last: Option<Last>,
}

/// The last walk.
#[derive(Debug)]
struct Last {
    began: Instant,
    ended: Instant,
    /// Until the next one.
    rest: Duration,
    walk: Walk,
}

#[derive(Debug)]
struct Walker {
    iterator: OwnedFd,
    printed: Table<Printed, Present>,
    batch: Batch,
}

impl Executables {
    /// With the program's link and its map.
    pub(super) fn new(iterator: OwnedFd, map: BorrowedFd<'_>) -> io::Result<Self> {
        let walker = Walker {
            iterator,
            printed: Table::new(maps::EXECUTABLES, map, MAX_PRINTED)?,
            batch: Batch::default(),
        };
        Ok(Self {
            walker: Some(walker),
            last: None,
        })
    }

    /// The file of a process that was asked for at this time; none if there is no such process, or if its path is too deep.
    ///
    /// # Errors
    /// The kernel did not walk.
    pub fn of(&mut self, pid: u32, asked: Instant) -> Result<Option<ExecutableFile>, SourceError> {
        let Some(walker) = &mut self.walker else {
            return Ok(None);
        };
        if let Some(last) = &self.last {
            let is_fresh = last.ended.elapsed() < MAX_AGE.max(last.rest);
            if let Some(file) = last.walk.file_of(pid).filter(|_| is_fresh) {
                return Ok(Some(file));
            }
            if last.began > asked {
                return Ok(None);
            }
            // It may be younger than the walk.
            wait_until(last.ended + last.rest);
        }
        let last = self.last.insert(walker.walk()?);
        Ok(last.walk.file_of(pid))
    }
}

fn wait_until(time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    // Of the calls that wait, the one that the sensor may make. A signal only shortens it.
    let _ = poll(&mut [], timeout);
}

impl Walker {
    fn walk(&mut self) -> Result<Last, SourceError> {
        let began = Instant::now();
        let mut output = Output::default();
        let read = read_iterator(SCAN_EXECUTABLES, self.iterator.as_fd(), &mut |bytes| {
            output.take(bytes);
        });
        self.printed.clear(&mut self.batch)?;
        read?;
        let ended = Instant::now();
        Ok(Last {
            began,
            ended,
            rest: MIN_REST.max((ended - began) * REST_FACTOR),
            walk: output.walk,
        })
    }
}

/// What a walk found.
#[derive(Debug, Default)]
struct Walk {
    processes: HashMap<u32, FileKey>,
    paths: HashMap<FileKey, PathBuf>,
}

impl Walk {
    fn file_of(&self, pid: u32) -> Option<ExecutableFile> {
        let key = self.processes.get(&pid)?;
        Some(ExecutableFile {
            filesystem: convert::filesystem(key.0),
            inode: key.1,
            path: self.paths.get(key)?.clone(),
        })
    }

    fn add(&mut self, found: abi::Executable) -> FileKey {
        let key = (found.device, found.inode);
        if self.processes.len() < MAX_PROCESSES {
            self.processes.insert(found.pid, key);
        }
        key
    }

    /// With its names from the file up to the root.
    fn add_path(&mut self, key: FileKey, names: &[u8]) {
        if self.paths.len() < MAX_FILES {
            let names = names.rchunks_exact(abi::ExecutableName::BYTES);
            let names = names.filter_map(abi::ExecutableName::from_bytes);
            let mut path = PathBuf::from("/");
            names.for_each(|name| path.push(OsStr::from_bytes(name.bytes())));
            self.paths.insert(key, path);
        }
    }
}

/// Takes what the program prints, in pieces of any length.
#[derive(Debug, Default)]
struct Output {
    walk: Walk,
    rest: Vec<u8>,
}

impl Output {
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some(length) = self.take_one(taken) {
            taken += length;
        }
        self.rest.drain(..taken);
    }

    /// The next process and its names, if they are there whole, and how long they were.
    fn take_one(&mut self, from: usize) -> Option<usize> {
        let rest = &self.rest[from..];
        let (process, rest) = rest.split_at_checked(abi::Executable::BYTES)?;
        let found = abi::Executable::from_bytes(process)?;
        let names = usize::try_from(found.names).unwrap_or(usize::MAX);
        let names = names.min(abi::EXECUTABLE_PATH_NAMES) * abi::ExecutableName::BYTES;
        let names = rest.get(..names)?;
        let key = self.walk.add(found);
        if !names.is_empty() {
            self.walk.add_path(key, names);
        }
        Some(process.len() + names.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executable(pid: u32, inode: u64, names: u32) -> Vec<u8> {
        let mut bytes = inode.to_ne_bytes().to_vec();
        for field in [8 << 20 | 1, pid, names, 0_u32] {
            bytes.extend(field.to_ne_bytes());
        }
        bytes
    }

    fn path(names: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0; names.len() * abi::EXECUTABLE_NAME_BYTES];
        for (index, name) in names.iter().enumerate() {
            bytes[index * abi::EXECUTABLE_NAME_BYTES..][..name.len()]
                .copy_from_slice(name.as_bytes());
        }
        bytes
    }

    #[test]
    fn output_in_pieces_of_any_length() {
        let whole = [
            executable(5, 70, 3),
            path(&["server", "bin", "usr"]),
            executable(6, 70, 0),
            executable(7, 71, 0),
            executable(8, 72, 1),
            path(&["init"]),
        ]
        .concat();
        for length in [1, 7, 24, 1000, whole.len()] {
            let mut output = Output::default();
            whole.chunks(length).for_each(|piece| output.take(piece));
            let path_of = |pid| output.walk.file_of(pid).map(|file| file.path);
            assert_eq!(path_of(5), Some("/usr/bin/server".into()));
            assert_eq!(path_of(6), Some("/usr/bin/server".into()));
            assert_eq!(path_of(7), None, "too deep");
            assert_eq!(path_of(8), Some("/init".into()));
            assert_eq!(path_of(9), None);
            let file = output.walk.file_of(8).unwrap();
            assert_eq!((file.filesystem.major, file.filesystem.minor), (8, 1));
            assert_eq!(file.inode, 72);
        }
    }
}
