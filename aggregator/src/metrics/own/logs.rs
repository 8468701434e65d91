//! How reading logs fares.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::{Operation, Reason, State};
use super::{Level, Metrics, register};
use crate::logs::tail::Report;
use crate::metrics::catalogue::own as families;

/// Handles of the metrics about logs.
#[derive(Debug)]
pub(super) struct LogMetrics {
    read_bytes: Counter,
    skipped_bytes: Family<Reason, Counter>,
    damaged_lines: Family<Reason, Counter>,
    gaps: Family<Reason, Counter>,
    errors: Family<Operation, Counter>,
    files: Family<State, Level>,
    backlog_bytes: Level,
    unclaimed: Counter,
    journal_readable: Level,
}

impl LogMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            read_bytes: register(r, &families::LOG_READ_BYTES, Counter::default()),
            skipped_bytes: register(r, &families::LOG_SKIPPED_BYTES, Family::default()),
            damaged_lines: register(r, &families::LOG_DAMAGED_LINES, Family::default()),
            gaps: register(r, &families::LOG_GAPS, Family::default()),
            errors: register(r, &families::LOG_ERRORS, Family::default()),
            files: register(r, &families::LOG_FILES, Family::default()),
            backlog_bytes: register(r, &families::LOG_BACKLOG, Level::default()),
            unclaimed: register(r, &families::LOG_UNCLAIMED, Counter::default()),
            journal_readable: register(r, &families::JOURNAL_READABLE, Level::default()),
        }
    }
}

impl Metrics {
    /// Counts what happened to a log between two reports.
    pub fn add_log_report(&self, now: &Report, before: &Report) {
        let Report {
            read_bytes,
            skipped_bytes,
            undecodable_bytes,
            malformed,
            cut,
            rotated_gaps,
            truncated_gaps,
        } = *now;
        let add = |family: &Family<Reason, Counter>, reason, now: u64, before: u64| {
            let more = now.saturating_sub(before);
            family.get_or_create(&Reason { reason }).inc_by(more);
        };
        let logs = &self.logs;
        logs.read_bytes
            .inc_by(read_bytes.saturating_sub(before.read_bytes));
        let skipped = &logs.skipped_bytes;
        add(skipped, "budget", skipped_bytes, before.skipped_bytes);
        let undecodable_before = before.undecodable_bytes;
        add(
            skipped,
            "undecodable",
            undecodable_bytes,
            undecodable_before,
        );
        add(
            &logs.damaged_lines,
            "malformed",
            malformed,
            before.malformed,
        );
        add(&logs.damaged_lines, "cut", cut, before.cut);
        add(&logs.gaps, "rotated", rotated_gaps, before.rotated_gaps);
        add(
            &logs.gaps,
            "truncated",
            truncated_gaps,
            before.truncated_gaps,
        );
    }

    /// Counts a failed operation.
    pub fn add_log_error(&self, operation: &'static str) {
        self.logs
            .errors
            .get_or_create(&Operation { operation })
            .inc();
    }

    /// Sets how many log files are open, how many logs wait for one, and how much waits to be read.
    pub fn set_log_files(&self, open: usize, waiting: usize, backlog_bytes: u64) {
        for (state, files) in [("open", open), ("waiting", waiting)] {
            let gauge = self.logs.files.get_or_create(&State { state });
            gauge.set(files as u64);
        }
        self.logs.backlog_bytes.set(backlog_bytes);
    }

    /// Counts messages of the journal whose unit or container is not known.
    pub fn add_unclaimed_messages(&self, messages: u64) {
        self.logs.unclaimed.inc_by(messages);
    }

    /// Sets whether the journal can be read.
    pub fn set_journal_readable(&self, is_readable: bool) {
        self.logs.journal_readable.set(u64::from(is_readable));
    }
}
