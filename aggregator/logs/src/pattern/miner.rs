//! Gives each message the pattern it belongs to and counts it, within fixed limits.

use std::collections::HashMap;

use super::hash::PatternHash;
use super::lexer::tokenize;
use super::memory::{LineHash, LineMemory};
use super::render::render;
use super::siblings::Siblings;
use super::token::Token;
use crate::level::Level;
use crate::sample::{SampleOptions, sample};

/// The limits of one miner. What is over a limit is counted, never dropped.
#[derive(Clone, Debug)]
pub struct MinerLimits {
    /// Patterns of one level; further ones count in that level's overflow pattern.
    pub max_patterns_per_level: usize,
    /// Patterns that differ in one word only before that word is taken for a name.
    pub max_siblings: u32,
    /// How samples are made.
    pub sample: SampleOptions,
}

impl Default for MinerLimits {
    fn default() -> Self {
        Self {
            max_patterns_per_level: 512,
            max_siblings: 5,
            sample: SampleOptions::default(),
        }
    }
}

/// Names a pattern within its miner, for as long as the miner lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatternId(u32);

impl PatternId {
    /// The overflow pattern of a level: the first ones of every miner.
    const fn overflow(level: Level) -> Self {
        Self(level as u32)
    }

    /// Its place in [`Miner::patterns`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A pattern and what was counted in it.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// The level of its messages.
    pub level: Level,
    /// The name of the pattern, the same wherever and whenever it is found.
    pub hash: PatternHash,
    /// The words of its messages with [`super::WILDCARD`] for what varies.
    pub text: String,
    /// The first of its messages, masked and cut.
    pub sample: String,
    /// Messages counted.
    pub messages: u64,
}

/// Finds the patterns of one source's messages.
pub struct Miner {
    limits: MinerLimits,
    patterns: Vec<Pattern>,
    patterns_in_level: [usize; Level::ALL.len()],
    /// Level and text of a pattern to the pattern.
    ids: HashMap<Box<[u8]>, PatternId>,
    siblings: Siblings,
    memory: LineMemory,
    closed: bool,
    tokens: Vec<Token>,
    key: Vec<u8>,
}

impl Miner {
    /// A miner that has seen nothing.
    pub fn new(limits: MinerLimits) -> Self {
        Self {
            patterns: Level::ALL.map(overflow_pattern).into(),
            patterns_in_level: [0; Level::ALL.len()],
            ids: HashMap::new(),
            siblings: Siblings::default(),
            memory: LineMemory::new(),
            closed: false,
            tokens: Vec::new(),
            key: Vec::new(),
            limits,
        }
    }

    /// Counts a message of a level and says which pattern it has.
    pub fn observe(&mut self, level: Level, message: &[u8]) -> PatternId {
        self.observe_line(level, message, |message| (level, message))
    }

    /// As [`Self::observe`], for a line whose level and message have to be found first: `parse` is called only for a
    /// line that is not remembered. `hint` is what the caller knows of the level beside the line.
    pub fn observe_line<'a>(
        &mut self,
        hint: Level,
        line: &'a [u8],
        parse: impl FnOnce(&'a [u8]) -> (Level, &'a [u8]),
    ) -> PatternId {
        let hash = LineHash::of(hint as u8, line);
        let id = self.memory.recall(hash).unwrap_or_else(|| {
            let (level, message) = parse(line);
            let id = self.find(level, message);
            // A line that did not fit may fit later.
            if id != PatternId::overflow(level) {
                self.memory.remember(hash, id);
            }
            id
        });
        self.patterns[id.index()].messages += 1;
        id
    }

    /// With `true`, new patterns go to the overflow patterns: a budget that spans several miners is used up.
    pub fn set_closed(&mut self, closed: bool) {
        self.closed = closed;
    }

    /// One pattern.
    pub fn pattern(&self, id: PatternId) -> &Pattern {
        &self.patterns[id.index()]
    }

    /// All patterns in the order in which they were found, the overflow pattern of each level first.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Heap memory held, about.
    pub fn bytes(&self) -> usize {
        let texts = |pattern: &Pattern| pattern.text.capacity() + pattern.sample.capacity();
        let keys: usize = self.ids.keys().map(|key| key.len()).sum();
        self.patterns.capacity() * size_of::<Pattern>()
            + self.patterns.iter().map(texts).sum::<usize>()
            + self.ids.capacity() * (size_of::<(Box<[u8]>, PatternId)>() + 1)
            + keys
            + self.siblings.bytes()
            + self.memory.bytes()
            + self.tokens.capacity() * size_of::<Token>()
            + self.key.capacity()
    }

    fn find(&mut self, level: Level, message: &[u8]) -> PatternId {
        self.key.clear();
        self.key.push(level as u8);
        tokenize(message, &mut self.tokens);
        render(message, &self.tokens, &mut self.key);
        self.make_key_text();
        if let Some(&id) = self.ids.get(self.key.as_slice()) {
            return id;
        }
        let common = self
            .siblings
            .common_pattern(&self.key, self.limits.max_siblings);
        match common {
            Some(key) => match self.ids.get(key.as_slice()) {
                Some(&id) => id,
                None => self.create(level, key, message),
            },
            None => self.create(level, self.key.clone(), message),
        }
    }

    /// Messages that are not UTF-8 may differ in what reads the same; the text names the pattern, so it must be the key.
    fn make_key_text(&mut self) {
        let pattern = &self.key[1..];
        if std::str::from_utf8(pattern).is_err() {
            let text = String::from_utf8_lossy(pattern).into_owned();
            self.key.truncate(1);
            self.key.extend_from_slice(text.as_bytes());
        }
    }

    fn create(&mut self, level: Level, key: Vec<u8>, message: &[u8]) -> PatternId {
        let in_level = &mut self.patterns_in_level[level as usize];
        if self.closed || *in_level >= self.limits.max_patterns_per_level {
            return PatternId::overflow(level);
        }
        *in_level += 1;
        self.siblings.insert(&key);
        let id = PatternId(self.patterns.len() as u32);
        let text = String::from_utf8_lossy(&key[1..]).into_owned();
        self.patterns.push(Pattern {
            level,
            hash: PatternHash::of(&text),
            text,
            sample: sample(message, &self.limits.sample),
            messages: 0,
        });
        self.ids.insert(key.into_boxed_slice(), id);
        id
    }
}

fn overflow_pattern(level: Level) -> Pattern {
    Pattern {
        level,
        hash: PatternHash::OVERFLOW,
        text: String::new(),
        sample: "messages beyond the limit of patterns".to_owned(),
        messages: 0,
    }
}
