//! What the node looks like now: containers, whom they talk to, where they listen.
//!
//! [`Model::apply`] takes the sensor's records, [`Model::resolved`] what the resolver found out about a container, and
//! [`Model::render`] writes the series. Nothing here does I/O or reads a clock: time comes as an argument, on the
//! kernel's monotonic clock like the records. Every set is bounded: the kernel side bounds flows, listens and cgroups,
//! the budgets of [`Settings`] bound series; what is over is counted.

pub mod applications;
pub mod cgroups;
pub mod containers;
pub mod delays;
pub mod destinations;
pub mod filter;
pub mod flows;
mod forget;
mod held_logs;
pub mod jvms;
mod latency;
pub mod listen_series;
pub mod listens;
pub mod logs;
mod owners;
pub mod peers;
mod placement;
pub mod process_totals;
mod render;
mod snapshot;
#[cfg(test)]
mod tests;
pub mod volumes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use nodescope_schema::{
    CgroupKey, FilesystemSpace, FlowKey, FlowTotals, HeldLog, Listen, Record, SensorHello,
    StatFilesystem,
};

use self::cgroups::Cgroups;
pub use self::containers::GlobalLabels;
use self::containers::{Container, Containers};
use self::filter::Filter;
use self::flows::{FlowDelta, FlowId, FlowState, FlowTarget};
use self::held_logs::HeldLogs;
use self::latency::Answers;
use self::listen_series::Namespaces;
use self::listens::Listens;
use self::logs::PatternSettings;
use self::owners::Owners;
use crate::cgroupfs::Resources;
use crate::collect::ResourceJob;
use crate::containers::Class;
use crate::node::NodeFacts;
use crate::volumes::VolumeNames;

pub use self::owners::ResolveJob;
pub use self::render::SeriesLimits;

/// How long a destination without a flow is still shown.
const DESTINATION_TTL_NS: u64 = 600_000_000_000;

/// What the model shows and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which destinations and ports.
    pub filter: Filter,
    /// Destinations of one container; the rest goes to `~other`.
    pub destinations_per_container: usize,
    /// Listening addresses of one container.
    pub listens_per_container: usize,
    /// Volumes of one container.
    pub volumes_per_container: usize,
    /// Java virtual machines of one container.
    pub jvms_per_container: usize,
    /// Java virtual machines in all.
    pub jvms: usize,
    /// Names of Kubernetes volumes.
    pub volume_names: VolumeNames,
    /// Containers in all.
    pub containers: usize,
    /// Show processes of no container or service as `/other/EXECUTABLE`.
    pub report_other: bool,
    /// Which log messages are shown by pattern.
    pub log_patterns: PatternSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            destinations_per_container: 500,
            listens_per_container: 200,
            volumes_per_container: 50,
            jvms_per_container: 20,
            jvms: 500,
            volume_names: VolumeNames::default(),
            containers: 5_000,
            report_other: false,
            log_patterns: PatternSettings {
                of_all_levels: false,
                per_container: 256,
            },
        }
    }
}

/// What sensors counted since the aggregator's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenConnects {
    /// The sensor that counts now.
    pub run_id: u64,
    /// Connects that succeeded or failed, of this one and those before.
    pub attempts: u64,
}

/// The other side of the socket.
#[derive(Debug, Default)]
pub struct SensorState {
    /// Whether it is connected.
    pub connected: bool,
    /// Whether a whole snapshot of this connection has arrived.
    pub complete: bool,
    /// Its run; 0 before the first.
    pub run_id: u64,
    /// Inode of the host's network namespace.
    pub host_netns: u32,
    /// Host name in the UTS namespace of process 1.
    pub hostname: Option<String>,
    /// Kernel release.
    pub kernel_release: Option<String>,
}

/// The node.
#[derive(Debug)]
pub struct Model {
    settings: Settings,
    global: GlobalLabels,
    /// The sensor's own state.
    pub sensor: SensorState,
    cgroups: Cgroups,
    containers: Containers,
    owners: Owners,
    flows: HashMap<FlowId, FlowState>,
    /// Connects of all flows, whether they are shown or not.
    attempts: u64,
    /// Flows whose container is not known yet.
    pending: HashSet<FlowId>,
    /// Flows the present snapshot has mentioned; none outside a snapshot.
    snapshot: Option<snapshot::Seen>,
    /// Classes one of whose cgroups was removed.
    removed_classes: HashSet<Class>,
    /// Cgroups with waits that were not handed on.
    delayed: HashSet<CgroupKey>,
    listens: Listens,
    namespaces: Namespaces,
    held_logs: HeldLogs,
    /// Space of the file systems that told it.
    filesystems: BTreeMap<StatFilesystem, FilesystemSpace>,
    /// Answers to echo requests.
    answers: Answers,
    /// Whether listens changed since they were last laid out.
    listens_changed: bool,
}

impl Model {
    /// An empty node whose series all carry `global`.
    pub fn new(settings: Settings, global: GlobalLabels) -> Self {
        Self {
            settings,
            global,
            sensor: SensorState::default(),
            cgroups: Cgroups::default(),
            containers: Containers::default(),
            owners: Owners::default(),
            flows: HashMap::new(),
            attempts: 0,
            pending: HashSet::new(),
            snapshot: None,
            removed_classes: HashSet::new(),
            delayed: HashSet::new(),
            listens: Listens::default(),
            namespaces: Namespaces::default(),
            held_logs: HeldLogs::default(),
            filesystems: BTreeMap::new(),
            answers: Answers::default(),
            listens_changed: false,
        }
    }

    /// The machine's ids became known.
    pub fn set_global_labels(&mut self, global: GlobalLabels) {
        self.containers.relabel(&global);
        self.global = global;
    }

    /// The machine's ids.
    pub fn global_labels(&self) -> &GlobalLabels {
        &self.global
    }

    /// The sensor introduced itself. Returns whether it is a new run of it, whose totals begin again.
    pub fn connected(&mut self, hello: &SensorHello<'_>) -> bool {
        let new_run = self.sensor.run_id != hello.run_id;
        if new_run {
            self.begin_run();
        }
        self.cgroups.v1_hierarchy = hello.v1_hierarchy;
        self.sensor.connected = true;
        self.sensor.complete = false;
        self.sensor.run_id = hello.run_id;
        self.sensor.host_netns = hello.host_netns;
        self.sensor.hostname = Some(hello.hostname.to_owned());
        self.sensor.kernel_release = Some(hello.kernel_release.to_owned());
        new_run
    }

    /// The sensor went away. What it told stays until it is back.
    pub fn disconnected(&mut self) {
        self.sensor.connected = false;
        self.sensor.complete = false;
        self.snapshot = None;
    }

    /// Takes one record. Those about the sensor itself are not the node's: [`crate::ingest`] keeps them as own metrics.
    pub fn apply(&mut self, record: &Record<'_>, now_ns: u64) {
        match record {
            Record::Flow(flow) => self.apply_flow(&flow.key, flow.generation, &flow.totals, now_ns),
            Record::FlowEvicted(key) => self.remove_flow(&FlowId::from(key)),
            Record::Cgroup(cgroup) => self.apply_cgroup(cgroup),
            Record::Processes(processes) => self.apply_processes(processes),
            Record::Delays(delays) => self.apply_delays(delays),
            Record::Listen(listen) => self.apply_listen(listen, now_ns),
            Record::HeldLog(log) => self.apply_held_log(log),
            Record::SnapshotBegin => self.begin_snapshot(),
            Record::SnapshotEnd => self.end_snapshot(now_ns),
            Record::Ping(ping) => self.apply_ping(ping, now_ns),
            Record::Loss(_) | Record::Hook(_) | Record::MapFill(_) | Record::Status(_) => {}
        }
    }

    fn apply_flow(&mut self, key: &FlowKey<'_>, generation: u64, totals: &FlowTotals, now_ns: u64) {
        let id = FlowId::from(key);
        if let Some(seen) = &mut self.snapshot {
            seen.flows.insert(id);
        }
        let flow = self.flows.entry(id).or_default();
        let attempts = flow.attempts(generation);
        if !flow.update(generation, totals) {
            return;
        }
        self.attempts += flow.attempts(generation).saturating_sub(attempts);
        match flow.target {
            FlowTarget::Series {
                container,
                destination,
            } => {
                let delta = flow.advance();
                self.add_to_series(container, destination, &delta, now_ns);
            }
            // A snapshot's flows are placed at its end, in the order of their age.
            FlowTarget::Pending if self.snapshot.is_some() => {
                self.pending.insert(id);
            }
            FlowTarget::Pending => self.place_flow(&id, now_ns),
            FlowTarget::Dropped | FlowTarget::NoRoom => {}
        }
    }

    fn add_to_series(
        &mut self,
        container: usize,
        to: flows::Destination,
        delta: &FlowDelta,
        now_ns: u64,
    ) {
        if let Some(container) = self.containers.get_mut(container) {
            container.destinations.add(to, delta, now_ns);
        }
    }

    fn apply_listen(&mut self, listen: &Listen<'_>, now_ns: u64) {
        if let Some(seen) = &mut self.snapshot {
            seen.listens.insert(listen.cookie);
        }
        self.listens.update(listen, now_ns);
        self.listens_changed = true;
    }

    fn apply_held_log(&mut self, log: &HeldLog<'_>) {
        if let Some(seen) = &mut self.snapshot {
            seen.held_logs.insert((log.number, log.inode));
        }
        self.held_logs.update(log);
    }

    /// Takes what a flow still shows as open from its series and forgets it. Series stay until they expire.
    fn remove_flow(&mut self, id: &FlowId) {
        let Some(flow) = self.flows.remove(id) else {
            return;
        };
        self.pending.remove(id);
        self.close_flow(&flow);
    }

    fn close_flow(&mut self, flow: &FlowState) {
        if let FlowTarget::Series {
            container,
            destination,
        } = flow.target
            && let Some(container) = self.containers.get_mut(container)
        {
            container
                .destinations
                .add(destination, &flow.close(), flow.updated_ns());
            container.destinations.release(destination);
        }
    }

    /// The kernel's counters began again with a new run of the sensor: keeps all series, forgets what fed them.
    fn begin_run(&mut self) {
        self.containers.keep_process_totals(&self.cgroups);
        for (_, flow) in std::mem::take(&mut self.flows) {
            self.close_flow(&flow);
        }
        self.pending.clear();
        self.cgroups.forget_processes();
    }

    /// Gives what waited a place: flows whose cgroup or container has become known, listens that changed.
    pub fn settle(&mut self, now_ns: u64) {
        self.place_pending(now_ns);
        self.place_delays();
        if std::mem::take(&mut self.listens_changed) {
            self.lay_out_listens();
        }
    }

    /// Removes what is over: idle destinations, containers without processes, closed listens, too many removed cgroups.
    pub fn expire(&mut self, now_ns: u64) {
        let before_ns = now_ns.saturating_sub(DESTINATION_TTL_NS);
        for container in self.containers.iter_mut() {
            container.destinations.expire(before_ns);
        }
        self.answers.expire(now_ns);
        self.listens.expire(now_ns);
        self.listens_changed = true;
        for (index, classes) in self.containers.expire(&self.cgroups, now_ns) {
            self.owners.gone(&classes);
            self.unplace_flows_of(index);
        }
        self.retry_flows_without_room();
        self.forget_removed_cgroups();
    }

    /// Their container is gone. They are not queued: each is placed again when it changes.
    fn unplace_flows_of(&mut self, index: usize) {
        for flow in self.flows.values_mut() {
            if matches!(flow.target, FlowTarget::Series { container, .. } if container == index) {
                flow.target = FlowTarget::Pending;
            }
        }
    }

    /// How many connects the sensors have counted; nothing while there is none that told all it knows.
    pub fn seen_connects(&self) -> Option<SeenConnects> {
        let is_up_to_date = self.sensor.connected && self.sensor.complete;
        is_up_to_date.then_some(SeenConnects {
            run_id: self.sensor.run_id,
            attempts: self.attempts,
        })
    }

    /// What the sensor told about the node, for its collectors.
    pub fn node_facts(&self) -> NodeFacts {
        NodeFacts {
            version: crate::RELEASE.to_owned(),
            hostname: self.sensor.hostname.clone(),
            kernel_release: self.sensor.kernel_release.clone(),
        }
    }

    /// Where the containers' cgroup files are.
    pub fn cgroups_to_read(&self) -> Vec<ResourceJob> {
        let job = |(container, state): (usize, &Container)| {
            let (v2, v1) = self.containers.paths(state, &self.cgroups);
            (v2.is_some() || v1.is_some()).then(|| ResourceJob {
                container,
                id: Arc::clone(&state.id),
                v2,
                v1,
            })
        };
        self.containers.iter().filter_map(job).collect()
    }

    /// What the cgroup files said. A container that was not read, because its cgroup is gone, keeps its counters.
    pub fn set_resources(&mut self, resources: Vec<(ResourceJob, Resources)>) {
        let mut read: HashMap<usize, (ResourceJob, Resources)> = resources
            .into_iter()
            .map(|(job, resources)| (job.container, (job, resources)))
            .collect();
        for (index, container) in self.containers.iter_indexed_mut() {
            container.resources = match read.remove(&index) {
                // Its place may have been given to another one meanwhile.
                Some((job, resources)) if job.id == container.id => resources,
                _ => container.resources.without_gauges(),
            };
        }
    }

    /// How many containers there are.
    pub fn containers(&self) -> usize {
        self.containers.len()
    }

    /// Flows that wait for their container's name, and name lookups under way.
    pub fn queue_lengths(&self) -> (usize, usize) {
        (self.pending.len(), self.owners.under_way())
    }
}
