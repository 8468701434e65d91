//! What `scan_executables` prints.

use super::{Decode, Reader};

/// Names on the longest path.
pub const EXECUTABLE_PATH_NAMES: usize = 16;
/// Longest name on a path, with its terminating zero.
pub const EXECUTABLE_NAME_BYTES: usize = 128;

/// The file that a process executes. With names an [`ExecutablePath`] follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Executable {
    /// Number of the file.
    pub inode: u64,
    /// Its file system, as the kernel encodes device numbers.
    pub device: u32,
    /// The process.
    pub pid: u32,
    /// Names of the path that follows; 0 if none does.
    pub names: u32,
}

impl Decode for Executable {
    const BYTES: usize = 24;

    fn read(r: &mut Reader<'_>) -> Self {
        let executable = Self {
            inode: r.u64(),
            device: r.u32(),
            pid: r.u32(),
            names: r.u32(),
        };
        r.skip(4);
        executable
    }
}

/// Where a file is in its file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutablePath([u8; EXECUTABLE_PATH_NAMES * EXECUTABLE_NAME_BYTES]);

impl ExecutablePath {
    /// The first `names` names, from the file upwards.
    pub fn names(&self, names: u32) -> impl DoubleEndedIterator<Item = &[u8]> {
        let names = usize::try_from(names).unwrap_or(usize::MAX);
        let whole = self.0.chunks_exact(EXECUTABLE_NAME_BYTES);
        let count = names.min(EXECUTABLE_PATH_NAMES);
        whole
            .take(count)
            .map(|name| name.split(|byte| *byte == 0).next().unwrap_or_default())
    }
}

impl Decode for ExecutablePath {
    const BYTES: usize = EXECUTABLE_PATH_NAMES * EXECUTABLE_NAME_BYTES;

    fn read(r: &mut Reader<'_>) -> Self {
        Self(r.bytes())
    }
}
