//! The logs of one user: those of the system's runtimes, or of one user's rootless ones; or those that processes of
//! containers hold open. A file system that hangs, as users and containers can make theirs, holds up the other logs of
//! that lane and nobody else's.
//!
//! In turns: ask the sensor for files, then read on the blocking pool. All logs are read in turns too, a piece each,
//! so that one that is written fast does not hold up the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::debug;

use super::chain::{self, ChainError, Found, Want};
use super::kinds::{LogPlace, saved};
use super::now_ms;
use super::open::since_1970_ms;
use super::positions::Mark;
use super::shared::Shared;
use super::tail::{RESTING_MS, Report, Tail};
use crate::app::lock;
use crate::model::logs::LogJob;

/// Pause when a log grows fast.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// Pause otherwise.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes read in one round from which on a log grows fast.
const BUSY_BYTES: u64 = 64 << 10;
/// Bytes of a log read before it is another one's turn.
const PIECE_BYTES: u64 = 256 << 10;
/// Longest round, after which files are asked for and counts are handed on.
const ROUND: Duration = Duration::from_secs(1);
/// Questions to the sensor at once.
const MAX_ASKING: usize = 8;
/// Questions to the sensor in one round.
const MAX_QUESTIONS: usize = 128;
/// Counts are handed on at most so often.
const PUBLISH: Duration = Duration::from_secs(1);

/// Which logs a lane reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LaneId {
    /// Those of the runtimes of a user; 0 is the system.
    Runtimes(u32),
    /// Those that processes hold open.
    Held,
}

impl LaneId {
    /// The lane of a log.
    pub fn of(place: &LogPlace) -> Self {
        if place.is_held() {
            Self::Held
        } else {
            Self::Runtimes(place.file.uid)
        }
    }
}

/// The logs of one lane.
pub struct Lane {
    shared: Arc<Shared>,
    jobs: watch::Receiver<Vec<LogJob>>,
    work: Work,
}

/// What is done on the blocking pool.
struct Work {
    id: LaneId,
    shared: Arc<Shared>,
    /// By their names.
    tails: BTreeMap<Arc<str>, Tail>,
    answers: Vec<Answer>,
    reports: BTreeMap<Arc<str>, Report>,
    patterns: usize,
    published: Instant,
    buffer: Vec<u8>,
    is_busy: bool,
}

struct Answer {
    log: Arc<str>,
    place: usize,
    result: Result<Found, ChainError>,
}

impl Lane {
    /// Reads the logs that `jobs` names.
    pub fn new(shared: Arc<Shared>, id: LaneId, jobs: watch::Receiver<Vec<LogJob>>) -> Self {
        Self {
            work: Work {
                id,
                shared: Arc::clone(&shared),
                tails: BTreeMap::new(),
                answers: Vec::new(),
                reports: BTreeMap::new(),
                patterns: 0,
                published: Instant::now(),
                buffer: Vec::new(),
                is_busy: false,
            },
            shared,
            jobs,
        }
    }

    /// Runs until there is nothing more to read and nobody names another log.
    pub async fn run(mut self) {
        loop {
            let jobs = self.jobs.borrow_and_update().clone();
            let is_over = self.jobs.has_changed().is_err();
            self.work.answers = self.ask().await;
            let mut work = self.work;
            let round = tokio::task::spawn_blocking(move || {
                work.round(&jobs);
                work
            });
            self.work = round
                .await
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            if is_over {
                return;
            }
            let pause = if self.work.is_busy { BUSY_PAUSE } else { PAUSE };
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks the sensor for what the logs want.
    async fn ask(&self) -> Vec<Answer> {
        let now_ms = now_ms();
        let mut questions = self.questions(now_ms).into_iter();
        let mut asking = JoinSet::new();
        let mut answers = Vec::new();
        loop {
            while asking.len() < MAX_ASKING
                && let Some((log, places, want)) = questions.next()
            {
                asking.spawn(look_for(Arc::clone(&self.shared), log, places, want));
            }
            match asking.join_next().await {
                Some(Ok(answer)) => answers.push(answer),
                Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
                None => return answers,
            }
        }
    }

    fn questions(&self, now_ms: u64) -> Vec<(Arc<str>, Vec<LogPlace>, Want)> {
        let positions = lock(&self.shared.positions);
        let since_ms = positions.since_ms();
        let question = |(log, tail): (&Arc<str>, &Tail)| {
            let places = tail.places();
            let earlier = || {
                let mut marks = places.iter().map(|place| saved(&positions, place));
                marks.find_map(|mark| mark)
            };
            let want = tail.want(now_ms, earlier, since_ms)?;
            Some((log.clone(), places.to_vec(), want))
        };
        let questions = self.work.tails.iter().filter_map(question);
        questions.take(MAX_QUESTIONS).collect()
    }
}

/// The first of the places that has the log.
async fn look_for(shared: Arc<Shared>, log: Arc<str>, places: Vec<LogPlace>, want: Want) -> Answer {
    let mut answer = None;
    for (place, LogPlace { file, .. }) in places.iter().enumerate() {
        let result = chain::find(&*shared.opener, file, &shared.files, want).await;
        let is_elsewhere = result.as_ref().is_err_and(ChainError::is_not_found);
        answer = Some((place, result));
        if !is_elsewhere {
            break;
        }
    }
    let (place, result) = answer.unwrap_or((0, Err(ChainError::NoRoom)));
    Answer { log, place, result }
}

impl Work {
    fn round(&mut self, jobs: &[LogJob]) {
        self.take_answers();
        self.read();
        self.settle();
        self.make_room();
        if self.published.elapsed() >= PUBLISH {
            self.published = Instant::now();
            self.publish();
        }
        self.sync(jobs);
        self.show_state();
    }

    /// Takes up logs that are named and leaves those that are not named any more; their last lines were just read.
    fn sync(&mut self, jobs: &[LogJob]) {
        let bytes_per_second = self.shared.settings.bytes_per_second_per_container;
        let mut named: BTreeMap<Arc<str>, &LogJob> = BTreeMap::new();
        for job in jobs {
            if let Some(first) = job.places.first() {
                named.insert(Arc::clone(&first.name), job);
            }
        }
        let is_gone = |log: &Arc<str>| !named.contains_key(log);
        if self.tails.keys().any(is_gone) {
            for (log, tail) in &mut self.tails {
                if is_gone(log) {
                    tail.flush();
                    self.shared.set_mark(tail);
                    tail.finish();
                }
            }
            self.publish();
            self.tails.retain(|log, _| !is_gone(log));
            self.reports.retain(|log, _| !is_gone(log));
        }
        for (log, job) in named {
            let container = Arc::clone(&job.container);
            match self.tails.get_mut(&log) {
                Some(tail) => {
                    tail.container = container;
                    tail.set_places(&job.places, now_ms());
                }
                None => {
                    let places = job.places.clone();
                    let tail = Tail::new(container, places, bytes_per_second, now_ms());
                    self.tails.insert(log, tail);
                    // It is to be asked for soon.
                    self.is_busy = true;
                }
            }
        }
    }

    fn take_answers(&mut self) {
        let now_ms = now_ms();
        for Answer { log, place, result } in std::mem::take(&mut self.answers) {
            let Some(tail) = self.tails.get_mut(&log) else {
                continue;
            };
            let outcome = result.and_then(|found| {
                let limits = self.shared.settings.limits();
                Ok(tail.found(place, found, limits, now_ms)?)
            });
            if let Err(error) = outcome {
                if !error.is_not_found() && !error.is_passing() {
                    self.shared.metrics.add_log_error("open");
                    debug!(container = %tail.container, %error, "A log cannot be opened.");
                }
                tail.not_found(&error, now_ms);
            }
        }
    }

    /// Reads a piece of each log in turn until there is no more or the budgets are used up.
    fn read(&mut self) {
        let begin = Instant::now();
        let mut read_bytes: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        let mut reading: Vec<Arc<str>> = self.tails.keys().cloned().collect();
        while !reading.is_empty() && begin.elapsed() < ROUND {
            reading.retain(|log| match self.read_piece(log) {
                Some(bytes) => {
                    *read_bytes.entry(log.clone()).or_default() += bytes;
                    true
                }
                None => false,
            });
        }
        self.is_busy = read_bytes.values().any(|bytes| *bytes >= BUSY_BYTES);
    }

    fn read_piece(&mut self, log: &Arc<str>) -> Option<u64> {
        let now_ms = now_ms();
        let tail = self.tails.get_mut(log)?;
        let allowed = tail.allowance(now_ms).min(PIECE_BYTES);
        let allowed = self.shared.take_bytes(allowed, now_ms);
        if allowed == 0 {
            return None;
        }
        let read = tail.read(allowed, now_ms, &mut self.buffer);
        let used = *read.as_ref().unwrap_or(&None);
        self.shared.return_bytes(allowed - used.unwrap_or(0));
        read.unwrap_or_else(|error| {
            self.shared.metrics.add_log_error("read");
            debug!(container = %tail.container, %error, "A log cannot be read.");
            None
        })
    }

    fn settle(&mut self) {
        let now_ms = now_ms();
        for tail in self.tails.values_mut() {
            if let Err(error) = tail.settle(now_ms) {
                self.shared.metrics.add_log_error("read");
                debug!(container = %tail.container, %error, "A log cannot be looked at.");
            }
        }
        let sources = self.tails.values_mut().filter_map(Tail::reader);
        let patterns = |tail: &mut super::reader::Reader| tail.source().patterns().len();
        let patterns = sources.map(patterns).sum();
        let is_full = self.shared.are_patterns_full(self.patterns, patterns);
        self.patterns = patterns;
        for reader in self.tails.values_mut().filter_map(Tail::reader) {
            reader.source_mut().set_closed(is_full);
        }
    }

    /// Closes logs that rest, as many as wait to be opened.
    fn make_room(&mut self) {
        let now_ms = now_ms();
        let waiting = self.tails.values().filter(|tail| tail.is_waiting()).count();
        if waiting == 0 {
            return;
        }
        let rests = |tail: &&mut Tail| {
            let since_ms = tail.resting_since_ms();
            since_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= RESTING_MS)
        };
        let mut resting: Vec<&mut Tail> = self.tails.values_mut().filter(rests).collect();
        resting.sort_by_key(|tail| tail.resting_since_ms());
        for tail in resting.into_iter().take(waiting) {
            if tail.park(now_ms, wall_ms()).is_err() {
                self.shared.metrics.add_log_error("read");
            }
        }
    }

    /// Notes how far all logs are counted, and then shows it: see [`super::positions`].
    fn publish(&mut self) {
        let mut counts = Vec::new();
        for tail in self.tails.values_mut() {
            self.shared.set_mark(tail);
            counts.push((Arc::clone(&tail.container), tail.take_counts()));
        }
        self.shared.save();
        let mut model = lock(&self.shared.model);
        for (container, counts) in counts.into_iter().filter(|(_, counts)| !counts.is_empty()) {
            model.add_log_messages(&container, &counts);
        }
    }

    fn show_state(&mut self) {
        for (log, tail) in &self.tails {
            let now = tail.report();
            let before = self.reports.insert(log.clone(), now).unwrap_or_default();
            self.shared.metrics.add_log_report(&now, &before);
        }
        let waiting = self.tails.values().filter(|tail| tail.is_waiting()).count();
        let backlog = self.tails.values().map(Tail::backlog_bytes).sum();
        self.shared.show_lane(self.id, waiting, backlog);
    }
}

fn wall_ms() -> u64 {
    since_1970_ms(SystemTime::now())
}

/// For a log that was read up to here.
pub(super) fn mark(position: super::position::Position) -> Mark {
    Mark {
        position,
        at_ms: wall_ms(),
    }
}
