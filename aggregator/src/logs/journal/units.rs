//! Entries of the journal to counted messages, by unit or container. Pure: no clock, no I/O.
//!
//! What a service prints comes as an entry a line, so a message may be in several. [`Units::is_settled`] says when all
//! messages are complete, so that the journal's place can be kept with nothing counted twice or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use nodescope_logs::decode::{Format, JournalEntry};
use nodescope_logs::{Source, SourceCounts, SourceLimits};

use super::super::budget::ByteBudget;
use super::super::published::Published;
use crate::containers::{Class, classify};
use crate::model::logs::LogCount;

/// Value of the label `source`.
const LABEL: &str = "journald";
/// Units and containers at once; entries of others are passed over.
const MAX_UNITS: usize = 5_000;
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
    /// The container with this id, through its runtime.
    Container(Vec<u8>),
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
    classes: HashMap<Vec<u8>, Option<Class>>,
    counts: UnitCounts,
}

struct Unit {
    source: Source,
    published: Published,
    budget: ByteBudget,
    last_ms: u64,
    /// Since when there are counts and no container for them.
    unknown_since_ms: Option<u64>,
    container: Option<Arc<str>>,
}

impl Units {
    /// None yet.
    pub(super) fn new(limits: SourceLimits, bytes_per_second: u64) -> Self {
        Self {
            limits,
            bytes_per_second,
            units: HashMap::new(),
            classes: HashMap::new(),
            counts: UnitCounts::default(),
        }
    }

    /// Takes an entry. One of nobody that is ever shown is passed over without a count.
    pub(super) fn take(&mut self, entry: &JournalEntry<'_>, now_ms: u64) {
        let Some(logger) = self.logger(entry) else {
            return;
        };
        let bytes = entry.message.len() as u64 + ENTRY_BYTES;
        if self.units.len() >= MAX_UNITS && !self.units.contains_key(&logger) {
            self.counts.skipped_bytes += bytes;
            return;
        }
        let (limits, rate) = (&self.limits, self.bytes_per_second);
        let unit = self
            .units
            .entry(logger)
            .or_insert_with(|| Unit::new(limits.clone(), rate, now_ms));
        unit.last_ms = now_ms;
        if unit.budget.left(now_ms) == 0 {
            self.counts.skipped_bytes += bytes;
            return;
        }
        unit.budget.take(bytes);
        self.counts.read_bytes += bytes;
        unit.source.feed_journal(entry, now_ms);
    }

    fn logger(&mut self, entry: &JournalEntry<'_>) -> Option<Logger> {
        if let Some(id) = entry.container_id.filter(|id| !id.is_empty()) {
            return Some(Logger::Container(id.to_vec()));
        }
        let path = entry.cgroup?;
        if let Some(class) = self.classes.get(path) {
            return class.clone().map(Logger::Class);
        }
        if self.classes.len() >= MAX_CLASSES {
            self.classes.clear();
        }
        let class = match classify(path) {
            class @ (Class::Unit(_) | Class::Container(_)) => Some(class),
            Class::Pod | Class::Ignored(_) => None,
        };
        self.classes.insert(path.to_vec(), class.clone());
        class.map(Logger::Class)
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
            .all(|unit| !unit.source.is_open() && unit.unknown_since_ms.is_none())
    }

    /// Looks for containers of those that have none, and counts as unclaimed what waited too long for one.
    pub(super) fn resolve(&mut self, now_ms: u64, find: impl Fn(&Logger) -> Option<Arc<str>>) {
        for (logger, unit) in &mut self.units {
            if unit.container.is_none() {
                unit.container = find(logger);
            }
            if unit.container.is_some() || !unit.published.is_behind(&unit.source) {
                unit.unknown_since_ms = None;
                continue;
            }
            let since_ms = *unit.unknown_since_ms.get_or_insert(now_ms);
            if now_ms.saturating_sub(since_ms) >= UNKNOWN_FOR_MS {
                let lost = unit.published.take(&unit.source, LABEL);
                self.counts.unclaimed += lost.iter().map(|count| count.messages).sum::<u64>();
                unit.unknown_since_ms = None;
            }
        }
    }

    /// What was counted since the last time, by container. `show` says whether the container is still there; what it
    /// does not take waits for another one.
    pub(super) fn publish(
        &mut self,
        now_ms: u64,
        mut show: impl FnMut(&Arc<str>, &[LogCount]) -> bool,
    ) {
        for unit in self.units.values_mut() {
            let Some(container) = unit.container.clone() else {
                continue;
            };
            if !unit.published.is_behind(&unit.source) {
                continue;
            }
            let before = unit.published.clone();
            let counts = unit.published.take(&unit.source, LABEL);
            if !show(&container, &counts) {
                unit.published = before;
                unit.container = None;
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
            unknown_since_ms: None,
            container: None,
        }
    }

    fn cut(&self) -> u64 {
        let SourceCounts { decode, messages } = self.source.counts();
        decode.lines.cut + messages.cut
    }
}

#[cfg(test)]
mod tests {
    use nodescope_logs::Level;

    use super::*;

    const CGROUP: &[u8] = b"/system.slice/api.service";

    fn units(bytes_per_second: u64) -> Units {
        Units::new(SourceLimits::default(), bytes_per_second)
    }

    fn entry(message: &str) -> JournalEntry<'_> {
        JournalEntry {
            message: message.as_bytes(),
            level: Some(Level::Error),
            cgroup: Some(CGROUP),
            ..JournalEntry::default()
        }
    }

    /// Everything that is published, as container and messages.
    fn published(units: &mut Units, now_ms: u64) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        units.publish(now_ms, |container, counts| {
            let messages = counts.iter().map(|count| count.messages).sum();
            all.push((container.to_string(), messages));
            true
        });
        all.sort();
        all
    }

    fn name(logger: &Logger) -> Option<Arc<str>> {
        Some(match logger {
            Logger::Class(Class::Unit(id)) => id.as_str().into(),
            Logger::Container(id) => String::from_utf8_lossy(id).into(),
            Logger::Class(_) => return None,
        })
    }

    #[test]
    fn entries_go_to_their_unit_or_container() {
        let mut units = units(1 << 20);
        for number in 0..3 {
            units.take(&entry(&format!("cannot open /a/{number}")), 0);
        }
        let in_container = JournalEntry {
            container_id: Some(b"abc"),
            ..entry("late")
        };
        units.take(&in_container, 0);
        let of_nobody = JournalEntry {
            cgroup: Some(b"/init.scope"),
            ..entry("Started it.")
        };
        units.take(&of_nobody, 0);
        units.flush();
        units.resolve(0, name);
        assert!(units.is_settled());
        let expected = [
            ("/system.slice/api.service".to_owned(), 3),
            ("abc".to_owned(), 1),
        ];
        assert_eq!(published(&mut units, 0), expected);
        assert_eq!(published(&mut units, 0), []);
    }

    #[test]
    fn a_message_of_several_entries_is_settled_when_it_is_complete() {
        let mut units = units(1 << 20);
        units.take(&entry("java.lang.IllegalStateException: no"), 0);
        units.take(&entry("\tat a.B.c(B.java:1)"), 1);
        assert!(!units.is_settled());
        units.flush_idle(60_000);
        units.resolve(60_000, name);
        assert!(units.is_settled());
        assert_eq!(published(&mut units, 60_000)[0].1, 1);
    }

    #[test]
    fn counts_wait_for_their_container_and_not_for_ever() {
        let mut units = units(1 << 20);
        units.take(&entry("one"), 0);
        units.flush();
        units.resolve(0, |_| None);
        assert!(!units.is_settled());
        assert_eq!(published(&mut units, 0), []);
        units.resolve(10, name);
        assert!(units.is_settled());
        assert_eq!(published(&mut units, 10)[0].1, 1);

        let gone = |_: &Arc<str>, _: &[LogCount]| false;
        units.take(&entry("two"), 20);
        units.flush();
        units.publish(20, gone);
        units.resolve(20, |_| None);
        units.resolve(20 + UNKNOWN_FOR_MS, |_| None);
        assert!(units.is_settled());
        assert_eq!(units.counts().unclaimed, 1);
    }

    #[test]
    fn a_unit_that_logs_too_much_is_passed_over_in_part() {
        let mut units = units(10 * ENTRY_BYTES);
        for _ in 0..1000 {
            units.take(&entry("x"), 0);
        }
        units.flush();
        units.resolve(0, name);
        let taken = published(&mut units, 0)[0].1;
        assert!((1..=10).contains(&taken), "{taken}");
        let UnitCounts {
            read_bytes,
            skipped_bytes,
            ..
        } = units.counts();
        assert_eq!(read_bytes + skipped_bytes, 1000 * (ENTRY_BYTES + 1));
    }

    #[test]
    fn too_many_units_and_those_that_are_quiet() {
        let mut units = units(1 << 20);
        for number in 0..=MAX_UNITS {
            let cgroup = format!("/system.slice/u{number}.service");
            let entry = JournalEntry {
                cgroup: Some(cgroup.as_bytes()),
                ..entry("hello")
            };
            units.take(&entry, 0);
        }
        assert_eq!(units.units.len(), MAX_UNITS);
        assert!(units.counts().skipped_bytes > 0);
        units.flush();
        units.resolve(0, name);
        assert_eq!(published(&mut units, 0).len(), MAX_UNITS);
        assert_eq!(published(&mut units, FORGET_AFTER_MS), []);
        assert!(units.units.is_empty());
    }
}
