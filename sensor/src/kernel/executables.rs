//! Which file each process executes, from a walk over all tasks. Who asks has it walk; questions come many at once, so
//! what a walk found is kept for a moment.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
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
/// From one walk to the next: what questions for processes that are not there can cost.
const MIN_AGE: Duration = Duration::from_millis(20);
/// Entries of the map, as `ebpf/include/abi.h` has it.
const MAX_PRINTED: u32 = 4096;
/// Processes kept of a walk; those behind are not found.
const MAX_PROCESSES: usize = 32 << 10;
/// Files kept of a walk.
const MAX_FILES: usize = 4096;

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
    walk: Option<(Instant, Walk)>,
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
            walk: None,
        })
    }

    /// The file of a process; none if there is no such process, or if its path is too deep.
    ///
    /// # Errors
    /// The kernel did not walk.
    pub fn of(&mut self, pid: u32) -> Result<Option<ExecutableFile>, SourceError> {
        let Some(walker) = &mut self.walker else {
            return Ok(None);
        };
        if let Some((at, walk)) = self.walk.take_if(|(at, _)| at.elapsed() < MAX_AGE) {
            if let Some(file) = walk.file_of(pid) {
                self.walk = Some((at, walk));
                return Ok(Some(file));
            }
            // It may be younger than the walk.
            wait_until(at + MIN_AGE);
        }
        let now = Instant::now();
        let (_, walk) = self.walk.insert((now, walker.walk()?));
        Ok(walk.file_of(pid))
    }
}

fn wait_until(time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    // Of the calls that wait, the one that the sensor may make. A signal only shortens it.
    let _ = poll(&mut [], timeout);
}

impl Walker {
    fn walk(&mut self) -> Result<Walk, SourceError> {
        let mut output = Output::default();
        let read = read_iterator(SCAN_EXECUTABLES, self.iterator.as_fd(), &mut |bytes| {
            output.take(bytes);
        });
        self.printed.clear(&mut self.batch)?;
        read.map(|()| output.walk)
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

    fn add_path(&mut self, key: FileKey, names: u32, path: &abi::ExecutablePath) {
        if self.paths.len() < MAX_FILES {
            let names = path.names(names).rev().map(OsStr::from_bytes);
            let path = Path::new("/").join(names.collect::<PathBuf>());
            self.paths.insert(key, path);
        }
    }
}

/// Takes what the program prints, in pieces of any length.
#[derive(Debug, Default)]
struct Output {
    walk: Walk,
    rest: Vec<u8>,
    /// The file whose path comes next, and the number of its names.
    path_of: Option<(FileKey, u32)>,
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

    /// The next struct, if it is there whole, and how long it was.
    fn take_one(&mut self, from: usize) -> Option<usize> {
        let rest = &self.rest[from..];
        if let Some((key, names)) = self.path_of {
            let bytes = rest.get(..abi::ExecutablePath::BYTES)?;
            let path = abi::ExecutablePath::from_bytes(bytes)?;
            self.walk.add_path(key, names, &path);
            self.path_of = None;
            return Some(bytes.len());
        }
        let bytes = rest.get(..abi::Executable::BYTES)?;
        let found = abi::Executable::from_bytes(bytes)?;
        let length = bytes.len();
        let key = self.walk.add(found);
        self.path_of = (found.names > 0).then_some((key, found.names));
        Some(length)
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
        let mut bytes = vec![0; abi::ExecutablePath::BYTES];
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
