//! The format of HotSpot's performance data, version 2.0 (`perfMemory.hpp`, `perfData.hpp`). Pure; the bytes may be
//! anything, since the process writes them itself and goes on doing so while they are read.
//!
//! A header says in which byte order the rest is and where the entries begin. Each entry has a name and a value: a
//! 64-bit number or text. Other types are not used for anything that is shown, and are skipped.

use std::collections::BTreeMap;

const MAGIC: [u8; 4] = [0xca, 0xfe, 0xc0, 0xc0];
const BIG_ENDIAN: u8 = 0;
const LITTLE_ENDIAN: u8 = 1;
const MAJOR_VERSION: u8 = 2;
/// Of the header.
const ACCESSIBLE: usize = 7;
const ENTRY_OFFSET: usize = 24;
const NUM_ENTRIES: usize = 28;
/// Of the fixed part of an entry.
const ENTRY_BYTES: usize = 20;
const NAME_OFFSET: usize = 4;
const VECTOR_LENGTH: usize = 8;
const DATA_TYPE: usize = 12;
const DATA_OFFSET: usize = 16;

/// Why bytes are no performance data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PerfDataError {
    /// The machine has not finished writing it for the first time.
    #[error("not filled yet")]
    NotReady,
    /// It is something else, another version, or damaged.
    #[error("byte {at}: {what}")]
    Malformed {
        /// Where.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value<'a> {
    Number(i64),
    Text(&'a [u8]),
}

/// Values by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerfData<'a>(BTreeMap<&'a [u8], Value<'a>>);

impl<'a> PerfData<'a> {
    /// Reads the entries. One that is damaged ends it with an error: its length is needed to find the next.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PerfDataError> {
        let file = Bytes::of(bytes)?;
        let mut at = file.offset(ENTRY_OFFSET)?;
        let count = file.offset(NUM_ENTRIES)?;
        let mut values = BTreeMap::new();
        // An entry takes some bytes, so a count that is too high ends with an error, and soon.
        for _ in 0..count {
            let length = file.offset(at)?;
            if length < ENTRY_BYTES {
                return Err(malformed(at, "entry too short"));
            }
            let end = at.checked_add(length).filter(|end| *end <= bytes.len());
            let end = end.ok_or(malformed(at, "entry too long"))?;
            let entry = Entry {
                file: Bytes {
                    bytes: &bytes[at..end],
                    ..file
                },
                at,
            };
            let name = entry.name()?;
            if let Some(value) = entry.value()? {
                values.entry(name).or_insert(value);
            }
            at = end;
        }
        Ok(Self(values))
    }

    /// A number that is not negative.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name.as_bytes())? {
            Value::Number(number) => u64::try_from(*number).ok(),
            Value::Text(_) => None,
        }
    }

    /// A text, without what follows its end.
    pub fn text(&self, name: &str) -> Option<&'a [u8]> {
        match self.0.get(name.as_bytes())? {
            Value::Text(text) => Some(text),
            Value::Number(_) => None,
        }
    }
}

/// Bytes in which numbers have an order.
#[derive(Debug, Clone, Copy)]
struct Bytes<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

impl<'a> Bytes<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, PerfDataError> {
        // An empty file is one that was just made.
        let Some([a, b, c, d, order, major, _, _]) = bytes.first_chunk() else {
            return Err(PerfDataError::NotReady);
        };
        match [*a, *b, *c, *d] {
            MAGIC => {}
            [0, 0, 0, 0] => return Err(PerfDataError::NotReady),
            _ => return Err(malformed(0, "no performance data")),
        }
        let is_little = match *order {
            BIG_ENDIAN => false,
            LITTLE_ENDIAN => true,
            _ => return Err(malformed(4, "unknown byte order")),
        };
        if *major != MAJOR_VERSION {
            return Err(malformed(5, "unknown version"));
        }
        if bytes[ACCESSIBLE] != 1 {
            return Err(PerfDataError::NotReady);
        }
        Ok(Self { bytes, is_little })
    }

    fn word<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut word = *self.bytes.get(at..)?.first_chunk::<N>()?;
        if self.is_little {
            word.reverse();
        }
        Some(word)
    }

    /// A 32-bit number that counts bytes or entries.
    fn offset(&self, at: usize) -> Result<usize, PerfDataError> {
        let number = self.word(at).map(i32::from_be_bytes);
        let number = number.ok_or(malformed(at, "cut off"))?;
        usize::try_from(number).map_err(|_| malformed(at, "negative"))
    }
}

/// One entry; `file` has its bytes alone.
struct Entry<'a> {
    file: Bytes<'a>,
    /// Where it begins, for errors.
    at: usize,
}

impl<'a> Entry<'a> {
    fn name(&self) -> Result<&'a [u8], PerfDataError> {
        let offset = self.file.offset(NAME_OFFSET)?;
        let name = self.file.bytes.get(offset..);
        let name = name.ok_or(malformed(self.at, "name outside of its entry"))?;
        Ok(until_nul(name))
    }

    /// The value, if it is of a type that is used.
    fn value(&self) -> Result<Option<Value<'a>>, PerfDataError> {
        let outside = malformed(self.at, "value outside of its entry");
        let length = self.file.offset(VECTOR_LENGTH)?;
        let offset = self.file.offset(DATA_OFFSET)?;
        match (self.file.bytes[DATA_TYPE], length) {
            (b'J', 0) => {
                let number = self.file.word(offset).map(i64::from_be_bytes);
                Ok(Some(Value::Number(number.ok_or(outside)?)))
            }
            (b'B', 1..) => {
                let end = offset.checked_add(length).ok_or(outside)?;
                let text = self.file.bytes.get(offset..end).ok_or(outside)?;
                Ok(Some(Value::Text(until_nul(text))))
            }
            _ => Ok(None),
        }
    }
}

fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn malformed(at: usize, what: &'static str) -> PerfDataError {
    PerfDataError::Malformed { at, what }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a file is written with.
    pub(crate) enum Written<'a> {
        Number(i64),
        Text(&'a str),
    }

    /// A file as the machine lays it out.
    pub(crate) fn file(is_little: bool, entries: &[(&str, Written<'_>)]) -> Vec<u8> {
        let number = |number: i32| {
            let mut bytes = number.to_be_bytes();
            if is_little {
                bytes.reverse();
            }
            bytes
        };
        let count = i32::try_from(entries.len()).unwrap();
        let mut file = [&MAGIC[..], &[u8::from(is_little), 2, 0, 1], &[0; 16]].concat();
        file.extend(number(32));
        file.extend(number(count));
        for (name, value) in entries {
            let (kind, length, data) = match value {
                Written::Number(number) => {
                    let mut bytes = number.to_be_bytes();
                    if is_little {
                        bytes.reverse();
                    }
                    (b'J', 0, bytes.to_vec())
                }
                Written::Text(text) => {
                    let data = [text.as_bytes(), b"\0"].concat();
                    (b'B', i32::try_from(data.len()).unwrap(), data)
                }
            };
            let data_offset = (ENTRY_BYTES + name.len() + 1).next_multiple_of(8);
            let size = (data_offset + data.len()).next_multiple_of(8);
            let mut entry = Vec::with_capacity(size);
            entry.extend(number(i32::try_from(size).unwrap()));
            entry.extend(number(i32::try_from(ENTRY_BYTES).unwrap()));
            entry.extend(number(length));
            entry.extend([kind, 0, 1, 1]);
            entry.extend(number(i32::try_from(data_offset).unwrap()));
            entry.extend(name.as_bytes());
            entry.resize(data_offset, 0);
            entry.extend(data);
            entry.resize(size, 0);
            file.extend(entry);
        }
        file
    }

    fn small(is_little: bool) -> Vec<u8> {
        let entries = [
            ("a.number", Written::Number(0x0102_0304_0506_0708)),
            ("a.text", Written::Text("hello")),
            ("a.number", Written::Number(9)),
            ("negative", Written::Number(-1)),
        ];
        file(is_little, &entries)
    }

    #[test]
    fn both_byte_orders() {
        for is_little in [false, true] {
            let bytes = small(is_little);
            let data = PerfData::parse(&bytes).unwrap();
            assert_eq!(data.number("a.number"), Some(0x0102_0304_0506_0708));
            assert_eq!(data.text("a.text"), Some(&b"hello"[..]));
            assert_eq!(data.number("negative"), None);
            assert_eq!((data.number("a.text"), data.text("a.number")), (None, None));
        }
    }

    #[test]
    fn what_is_not_filled_yet_is_no_error() {
        let mut bytes = small(true);
        bytes[ACCESSIBLE] = 0;
        for bytes in [&bytes[..], b"", &[0; 32768]] {
            assert_eq!(PerfData::parse(bytes), Err(PerfDataError::NotReady));
        }
    }

    #[test]
    fn other_files_are_refused() {
        for (at, byte) in [(0, b'x'), (4, 2), (5, 1)] {
            let mut bytes = small(true);
            bytes[at] = byte;
            let refused = PerfData::parse(&bytes);
            assert!(
                matches!(refused, Err(PerfDataError::Malformed { .. })),
                "{at}"
            );
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        for is_little in [false, true] {
            let bytes = small(is_little);
            for end in 0..bytes.len() {
                assert!(PerfData::parse(&bytes[..end]).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn offsets_out_of_an_entry_are_refused() {
        let first = 32;
        for at in [0, NAME_OFFSET, VECTOR_LENGTH, DATA_OFFSET] {
            for value in [i32::MAX, i32::MIN, -1, 4096] {
                let mut bytes = small(true);
                let text = first + 40;
                bytes[text + at..text + at + 4].copy_from_slice(&value.to_le_bytes());
                assert!(PerfData::parse(&bytes).is_err(), "{at} {value}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes(tail in proptest::collection::vec(any::<u8>(), 0..400), is_little: bool) {
            let _ = PerfData::parse(&tail);
            let bytes = [&MAGIC[..], &[u8::from(is_little), 2, 0, 1], &tail].concat();
            let _ = PerfData::parse(&bytes);
        }

        #[test]
        fn one_byte_changed(at in 0usize..200, byte: u8, is_little: bool) {
            let mut bytes = small(is_little);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = PerfData::parse(&bytes);
        }
    }
}
