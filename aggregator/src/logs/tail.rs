//! One log of one container: when the sensor is asked for its files, when it is read, and what it came to.
//!
//! That a log was rotated shows in its file first: it has no name any more, or something about it changed and not its
//! content, as a new name does. So the sensor is asked then, and otherwise only now and then.

use std::io;
use std::sync::Arc;

use nodescope_logs::{SourceCounts, SourceLimits};

use super::budget::ByteBudget;
use super::chain::{ChainError, Found, Want};
use super::kinds::LogPlace;
use super::open::Look;
use super::position::Position;
use super::positions::Mark;
use super::published::Published;
use super::reader::{Reader, Step};
use crate::model::logs::LogCount;

/// First pause between two questions for a log's files; each further one doubles it.
const FIRST_PAUSE_MS: u64 = 1_000;
/// Longest pause.
const LONGEST_PAUSE_MS: u64 = 30_000;
/// A file without a name is kept open so long after its last growth, then its disk space is given back.
const REMOVED_FOR_MS: u64 = 10_000;
/// A log that wants its place among the open files takes it from one that has rested so long.
pub const RESTING_MS: u64 = 5_000;
/// Seconds of the budget that may wait to be read; what is more is passed over.
const MAX_LAG_SECONDS: u64 = 30;

/// A log of a container.
pub struct Tail {
    /// Value of the label `container_id`.
    pub container: Arc<str>,
    /// Where it may be.
    places: Vec<LogPlace>,
    /// Where it is.
    place: Option<usize>,
    reader: Option<Reader>,
    /// Up to where it was counted when its files were closed.
    parked: Option<Mark>,
    budget: ByteBudget,
    bytes_per_second: u64,
    ask_at_ms: u64,
    pause_ms: u64,
    grown_at_ms: u64,
    changed: (i64, i64),
    is_at_end: bool,
    is_removed: bool,
    is_truncated: bool,
    has_no_room: bool,
    published: Published,
    reported: Report,
}

/// What happened to a log since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes passed over.
    pub skipped_bytes: u64,
    /// Bytes of a rotated log's format that belong to no entry.
    pub undecodable_bytes: u64,
    /// Lines that are not of the log's format.
    pub malformed: u64,
    /// Lines and messages that were cut.
    pub cut: u64,
    /// Times files were gone before they were read.
    pub rotated_gaps: u64,
    /// Times a file was truncated and no copy found.
    pub truncated_gaps: u64,
}

impl Tail {
    /// A log that has still to be found. It may be in one of `places`, of which there is at least one.
    pub fn new(
        container: Arc<str>,
        places: Vec<LogPlace>,
        bytes_per_second: u64,
        now_ms: u64,
    ) -> Self {
        Self {
            container,
            places,
            place: None,
            reader: None,
            parked: None,
            budget: ByteBudget::new(bytes_per_second, now_ms),
            bytes_per_second,
            ask_at_ms: 0,
            pause_ms: FIRST_PAUSE_MS,
            grown_at_ms: now_ms,
            changed: (0, 0),
            is_at_end: false,
            is_removed: false,
            is_truncated: false,
            has_no_room: false,
            published: Published::default(),
            reported: Report::default(),
        }
    }

    /// Where to look for it: the one place it is at, or all it may be at.
    pub fn places(&self) -> &[LogPlace] {
        match self.place {
            Some(index) => &self.places[index..=index],
            None => &self.places,
        }
    }

    /// Value of the label `source`.
    pub fn source_label(&self) -> &Arc<str> {
        &self.places()[0].source
    }

    /// The sensor may call it otherwise now, or its writers may have opened other files.
    pub fn set_places(&mut self, places: &[LogPlace], now_ms: u64) {
        if self.places == places || self.places.len() != places.len() {
            return;
        }
        self.places = places.to_vec();
        self.pause_ms = FIRST_PAUSE_MS;
        self.ask_at_ms = now_ms;
    }

    /// What the sensor should be asked now. `saved` is how far an earlier process had read it, `since_ms` when the
    /// first of them began.
    pub fn want(
        &self,
        now_ms: u64,
        saved: impl FnOnce() -> Option<Mark>,
        since_ms: u64,
    ) -> Option<Want> {
        if now_ms < self.ask_at_ms {
            return None;
        }
        if self.is_truncated {
            return Some(Want::Copy);
        }
        match self.reader.as_ref().map(Reader::newest) {
            Some(Some(_)) if !self.is_at_end => None,
            Some(Some(newest)) => Some(Want::Newer(newest.id)),
            Some(None) => Some(self.parked.map_or(Want::All, Want::Resume)),
            None => Some(saved().map_or(Want::First(since_ms), Want::Resume)),
        }
    }

    /// Whether it waits for a place among the open files.
    pub fn is_waiting(&self) -> bool {
        self.has_no_room
    }

    /// Since when an open log has had nothing to read.
    pub fn resting_since_ms(&self) -> Option<u64> {
        let newest = self.reader.as_ref().and_then(Reader::newest);
        (self.is_at_end && !self.is_truncated && newest.is_some()).then_some(self.grown_at_ms)
    }

    /// The sensor gave no answer that is of use.
    pub fn not_found(&mut self, error: &ChainError, now_ms: u64) {
        self.has_no_room = matches!(error, ChainError::NoRoom);
        if error.is_passing() {
            self.ask_at_ms = now_ms + FIRST_PAUSE_MS;
        } else {
            self.wait_longer(now_ms);
        }
    }

    fn wait_longer(&mut self, now_ms: u64) {
        self.ask_at_ms = now_ms + self.pause_ms;
        self.pause_ms = (self.pause_ms * 2).min(LONGEST_PAUSE_MS);
    }

    /// The sensor gave files of the log at `place`. Blocks.
    pub fn found(
        &mut self,
        place: usize,
        found: Found,
        limits: SourceLimits,
        now_ms: u64,
    ) -> io::Result<()> {
        self.has_no_room = false;
        // Asked for one place or for all.
        let place = self.place.unwrap_or(place);
        self.place = Some(place);
        let format = self.places[place].format;
        let reader = self
            .reader
            .get_or_insert_with(|| Reader::new(format, limits));
        match found {
            Found::Begin {
                logs,
                offset,
                pass_by,
                is_gap,
            } => {
                self.reported.rotated_gaps += u64::from(is_gap);
                self.parked = None;
                self.grown_at_ms = now_ms;
                self.is_at_end = false;
                reader.attach(logs, offset, pass_by)?;
                self.ask_soon(now_ms);
            }
            Found::Newer { logs, .. } if logs.is_empty() => {
                self.changed = reader.look()?.unwrap_or_default().changed;
                self.wait_longer(now_ms);
            }
            Found::Newer { logs, is_gap } => {
                self.reported.rotated_gaps += u64::from(is_gap);
                self.is_at_end = false;
                reader.follow(logs);
                self.ask_soon(now_ms);
            }
            Found::Copy(copy) => {
                let is_whole = reader.go_on(copy)?;
                self.reported.truncated_gaps += u64::from(!is_whole);
                self.is_truncated = false;
                self.is_at_end = false;
                self.ask_soon(now_ms);
            }
        }
        Ok(())
    }

    fn ask_soon(&mut self, now_ms: u64) {
        self.pause_ms = FIRST_PAUSE_MS;
        self.ask_at_ms = now_ms + FIRST_PAUSE_MS;
    }

    /// Bytes that its budget allows now.
    pub fn allowance(&mut self, now_ms: u64) -> u64 {
        self.budget.left(now_ms)
    }

    /// Reads some bytes. Returns how many, or nothing when there is no more for now. Blocks.
    pub fn read(&mut self, max: u64, now_ms: u64, buffer: &mut Vec<u8>) -> io::Result<Option<u64>> {
        let held = self.place.map_or(&[][..], |place| &self.places[place].held);
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        let skipped_bytes = reader.skipped_bytes();
        match reader.read(max, now_ms, held, buffer)? {
            Step::Bytes(bytes) => {
                self.budget.take(bytes);
                // The end of a line whose beginning was passed over is passed over too.
                let passed = reader.skipped_bytes() - skipped_bytes;
                self.reported.read_bytes += bytes - passed;
                self.is_at_end = false;
                self.grown_at_ms = now_ms;
                Ok(Some(bytes))
            }
            Step::End => {
                self.is_at_end = true;
                let look = reader.look()?;
                self.watch(look, now_ms);
                Ok(None)
            }
            Step::Truncated => {
                self.is_truncated = true;
                self.ask_at_ms = self.ask_at_ms.min(now_ms);
                Ok(None)
            }
        }
    }

    fn watch(&mut self, look: Option<Look>, now_ms: u64) {
        let Some(look) = look else { return };
        let lost_its_name = look.is_removed && !self.is_removed;
        self.is_removed = look.is_removed;
        if lost_its_name {
            // Another one has its place, and may lose it as soon: there is no second name to find that by.
            self.changed = look.changed;
            self.pause_ms = FIRST_PAUSE_MS;
            self.ask_at_ms = now_ms;
        } else if self.grown_at_ms == now_ms {
            self.changed = look.changed;
            self.ask_soon(now_ms);
        } else if look.changed != self.changed {
            self.changed = look.changed;
            self.pause_ms = FIRST_PAUSE_MS;
            self.ask_at_ms = now_ms;
        } else if look.is_removed && now_ms.saturating_sub(self.grown_at_ms) >= REMOVED_FOR_MS {
            self.finish();
            self.ask_soon(now_ms);
        }
    }

    /// Closes its files so that others can be opened; it goes on later where it was. A log that ends inside a line stays
    /// open. Blocks.
    pub fn park(&mut self, now_ms: u64, at_ms: u64) -> io::Result<()> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        let source = reader.source_mut();
        source.flush(false);
        if source.position_bytes() == source.fed_bytes() {
            let position = reader.position()?;
            self.parked = position.map(|position| Mark { position, at_ms });
            reader.detach();
            self.ask_at_ms = now_ms + RESTING_MS;
        }
        Ok(())
    }

    /// Counts what is complete, and passes over what is too much. Blocks.
    pub fn settle(&mut self, now_ms: u64) -> io::Result<()> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        reader.source_mut().flush_idle(now_ms);
        if !self.is_at_end && reader.backlog_bytes()? > self.bytes_per_second * MAX_LAG_SECONDS {
            reader.skip_to_newest(self.bytes_per_second)?;
        }
        Ok(())
    }

    /// Counts everything that was read, also what has no end.
    pub fn flush(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.source_mut().flush(true);
        }
    }

    /// Closes its files for good. Everything that was read is counted.
    pub fn finish(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.detach();
            self.parked = None;
        }
    }

    /// Up to where it is counted. Blocks.
    pub fn position(&mut self) -> io::Result<Option<Position>> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        match reader.position()? {
            Some(position) => Ok(Some(position)),
            None => Ok(self.parked.map(|mark| mark.position)),
        }
    }

    /// Its reader, once it was found.
    pub fn reader(&mut self) -> Option<&mut Reader> {
        self.reader.as_mut()
    }

    /// Messages counted since the last time this was asked.
    pub fn take_counts(&mut self) -> Vec<LogCount> {
        let label = Arc::clone(self.source_label());
        let Some(reader) = &self.reader else {
            return Vec::new();
        };
        self.published.take(reader.source(), &label)
    }

    /// What happened to it so far.
    pub fn report(&self) -> Report {
        let Some(reader) = &self.reader else {
            return self.reported;
        };
        let SourceCounts { decode, messages } = reader.source().counts();
        Report {
            skipped_bytes: reader.skipped_bytes(),
            undecodable_bytes: decode.skipped_bytes,
            malformed: decode.malformed,
            cut: decode.lines.cut + messages.cut,
            ..self.reported
        }
    }

    /// Bytes that wait to be read. Blocks.
    pub fn backlog_bytes(&self) -> u64 {
        let backlog = self.reader.as_ref().map(Reader::backlog_bytes);
        backlog.and_then(Result::ok).unwrap_or(0)
    }
}
