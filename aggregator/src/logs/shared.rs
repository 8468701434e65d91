//! What all lanes share: budgets, places, and where results go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tracing::warn;

use super::budget::ByteBudget;
use super::lane::{self, LaneId};
use super::open::FileBudget;
use super::positions::Positions;
use super::settings::LogSettings;
use super::tail::Tail;
use crate::app::lock;
use crate::containers::FileOpener;
use crate::metrics::own::Metrics;
use crate::model::Model;

/// What all lanes share.
pub struct Shared {
    pub(super) model: Arc<Mutex<Model>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) opener: Arc<dyn FileOpener>,
    pub(super) settings: LogSettings,
    pub(super) files: Arc<FileBudget>,
    pub(super) positions: Mutex<Positions>,
    bytes: Mutex<ByteBudget>,
    patterns: AtomicUsize,
    cannot_save: AtomicBool,
    lanes: Mutex<BTreeMap<LaneId, (usize, u64)>>,
}

impl Shared {
    /// With these places; `now_ms` is the time of the clock that reading uses.
    pub fn new(
        model: Arc<Mutex<Model>>,
        metrics: Arc<Metrics>,
        opener: Arc<dyn FileOpener>,
        settings: LogSettings,
        positions: Positions,
        now_ms: u64,
    ) -> Self {
        Self {
            model,
            metrics,
            opener,
            files: FileBudget::new(settings.open_files),
            positions: Mutex::new(positions),
            bytes: Mutex::new(ByteBudget::new(settings.bytes_per_second, now_ms)),
            patterns: AtomicUsize::new(0),
            cannot_save: AtomicBool::new(false),
            lanes: Mutex::default(),
            settings,
        }
    }

    /// Takes up to `wanted` bytes from the budget of the node.
    pub(super) fn take_bytes(&self, wanted: u64, now_ms: u64) -> u64 {
        let mut budget = lock(&self.bytes);
        let taken = wanted.min(budget.left(now_ms));
        budget.take(taken);
        taken
    }

    /// Gives back what was not used.
    pub(super) fn return_bytes(&self, bytes: u64) {
        lock(&self.bytes).give_back(bytes);
    }

    /// A lane's patterns were so many and are so many. Returns whether all lanes together have too many.
    pub(super) fn are_patterns_full(&self, before: usize, now: usize) -> bool {
        self.patterns.fetch_add(now, Ordering::Relaxed);
        let all = self.patterns.fetch_sub(before, Ordering::Relaxed) - before;
        all >= self.settings.patterns
    }

    /// Notes how far a log is counted.
    pub(super) fn set_mark(&self, tail: &mut Tail) {
        let [place] = tail.places() else { return };
        let place = place.clone();
        match tail.position() {
            Ok(Some(position)) => {
                let (mut positions, mark) = (lock(&self.positions), lane::mark(position));
                match place.held_prefix() {
                    Some(prefix) => positions.set_in_group(prefix, &place.name, mark),
                    None => positions.set(&place.name, mark),
                }
            }
            Ok(None) => {}
            Err(_) => self.metrics.add_log_error("read"),
        }
    }

    /// The last entry of the journal that was counted.
    pub(super) fn journal_cursor(&self) -> Option<String> {
        lock(&self.positions).journal().map(str::to_owned)
    }

    /// The journal is counted up to this entry.
    pub(super) fn set_journal_cursor(&self, cursor: &str) {
        lock(&self.positions).set_journal(cursor);
    }

    /// Writes all places down.
    pub(super) fn save(&self) {
        let saved = lock(&self.positions).save();
        let failed = saved.is_err();
        if let Err(error) = saved {
            self.metrics.add_log_error("save");
            if !self.cannot_save.swap(true, Ordering::Relaxed) {
                let directory = self.settings.state_directory.display();
                warn!(%directory, %error, "How far logs were read cannot be kept: a restart will pass over lines.");
            }
        }
        if !failed {
            self.cannot_save.store(false, Ordering::Relaxed);
        }
    }

    /// Shows how many logs wait for a place among the open files, and bytes that wait to be read.
    pub(super) fn show_lane(&self, lane: LaneId, waiting: usize, backlog_bytes: u64) {
        let mut lanes = lock(&self.lanes);
        lanes.insert(lane, (waiting, backlog_bytes));
        let waiting = lanes.values().map(|(waiting, _)| waiting).sum();
        let backlog = lanes.values().map(|(_, backlog)| backlog).sum();
        self.metrics
            .set_log_files(self.files.open(), waiting, backlog);
    }
}
