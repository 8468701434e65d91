//! Runtime files come as descriptors: the sensor opens them, this side reads them, with a limit on size and time.

use std::fs::File;
use std::future::Future;
use std::io::Read as _;
use std::pin::Pin;

use nodescope_schema::{FileKind, OpenFile, Refusal};

/// An [`OpenFile`] that owns its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnedOpenFile {
    /// Which file.
    pub kind: FileKind,
    /// Container id, or name for LXC.
    pub container: Vec<u8>,
    /// containerd namespace.
    pub namespace: Vec<u8>,
    /// Docker's data-root.
    pub root: Vec<u8>,
    /// Whose: 0 for the system's runtime.
    pub uid: u32,
    /// Of a log: 0 is the file that is being written, 1 the one before it.
    pub generation: u32,
}

impl OwnedOpenFile {
    /// The file of a kind, with all arguments empty.
    pub fn of_kind(kind: FileKind) -> Self {
        Self {
            kind,
            container: Vec::new(),
            namespace: Vec::new(),
            root: Vec::new(),
            uid: 0,
            generation: 0,
        }
    }

    /// The same as the request borrows it.
    pub fn as_request(&self) -> OpenFile<'_> {
        OpenFile {
            kind: self.kind,
            container: &self.container,
            namespace: &self.namespace,
            root: &self.root,
            uid: self.uid,
            generation: self.generation,
        }
    }
}

/// Why there is no descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The sensor refused.
    #[error("refused by the sensor")]
    Refused(#[from] Refusal),
    /// The sensor is not there.
    #[error("not connected to the sensor")]
    Disconnected,
    /// No answer came in time.
    #[error("no answer in time")]
    TimedOut,
}

/// A descriptor to come.
pub type OpenFuture<'a> = Pin<Box<dyn Future<Output = Result<File, OpenError>> + Send + 'a>>;

/// Opens runtime files through the sensor.
pub trait FileOpener: Send + Sync {
    /// Asks for a file. Dropping the future gives up on it.
    fn open(&self, file: OwnedOpenFile) -> OpenFuture<'_>;
}

/// Why a descriptor gives no content.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is longer than its kind may be.
    #[error("longer than {0} bytes")]
    TooLong(u64),
    /// Reading failed.
    #[error("cannot be read")]
    Io(#[from] std::io::Error),
}

/// Longest file read, in bytes. Only the list of all containers of a storage grows with their number.
pub fn longest(kind: FileKind) -> u64 {
    match kind {
        FileKind::StorageContainers => 8 << 20,
        _ => 1 << 20,
    }
}

/// Reads a file whole, unless it is longer than `limit`. Blocks.
pub fn read_capped(file: File, limit: u64) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(ReadError::TooLong(limit));
    }
    Ok(content)
}
