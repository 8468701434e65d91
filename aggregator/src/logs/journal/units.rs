//! Entries of the journal to counted messages, by unit or container. Pure: no clock, no I/O.
//!
//! What a service prints comes as an entry a line, so a message may be in several. [`Units::is_settled`] says when all
//! messages are complete, so that the journal's place can be kept with nothing counted twice or not at all.
//!
//! Any process of the machine may write any field that does not begin with `_`. So `CONTAINER_ID_FULL` is believed only
//! from outside of containers, and of a user that is not root only for that user's own containers ([`Logger::Container`]).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use nodescope_logs::decode::{Format, JournalEntry};
use nodescope_logs::{Source, SourceCounts, SourceLimits};

use super::super::budget::ByteBudget;
use super::super::published::Published;
use crate::containers::{Class, classify};
use crate::model::logs::{LogCount, LogOwner};

/// Value of the label `source`.
const LABEL: &str = "journald";
/// Units and containers at once; entries of others are passed over.
const MAX_UNITS: usize = 5_000;
/// Those of them whose container is not known: more do not take the place of others.
const MAX_UNKNOWN: usize = 500;
/// A unit that logs nothing for so long is forgotten; its patterns get the same hashes when it comes back.
const FORGET_AFTER_MS: u64 = 3_600_000;
/// A unit whose container is not known yet waits so long for it.
const UNKNOWN_FOR_MS: u64 = 60_000;
/// Cgroup paths whose class is remembered.
const MAX_CLASSES: usize = 10_000;
/// Bytes an entry counts beside its message: its fields are read even when the message is empty.
const ENTRY_BYTES: u64 = 256;

/// Who logged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Logger {
    /// A process of this cgroup class.
    Class(Class),
    /// The container with this id, as a process of user `uid` says that logs for it.
    Container {
        /// The runtime's id of the container.
        id: Vec<u8>,
        /// User of the process.
        uid: u32,
    },
}

/// What became of all entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct UnitCounts {
    /// Bytes of the messages taken.
    pub(super) read_bytes: u64,
    /// Bytes of messages passed over, because their unit logs too much or there are too many units.
    pub(super) skipped_bytes: u64,
    /// Entries and messages that were cut.
    pub(super) cut: u64,
    /// Messages whose container never became known.
    pub(super) unclaimed: u64,
}

/// All units and containers that log to the journal.
pub(super) struct Units {
    limits: SourceLimits,
    bytes_per_second: u64,
    units: HashMap<Logger, Unit>,
    /// Units without a container.
    unknown: usize,
    classes: HashMap<Vec<u8>, Class>,
    counts: UnitCounts,
    /// Value of the label `source`.
    label: Arc<str>,
}

struct Unit {
    source: Source,
    published: Published,
    budget: ByteBudget,
    last_ms: u64,
    container: Option<Arc<str>>,
    /// Since when it has had none.
    unknown_since_ms: u64,
}

impl Units {
    /// None yet.
    pub(super) fn new(limits: SourceLimits, bytes_per_second: u64) -> Self {
        Self {
            limits,
            bytes_per_second,
            units: HashMap::new(),
            unknown: 0,
            classes: HashMap::new(),
            counts: UnitCounts::default(),
            label: LABEL.into(),
        }
    }

    /// Takes an entry and returns how many bytes of budget it used. One of nobody that is ever shown is passed over without
    /// a count.
    pub(super) fn take(&mut self, entry: &JournalEntry<'_>, now_ms: u64) -> u64 {
        let Some(logger) = self.logger(entry) else {
            return 0;
        };
        let bytes = entry.message.len() as u64 + ENTRY_BYTES;
        let Some(unit) = self.unit(logger, now_ms) else {
            self.counts.skipped_bytes += bytes;
            return 0;
        };
        unit.last_ms = now_ms;
        if unit.budget.left(now_ms) == 0 {
            self.counts.skipped_bytes += bytes;
            return 0;
        }
        unit.budget.take(bytes);
        unit.source.feed_journal(entry, now_ms);
        self.counts.read_bytes += bytes;
        bytes
    }

    /// The unit of a logger; `None` when there is no room for a new one.
    fn unit(&mut self, logger: Logger, now_ms: u64) -> Option<&mut Unit> {
        let has_room = self.units.len() < MAX_UNITS && self.unknown < MAX_UNKNOWN;
        match self.units.entry(logger) {
            Entry::Occupied(unit) => Some(unit.into_mut()),
            Entry::Vacant(place) if has_room => {
                self.unknown += 1;
                let unit = Unit::new(self.limits.clone(), self.bytes_per_second, now_ms);
                Some(place.insert(unit))
            }
            Entry::Vacant(_) => None,
        }
    }

    fn logger(&mut self, entry: &JournalEntry<'_>) -> Option<Logger> {
        let class = self.class(entry.cgroup?);
        let is_in_container = matches!(class, Class::Container(_) | Class::Pod);
        if let (Some(id), Some(uid), false) = (entry.container_id, entry.uid, is_in_container) {
            let id = id.to_vec();
            return Some(Logger::Container { id, uid });
        }
        let is_shown = matches!(class, Class::Unit(_) | Class::Container(_));
        is_shown.then(|| Logger::Class(class.clone()))
    }

    fn class(&mut self, path: &[u8]) -> &Class {
        if self.classes.len() >= MAX_CLASSES && !self.classes.contains_key(path) {
            self.classes.clear();
        }
        self.classes
            .entry(path.to_vec())
            .or_insert_with(|| classify(path))
    }

    /// Counts messages to which nothing was added for long.
    pub(super) fn flush_idle(&mut self, now_ms: u64) {
        for unit in self.units.values_mut() {
            unit.source.flush_idle(now_ms);
        }
    }

    /// Counts every message as it is.
    pub(super) fn flush(&mut self) {
        for unit in self.units.values_mut() {
            unit.source.flush(true);
        }
    }

    /// Whether every message is complete and has a container.
    pub(super) fn is_settled(&self) -> bool {
        self.units
            .values()
            .all(|unit| !unit.source.is_open() && unit.container.is_some())
    }

    /// Looks for containers of those that have none. Forgets those of nobody, and those that waited too long for one: what
    /// they logged is unclaimed.
    pub(super) fn resolve(&mut self, now_ms: u64, find: impl Fn(&Logger) -> LogOwner) {
        self.unknown = 0;
        let (counts, label) = (&mut self.counts, &self.label);
        let unknown = &mut self.unknown;
        self.units.retain(|logger, unit| {
            if unit.container.is_some() {
                return true;
            }
            match find(logger) {
                LogOwner::Container(id) => {
                    unit.container = Some(id);
                    return true;
                }
                LogOwner::Nobody => return false,
                LogOwner::NotYet => {}
            }
            if now_ms.saturating_sub(unit.unknown_since_ms) < UNKNOWN_FOR_MS {
                *unknown += 1;
                return true;
            }
            unit.source.flush(true);
            let lost = unit.published.take(&unit.source, label);
            counts.unclaimed += lost.iter().map(|count| count.messages).sum::<u64>();
            counts.cut += unit.cut();
            false
        });
    }

    /// What was counted since the last time, by container. `show` says whether the container is still there; what it
    /// does not take waits for another one.
    pub(super) fn publish(
        &mut self,
        now_ms: u64,
        mut show: impl FnMut(&Arc<str>, &[LogCount]) -> bool,
    ) {
        let label = &self.label;
        for unit in self.units.values_mut() {
            let Some(container) = unit.container.clone() else {
                continue;
            };
            if !unit.published.is_behind(&unit.source) {
                continue;
            }
            let before = unit.published.clone();
            let counts = unit.published.take(&unit.source, label);
            if !show(&container, &counts) {
                unit.published = before;
                unit.container = None;
                unit.unknown_since_ms = now_ms;
            }
        }
        let counts = &mut self.counts;
        self.units.retain(|_, unit| {
            let is_kept = now_ms.saturating_sub(unit.last_ms) < FORGET_AFTER_MS
                || unit.source.is_open()
                || unit.published.is_behind(&unit.source);
            if !is_kept {
                counts.cut += unit.cut();
            }
            is_kept
        });
    }

    /// Patterns of all of them.
    pub(super) fn patterns(&self) -> usize {
        self.units
            .values()
            .map(|unit| unit.source.patterns().len())
            .sum()
    }

    /// Stops or allows new patterns.
    pub(super) fn set_closed(&mut self, is_closed: bool) {
        for unit in self.units.values_mut() {
            unit.source.set_closed(is_closed);
        }
    }

    /// What became of the entries so far.
    pub(super) fn counts(&self) -> UnitCounts {
        let cut: u64 = self.units.values().map(Unit::cut).sum();
        UnitCounts {
            cut: self.counts.cut + cut,
            ..self.counts
        }
    }
}

impl Unit {
    fn new(limits: SourceLimits, bytes_per_second: u64, now_ms: u64) -> Self {
        Self {
            source: Source::new(Format::Plain, limits),
            published: Published::default(),
            budget: ByteBudget::new(bytes_per_second, now_ms),
            last_ms: now_ms,
            container: None,
            unknown_since_ms: now_ms,
        }
    }

    fn cut(&self) -> u64 {
        let SourceCounts { decode, messages } = self.source.counts();
        decode.lines.cut + messages.cut
    }
}

#[cfg(test)]
mod tests;
