//! What is read on a schedule: node statistics, cgroup files, addresses of network namespaces, gVisor's sandboxes.
//!
//! Everything here reads files of procfs, sysfs and cgroupfs, which block; it runs on the blocking pool, and hands the
//! model what it found under a short lock.

mod applications;
mod executables;
mod hanging;
mod jvms;
mod pings;
mod volumes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nodescope_schema::{CgroupKey, FileKind, FilesystemSpace, Refusal, StatFilesystem};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::app::lock;
use crate::broker::Broker;
use crate::cgroupfs::{CgroupMounts, Resources};
use crate::containers::{Class, FileOpener, OpenError, OwnedOpenFile, longest, read_capped};
use crate::host::HostRoot;
use crate::machine_id;
use crate::metrics::own::{Metrics, Usage};
use crate::model::listen_series::NamespaceJob;
use crate::model::listens::{parse_fib_trie, parse_if_inet6};
use crate::model::{GlobalLabels, Model};
use crate::node::{Collectors, Readings};

/// How often listening sockets' namespaces are read: addresses come and go seldom, new listeners should show soon.
const NAMESPACE_INTERVAL: Duration = Duration::from_secs(2);
/// Readings of the mounts for each question how full the file systems are.
const FILESYSTEM_ROUNDS: u32 = 3;
/// File systems asked at once, so that there is room for other requests to the sensor.
const MAX_ASKING: usize = 16;
/// How long to wait for a sensor that could tell the system's UUID, or has too much else to do.
const UUID_RETRY: Duration = Duration::from_secs(1);

/// Everything that is read on a schedule.
#[derive(Debug)]
pub struct Collect {
    host: HostRoot,
    model: Arc<Mutex<Model>>,
    metrics: Arc<Metrics>,
    broker: Broker,
    interval: Duration,
    readings: Mutex<Readings>,
}

impl Collect {
    /// Reads below `host` every `interval`.
    pub fn new(
        host: HostRoot,
        interval: Duration,
        model: &Arc<Mutex<Model>>,
        metrics: &Arc<Metrics>,
        broker: &Broker,
    ) -> Self {
        Self {
            host,
            interval,
            model: Arc::clone(model),
            metrics: Arc::clone(metrics),
            broker: broker.clone(),
            readings: Mutex::default(),
        }
    }

    /// The latest node statistics.
    pub fn readings(&self) -> Readings {
        self.readings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Runs until the task is cancelled.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(
            self.node(),
            self.containers(),
            self.applications(),
            self.namespaces(),
            self.volumes(),
            self.filesystems(),
            self.jvms(),
            self.pings(),
            self.system_uuid()
        );
    }

    async fn node(&self) {
        let mut collectors = Collectors::new(self.host.clone());
        loop {
            let facts = lock(&self.model).node_facts();
            let ran = tokio::task::spawn_blocking(move || {
                let found = collectors.collect(&facts);
                (collectors, found)
            });
            let (returned, (readings, failures)) = ran.await.unwrap_or_else(resume);
            collectors = returned;
            for failure in failures {
                self.metrics.add_collector_error(failure.collector);
                debug!(collector = failure.collector, error = %failure.error, "A node collector failed.");
            }
            *self.readings.lock().unwrap_or_else(PoisonError::into_inner) = readings;
            match Usage::read(&self.host) {
                Ok(usage) => self.metrics.set_aggregator_usage(usage),
                Err(error) => debug!(%error, "Own memory and CPU time cannot be read."),
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn containers(&self) {
        loop {
            let jobs = lock(&self.model).cgroups_to_read();
            let host = self.host.clone();
            let read = tokio::task::spawn_blocking(move || read_all(&host, jobs));
            match read.await.unwrap_or_else(resume) {
                Ok(resources) => lock(&self.model).set_resources(resources),
                Err(error) => {
                    self.metrics.add_collector_error("cgroupfs");
                    debug!(error, "Cgroup files cannot be read.");
                }
            }
            self.identify_pods().await;
            tokio::time::sleep(self.interval).await;
        }
    }

    /// What disks the containers write to, and how much.
    async fn volumes(&self) {
        loop {
            let jobs = lock(&self.model).volumes_to_read();
            let host = self.host.clone();
            let read = tokio::task::spawn_blocking(move || volumes::read(&host, jobs));
            // One lock each: labels are made anew, and neither records nor pages should wait for those of all containers.
            for (job, volumes) in read.await.unwrap_or_else(resume) {
                lock(&self.model).set_volumes(&job, volumes);
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    /// How full the file systems are. One that hangs is asked about again each time, which the sensor refuses at once,
    /// and has no numbers until it answers; nothing else waits for it.
    async fn filesystems(&self) {
        loop {
            let wanted = lock(&self.model).filesystems_to_stat();
            let spaces = self.spaces(wanted).await;
            lock(&self.model).set_filesystems(spaces);
            tokio::time::sleep(self.interval * FILESYSTEM_ROUNDS).await;
        }
    }

    async fn spaces(
        &self,
        wanted: BTreeSet<StatFilesystem>,
    ) -> BTreeMap<StatFilesystem, FilesystemSpace> {
        let permits = Arc::new(Semaphore::new(MAX_ASKING));
        let mut tasks = JoinSet::new();
        for filesystem in wanted {
            let (broker, permits) = (self.broker.clone(), Arc::clone(&permits));
            tasks.spawn(async move {
                let permit = permits.acquire_owned().await;
                let space = broker.stat_filesystem(filesystem).await;
                drop(permit);
                (filesystem, space)
            });
        }
        let mut spaces = BTreeMap::new();
        for (filesystem, space) in tasks.join_all().await {
            match space {
                Ok(space) => {
                    spaces.insert(filesystem, space);
                }
                // It is mounted in a container alone, or the sensor is away.
                Err(OpenError::Refused(Refusal::NotFound) | OpenError::Disconnected) => {}
                Err(error) => {
                    self.metrics.add_collector_error("filesystems");
                    debug!(?filesystem, %error, "A file system does not tell its space.");
                }
            }
        }
        spaces
    }

    /// gVisor keeps all containers of a pod in the pod's own cgroup; its sandbox says so in its command line.
    async fn identify_pods(&self) {
        let pods = lock(&self.model).pods_to_identify();
        if pods.is_empty() {
            return;
        }
        let host = self.host.clone();
        let read = tokio::task::spawn_blocking(move || identify(&host, pods));
        for (key, class) in read.await.unwrap_or_else(resume) {
            lock(&self.model).reclassify(key, class);
        }
    }

    async fn namespaces(&self) {
        loop {
            let jobs = lock(&self.model).namespaces_to_read();
            let host = self.host.clone();
            let read = tokio::task::spawn_blocking(move || {
                jobs.iter()
                    .filter_map(|job| Some((job.netns, addresses(&host, job)?)))
                    .collect()
            });
            let found: HashMap<u32, Vec<IpAddr>> = read.await.unwrap_or_else(resume);
            lock(&self.model).set_namespace_addresses(found);
            tokio::time::sleep(NAMESPACE_INTERVAL).await;
        }
    }

    /// The DMI product UUID is readable by root alone, so the sensor opens it: once.
    async fn system_uuid(&self) {
        loop {
            match self
                .broker
                .open(OwnedOpenFile::of_kind(FileKind::SystemUuid))
                .await
            {
                Ok(file) => {
                    let read = tokio::task::spawn_blocking(|| {
                        read_capped(file, longest(FileKind::SystemUuid))
                    });
                    match read.await.unwrap_or_else(resume) {
                        Ok(bytes) => self.set_system_uuid(String::from_utf8_lossy(&bytes).trim()),
                        Err(error) => warn!(%error, "The system UUID cannot be read."),
                    }
                    return;
                }
                Err(
                    OpenError::Disconnected
                    | OpenError::TimedOut
                    | OpenError::Refused(Refusal::RateLimited),
                ) => tokio::time::sleep(UUID_RETRY).await,
                Err(OpenError::Refused(reason)) => {
                    debug!(%reason, "There is no system UUID.");
                    return;
                }
            }
        }
    }

    fn set_system_uuid(&self, system_uuid: &str) {
        let machine_id = machine_id::read(&self.host, system_uuid);
        let global = GlobalLabels {
            machine_id,
            system_uuid: system_uuid.to_owned(),
        };
        lock(&self.model).set_global_labels(global);
    }
}

fn resume<T>(panic: tokio::task::JoinError) -> T {
    std::panic::resume_unwind(panic.into_panic())
}

/// A container and where its cgroups are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceJob {
    /// Its index in the model.
    pub container: usize,
    /// Its value of the label `container_id`.
    pub id: Arc<str>,
    /// Path in the v2 tree.
    pub v2: Option<Vec<u8>>,
    /// Path in the v1 hierarchy that the sensor watches.
    pub v1: Option<Vec<u8>>,
}

fn read_all(
    host: &HostRoot,
    jobs: Vec<ResourceJob>,
) -> Result<Vec<(ResourceJob, Resources)>, String> {
    let mounts = CgroupMounts::discover(host).map_err(|error| error.to_string())?;
    let read = |job: ResourceJob| {
        let resources = mounts.read_resources(job.v2.as_deref(), job.v1.as_deref());
        (job, resources)
    };
    Ok(jobs.into_iter().map(read).collect())
}

fn identify(host: &HostRoot, pods: Vec<(CgroupKey, Vec<u8>)>) -> Vec<(CgroupKey, Class)> {
    let Ok(mounts) = CgroupMounts::discover(host) else {
        return Vec::new();
    };
    let class_of = |(key, path): (CgroupKey, Vec<u8>)| {
        let pid = mounts
            .processes(key.hierarchy == 0, &path)
            .into_iter()
            .next()?;
        let cmdline = host.proc(&format!("{pid}/cmdline")).bytes().ok()?;
        match Class::Pod.with_cmdline(&cmdline) {
            Class::Pod => None,
            class => Some((key, class)),
        }
    };
    pods.into_iter().filter_map(class_of).collect()
}

/// Addresses of a network namespace, through the first of its processes that is alive.
fn addresses(host: &HostRoot, job: &NamespaceJob) -> Option<Vec<IpAddr>> {
    job.pids.iter().find_map(|pid| {
        let mut ips = parse_fib_trie(&host.proc(&format!("{pid}/net/fib_trie")).text().ok()?);
        // A kernel without IPv6 has no such file.
        if let Ok(text) = host.proc(&format!("{pid}/net/if_inet6")).text() {
            ips.extend(parse_if_inet6(&text));
        }
        Some(ips)
    })
}
