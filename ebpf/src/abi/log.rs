//! What `scan_logs` prints.

use super::{Decode, Reader, WorkloadKey};

/// Longest path of a log file, with its terminating zero.
pub const LOG_PATH_BYTES: usize = 256;

/// A file below `/var/log` that a process holds open to write to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLog {
    /// Whose process.
    pub workload: WorkloadKey,
    /// Number of the file; in a union of directories that of the one below which is written.
    pub inode: u64,
    /// Its file system, as the kernel encodes device numbers.
    pub device: u32,
    /// The process.
    pub pid: u32,
    path: [u8; LOG_PATH_BYTES],
}

impl HeldLog {
    /// Its path in the process's mount namespace.
    pub fn path(&self) -> &[u8] {
        self.path
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default()
    }
}

impl Decode for HeldLog {
    const BYTES: usize = 288;

    fn read(r: &mut Reader<'_>) -> Self {
        Self {
            workload: WorkloadKey::read(r),
            inode: r.u64(),
            device: r.u32(),
            pid: r.u32(),
            path: r.bytes(),
        }
    }
}
