//! What containers complain about: messages by level and pattern.

use std::collections::BTreeMap;
use std::sync::Arc;

use nodescope_logs::Level;
use nodescope_logs::pattern::PatternHash;

use super::Model;
use super::containers::Container;
use super::owners::Owner;
use crate::containers::Class;
use crate::logs::kinds::LogPlace;
use crate::metrics::catalogue::container as family;
use crate::metrics::{Exposition, SeriesLabels};

/// The sample of messages that the budget has no pattern for.
const OVERFLOW_SAMPLE: &str = "messages beyond the limit of patterns";

/// A log to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogJob {
    /// Value of the label `container_id`.
    pub container: Arc<str>,
    /// Where it may be.
    pub places: Vec<LogPlace>,
}

/// Messages of one pattern of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCount {
    /// Value of the label `source`.
    pub source: Arc<str>,
    /// Their level.
    pub level: Level,
    /// The name of their pattern.
    pub hash: PatternHash,
    /// One of them.
    pub sample: String,
    /// How many since the last time.
    pub messages: u64,
}

/// Whose a log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOwner {
    /// The container or service with this id.
    Container(Arc<str>),
    /// Not known, or not yet.
    NotYet,
    /// Nobody's that is shown.
    Nobody,
}

/// Which messages are shown by pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternSettings {
    /// Those of all levels, not only warnings and worse.
    pub of_all_levels: bool,
    /// Patterns of one container.
    pub per_container: usize,
}

/// The messages of one container.
#[derive(Debug, Default)]
pub struct ContainerLogs {
    series: BTreeMap<Key, Series>,
    patterns: usize,
    over_budget: u64,
}

/// Without a hash it is a series of a whole level.
type Key = (Arc<str>, Level, Option<PatternHash>);

#[derive(Debug)]
struct Series {
    labels: SeriesLabels,
    messages: u64,
}

impl ContainerLogs {
    fn add(&mut self, count: &LogCount, settings: PatternSettings) {
        let LogCount {
            source,
            level,
            hash,
            sample,
            messages,
        } = count;
        let by_pattern = settings.of_all_levels || *level >= Level::Warning;
        let key = (Arc::clone(source), *level, by_pattern.then_some(*hash));
        if let Some(series) = self.series.get_mut(&key) {
            series.messages += messages;
            return;
        }
        let is_overflow = *hash == PatternHash::OVERFLOW;
        if by_pattern && !is_overflow && self.patterns >= settings.per_container {
            self.over_budget += 1;
            let rest = LogCount {
                hash: PatternHash::OVERFLOW,
                sample: OVERFLOW_SAMPLE.to_owned(),
                ..count.clone()
            };
            return self.add(&rest, settings);
        }
        self.patterns += usize::from(by_pattern && !is_overflow);
        let (hash, sample) = match by_pattern {
            true => (hash.to_string(), sample.as_str()),
            false => (String::new(), ""),
        };
        let labels = SeriesLabels::new(&[
            ("source", source),
            ("level", level.label()),
            ("pattern_hash", &hash),
            ("sample", sample),
        ]);
        let messages = *messages;
        self.series.insert(key, Series { labels, messages });
    }

    /// Counts of messages whose pattern was not shown, because the container had too many.
    pub fn over_budget(&self) -> u64 {
        self.over_budget
    }
}

impl Container {
    /// Where the log of one of its classes may be.
    pub(super) fn set_logs(&mut self, class: &Class, places: &[LogPlace]) {
        if places.is_empty() {
            self.log_places.remove(class);
        } else {
            self.log_places.insert(class.clone(), places.to_vec());
        }
    }
}

impl Model {
    /// The logs of all containers.
    pub fn logs_to_read(&self) -> Vec<LogJob> {
        let jobs = |container: &Container| {
            let id = Arc::clone(&container.id);
            let places = container.classes().iter();
            let places = places.filter_map(|class| container.log_places.get(class).cloned());
            let job = |places| LogJob {
                container: Arc::clone(&id),
                places,
            };
            places.map(job).collect::<Vec<_>>()
        };
        self.containers
            .iter()
            .flat_map(|(_, container)| jobs(container))
            .collect()
    }

    /// Messages that were found in a log of the container with this id. False when there is no such container.
    pub fn add_log_messages(&mut self, container: &str, counts: &[LogCount]) -> bool {
        let settings = self.settings.log_patterns;
        let Some(container) = self.containers.find_mut(container) else {
            return false;
        };
        for count in counts {
            container.logs.add(count, settings);
        }
        true
    }

    /// Whose log it is that processes of this class write.
    pub fn log_owner_of_class(&self, class: &Class) -> LogOwner {
        match self.owners.container(class) {
            Owner::Container(index) => self.log_owner_at(index),
            // What waits too long for room is counted as unclaimed.
            Owner::NotYet | Owner::NoRoom => LogOwner::NotYet,
            Owner::Nobody => LogOwner::Nobody,
        }
    }

    /// Whose log it is that a process of user `uid` says to be of the container with this id: root may say so of any, others
    /// of their own rootless ones.
    pub fn log_owner_of_runtime_id(&self, id: &[u8], uid: u32) -> LogOwner {
        let is_it = |class: &Class| matches!(class, Class::Container(known) if known.id == id && (uid == 0 || known.uid == uid));
        let mut containers = self.containers.iter();
        let found = containers.find(|(_, container)| container.classes().iter().any(is_it));
        found.map_or(LogOwner::NotYet, |(index, _)| self.log_owner_at(index))
    }

    fn log_owner_at(&self, index: usize) -> LogOwner {
        let container = self.containers.get(index);
        container.map_or(LogOwner::NotYet, |container| {
            LogOwner::Container(Arc::clone(&container.id))
        })
    }
}

/// Writes the messages of all containers.
pub(super) fn render(page: &mut Exposition<'_>, shown: &[&Container]) {
    page.family(&family::LOG_MESSAGES);
    for container in shown {
        for series in container.logs.series.values() {
            page.sample_with(&container.labels, &series.labels, series.messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: PatternSettings = PatternSettings {
        of_all_levels: false,
        per_container: 2,
    };

    fn count(level: Level, pattern: &str, messages: u64) -> LogCount {
        LogCount {
            source: "stdout/stderr".into(),
            level,
            hash: PatternHash::of(pattern),
            sample: pattern.to_owned(),
            messages,
        }
    }

    fn shown(logs: &ContainerLogs) -> Vec<(String, u64)> {
        let series = logs.series.values();
        series
            .map(|series| (series.labels.as_str().to_owned(), series.messages))
            .collect()
    }

    #[test]
    fn warnings_have_patterns_and_the_rest_a_level() {
        let mut logs = ContainerLogs::default();
        for pattern in ["a", "b"] {
            logs.add(&count(Level::Info, pattern, 2), SETTINGS);
            logs.add(&count(Level::Unknown, pattern, 1), SETTINGS);
        }
        logs.add(&count(Level::Error, "a", 5), SETTINGS);
        logs.add(&count(Level::Error, "a", 6), SETTINGS);
        let labels = |level, hash, sample| {
            format!(
                "source=\"stdout/stderr\",level=\"{level}\",pattern_hash=\"{hash}\",sample=\"{sample}\""
            )
        };
        let expected = [
            (labels("unknown", "", ""), 2),
            (labels("info", "", ""), 4),
            (labels("error", "0cc175b9c0f1b6a831c399e269772661", "a"), 11),
        ];
        assert_eq!(shown(&logs), expected);
    }

    #[test]
    fn patterns_of_all_levels_on_request() {
        let mut logs = ContainerLogs::default();
        let settings = PatternSettings {
            of_all_levels: true,
            ..SETTINGS
        };
        logs.add(&count(Level::Info, "a", 2), settings);
        logs.add(&count(Level::Info, "b", 3), settings);
        assert_eq!(logs.series.len(), 2);
    }

    #[test]
    fn what_is_over_the_budget_is_counted_together() {
        let mut logs = ContainerLogs::default();
        for pattern in ["a", "b", "c", "d", "c"] {
            logs.add(&count(Level::Error, pattern, 1), SETTINGS);
        }
        logs.add(&count(Level::Info, "e", 7), SETTINGS);
        let zeros = Some(PatternHash::OVERFLOW);
        let overflow = &logs.series[&("stdout/stderr".into(), Level::Error, zeros)];
        assert_eq!((overflow.messages, logs.over_budget()), (3, 3));
        assert_eq!(logs.series.len(), 4);
    }
}
