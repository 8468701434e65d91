//! The file of a recording: the sensor's messages as they were sent, for a later replay.
//!
//! The first line is `nodescope recording 1`, with the version of this framing. Then each message stands behind its
//! length in bytes as a little-endian `u32`, which is never 0 nor above [`MAX_MESSAGE_BYTES`]. What the messages mean
//! is not looked at here. A file that ends within a message (the recorder was killed) reads as [`RecordingError::Cut`]
//! after all its whole messages.

use std::io::{self, ErrorKind, Read, Write};

use crate::MAX_MESSAGE_BYTES;

const HEADER: &[u8; 22] = b"nodescope recording 1\n";

/// What can go wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be read or written.
    #[error("at byte {offset}")]
    Io {
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not begin as a recording of a version this library knows.
    #[error("not a nodescope recording of version 1")]
    NotARecording,
    /// A message that is empty or longer than [`MAX_MESSAGE_BYTES`].
    #[error("at byte {offset}: message of {bytes} bytes, 1 to {MAX_MESSAGE_BYTES} are allowed")]
    BadLength {
        /// Where its length stands, or would stand.
        offset: u64,
        /// Its length.
        bytes: u64,
    },
    /// The file ends within a message.
    #[error("at byte {offset}: the file ends within this message")]
    Cut {
        /// Where the message's length begins.
        offset: u64,
    },
}

/// Writes a recording. Wants a buffered writer: each message is two writes.
#[derive(Debug)]
pub struct RecordingWriter<W> {
    inner: W,
    offset: u64,
}

impl<W: Write> RecordingWriter<W> {
    /// Begins a recording.
    pub fn new(inner: W) -> Result<Self, RecordingError> {
        let mut writer = Self { inner, offset: 0 };
        writer.put(HEADER)?;
        Ok(writer)
    }

    /// Adds a message. After an error of the file the recording must not be continued.
    pub fn write(&mut self, message: &[u8]) -> Result<(), RecordingError> {
        let length = checked_length(message.len()).ok_or(RecordingError::BadLength {
            offset: self.offset,
            bytes: message.len() as u64,
        })?;
        self.put(&length.to_le_bytes())?;
        self.put(message)
    }

    /// Hands on what the writer below still buffers.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        let offset = self.offset;
        self.inner
            .flush()
            .map_err(|source| RecordingError::Io { offset, source })
    }

    /// The writer below, without a flush.
    pub fn into_inner(self) -> W {
        self.inner
    }

    /// Bytes written so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        let offset = self.offset;
        self.inner
            .write_all(bytes)
            .map_err(|source| RecordingError::Io { offset, source })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// Reads a recording. Wants a buffered reader: each message is two reads.
#[derive(Debug)]
pub struct RecordingReader<R> {
    inner: R,
    offset: u64,
    message: Vec<u8>,
}

impl<R: Read> RecordingReader<R> {
    /// Checks the first line.
    pub fn new(inner: R) -> Result<Self, RecordingError> {
        let mut reader = Self {
            inner,
            offset: 0,
            message: Vec::new(),
        };
        let mut header = [0; HEADER.len()];
        match reader.fill(&mut header, 0) {
            Ok(Filled::All) if header == *HEADER => Ok(reader),
            Ok(_) | Err(RecordingError::Cut { .. }) => Err(RecordingError::NotARecording),
            Err(error) => Err(error),
        }
    }

    /// The next message, or none at the end of the file.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, RecordingError> {
        let start = self.offset;
        let mut length = [0; 4];
        if self.fill(&mut length, start)? == Filled::End {
            return Ok(None);
        }
        let bytes = u32::from_le_bytes(length);
        let length = usize::try_from(bytes)
            .ok()
            .filter(|length| checked_length(*length).is_some());
        let Some(length) = length else {
            return Err(RecordingError::BadLength {
                offset: start,
                bytes: bytes.into(),
            });
        };
        let mut message = std::mem::take(&mut self.message);
        message.resize(length, 0);
        let filled = self.fill(&mut message, start)?;
        self.message = message;
        match filled {
            Filled::All => Ok(Some(&self.message)),
            Filled::End => Err(RecordingError::Cut { offset: start }),
        }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Fills `buffer`. `start` is where the message it belongs to begins.
    fn fill(&mut self, buffer: &mut [u8], start: u64) -> Result<Filled, RecordingError> {
        let mut rest = &mut *buffer;
        while !rest.is_empty() {
            match self.inner.read(rest) {
                Ok(0) => break,
                Ok(count) => {
                    self.offset += count as u64;
                    rest = rest.split_off_mut(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(RecordingError::Io {
                        offset: self.offset,
                        source,
                    });
                }
            }
        }
        match rest.len() {
            0 => Ok(Filled::All),
            missing if missing == buffer.len() => Ok(Filled::End),
            _ => Err(RecordingError::Cut { offset: start }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    All,
    /// The file ended before the first byte.
    End,
}

fn checked_length(bytes: usize) -> Option<u32> {
    (1..=MAX_MESSAGE_BYTES)
        .contains(&bytes)
        .then(|| u32::try_from(bytes).ok())?
}
