//! An open log file, and the budget of how many may be open at once.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::position::{FileId, Position};

/// How many log files may be open at once.
#[derive(Debug)]
pub struct FileBudget {
    limit: usize,
    open: AtomicUsize,
}

impl FileBudget {
    /// So many at most.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            open: AtomicUsize::new(0),
        })
    }

    /// A place for one more file; `None` when there is none.
    pub fn take(self: &Arc<Self>) -> Option<Permit> {
        let taken = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < self.limit).then_some(open + 1)
            });
        taken.ok().map(|_| Permit(Arc::clone(self)))
    }

    /// Files that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// The place of one open file; dropping it gives it back.
#[derive(Debug)]
pub struct Permit(Arc<FileBudget>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A log file that is open.
#[derive(Debug)]
pub struct OpenLog {
    /// The file.
    pub file: File,
    /// Which one it is.
    pub id: FileId,
    /// When it was made, in milliseconds since 1970; `None` where the file system does not know.
    pub born_ms: Option<u64>,
    /// When it had last been written when it was opened, in milliseconds since 1970.
    pub written_ms: u64,
    /// Its length then.
    size: u64,
    _permit: Permit,
}

/// What changes of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// Its length.
    pub size: u64,
    /// It has no name any more.
    pub is_removed: bool,
    /// When its content changed.
    pub written: (i64, i64),
    /// When anything about it changed: a new name does that too.
    pub changed: (i64, i64),
}

impl OpenLog {
    /// Looks at a file. Blocks.
    pub fn new(file: File, permit: Permit) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            id: FileId {
                device: metadata.dev(),
                inode: metadata.ino(),
            },
            born_ms: metadata.created().ok().map(since_1970_ms),
            written_ms: metadata.modified().map_or(0, since_1970_ms),
            size: metadata.len(),
            file,
            _permit: permit,
        })
    }

    /// Its length when it was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Looks at it again. Blocks.
    pub fn look(&self) -> io::Result<Look> {
        self.file.metadata().map(|metadata| Look::from(&metadata))
    }

    /// Whether a position is in this file and the file still has what was before it. Blocks.
    pub fn holds(&self, position: &Position) -> io::Result<bool> {
        Ok(self.id == position.file && position.before.matches(&self.file, position.offset)?)
    }

    /// Whether this is a copy of the file that a position was in. Blocks.
    pub fn is_copy(&self, position: &Position) -> io::Result<bool> {
        Ok(self.id != position.file
            && !position.before.is_empty()
            && position.before.matches(&self.file, position.offset)?)
    }
}

impl From<&Metadata> for Look {
    fn from(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            is_removed: metadata.nlink() == 0,
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Milliseconds since 1970; 0 before.
pub fn since_1970_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_the_file_is_closed() {
        let budget = FileBudget::new(2);
        let open = || OpenLog::new(tempfile::tempfile().unwrap(), budget.take()?).ok();
        let (first, second) = (open(), open());
        assert!(first.is_some() && second.is_some() && open().is_none());
        drop(first);
        assert_eq!(budget.open(), 1);
        assert!(open().is_some());
    }
}
