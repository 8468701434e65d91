//! Connects that no sensor counted, because it had died and the next one was not attached yet.
//!
//! The kernel counts connects in each network namespace, sensor or not: `ActiveOpens` in `/proc/PID/net/snmp`, readable
//! by all. [`Namespaces`] adds them up, [`Ledger`] compares the sum with what the sensors counted and gives what is
//! missing after each change of sensors, which becomes `nodescope_records_lost_total{stage="connects"}`. Which
//! container they were of is not known.
//!
//! Not seen: a namespace that lives for less than [`INTERVAL`], what one does in the last such interval of its life, and a
//! node whose processes are hidden from this user (`hidepid`), where nothing is counted. Taken for new, with all it ever
//! did: an old namespace that had no process since the start and gets one just when sensors change. Each change of
//! sensors may be wrong by the connects of the time between the kernel's count and the sensor's in the closest of
//! [`ledger::WINDOW`] samples: milliseconds, at most one poll of the sensor on either side.
//!
//! Programs and maps that stay in the kernel between two sensors (pinned in bpffs, or kept by the service manager) would
//! lose nothing. They would also go on costing and hooking after a sensor that nobody starts again, and tie each
//! release to the map layout of the one before. So the end of the sensor stays the end of all it does, and this counts
//! what that costs.

mod ledger;
mod namespaces;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::debug;

use self::ledger::Ledger;
use self::namespaces::Namespaces;
use crate::app::lock;
use crate::host::HostRoot;
use crate::metrics::own::Metrics;
use crate::model::Model;

/// Shortest time between two samples.
const INTERVAL: Duration = Duration::from_secs(1);
/// A sample that takes long is followed by a pause so many times as long: a hundredth of one core at most.
const PAUSE_FACTOR: u32 = 100;

/// The task that takes samples.
#[derive(Debug)]
pub struct Unseen {
    /// Where `/proc` is.
    pub host: HostRoot,
    /// The node, which adds up what the sensors counted.
    pub model: Arc<Mutex<Model>>,
    /// Where the result goes.
    pub metrics: Arc<Metrics>,
    /// Told when all that the sensor sent has been taken in: the moment at which both counts are closest.
    pub taken_in: Arc<Notify>,
}

impl Unseen {
    /// Runs until the task is cancelled.
    pub async fn run(self) {
        let mut namespaces = Namespaces::default();
        let mut ledger = Ledger::default();
        let mut pause = INTERVAL;
        loop {
            tokio::time::sleep(pause).await;
            // Also without news: namespaces come and go while there is no sensor.
            let _ = tokio::time::timeout(INTERVAL, self.taken_in.notified()).await;
            // First what the sensor counted: what the kernel counts until the next line is missing in it, never the reverse.
            let seen = lock(&self.model).seen_connects();
            let host = self.host.clone();
            let reading = tokio::task::spawn_blocking(move || {
                let started = Instant::now();
                let result = namespaces.read(&host);
                (namespaces, result, started.elapsed())
            });
            let (returned, result, took) = match reading.await {
                Ok(read) => read,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            namespaces = returned;
            pause = INTERVAL.max(took * PAUSE_FACTOR);
            match (result, seen) {
                (Ok(opened), Some(seen)) => {
                    ledger.sample(seen.run_id, opened, seen.attempts);
                    self.metrics.set_unseen_connects(ledger.lost());
                }
                (Ok(_), None) => {}
                (Err(error), _) => {
                    debug!(%error, "The kernel's counts of connects cannot be read.")
                }
            }
        }
    }
}
