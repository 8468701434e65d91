//! What `scan_executables` prints.

use super::{Decode, Reader};

/// Names on the longest path.
pub const EXECUTABLE_PATH_NAMES: usize = 16;
/// Longest name on a path, with its terminating zero.
pub const EXECUTABLE_NAME_BYTES: usize = 128;

/// The file that a process executes. So many [`ExecutableName`]s follow, from the file up to the root of its file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Executable {
    /// Number of the file.
    pub inode: u64,
    /// Its file system, as the kernel encodes device numbers.
    pub device: u32,
    /// The process.
    pub pid: u32,
    /// Names that follow, [`EXECUTABLE_PATH_NAMES`] at most.
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

/// One name on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutableName([u8; EXECUTABLE_NAME_BYTES]);

impl ExecutableName {
    /// The name without what is behind it.
    pub fn bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl Decode for ExecutableName {
    const BYTES: usize = EXECUTABLE_NAME_BYTES;

    fn read(r: &mut Reader<'_>) -> Self {
        Self(r.bytes())
    }
}
