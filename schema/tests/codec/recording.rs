//! The recording file: whole, cut, damaged.

use std::io::{self, Read};

use nodescope_schema::{MAX_MESSAGE_BYTES, RecordingError, RecordingReader, RecordingWriter};

const HEADER_BYTES: usize = 22;

fn recording(messages: &[&[u8]]) -> Vec<u8> {
    let mut writer = RecordingWriter::new(Vec::new()).unwrap();
    for message in messages {
        writer.write(message).unwrap();
    }
    writer.flush().unwrap();
    assert_eq!(
        writer.offset(),
        messages.iter().map(|m| m.len() as u64 + 4).sum::<u64>() + 22
    );
    writer.into_inner()
}

/// All messages up to the end or the first error.
fn read_all(source: impl Read) -> (Vec<Vec<u8>>, Option<RecordingError>) {
    let mut reader = match RecordingReader::new(source) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut messages = Vec::new();
    loop {
        match reader.next_message() {
            Ok(Some(message)) => messages.push(message.to_vec()),
            Ok(None) => return (messages, None),
            Err(error) => return (messages, Some(error)),
        }
    }
}

/// Gives one byte at a time and is interrupted before each.
struct Slow<'a> {
    rest: &'a [u8],
    interrupted: bool,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let end = buffer.len().min(1);
        self.rest.read(&mut buffer[..end])
    }
}

/// Fails after what it has.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("disk on fire")),
            count => Ok(count),
        }
    }
}

#[test]
fn the_bytes_are_as_documented() {
    assert_eq!(
        recording(&[b"abc"]),
        b"nodescope recording 1\n\x03\0\0\0abc"
    );
}

#[test]
fn messages_come_back() {
    let longest = vec![7; MAX_MESSAGE_BYTES];
    let file = recording(&[b"first", &longest, b"z"]);
    let expected = vec![b"first".to_vec(), longest, b"z".to_vec()];
    for (messages, error) in [
        read_all(&*file),
        read_all(Slow {
            rest: &file,
            interrupted: false,
        }),
    ] {
        assert!(error.is_none(), "{error:?}");
        assert_eq!(messages, expected);
    }
}

#[test]
fn a_recording_may_be_empty() {
    assert!(matches!(read_all(&*recording(&[])), (messages, None) if messages.is_empty()));
}

#[test]
fn a_cut_file_gives_its_whole_messages_and_says_where_it_was_cut() {
    let file = recording(&[b"first", b"second"]);
    let second = HEADER_BYTES + 4 + 5;
    for length in 0..file.len() {
        let (messages, error) = read_all(&file[..length]);
        match error {
            Some(RecordingError::NotARecording) => assert!(length < HEADER_BYTES),
            Some(RecordingError::Cut { offset }) => {
                let whole = usize::from(length > second);
                assert_eq!(messages.len(), whole, "cut at {length}");
                assert_eq!(
                    offset,
                    if whole == 1 { second } else { HEADER_BYTES } as u64
                );
            }
            None => assert!(length == HEADER_BYTES || length == second),
            Some(other) => panic!("cut at {length}: {other:?}"),
        }
    }
}

#[test]
fn other_files_are_refused() {
    for file in [
        &b""[..],
        b"nodescope recording 2\n",
        b"\x7fELF and something longer than the line",
        &[0; 64],
    ] {
        assert!(
            matches!(read_all(file), (_, Some(RecordingError::NotARecording))),
            "{file:?}"
        );
    }
}

#[test]
fn lengths_are_bounded_both_ways() {
    let mut writer = RecordingWriter::new(Vec::new()).unwrap();
    for bytes in [0, MAX_MESSAGE_BYTES + 1] {
        let refused = writer.write(&vec![0; bytes]);
        assert!(
            matches!(refused, Err(RecordingError::BadLength { offset: 22, bytes: b }) if b == bytes as u64)
        );
    }
    let header = writer.into_inner();
    for bytes in [0, MAX_MESSAGE_BYTES as u32 + 1, u32::MAX] {
        let file = [&*header, &bytes.to_le_bytes(), &[0; 16]].concat();
        let (messages, error) = read_all(&*file);
        assert!(messages.is_empty());
        assert!(
            matches!(error, Some(RecordingError::BadLength { offset: 22, bytes: b }) if b == u64::from(bytes))
        );
    }
}

#[test]
fn errors_of_the_file_say_where() {
    let file = recording(&[b"first", b"second"]);
    let (messages, error) = read_all(Broken(&file[..HEADER_BYTES + 6]));
    assert!(messages.is_empty());
    assert!(
        matches!(error, Some(RecordingError::Io { offset: 28, .. })),
        "{error:?}"
    );
}
