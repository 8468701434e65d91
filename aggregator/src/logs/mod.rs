//! Logs of containers: reads their files and counts what they complain about, by pattern.
//!
//! The sensor opens the files ([`chain`]), [`kinds`] says which. [`reader`] follows one log through its rotations and
//! feeds `nodescope_logs`, [`tail`] says when what is done, and a [`lane`] does it for all logs of one user. What was
//! counted goes to the model each second, after [`positions`] noted how far that is.
//!
//! A log is read from where it was read up to before. One that was never read is read from its beginning if it was made
//! after nodescope first ran on this node, and otherwise from its end: what is old is no news. (Where a file system does
//! not tell when a file was made, from the end.)
//!
//! Counters begin at zero with each start of this process. What an earlier one showed and what this one shows are
//! together each line once, also when the earlier one was killed; what a scrape had not fetched by then is not seen.

pub mod budget;
pub mod chain;
pub mod journal;
pub mod kinds;
pub mod lane;
pub mod open;
pub mod position;
pub mod positions;
pub mod published;
pub mod reader;
pub mod settings;
pub mod shared;
pub mod tail;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use self::journal::JournalThread;
use self::lane::{Lane, LaneId};
use self::positions::Positions;
pub use self::settings::LogSettings;
use self::shared::Shared;
use crate::app::lock;
use crate::broker::Broker;
use crate::metrics::own::Metrics;
use crate::model::Model;
use crate::model::logs::LogJob;
use crate::monotonic_ns;

/// How often the containers are looked through for new logs.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Users whose rootless containers' logs are read, the system and what processes hold; those of further users are not.
const MAX_LANES: usize = 64;

/// Reads the logs of all containers.
pub struct Logs {
    shared: Arc<Shared>,
    lanes: BTreeMap<LaneId, watch::Sender<Vec<LogJob>>>,
    running: JoinSet<()>,
}

impl Logs {
    /// Goes on where the state directory says that an earlier process was. Reads that file, so it blocks a little.
    pub fn new(
        settings: LogSettings,
        model: &Arc<Mutex<Model>>,
        metrics: &Arc<Metrics>,
        broker: &Broker,
    ) -> Self {
        let wall_ms = open::since_1970_ms(SystemTime::now());
        let (mut positions, loaded) = Positions::load(&settings.state_directory, wall_ms);
        if let Err(error) = loaded {
            metrics.add_log_error("load");
            let directory = settings.state_directory.display();
            warn!(%directory, %error, "How far logs were read is not known any more.");
        }
        if let Err(error) = positions.save() {
            metrics.add_log_error("save");
            let directory = settings.state_directory.display();
            warn!(%directory, %error, "How far logs are read cannot be kept: a restart will pass over lines.");
        }
        let shared = Shared::new(
            Arc::clone(model),
            Arc::clone(metrics),
            Arc::new(broker.clone()),
            settings,
            positions,
            now_ms(),
        );
        Self {
            shared: Arc::new(shared),
            lanes: BTreeMap::new(),
            running: JoinSet::new(),
        }
    }

    /// Runs until the task is cancelled.
    pub async fn run(mut self) {
        if !self.shared.settings.enabled {
            return;
        }
        let directory = self.shared.settings.journal_directory.clone();
        let _journal = self.shared.settings.journal.then(|| {
            JournalThread::spawn(Arc::clone(&self.shared), directory)
                .inspect_err(|error| warn!(%error, "The journal is not read: no thread."))
        });
        loop {
            let jobs = self.jobs();
            self.hand_out(jobs);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn jobs(&self) -> Vec<LogJob> {
        let model = lock(&self.shared.model);
        let mut jobs = model.logs_to_read();
        if self.shared.settings.files {
            jobs.extend(model.held_logs_to_read());
        }
        jobs
    }

    fn hand_out(&mut self, jobs: Vec<LogJob>) {
        let mut by_lane: BTreeMap<LaneId, Vec<LogJob>> = BTreeMap::new();
        for job in jobs {
            let Some(first) = job.places.first() else {
                continue;
            };
            by_lane.entry(LaneId::of(first)).or_default().push(job);
        }
        for id in by_lane.keys() {
            if !self.lanes.contains_key(id) && self.lanes.len() < MAX_LANES {
                let (sender, receiver) = watch::channel(Vec::new());
                let lane = Lane::new(Arc::clone(&self.shared), *id, receiver);
                self.running.spawn(lane.run());
                self.lanes.insert(*id, sender);
            }
        }
        for (id, lane) in &self.lanes {
            let jobs = by_lane.remove(id).unwrap_or_default();
            lane.send_if_modified(|known| {
                let is_new = *known != jobs;
                *known = jobs;
                is_new
            });
        }
    }
}

/// Now, on the clock that does not go back, in milliseconds.
fn now_ms() -> u64 {
    monotonic_ns() / 1_000_000
}
