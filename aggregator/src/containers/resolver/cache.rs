//! What the resolver remembers of each container: the last answer, or the failures since.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::class::ContainerRef;
use super::{Resolution, RetryReason};

/// Answers and failures, bounded in number.
pub(super) struct Cache {
    entries: HashMap<ContainerRef, Entry>,
    capacity: usize,
}

struct Entry {
    /// The last success.
    answer: Option<Resolution>,
    /// Failures since it.
    failures: u32,
    /// The last failure.
    reason: RetryReason,
    /// No lookup before this time.
    next: Instant,
    used: Instant,
}

impl Entry {
    fn resolution(&self, now: Instant) -> Resolution {
        self.answer.clone().unwrap_or(Resolution::Retry {
            reason: self.reason,
            after: self.next.saturating_duration_since(now),
        })
    }
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            capacity: capacity.max(1),
        }
    }

    /// What to answer without a lookup; `None` when it is time for one.
    pub(super) fn get(&mut self, container: &ContainerRef, now: Instant) -> Option<Resolution> {
        let entry = self.entries.get_mut(container)?;
        entry.used = now;
        (now < entry.next).then(|| entry.resolution(now))
    }

    /// Failed lookups since the last success.
    pub(super) fn failures(&self, container: &ContainerRef) -> u32 {
        self.entries
            .get(container)
            .map_or(0, |entry| entry.failures)
    }

    /// Remembers a success.
    pub(super) fn put(
        &mut self,
        container: &ContainerRef,
        answer: Resolution,
        now: Instant,
        fresh_for: Duration,
    ) -> Resolution {
        let entry = self.entry(container, now);
        entry.failures = 0;
        entry.next = now + fresh_for;
        entry.answer = Some(answer.clone());
        answer
    }

    /// Remembers a failure. The answer is the last success if there was one.
    pub(super) fn fail(
        &mut self,
        container: &ContainerRef,
        reason: RetryReason,
        now: Instant,
        pause: Duration,
    ) -> Resolution {
        let entry = self.entry(container, now);
        entry.reason = reason;
        entry.failures = entry.failures.saturating_add(1);
        entry.next = now + pause;
        entry.resolution(now)
    }

    pub(super) fn remove(&mut self, container: &ContainerRef) {
        self.entries.remove(container);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&mut self, container: &ContainerRef, now: Instant) -> &mut Entry {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(container) {
            self.drop_oldest();
        }
        self.entries.entry(container.clone()).or_insert(Entry {
            answer: None,
            failures: 0,
            reason: RetryReason::NotFound,
            next: now,
            used: now,
        })
    }

    /// Drops the quarter that was used longest ago, so that the search for it is rare.
    fn drop_oldest(&mut self) {
        let mut times: Vec<Instant> = self.entries.values().map(|entry| entry.used).collect();
        let (_, &mut limit, _) = times.select_nth_unstable(self.capacity / 4);
        let mut surplus = (self.capacity / 4).max(1);
        self.entries.retain(|_, entry| {
            let is_dropped = surplus > 0 && entry.used <= limit;
            surplus -= usize::from(is_dropped);
            !is_dropped
        });
    }
}
