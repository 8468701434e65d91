//! Remembers which pattern an exact line had, so that its repeat costs one hash.
//!
//! A fixed number of slots, each for the newest of the lines that share it: never more memory, and never a scan. It
//! starts small and grows while lines push each other out, since most sources repeat only a few. A line is known by its
//! 64-bit SipHash alone: two lines that share it, with a chance of 2^-64 for a pair, would be counted as the first.

use std::hash::{DefaultHasher, Hasher};

use super::miner::PatternId;

const FIRST_SLOTS: usize = 64;
/// 32 KiB a source.
const MAX_SLOTS: usize = 2048;
/// Lines longer than this are rarely repeated and dear to hash.
const MAX_LINE_BYTES: usize = 4096;

#[derive(Clone, Copy)]
struct Slot {
    hash: u64,
    pattern: Option<PatternId>,
}

const EMPTY: Slot = Slot {
    hash: 0,
    pattern: None,
};

/// The hash of a line, to look it up and to store it.
#[derive(Clone, Copy)]
pub(crate) struct LineHash(Option<u64>);

impl LineHash {
    /// `context` is what the line's pattern depends on beside its bytes.
    pub(crate) fn of(context: u8, line: &[u8]) -> Self {
        if line.len() > MAX_LINE_BYTES {
            return Self(None);
        }
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(context);
        hasher.write(line);
        Self(Some(hasher.finish()))
    }
}

/// The lines seen last.
pub(crate) struct LineMemory {
    slots: Vec<Slot>,
    /// Lines pushed out since the last growth.
    evictions: usize,
}

impl LineMemory {
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![EMPTY; FIRST_SLOTS],
            evictions: 0,
        }
    }

    pub(crate) fn recall(&self, line: LineHash) -> Option<PatternId> {
        let hash = line.0?;
        let slot = self.slots[self.index(hash)];
        (slot.hash == hash).then_some(slot.pattern).flatten()
    }

    pub(crate) fn remember(&mut self, line: LineHash, pattern: PatternId) {
        let Some(hash) = line.0 else {
            return;
        };
        let index = self.index(hash);
        self.evictions += usize::from(self.slots[index].pattern.is_some());
        self.slots[index] = Slot {
            hash,
            pattern: Some(pattern),
        };
        if self.evictions > self.slots.len() && self.slots.len() < MAX_SLOTS {
            self.grow();
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    fn grow(&mut self) {
        let larger = vec![EMPTY; self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, larger);
        for slot in old {
            let index = self.index(slot.hash);
            self.slots[index] = slot;
        }
        self.evictions = 0;
    }

    fn index(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }
}
