//! How far a log was counted: a place in a file, and how to know the file again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};

/// Bytes before a place by which it is known again.
const FINGERPRINT_BYTES: u64 = 256;

/// A file of this machine, for as long as it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// Device number of its file system.
    pub device: u64,
    /// Inode number; it is given to another file when this one is gone.
    pub inode: u64,
}

/// A place in a log up to which everything is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The file.
    pub file: FileId,
    /// Bytes from its beginning.
    pub offset: u64,
    /// For each of the two streams, how many bytes from `offset` on hold no line of it that is not counted.
    pub pass_by: [u64; 2],
    /// What is before `offset`.
    pub before: Fingerprint,
}

/// What a file has before a place: the same file that was truncated and written again, or another one with the same
/// inode, has something else there. Not for protection: a hash anybody can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Bytes looked at.
    bytes: u64,
    /// Their FNV-1a hash, which is the same in every release.
    hash: u64,
}

impl Fingerprint {
    /// That of `offset` in a file. Blocks.
    pub fn read(file: &File, offset: u64) -> io::Result<Self> {
        let bytes = offset.min(FINGERPRINT_BYTES);
        let mut text = [0; FINGERPRINT_BYTES as usize];
        let text = &mut text[..bytes as usize];
        file.read_exact_at(text, offset - bytes)?;
        Ok(Self {
            bytes,
            hash: fnv1a(text),
        })
    }

    /// Whether a file has this before `offset`; not when it is shorter. Blocks.
    pub fn matches(self, file: &File, offset: u64) -> io::Result<bool> {
        match Self::read(file, offset) {
            Ok(found) => Ok(found == self),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it tells anything.
    pub fn is_empty(self) -> bool {
        self.bytes == 0
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_place_is_known_again() {
        let mut file = tempfile::tempfile().unwrap();
        let text: Vec<u8> = (0..1000).map(|n| (n % 251) as u8).collect();
        file.write_all(&text).unwrap();
        for offset in [0, 1, 255, 256, 257, 1000] {
            let fingerprint = Fingerprint::read(&file, offset).unwrap();
            assert!(fingerprint.matches(&file, offset).unwrap());
            assert_eq!(fingerprint.is_empty(), offset == 0);
            if offset > 0 {
                assert!(!fingerprint.matches(&file, offset - 1).unwrap());
            }
        }
        let end = Fingerprint::read(&file, 1000).unwrap();
        file.set_len(999).unwrap();
        assert!(!end.matches(&file, 1000).unwrap());
        file.set_len(1000).unwrap();
        assert!(!end.matches(&file, 1000).unwrap(), "its last byte is new");
    }

    #[test]
    fn the_hash_is_the_known_one() {
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
