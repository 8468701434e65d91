//! Any file may be given as a recording: reading it ends, within its bounds, and its whole messages can be recorded
//! again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nodescope_schema::{MAX_MESSAGE_BYTES, RecordingReader, RecordingWriter};

const HEADER: &[u8] = b"nodescope recording 1\n";

fn read(file: &[u8]) {
    let Ok(mut reader) = RecordingReader::new(file) else {
        return;
    };
    let mut writer = RecordingWriter::new(Vec::new()).expect("memory");
    while let Ok(Some(message)) = reader.next_message() {
        assert!((1..=MAX_MESSAGE_BYTES).contains(&message.len()));
        writer.write(message).expect("memory");
    }
    assert!(reader.offset() <= file.len() as u64);
    assert!(file.starts_with(&writer.into_inner()));
}

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    read(&[HEADER, bytes].concat());
});
