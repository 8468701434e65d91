//! The name of a pattern in a metric: 32 hexadecimal digits, the MD5 of its text as in the reference implementation,
//! so that it can be checked with `md5sum`. MD5 is a name here and not a protection.

use std::fmt;

/// The `pattern_hash` of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatternHash([u8; 16]);

impl PatternHash {
    /// The hash of what did not fit into a miner's limits: 32 zeros.
    pub const OVERFLOW: Self = Self([0; 16]);

    /// The hash of the pattern with this text.
    pub fn of(pattern: &str) -> Self {
        Self(md5::compute(pattern).0)
    }
}

impl fmt::Display for PatternHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
