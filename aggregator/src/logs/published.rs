//! What of a source's counters was handed on.

use std::sync::Arc;

use nodescope_logs::Source;

use crate::model::logs::LogCount;

/// The messages of each pattern that were handed on.
#[derive(Debug, Clone, Default)]
pub struct Published(Vec<u64>);

impl Published {
    /// Whether something was counted since.
    pub fn is_behind(&self, source: &Source) -> bool {
        let patterns = source.patterns();
        let known = self.0.iter().zip(patterns);
        known
            .clone()
            .any(|(published, now)| now.messages > *published)
            || patterns
                .iter()
                .skip(self.0.len())
                .any(|now| now.messages > 0)
    }

    /// What was counted since the last time, with `label` as the label `source`.
    pub fn take(&mut self, source: &Source, label: &Arc<str>) -> Vec<LogCount> {
        let patterns = source.patterns();
        self.0.resize(patterns.len(), 0);
        let news = patterns.iter().zip(&mut self.0);
        news.filter_map(|(pattern, published)| {
            let messages = pattern.messages - std::mem::replace(published, pattern.messages);
            (messages > 0).then(|| LogCount {
                source: Arc::clone(label),
                level: pattern.level,
                hash: pattern.hash,
                sample: pattern.sample.clone(),
                messages,
            })
        })
        .collect()
    }
}
