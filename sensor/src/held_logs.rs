//! The log files that processes hold open, between the kernel side, which finds them, and the broker, which opens them.
//! What is not here is not opened, whatever is asked.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use nodescope_schema::StatFilesystem;

/// A file of a log, as the last walk over open files saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFile {
    /// The file system it is on.
    pub filesystem: StatFilesystem,
    /// Number of the file there; in a union of directories that of the one below which is written.
    pub inode: u64,
    /// One of the processes that hold it open.
    pub pid: u32,
    /// Its path in the mount namespace of that process.
    pub path: Vec<u8>,
}

impl HeldFile {
    /// The path.
    pub fn path(&self) -> PathBuf {
        OsString::from_vec(self.path.clone()).into()
    }
}

/// A log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLog {
    /// The path it is known by, which one of its files had when it was opened.
    pub path: Vec<u8>,
    /// Its files, the one that was opened last at the end.
    pub files: Vec<HeldFile>,
}

/// All logs, by their numbers.
#[derive(Debug, Clone, Default)]
pub struct HeldLogs(Arc<Mutex<HashMap<u64, HeldLog>>>);

impl HeldLogs {
    /// These are all.
    pub fn set(&self, logs: impl Iterator<Item = (u64, HeldLog)>) {
        let logs = logs.collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = logs;
    }

    /// A log.
    pub fn get(&self, number: u64) -> Option<HeldLog> {
        let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.get(&number).cloned()
    }

    /// Whether a file is one of another log than `number`.
    pub fn is_of_another(&self, number: u64, filesystem: StatFilesystem, inode: u64) -> bool {
        let is_it = |file: &HeldFile| file.filesystem == filesystem && file.inode == inode;
        let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter()
            .filter(|(other, _)| **other != number)
            .any(|(_, log)| log.files.iter().any(is_it))
    }
}
