//! Puts the parts together: what runs, how often, and how it ends.
//!
//! Nothing slow happens in a scrape: collectors run on their own schedule and leave what they found in the model.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tracing::info;

use crate::broker::Broker;
use crate::collect::Collect;
use crate::config::Config;
use crate::containers::{Resolver, Settings as ResolverSettings};
use crate::host::HostRoot;
use crate::http::{self, ListenError, Listener};
use crate::ingest::{Ingest, ReplayError, Unseen, replay};
use crate::logs::Logs;
use crate::machine_id;
use crate::metrics::own::Metrics;
use crate::model::{GlobalLabels, Model, ResolveJob};
use crate::monotonic_ns;
use crate::pages::NodePages;

/// How often flows that wait are looked at again.
const SETTLE_INTERVAL: Duration = Duration::from_millis(500);
/// How often what is over is removed.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(10);
/// How often due resolutions are looked for when nothing wakes the resolver.
const RESOLVE_INTERVAL: Duration = Duration::from_millis(200);
/// How old a container's metadata may be, so that a renamed one is seen.
const METADATA_REFRESH: Duration = Duration::from_secs(20);
/// Resolutions under way at once.
const MAX_RESOLVING: usize = 16;

/// Why the aggregator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The recording cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Signals cannot be watched.
    #[error("signals cannot be watched: {0}")]
    Signals(#[source] std::io::Error),
}

/// The aggregator, built and listening, not yet running.
pub struct App {
    config: Config,
    host: HostRoot,
    model: Arc<Mutex<Model>>,
    metrics: Arc<Metrics>,
    broker: Broker,
    listener: Listener,
    wake_resolver: Arc<Notify>,
}

impl App {
    /// Binds the listen address and makes everything that runs.
    pub async fn build(config: Config) -> Result<Self, AppError> {
        let listener = Listener::bind(config.listen).await?;
        let host = match config.cgroupfs_root.clone() {
            None => HostRoot::default(),
            Some(root) => HostRoot::default().with_cgroup_root(root),
        };
        let global = GlobalLabels {
            machine_id: machine_id::read(&host, ""),
            system_uuid: String::new(),
        };
        Ok(Self {
            model: Arc::new(Mutex::new(Model::new(config.model.clone(), global))),
            metrics: Arc::new(Metrics::new(crate::RELEASE)),
            broker: Broker::default(),
            wake_resolver: Arc::default(),
            host,
            listener,
            config,
        })
    }

    /// Runs until a signal.
    pub async fn run(self) -> Result<(), AppError> {
        let mut signals = Signals::new().map_err(AppError::Signals)?;
        let interval = self.config.collect_interval;
        let collect = Collect::new(
            self.host.clone(),
            interval,
            &self.model,
            &self.metrics,
            &self.broker,
        );
        let collect = Arc::new(collect);
        let replayed = self.config.replay.is_some();
        let pages = NodePages::new(&self.model, &self.metrics, Arc::clone(&collect), replayed);
        info!(address = %self.listener.address(), "Serving metrics.");
        let mut tasks = JoinSet::new();
        let ingest = self.ingest();
        match self.config.replay.clone() {
            None => {
                tasks.spawn(self.unseen(&ingest).run());
                tasks.spawn(ingest.run());
            }
            Some(path) => {
                let report = tokio::task::spawn_blocking(move || replay(&path, &ingest)).await;
                let report =
                    report.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
                info!(messages = report.messages, records = report.records, elapsed = ?report.elapsed, "Replayed.");
            }
        }
        tasks.spawn(resolve(
            Arc::clone(&self.model),
            self.resolver(),
            Arc::clone(&self.wake_resolver),
        ));
        tasks.spawn(keep_tidy(
            Arc::clone(&self.model),
            Arc::clone(&self.metrics),
            self.broker.clone(),
        ));
        tasks.spawn(collect.run());
        if !replayed {
            let logs = self.config.logs.clone();
            tasks.spawn(Logs::new(logs, &self.model, &self.metrics, &self.broker).run());
        }
        let served = http::serve(self.listener, Arc::new(pages), signals.recv());
        served.await;
        tasks.shutdown().await;
        Ok(())
    }

    fn ingest(&self) -> Ingest {
        Ingest {
            path: self.config.sensor_socket.clone(),
            model: Arc::clone(&self.model),
            metrics: Arc::clone(&self.metrics),
            broker: self.broker.clone(),
            wake_resolver: Arc::clone(&self.wake_resolver),
            taken_in: Arc::default(),
        }
    }

    fn unseen(&self, ingest: &Ingest) -> Unseen {
        Unseen {
            host: self.host.clone(),
            model: Arc::clone(&self.model),
            metrics: Arc::clone(&self.metrics),
            taken_in: Arc::clone(&ingest.taken_in),
        }
    }

    fn resolver(&self) -> Arc<Resolver> {
        let settings = ResolverSettings {
            docker_socket: self.config.docker_socket.clone(),
            cri_socket: self.config.cri_socket.clone(),
            refresh_interval: METADATA_REFRESH,
            ..ResolverSettings::default()
        };
        Arc::new(Resolver::new(Arc::new(self.broker.clone()), settings))
    }
}

/// What the mutex holds; a panic elsewhere does not make it useless.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks up the containers of new cgroups, a bounded number at once, each for itself.
async fn resolve(model: Arc<Mutex<Model>>, resolver: Arc<Resolver>, wake: Arc<Notify>) {
    let permits = Arc::new(Semaphore::new(MAX_RESOLVING));
    loop {
        // A wait that ends by the clock is as good as a wake-up: both lead to a look at what is due.
        let _ = tokio::time::timeout(RESOLVE_INTERVAL, wake.notified()).await;
        let removed = lock(&model).take_removed();
        removed.iter().for_each(|class| resolver.forget(class));
        let jobs = lock(&model).next_to_resolve(monotonic_ns(), permits.available_permits());
        for ResolveJob { class } in jobs {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let (model, resolver, wake) =
                (Arc::clone(&model), Arc::clone(&resolver), Arc::clone(&wake));
            tokio::spawn(async move {
                let resolution = resolver.resolve(&class).await;
                lock(&model).resolved(&class, resolution, monotonic_ns());
                drop(permit);
                wake.notify_one();
            });
        }
    }
}

async fn keep_tidy(model: Arc<Mutex<Model>>, metrics: Arc<Metrics>, broker: Broker) {
    let mut settle = tokio::time::interval(SETTLE_INTERVAL);
    let mut expire = tokio::time::interval(EXPIRE_INTERVAL);
    loop {
        tokio::select! {
            _ = settle.tick() => {
                let mut model = lock(&model);
                model.settle(monotonic_ns());
                let (flows, lookups) = model.queue_lengths();
                metrics.set_containers(model.containers());
                metrics.set_queue_length("flows_without_container", flows);
                metrics.set_queue_length("lookups", lookups);
                metrics.set_queue_length("requests", broker.pending());
            }
            _ = expire.tick() => lock(&model).expire(monotonic_ns()),
        }
    }
}

/// The signals that end the process.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
