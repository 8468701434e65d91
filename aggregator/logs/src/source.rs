//! One source of log lines from its bytes to its counters: decode, assemble, find level and message, mine.
//!
//! A source is a container's streams, a file, or a unit's part of the journal. Its reader gives it bytes or entries and
//! the time, calls [`Source::flush_idle`] about every second, and reads [`Source::patterns`] when metrics are made.

use crate::decode::{
    CutCounts, DecodeCounts, Decoder, Format, JournalEntry, JournalJoiner, Line, Stream,
};
use crate::level::{self, Level};
use crate::multiline::{Assembler, AssemblyLimits};
use crate::pattern::{Miner, MinerLimits, Pattern};
use crate::structured;

/// The limits of one source.
#[derive(Clone, Debug)]
pub struct SourceLimits {
    /// Bytes of a line; the rest is cut off.
    pub max_line_bytes: usize,
    /// When a message is complete and how large it may be.
    pub assembly: AssemblyLimits,
    /// How many patterns there may be.
    pub patterns: MinerLimits,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            max_line_bytes: 64 << 10,
            assembly: AssemblyLimits::default(),
            patterns: MinerLimits::default(),
        }
    }
}

/// What could not be taken as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// Lines and entries that could not be decoded, and lines that were cut.
    pub decode: DecodeCounts,
    /// Messages that were cut.
    pub messages: CutCounts,
}

/// One source of log lines.
pub struct Source {
    decoder: Decoder,
    journal: JournalJoiner,
    assemblers: [Assembler; 2],
    /// Where the open message of each stream begins.
    begun: [u64; 2],
    /// Lines of each stream that begin before this place were counted by an earlier source.
    counted: [u64; 2],
    miner: Miner,
    limits: SourceLimits,
    /// The level that the journal gives the message that is open.
    hint: Level,
    fed_bytes: u64,
    last_feed_ms: u64,
    buffer: Vec<u8>,
}

impl Source {
    /// A source whose bytes have a format. For the journal the format does not matter.
    pub fn new(format: Format, limits: SourceLimits) -> Self {
        Self {
            decoder: Decoder::new(format, limits.max_line_bytes),
            journal: JournalJoiner::default(),
            assemblers: [limits.assembly; 2].map(Assembler::new),
            begun: [0; 2],
            counted: [0; 2],
            miner: Miner::new(limits.patterns.clone()),
            hint: Level::Unknown,
            fed_bytes: 0,
            last_feed_ms: 0,
            buffer: Vec::new(),
            limits,
        }
    }

    /// Takes the next bytes of the file, read at `now_ms`, any clock that does not go back.
    pub fn feed(&mut self, bytes: &[u8], now_ms: u64) {
        self.fed_bytes += bytes.len() as u64;
        self.last_feed_ms = now_ms;
        let (decoder, mut lines) = self.parts(now_ms);
        decoder.feed(bytes, |line| lines.take(&line));
    }

    /// The file ends here and the next bytes are those of the one that follows it: takes a last line without a newline.
    /// A message may go on in the next file.
    pub fn end_file(&mut self) {
        let (decoder, mut lines) = self.parts(self.last_feed_ms);
        decoder.end_file(|line| lines.take(&line));
    }

    /// Takes the next entry of the journal, read at `now_ms`. What a service prints comes as an entry a line, so entries
    /// are assembled as lines are; entries of another priority are not of the same message.
    pub fn feed_journal(&mut self, entry: &JournalEntry<'_>, now_ms: u64) {
        self.last_feed_ms = now_ms;
        let hint = entry.level.unwrap_or_default();
        if hint != self.hint {
            self.flush(false);
            self.hint = hint;
        }
        let Self {
            journal,
            assemblers: [assembler, _],
            miner,
            limits,
            buffer,
            ..
        } = self;
        journal.push(entry, limits.max_line_bytes, |line| {
            assembler.push(line, now_ms, |message| count(miner, buffer, hint, message));
        });
    }

    /// Counts what is complete because nothing came for long. To be called about every second.
    pub fn flush_idle(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.last_feed_ms) >= self.limits.assembly.idle_ms {
            self.flush_lines(now_ms);
        }
        self.flush_assemblers(|assembler, sink| assembler.flush_idle(now_ms, sink));
    }

    /// Counts all that was taken. With `end_of_file`, also a last line without a newline; without, its bytes stay
    /// behind [`Self::position_bytes`].
    pub fn flush(&mut self, end_of_file: bool) {
        if end_of_file {
            self.end_file();
        }
        self.flush_lines(self.last_feed_ms);
        self.flush_assemblers(|assembler, sink| assembler.flush(sink));
    }

    /// Whether a message of the journal is not complete. (A file has [`Self::position_bytes`] for this.)
    pub fn is_open(&self) -> bool {
        self.journal.is_open() || self.assemblers.iter().any(Assembler::is_open)
    }

    /// Bytes of the file up to which every line was taken. After [`Self::flush`] all of them are counted: who begins
    /// there again neither skips a line nor repeats one.
    pub fn position_bytes(&self) -> u64 {
        self.fed_bytes - self.decoder.pending_bytes()
    }

    /// For each stream the place, in bytes fed, up to which every line is counted, open messages left out: whoever begins
    /// at the lesser place and passes by what is before its stream's place ([`Self::pass_by`]) neither skips nor repeats
    /// a line.
    pub fn counted_places(&self) -> [u64; 2] {
        let whole = self.position_bytes();
        [Stream::Stdout, Stream::Stderr].map(|stream| {
            let index = stream as usize;
            let message = self.assemblers[index]
                .is_open()
                .then_some(self.begun[index]);
            let line = self.decoder.open_place(stream);
            let place = [message, line].into_iter().flatten().fold(whole, u64::min);
            place.max(self.counted[index])
        })
    }

    /// Lines of a stream that begin before its place are not counted: an earlier source did it.
    pub fn pass_by(&mut self, places: [u64; 2]) {
        self.counted = places;
    }

    /// All bytes taken.
    pub fn fed_bytes(&self) -> u64 {
        self.fed_bytes
    }

    /// The patterns found and their counters, the overflow pattern of each level first.
    pub fn patterns(&self) -> &[Pattern] {
        self.miner.patterns()
    }

    /// Stops or allows new patterns: those found while they are stopped count in the overflow pattern.
    pub fn set_closed(&mut self, closed: bool) {
        self.miner.set_closed(closed);
    }

    /// What could not be taken as it was.
    pub fn counts(&self) -> SourceCounts {
        let [out, err] = &self.assemblers;
        let parts = [out.counts(), err.counts(), self.journal.counts()];
        SourceCounts {
            decode: self.decoder.counts(),
            messages: CutCounts {
                cut: parts.iter().map(|counts| counts.cut).sum(),
                cut_bytes: parts.iter().map(|counts| counts.cut_bytes).sum(),
            },
        }
    }

    /// Heap memory held by the patterns, about. What is not complete takes at most a few times the limit of a line and
    /// of a message more.
    pub fn bytes(&self) -> usize {
        self.miner.bytes()
    }

    fn flush_lines(&mut self, now_ms: u64) {
        let (decoder, mut lines) = self.parts(now_ms);
        decoder.flush(|line| lines.take(&line));
        let Self {
            journal,
            assemblers: [assembler, _],
            miner,
            hint,
            buffer,
            ..
        } = self;
        journal.finish(|line| {
            assembler.push(line, now_ms, |message| count(miner, buffer, *hint, message));
        });
    }

    /// What finds lines, and what takes them.
    fn parts(&mut self, now_ms: u64) -> (&mut Decoder, Lines<'_>) {
        let Self {
            decoder,
            assemblers,
            begun,
            counted,
            miner,
            hint,
            buffer,
            ..
        } = self;
        let lines = Lines {
            assemblers,
            begun,
            counted,
            miner,
            hint: *hint,
            buffer,
            now_ms,
        };
        (decoder, lines)
    }

    fn flush_assemblers(&mut self, flush: impl Fn(&mut Assembler, &mut dyn FnMut(&[u8]))) {
        let Self {
            assemblers,
            miner,
            hint,
            buffer,
            ..
        } = self;
        for assembler in assemblers {
            flush(assembler, &mut |message| {
                count(miner, buffer, *hint, message);
            });
        }
    }
}

/// What a source does with whole lines.
struct Lines<'a> {
    assemblers: &'a mut [Assembler; 2],
    begun: &'a mut [u64; 2],
    counted: &'a [u64; 2],
    miner: &'a mut Miner,
    hint: Level,
    buffer: &'a mut Vec<u8>,
    now_ms: u64,
}

impl Lines<'_> {
    fn take(&mut self, line: &Line<'_>) {
        let index = line.stream as usize;
        if line.place < self.counted[index] {
            return;
        }
        let begins = self.assemblers[index].push(line.text, self.now_ms, |message| {
            count(self.miner, self.buffer, self.hint, message);
        });
        if begins {
            self.begun[index] = line.place;
        }
    }
}

/// Counts a message. Its level is the one its record or text names, else the one of a syslog priority before it, else
/// `hint`.
fn count(miner: &mut Miner, buffer: &mut Vec<u8>, hint: Level, message: &[u8]) {
    let message = message.trim_ascii();
    if message.is_empty() {
        return;
    }
    miner.observe_line(hint, message, |line| {
        let (priority, text) = level::split_priority(line);
        let hint = priority.unwrap_or(hint);
        match structured::parse(text, buffer) {
            Some(record) => {
                let named = record.level.or_else(|| level::detect(record.message));
                (named.unwrap_or(hint), record.message)
            }
            None => (level::detect(text).unwrap_or(hint), text),
        }
    });
}
