//! docker's `local` driver: entries of a 32-bit big-endian length, that many bytes of a protobuf `LogEntry`, and the
//! length again. `LogEntry` is `{1: source, 2: time_nano, 3: line, 4: partial, 5: {1: last, 2: id, 3: ordinal}}`.
//!
//! Where an entry does not fit together, one begins at a later byte: the next place where a length is followed by a
//! source and by the same length behind the entry.

use super::{Part, Stream};

/// docker takes no longer entries than 1 MB.
const MAX_ENTRY_BYTES: usize = 1_000_000;
const LENGTH_BYTES: usize = 4;
/// How every entry begins: its source is `stdout` or `stderr`.
const SOURCE: &[u8] = b"\x0a\x06std";

/// Finds the entries in a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct EntrySplitter {
    /// Bytes of entries that are not complete.
    begun: Vec<u8>,
    /// Bytes taken before those.
    complete: u64,
}

impl EntrySplitter {
    /// Takes the next bytes; hands on each entry that is complete with them, and its place: how many bytes of all that
    /// was taken came before it. Gives the bytes that belonged to none.
    pub(super) fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(u64, &[u8])) -> u64 {
        let mut skipped = 0;
        if self.begun.is_empty() {
            let complete = self.complete;
            let used = split(bytes, &mut skipped, |at, entry| {
                sink(complete + at as u64, entry);
            });
            self.complete += used as u64;
            self.begun.extend_from_slice(&bytes[used..]);
            return skipped;
        }
        for piece in bytes.chunks(MAX_ENTRY_BYTES) {
            self.begun.extend_from_slice(piece);
            let complete = self.complete;
            let used = split(&self.begun, &mut skipped, |at, entry| {
                sink(complete + at as u64, entry);
            });
            self.complete += used as u64;
            self.begun.drain(..used);
        }
        if self.begun.is_empty() {
            self.begun.shrink_to(4096);
        }
        skipped
    }

    /// Bytes taken of an entry that is not complete.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.begun.len() as u64
    }

    /// Forgets an entry that will not be completed. Gives its bytes.
    pub(super) fn finish(&mut self) -> u64 {
        let rest = std::mem::take(&mut self.begun).len() as u64;
        self.complete += rest;
        rest
    }
}

/// Hands on the entries that `bytes` holds as a whole and where each begins; gives how many bytes are done with.
fn split(bytes: &[u8], skipped: &mut u64, mut sink: impl FnMut(usize, &[u8])) -> usize {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
            return at;
        };
        let Some(begins) = after.get(..SOURCE.len()) else {
            return at;
        };
        let len = u32::from_be_bytes(*length) as usize;
        if begins != SOURCE || !(SOURCE.len()..=MAX_ENTRY_BYTES).contains(&len) {
            *skipped += 1;
            at += 1;
            continue;
        }
        let Some(behind) = after.get(len..len + LENGTH_BYTES) else {
            return at;
        };
        if behind == length {
            sink(at, &after[..len]);
            at += len + 2 * LENGTH_BYTES;
        } else {
            *skipped += 1;
            at += 1;
        }
    }
}

/// Reads one entry.
pub(super) fn part(entry: &[u8]) -> Option<Part<'_>> {
    let mut part = Part {
        stream: Stream::Stdout,
        text: b"",
        last: true,
    };
    let mut metadata = None;
    let mut partial = false;
    let mut fields = Fields { rest: entry };
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Field::Bytes(b"stderr")) => part.stream = Stream::Stderr,
            (3, Field::Bytes(line)) => part.text = line,
            (4, Field::Number(value)) => partial = value != 0,
            (5, Field::Bytes(bytes)) => metadata = Some(bytes),
            _ => {}
        }
    }
    if partial {
        part.last = match metadata {
            Some(bytes) => is_last(bytes)?,
            None => false,
        };
    }
    Some(part)
}

fn is_last(metadata: &[u8]) -> Option<bool> {
    let mut last = false;
    let mut fields = Fields { rest: metadata };
    while let Some((number, value)) = fields.next()? {
        if let (1, Field::Number(value)) = (number, value) {
            last = value != 0;
        }
    }
    Some(last)
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// Walks over the fields of a protobuf message.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The next field's number and value; `None` inside at the end, outside if the message is malformed.
    fn next(&mut self) -> Option<Option<(u64, Field<'a>)>> {
        if self.rest.is_empty() {
            return Some(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed)?,
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Field::Fixed)?,
            _ => return None,
        };
        Some(Some((tag >> 3, value)))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{1: "stderr", 2: 5, 3: line}` and, for a part, `{4: true, 5: {1: last, 2: "id"}}`.
    fn entry(line: &[u8], partial_last: Option<bool>) -> Vec<u8> {
        let mut entry = b"\x0a\x06stderr\x10\x05\x1a".to_vec();
        entry.push(line.len() as u8);
        entry.extend_from_slice(line);
        if let Some(last) = partial_last {
            entry.extend_from_slice(b"\x20\x01\x2a\x06\x08");
            entry.push(u8::from(last));
            entry.extend_from_slice(b"\x12\x02id");
        }
        entry
    }

    fn framed(entry: &[u8]) -> Vec<u8> {
        let len = (entry.len() as u32).to_be_bytes();
        [len.as_slice(), entry, &len].concat()
    }

    #[test]
    fn entries_are_read() {
        for (partial, last) in [(None, true), (Some(false), false), (Some(true), true)] {
            let entry = entry(b"text", partial);
            let expected = Part {
                stream: Stream::Stderr,
                text: b"text",
                last,
            };
            assert_eq!(part(&entry), Some(expected));
        }
        assert_eq!(part(b"\x1a\x05abc"), None);
        assert_eq!(part(b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    #[test]
    fn entries_are_found_across_pieces_and_behind_rubbish() {
        let entries = [entry(b"one", None), entry(b"two", None)];
        let file = [
            b"rubbish".to_vec(),
            framed(&entries[0]),
            vec![0, 0, 0, 9],
            framed(&entries[1]),
        ]
        .concat();
        for size in 1..file.len() {
            let mut splitter = EntrySplitter::default();
            let mut found = Vec::new();
            let skipped: u64 = file
                .chunks(size)
                .map(|piece| {
                    splitter.feed(piece, |place, entry| {
                        let begins = place as usize + LENGTH_BYTES;
                        assert_eq!(&file[begins..begins + entry.len()], entry);
                        found.push(entry.to_vec());
                    })
                })
                .sum();
            assert_eq!(found, entries, "in pieces of {size}");
            assert_eq!((skipped, splitter.pending_bytes()), (11, 0));
        }
    }
}
