//! The file of `--record`: the stream as it is sent, hello first, up to a limit.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nodescope_schema::{RecordingError, RecordingWriter};

use crate::exit::{chain, say};

/// A recording that is being written.
#[derive(Debug)]
pub struct Recording {
    writer: Option<RecordingWriter<BufWriter<File>>>,
    limit_bytes: u64,
}

impl Recording {
    /// Makes the file, which must not be there yet, readable by its owner only.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn create(path: &Path, limit_bytes: u64) -> Result<Self, RecordingError> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(|source| RecordingError::Io { offset: 0, source })?;
        let writer = RecordingWriter::new(BufWriter::new(file))?;
        Ok(Self {
            writer: Some(writer),
            limit_bytes,
        })
    }

    /// Adds a message; false when it is not recorded: the limit is reached or writing failed, now or before.
    pub fn write(&mut self, message: &[u8]) -> bool {
        let Some(writer) = &mut self.writer else {
            return false;
        };
        let end = writer.offset() + message.len() as u64 + 4;
        let written = if end > self.limit_bytes {
            Err(RecordingError::Io {
                offset: writer.offset(),
                source: io::Error::other("the limit of the recording is reached"),
            })
        } else {
            writer.write(message)
        };
        if let Err(error) = &written {
            say(format_args!("recording ends here: {}", chain(error)));
            self.end();
        }
        written.is_ok()
    }

    /// Hands what is buffered to the file.
    pub fn flush(&mut self) {
        let Some(Err(error)) = self.writer.as_mut().map(RecordingWriter::flush) else {
            return;
        };
        say(format_args!("recording ends here: {}", chain(&error)));
        self.writer = None;
    }

    fn end(&mut self) {
        self.flush();
        self.writer = None;
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodescope_schema::RecordingReader;
    use std::os::unix::fs::MetadataExt;

    fn messages(path: &Path) -> Vec<Vec<u8>> {
        let mut reader = RecordingReader::new(File::open(path).unwrap()).unwrap();
        let mut messages = Vec::new();
        while let Some(message) = reader.next_message().unwrap() {
            messages.push(message.to_vec());
        }
        messages
    }

    #[test]
    fn writes_what_fits_and_then_stops() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut recording = Recording::create(&path, 100).unwrap();
        assert!(recording.write(&[1; 30]));
        assert!(!recording.write(&[2; 60]));
        assert!(!recording.write(&[3; 1]), "a recording has no gaps");
        drop(recording);
        assert_eq!(messages(&path), [vec![1; 30]]);
        let stat = std::fs::metadata(&path).unwrap();
        assert_eq!(stat.mode() & 0o777, 0o600);
        assert!(stat.len() <= 100);
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "mine").unwrap();
        assert!(Recording::create(&path, 100).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_full_disk_ends_it() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let writer = RecordingWriter::new(BufWriter::new(full)).unwrap();
        let mut recording = Recording {
            writer: Some(writer),
            limit_bytes: 1 << 20,
        };
        recording.write(&[1; 10]);
        recording.flush();
        assert!(!recording.write(&[1; 10]));
    }
}
