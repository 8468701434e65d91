//! Containers and services, and what cgroups make them up.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use nodescope_schema::CgroupKey;

use super::applications::Applications;
use super::cgroups::{CgroupState, Cgroups};
use super::delays::ContainerDelays;
use super::destinations::Destinations;
use super::jvms::Jvms;
use super::logs::ContainerLogs;
use super::process_totals::ProcessTotals;
use super::volumes::Volume;
use crate::cgroupfs::Resources;
use crate::containers::{Class, Identity};
use crate::logs::kinds::LogPlace;
use crate::metrics::SeriesLabels;

/// A container without processes is shown this long.
pub const ZOMBIE_TTL_NS: u64 = 600_000_000_000;

/// Labels that every series carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GlobalLabels {
    /// Machine id without dashes.
    pub machine_id: String,
    /// DMI product UUID; empty where it cannot be read.
    pub system_uuid: String,
}

impl GlobalLabels {
    /// Labels of a series about the machine.
    pub fn node(&self) -> SeriesLabels {
        SeriesLabels::new(&[
            ("machine_id", &self.machine_id),
            ("system_uuid", &self.system_uuid),
        ])
    }

    fn container(&self, id: &str, app_id: &str) -> SeriesLabels {
        SeriesLabels::new(&[
            ("machine_id", &self.machine_id),
            ("system_uuid", &self.system_uuid),
            ("container_id", id),
            ("app_id", app_id),
        ])
    }
}

/// An address a container is reached at, and the proxy that listens there for it; empty for the container itself.
pub type ListenKey = (SocketAddr, &'static str);

/// One address a container listens on.
#[derive(Debug, Clone)]
pub struct ListenSeries {
    /// `listen_addr` and `proxy`.
    pub labels: SeriesLabels,
    /// Whether it still listens.
    pub open: bool,
}

/// One container or service.
#[derive(Debug)]
pub struct Container {
    /// Value of the label `container_id`.
    pub id: Arc<str>,
    /// Labels of all its series.
    pub labels: SeriesLabels,
    /// Value of the label `app_id`.
    app_id: String,
    /// Label of `container_info`; none without an image.
    pub info_labels: Option<SeriesLabels>,
    /// Whom it talks to.
    pub destinations: Destinations,
    /// Where it listens.
    pub listens: BTreeMap<ListenKey, ListenSeries>,
    /// Addresses of the host that docker leads to it.
    pub published: Vec<SocketAddr>,
    /// What its processes are.
    pub applications: Applications,
    /// Its Java virtual machines.
    pub jvms: Jvms,
    /// Disks it can write to.
    pub volumes: Vec<Volume>,
    /// Disks not shown because it had too many.
    pub volumes_over_budget: u64,
    /// Paths on the node of its Kubernetes volumes by mount point.
    pub volume_sources: BTreeMap<String, String>,
    /// What it logged.
    pub logs: ContainerLogs,
    /// Where the log of each of its classes may be.
    pub(super) log_places: HashMap<Class, Vec<LogPlace>>,
    /// What its tasks waited for.
    pub delays: ContainerDelays,
    /// What its cgroup files said last.
    pub resources: Resources,
    /// Classes that were resolved to it: more than one after it was made again.
    classes: Vec<Class>,
    /// Process counters of earlier runs of the sensor.
    pub(super) earlier: ProcessTotals,
    /// Since when it has had no process.
    zombie_since_ns: Option<u64>,
}

/// All containers. An index stays valid until the container is removed.
#[derive(Debug, Default)]
pub struct Containers {
    slots: Vec<Option<Container>>,
    by_id: HashMap<Arc<str>, usize>,
    /// Cgroups of each class.
    members: HashMap<Class, Vec<CgroupKey>>,
    /// Containers refused because there were too many.
    pub refused: u64,
}

impl Containers {
    /// A cgroup is of this class.
    pub fn add_member(&mut self, class: &Class, key: CgroupKey) {
        let keys = self.members.entry(class.clone()).or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }

    /// A cgroup is gone for good. Returns whether it was the last of its class.
    pub fn remove_member(&mut self, class: &Class, key: CgroupKey) -> bool {
        let Some(keys) = self.members.get_mut(class) else {
            return true;
        };
        keys.retain(|known| *known != key);
        let last = keys.is_empty();
        if last {
            self.members.remove(class);
        }
        last
    }

    /// Finds a container by its id or makes it, within the budget.
    pub fn obtain(
        &mut self,
        identity: &Identity,
        global: &GlobalLabels,
        budget: usize,
    ) -> Option<usize> {
        if let Some(&index) = self.by_id.get(identity.id.as_str()) {
            let container = self.slots[index].as_mut()?;
            container.info_labels = info_labels(identity);
            container.published.clone_from(&identity.published);
            container.volume_sources.clone_from(&identity.volumes);
            return Some(index);
        }
        if self.by_id.len() >= budget {
            self.refused += 1;
            return None;
        }
        let container = Container::new(identity, global);
        let id = Arc::clone(&container.id);
        let free = self.slots.iter().position(Option::is_none);
        let index = free.unwrap_or(self.slots.len());
        match free {
            Some(index) => self.slots[index] = Some(container),
            None => self.slots.push(Some(container)),
        }
        self.by_id.insert(id, index);
        Some(index)
    }

    /// Ties a class to a container.
    pub fn tie(&mut self, index: usize, class: &Class) {
        if let Some(container) = self.get_mut(index)
            && !container.classes.contains(class)
        {
            container.classes.push(class.clone());
        }
    }

    /// Unties a class from a container.
    pub fn untie(&mut self, index: usize, class: &Class) {
        if let Some(container) = self.get_mut(index) {
            container.classes.retain(|known| known != class);
            container.log_places.remove(class);
        }
    }

    /// One container.
    pub fn get(&self, index: usize) -> Option<&Container> {
        self.slots.get(index)?.as_ref()
    }

    /// One container.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Container> {
        self.slots.get_mut(index)?.as_mut()
    }

    /// The container with this id.
    pub fn find_mut(&mut self, id: &str) -> Option<&mut Container> {
        let index = *self.by_id.get(id)?;
        self.get_mut(index)
    }

    /// All containers with their index.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Container)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }

    /// All containers.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Container> {
        self.slots.iter_mut().flatten()
    }

    /// The labels of all series changed.
    pub fn relabel(&mut self, global: &GlobalLabels) {
        for container in self.iter_mut() {
            container.labels = global.container(&container.id, &container.app_id);
        }
    }

    /// All containers with their index.
    pub fn iter_indexed_mut(&mut self) -> impl Iterator<Item = (usize, &mut Container)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(|(index, slot)| Some((index, slot.as_mut()?)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Cgroups of a container that the sensor knows.
    pub fn members<'a>(
        &'a self,
        container: &'a Container,
        cgroups: &'a Cgroups,
    ) -> impl Iterator<Item = (CgroupKey, &'a CgroupState)> {
        let keys = container
            .classes
            .iter()
            .filter_map(|class| self.members.get(class))
            .flatten();
        keys.filter_map(|key| Some((*key, cgroups.get(key)?)))
    }

    /// Paths of the outermost cgroups of a container that exist, v2 and v1.
    pub fn paths(
        &self,
        container: &Container,
        cgroups: &Cgroups,
    ) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let outermost = |v2: bool| {
            self.members(container, cgroups)
                .filter(|(key, state)| (key.hierarchy == 0) == v2 && state.exists())
                .min_by_key(|(_, state)| state.depth())
                .map(|(_, state)| state.path.to_vec())
        };
        (outermost(true), outermost(false))
    }

    /// Whether a container has ever had a process while the sensor watched, or has talked.
    pub fn is_shown(&self, container: &Container, cgroups: &Cgroups) -> bool {
        !container.destinations.is_empty()
            || !container.listens.is_empty()
            || self
                .members(container, cgroups)
                .any(|(_, state)| state.processes.started > 0)
    }

    /// Whether a container has a process.
    pub fn is_alive(&self, container: &Container, cgroups: &Cgroups) -> bool {
        self.members(container, cgroups)
            .any(|(_, state)| state.exists() && state.processes.live > 0)
    }

    /// Removes containers without a process for too long. Returns their indices and classes.
    pub fn expire(&mut self, cgroups: &Cgroups, now_ns: u64) -> Vec<(usize, Vec<Class>)> {
        let dead: Vec<(usize, bool)> = self
            .iter()
            .map(|(index, container)| {
                let alive = self.is_alive(container, cgroups);
                let open = container.listens.values().any(|listen| listen.open)
                    || container
                        .destinations
                        .iter()
                        .any(|series| series.active > 0);
                (index, !alive && !open)
            })
            .collect();
        dead.into_iter()
            .filter_map(|(index, dead)| self.expire_one(index, dead, now_ns))
            .collect()
    }

    fn expire_one(&mut self, index: usize, dead: bool, now_ns: u64) -> Option<(usize, Vec<Class>)> {
        let container = self.get_mut(index)?;
        if !dead {
            container.zombie_since_ns = None;
            return None;
        }
        let since = *container.zombie_since_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since) < ZOMBIE_TTL_NS {
            return None;
        }
        Some((index, self.remove(index)?.classes))
    }

    /// Removes one container.
    pub fn remove(&mut self, index: usize) -> Option<Container> {
        let container = self.slots.get_mut(index)?.take()?;
        self.by_id.remove(&container.id);
        Some(container)
    }
}

impl Container {
    fn new(identity: &Identity, global: &GlobalLabels) -> Self {
        Self {
            id: identity.id.as_str().into(),
            info_labels: info_labels(identity),
            labels: global.container(&identity.id, &identity.app_id),
            app_id: identity.app_id.clone(),
            destinations: Destinations::default(),
            listens: BTreeMap::new(),
            published: identity.published.clone(),
            applications: Applications::default(),
            jvms: Jvms::default(),
            volumes: Vec::new(),
            volumes_over_budget: 0,
            volume_sources: identity.volumes.clone(),
            logs: ContainerLogs::default(),
            log_places: HashMap::new(),
            delays: ContainerDelays::default(),
            resources: Resources::default(),
            classes: Vec::new(),
            earlier: ProcessTotals::default(),
            zombie_since_ns: None,
        }
    }

    /// Classes that were resolved to it.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Whether a class is tied to it.
    pub fn has_classes(&self) -> bool {
        !self.classes.is_empty()
    }
}

fn info_labels(identity: &Identity) -> Option<SeriesLabels> {
    identity
        .image
        .as_deref()
        .map(|image| SeriesLabels::new(&[("image", image)]))
}
