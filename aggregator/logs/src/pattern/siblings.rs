//! Finds out that a word is a name: from many patterns that are alike in all other words.
//!
//! For each place in a pattern that holds a word, the pattern with a wildcard there is counted. At the limit the next
//! pattern of the kind, and all after it, join one pattern with the wildcard; the earlier ones stay as they are, since
//! a counter that was exported must not lose what it counted. The fewer other words there are, the more patterns it
//! takes, and short messages that merely share a word are never of one kind.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use super::render::WILDCARD;

/// Words a pattern must have beside the one that differs.
const MIN_OTHER_WORDS: usize = 2;
/// With fewer other words than this a program may well have several such messages ("failed to open", "failed to stop").
const SURE_OTHER_WORDS: usize = 3;
/// So many times the limit it has not: that is a list of names ("status unpacked perl").
const UNSURE_FACTOR: u32 = 3;
/// Places looked at in one pattern.
const MAX_PLACES: usize = 24;
/// Entries kept: with all of them used, new kinds are no longer found.
const MAX_ENTRIES: usize = 16 << 10;

/// How many patterns there are of each kind.
#[derive(Default)]
pub(crate) struct Siblings {
    counts: HashMap<u64, u32>,
    /// The largest of the counts: below the limit nothing needs to be searched.
    largest: u32,
}

impl Siblings {
    /// The pattern with a wildcard in the first place that `limit` patterns have filled differently.
    pub(crate) fn common_pattern(&self, key: &[u8], limit: u32) -> Option<Vec<u8>> {
        if self.largest < limit {
            return None;
        }
        let places = places(key);
        let limit = if places.len() > SURE_OTHER_WORDS {
            limit
        } else {
            limit.saturating_mul(UNSURE_FACTOR)
        };
        let place = places.iter().find(|&&(start, end)| {
            self.counts
                .get(&kind(key, start, end))
                .is_some_and(|&count| count >= limit)
        })?;
        Some(with_wildcard(key, *place))
    }

    /// Counts a new pattern in each of its kinds.
    pub(crate) fn insert(&mut self, key: &[u8]) {
        for (start, end) in places(key) {
            let kind = kind(key, start, end);
            if self.counts.len() < MAX_ENTRIES || self.counts.contains_key(&kind) {
                let count = self.counts.entry(kind).or_default();
                *count += 1;
                self.largest = self.largest.max(*count);
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        // Key, value and one control byte.
        self.counts.capacity() * (size_of::<(u64, u32)>() + 1)
    }
}

/// The ranges of the words of a pattern whose first byte is its level, if it has enough of them.
fn places(key: &[u8]) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    let mut start = 1;
    for unit in key.get(1..).unwrap_or_default().split(|&byte| byte == b' ') {
        let end = start + unit.len();
        if unit.len() > 1 && unit != WILDCARD.as_bytes() {
            places.push((start, end));
        }
        start = end + 1;
    }
    if places.len() <= MIN_OTHER_WORDS {
        places.clear();
    }
    places.truncate(MAX_PLACES);
    places
}

fn kind(key: &[u8], start: usize, end: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&key[..start]);
    // No pattern has this byte, so that the place is part of the kind.
    hasher.write_u8(0);
    hasher.write(&key[end..]);
    hasher.finish()
}

/// The pattern with a wildcard for the place, one with those beside it.
fn with_wildcard(key: &[u8], (start, end): (usize, usize)) -> Vec<u8> {
    let wildcard = WILDCARD.as_bytes();
    let mut before = &key[..start];
    let mut after = &key[end..];
    if before.ends_with(b" <*> ") || &before[1..] == b"<*> " {
        before = &before[..before.len() - wildcard.len() - 1];
    }
    if after == b" <*>" || after.starts_with(b" <*> ") {
        after = &after[wildcard.len() + 1..];
    }
    [before, wildcard, after].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_turns_the_word_that_differs_into_a_wildcard() {
        let mut siblings = Siblings::default();
        for key in [
            "\0volume a3 of pool x is gone",
            "\0volume b3 of pool x is gone",
        ] {
            siblings.insert(key.as_bytes());
        }
        let next = b"\0volume c3 of pool x is gone";
        assert_eq!(siblings.common_pattern(next, 3), None);
        assert_eq!(
            siblings.common_pattern(next, 2).as_deref(),
            Some(b"\0volume <*> of pool x is gone".as_slice())
        );
    }

    #[test]
    fn with_few_other_words_it_takes_more_patterns() {
        let mut siblings = Siblings::default();
        for package in ["perl", "less", "xz", "apt", "bash"] {
            siblings.insert(format!("\0status unpacked {package} <*>").as_bytes());
        }
        let next = b"\0status unpacked dash <*>";
        assert_eq!(siblings.common_pattern(next, 2), None);
        siblings.insert(b"\0status unpacked sed <*>");
        assert_eq!(
            siblings.common_pattern(next, 2).as_deref(),
            Some(b"\0status unpacked <*>".as_slice())
        );
    }

    #[test]
    fn short_patterns_have_no_kind() {
        let mut siblings = Siblings::default();
        for key in ["\0disk full", "\0disk lost", "\0disk found"] {
            siblings.insert(key.as_bytes());
        }
        assert_eq!(siblings.common_pattern(b"\0disk spinning", 1), None);
    }

    #[test]
    fn wildcards_beside_the_place_become_one() {
        assert_eq!(with_wildcard(b"\0a <*> bob <*> c", (7, 10)), b"\0a <*> c");
        assert_eq!(
            with_wildcard(b"\0eth<*> bob <*>x", (8, 11)),
            b"\0eth<*> <*> <*>x"
        );
        assert_eq!(with_wildcard(b"\0<*> bob", (5, 8)), b"\0<*>");
    }
}
