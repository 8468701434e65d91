//! A log file may hold any bytes: cut into pieces anywhere, it gives the same lines, none over its bound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nodescope_logs::decode::{Decoder, Format, Line, Stream};

const MAX_LINE_BYTES: usize = 256;

fn decode(format: Format, pieces: &[&[u8]]) -> (Vec<(Stream, u64, Vec<u8>)>, String) {
    let mut decoder = Decoder::new(format, MAX_LINE_BYTES);
    let mut lines = Vec::new();
    let mut keep = |line: Line<'_>| {
        assert!(line.text.len() <= MAX_LINE_BYTES);
        lines.push((line.stream, line.place, line.text.to_vec()));
    };
    for piece in pieces {
        decoder.feed(piece, &mut keep);
    }
    decoder.end_file(&mut keep);
    decoder.flush(&mut keep);
    (lines, format!("{:?}", decoder.counts()))
}

fuzz_target!(|input: (u8, u8, u8, &[u8])| {
    let (format, first, second, bytes) = input;
    let format = [
        Format::DockerJson,
        Format::DockerLocal,
        Format::Cri,
        Format::Plain,
    ][usize::from(format % 4)];
    let (a, rest) = bytes.split_at(bytes.len() * usize::from(first) / 256);
    let (b, c) = rest.split_at(rest.len() * usize::from(second) / 256);
    assert_eq!(decode(format, &[a, b, c]), decode(format, &[bytes]));
});
