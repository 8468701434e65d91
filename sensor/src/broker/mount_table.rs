//! The sensor's own mount table, `/proc/self/mountinfo`, kept for a moment, and which mount a descriptor is on.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nodescope_schema::Refusal;

use super::mounts::{Mount, Mounts, mount_id};

/// How old the mount table may be.
const TABLE_AGE: Duration = Duration::from_secs(2);
/// The same for who has not found there what must have been mounted since; also a bound on how often it is read.
const TABLE_AGE_OF_NEWS: Duration = Duration::from_millis(100);
/// Longest mount table that is read: some 50,000 mounts.
const MAX_TABLE_BYTES: u64 = 8 << 20;

/// The mount table, read again when it is old.
#[derive(Debug, Default)]
pub(super) struct Table(Option<(Instant, Mounts)>);

impl Table {
    /// The table of a moment ago at most.
    pub(super) fn fresh(&mut self) -> io::Result<&Mounts> {
        self.younger_than(TABLE_AGE)
    }

    /// The table with what was mounted just now.
    pub(super) fn newest(&mut self) -> io::Result<&Mounts> {
        self.younger_than(TABLE_AGE_OF_NEWS)
    }

    fn younger_than(&mut self, age: Duration) -> io::Result<&Mounts> {
        let now = Instant::now();
        let read = match self.0.take() {
            Some((at, mounts)) if now.duration_since(at) < age => (at, mounts),
            _ => (now, Mounts::parse(&read_file("/proc/self/mountinfo")?)),
        };
        Ok(&self.0.insert(read).1)
    }
}

/// A file of procfs, at most as long as the longest mount table.
pub(super) fn read_file(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_TABLE_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a descriptor is on this mount: since the table was read a path may have come to mean another file system. To
/// be called before that is asked anything: it may hang.
///
/// # Errors
/// [`Refusal::NotFound`] when it is not.
pub(super) fn check_mount(place: &OwnedFd, mount: &Mount) -> Result<(), Refusal> {
    let info = read_file(&format!("/proc/self/fdinfo/{}", place.as_raw_fd()));
    if info.is_ok_and(|info| mount_id(&info) == Some(mount.id)) {
        Ok(())
    } else {
        Err(Refusal::NotFound)
    }
}
