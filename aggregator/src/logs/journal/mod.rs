//! The journal: what systemd's services log, and containers whose runtime logs there.
//!
//! libsystemd blocks and wants to stay in one thread, so one thread reads, counts and hands on. It reads no faster than
//! the budget of the node allows; what it has not read yet the journal keeps, for as long as its own settings say.
//!
//! Reading begins at the end of the journal, and after a restart behind the last entry that was counted. That place is
//! kept when every message is complete and has its container ([`Units::is_settled`]) or, where that does not happen, after
//! [`LONGEST_HOLD`]: a message of several lines that is being logged at that moment counts as two, and one whose container
//! is not known by then is missing if this process ends before it is.

mod units;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nodescope_journal::{Field, Journal, JournalError, Library};
use nodescope_logs::decode::JournalEntry;
use tracing::{info, warn};

use self::units::{Logger, UnitCounts, Units};
use super::now_ms;
use super::shared::Shared;
use super::tail::Report;
use crate::app::lock;
use crate::causes::with_causes;
use crate::model::Model;
use crate::model::logs::LogOwner;

/// Entries read before messages are looked at.
const BATCH_ENTRIES: usize = 1024;
/// Bytes of budget for them.
const BATCH_BYTES: u64 = 1 << 20;
/// How long the thread waits for news before it looks whether it is still wanted.
const WAIT: Duration = Duration::from_millis(500);
/// How long it waits after an error.
const RETRY: Duration = Duration::from_secs(30);
/// Counts are handed on at most so often, and whether they can be is looked at as often.
const PUBLISH: Duration = Duration::from_secs(1);
/// Counts are handed on at least so often.
const LONGEST_HOLD: Duration = Duration::from_secs(5);

/// The thread that reads the journal. It ends when this is dropped, at the latest after [`WAIT`].
#[derive(Debug)]
pub struct JournalThread(Arc<AtomicBool>);

impl JournalThread {
    /// Starts to read the journal of this machine or, if given, the journal files of a directory.
    pub fn spawn(shared: Arc<Shared>, directory: Option<PathBuf>) -> std::io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let follower = Follower {
            units: Units::new(
                shared.settings.limits(),
                shared.settings.bytes_per_second_per_container,
            ),
            cursor: shared.journal_cursor(),
            is_over: Arc::clone(&is_over),
            shared,
            directory,
            patterns: 0,
            malformed: 0,
            reported: Report::default(),
            unclaimed: 0,
            looked: Instant::now(),
            published: Instant::now(),
        };
        thread::Builder::new()
            .name("journal".into())
            .spawn(move || follower.run())?;
        Ok(Self(is_over))
    }
}

impl Drop for JournalThread {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Follower {
    shared: Arc<Shared>,
    directory: Option<PathBuf>,
    is_over: Arc<AtomicBool>,
    units: Units,
    /// The last entry looked at.
    cursor: Option<String>,
    patterns: usize,
    /// Entries that could not be read.
    malformed: u64,
    reported: Report,
    unclaimed: u64,
    looked: Instant,
    published: Instant,
}

impl Follower {
    fn run(mut self) {
        let library = match Library::load() {
            Ok(library) => Arc::new(library),
            Err(error) => {
                self.shared.metrics.set_journal_readable(false);
                let error = with_causes(&error);
                warn!(%error, "The journal is not read.");
                return;
            }
        };
        let mut last_error = String::new();
        while !self.is_over() {
            let outcome = self.open(&library).and_then(|journal| {
                last_error.clear();
                self.follow(journal)
            });
            self.shared.metrics.set_journal_readable(false);
            if let Err(error) = outcome {
                self.shared.metrics.add_log_error("journal");
                let error = with_causes(&error);
                if error != last_error {
                    warn!(%error, "The journal is not read for now.");
                    last_error = error;
                }
                self.pause();
            }
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn open(&mut self, library: &Arc<Library>) -> Result<Journal, JournalError> {
        let library = Arc::clone(library);
        let mut journal = match &self.directory {
            Some(directory) => Journal::open_directory(library, directory)?,
            None => Journal::open(library)?,
        };
        // One byte more than a line may have, so that it is seen and counted as cut.
        journal.set_max_field_bytes(self.shared.settings.limits().max_line_bytes + 1)?;
        match &self.cursor {
            // What is no cursor is as good as none.
            Some(cursor) if journal.seek_after(cursor).is_ok() => {}
            _ => {
                journal.seek_end()?;
                self.cursor = journal.cursor().ok();
            }
        }
        info!("Reading the journal.");
        self.shared.metrics.set_journal_readable(true);
        Ok(journal)
    }

    /// Reads until nobody wants it any more.
    fn follow(&mut self, mut journal: Journal) -> Result<(), JournalError> {
        let mut fields = Fields::default();
        while !self.is_over() {
            let entries = self.read_batch(&mut journal, &mut fields)?;
            self.settle();
            if entries == 0 {
                journal.wait(WAIT)?;
            }
        }
        Ok(())
    }

    /// Reads what is there, at most [`BATCH_ENTRIES`] and what the budget allows. Returns how many entries.
    fn read_batch(
        &mut self,
        journal: &mut Journal,
        fields: &mut Fields,
    ) -> Result<usize, JournalError> {
        let now_ms = now_ms();
        let allowed = self.shared.take_bytes(BATCH_BYTES, now_ms);
        let (mut entries, mut used) = (0, 0);
        let outcome = loop {
            if entries >= BATCH_ENTRIES || used >= allowed {
                break Ok(());
            }
            match journal.advance() {
                Ok(true) => entries += 1,
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
            match fields.read(journal) {
                Ok(Some(entry)) => used += self.units.take(&entry, now_ms),
                Ok(None) => {}
                Err(_) => self.malformed += 1,
            }
        };
        self.shared.return_bytes(allowed.saturating_sub(used));
        if entries > 0 {
            self.cursor = Some(journal.cursor()?);
        }
        outcome.map(|()| entries)
    }

    /// Hands on what is complete, when it is time.
    fn settle(&mut self) {
        if self.looked.elapsed() < PUBLISH {
            return;
        }
        self.looked = Instant::now();
        let held = self.published.elapsed();
        let now_ms = now_ms();
        self.units.flush_idle(now_ms);
        let shared = Arc::clone(&self.shared);
        if held >= LONGEST_HOLD {
            self.units.flush();
        }
        {
            let model = lock(&shared.model);
            self.units.resolve(now_ms, |logger| find(&model, logger));
        }
        if !self.units.is_settled() && held < LONGEST_HOLD {
            return;
        }
        self.published = Instant::now();
        if let Some(cursor) = &self.cursor {
            shared.set_journal_cursor(cursor);
        }
        shared.save();
        {
            let mut model = lock(&shared.model);
            self.units.publish(now_ms, |container, counts| {
                model.add_log_messages(container, counts)
            });
        }
        let patterns = self.units.patterns();
        let is_full = shared.are_patterns_full(self.patterns, patterns);
        self.patterns = patterns;
        self.units.set_closed(is_full);
        self.report();
    }

    fn report(&mut self) {
        let UnitCounts {
            read_bytes,
            skipped_bytes,
            cut,
            unclaimed,
        } = self.units.counts();
        let report = Report {
            read_bytes,
            skipped_bytes,
            cut,
            malformed: self.malformed,
            ..Report::default()
        };
        let metrics = &self.shared.metrics;
        metrics.add_log_report(&report, &self.reported);
        metrics.add_unclaimed_messages(unclaimed - self.unclaimed);
        self.reported = report;
        self.unclaimed = unclaimed;
    }

    /// Waits before the next attempt, not longer than the result is wanted.
    fn pause(&self) {
        let begin = Instant::now();
        while begin.elapsed() < RETRY && !self.is_over() {
            thread::sleep(WAIT);
        }
    }
}

/// The fields of an entry, in memory that is used again for each.
#[derive(Default)]
struct Fields([Vec<u8>; Field::ALL.len()]);

impl Fields {
    /// The current entry; `None` when it has no message.
    fn read(&mut self, journal: &mut Journal) -> Result<Option<JournalEntry<'_>>, JournalError> {
        let mut is_there = [false; Field::ALL.len()];
        for ((field, value), is_there) in Field::ALL.iter().zip(&mut self.0).zip(&mut is_there) {
            *is_there = journal.read_field(*field, value)?;
        }
        let fields = Field::ALL.iter().zip(&self.0).zip(is_there);
        Ok(JournalEntry::from_fields(fields.filter_map(
            |((field, value), is_there)| {
                is_there.then_some((field.name().as_bytes(), value.as_slice()))
            },
        )))
    }
}

fn find(model: &Model, logger: &Logger) -> LogOwner {
    match logger {
        Logger::Class(class) => model.log_owner_of_class(class),
        Logger::Container { id, uid } => model.log_owner_of_runtime_id(id, *uid),
    }
}
