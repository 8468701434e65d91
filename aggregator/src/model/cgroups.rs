//! The cgroups the sensor told of, what each means, and the processes in it.

use std::collections::HashMap;

use nodescope_schema::{Cgroup, CgroupKey, Delays, Processes, Workload};

use super::delays::CgroupDelays;
use crate::containers::{Class, classify};

/// Most cgroups kept; more are refused and counted.
const MAX_CGROUPS: usize = 65_536;
/// Most removed cgroups kept: they still count as restarts of their container. Above, the oldest go until half are left.
pub(super) const MAX_REMOVED: usize = 8_192;

/// One cgroup.
#[derive(Debug)]
pub struct CgroupState {
    /// Path from the root of its hierarchy.
    pub path: Box<[u8]>,
    /// The container or unit its path means.
    pub class: Class,
    /// Monotonic time it was removed; 0 while it exists.
    pub removed_ns: u64,
    /// Its processes.
    pub processes: Processes,
    /// What they waited for.
    delays: CgroupDelays,
    /// Number of the snapshot or run of records it was last seen in.
    epoch: u64,
}

impl CgroupState {
    /// Number of directories above it.
    pub fn depth(&self) -> usize {
        self.path.iter().filter(|byte| **byte == b'/').count()
    }

    /// Whether it is still there.
    pub fn exists(&self) -> bool {
        self.removed_ns == 0
    }
}

/// All cgroups.
#[derive(Debug, Default)]
pub struct Cgroups {
    by_key: HashMap<CgroupKey, CgroupState>,
    /// The v1 hierarchy that the sensor watches; 0 when there is none.
    pub v1_hierarchy: u32,
    /// Records refused because there were too many cgroups.
    pub refused: u64,
    epoch: u64,
    /// Cgroups removed until then may have been forgotten.
    forgotten_ns: u64,
}

impl Cgroups {
    /// Takes a record. Returns the class when the cgroup is new or its path changed.
    pub fn update(&mut self, record: &Cgroup<'_>) -> Option<Class> {
        let epoch = self.epoch;
        if let Some(known) = self.by_key.get_mut(&record.key)
            && *known.path == *record.path
        {
            known.removed_ns = record.removed_ns;
            known.epoch = epoch;
            return None;
        }
        // The sensor keeps removed ones on its own terms, and a snapshot tells of them again.
        let removed_ns = record.removed_ns;
        if removed_ns != 0 && removed_ns <= self.forgotten_ns {
            return None;
        }
        if self.by_key.len() >= MAX_CGROUPS {
            self.refused += 1;
            return None;
        }
        let class = classify(record.path);
        let (processes, delays) = self
            .by_key
            .get(&record.key)
            .map(|known| (known.processes, known.delays))
            .unwrap_or_default();
        let state = CgroupState {
            path: record.path.into(),
            class: class.clone(),
            removed_ns: record.removed_ns,
            processes,
            delays,
            epoch,
        };
        self.by_key.insert(record.key, state);
        Some(class)
    }

    /// Takes process counts; those of a cgroup that is not known (yet) come again with the next snapshot or change.
    pub fn update_processes(&mut self, record: &Processes) -> Option<&CgroupState> {
        let state = self.by_key.get_mut(&record.cgroup)?;
        state.processes = *record;
        Some(state)
    }

    /// Takes waits. Returns whether the cgroup is known.
    pub fn update_delays(&mut self, record: &Delays) -> bool {
        let Some(state) = self.by_key.get_mut(&record.cgroup) else {
            return false;
        };
        state.delays.update(record);
        true
    }

    /// The waits of one cgroup.
    pub fn delays_mut(&mut self, key: &CgroupKey) -> Option<&mut CgroupDelays> {
        Some(&mut self.by_key.get_mut(key)?.delays)
    }

    /// What a process in these cgroups belongs to; none while neither path is known.
    pub fn class_of(&self, workload: &Workload) -> Option<Class> {
        let class = |hierarchy, id| {
            self.by_key
                .get(&CgroupKey { hierarchy, id })
                .map(|state| state.class.clone())
        };
        let v2 = class(0, workload.cgroup_v2);
        let v1 = if workload.cgroup_v1 == 0 {
            None
        } else {
            class(self.v1_hierarchy, workload.cgroup_v1)
        };
        match (v2, v1) {
            (Some(v2), Some(v1)) => Some(v2.or_better(v1)),
            (one, other) => one.or(other),
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// One cgroup.
    pub fn get(&self, key: &CgroupKey) -> Option<&CgroupState> {
        self.by_key.get(key)
    }

    /// Cgroups of pods, with processes but outside the pod's containers.
    pub fn live_pods(&self) -> Vec<(CgroupKey, Vec<u8>)> {
        let pods = self
            .by_key
            .iter()
            .filter(|(_, state)| state.class == Class::Pod && state.processes.live > 0);
        pods.map(|(key, state)| (*key, state.path.to_vec()))
            .collect()
    }

    /// Sets what a cgroup is. Returns whether that is news.
    pub fn set_class(&mut self, key: CgroupKey, class: &Class) -> bool {
        let Some(state) = self
            .by_key
            .get_mut(&key)
            .filter(|state| state.class != *class)
        else {
            return false;
        };
        state.class = class.clone();
        true
    }

    /// The sensor's counters begin again.
    pub fn forget_processes(&mut self) {
        for state in self.by_key.values_mut() {
            state.processes = Processes::default();
        }
    }

    /// A snapshot begins.
    pub fn begin_snapshot(&mut self) {
        self.epoch += 1;
    }

    /// What the snapshot that ended did not mention.
    pub fn missing(&self) -> Vec<CgroupKey> {
        self.by_key
            .iter()
            .filter(|(_, state)| state.epoch < self.epoch)
            .map(|(key, _)| *key)
            .collect()
    }

    /// The removed cgroups there is no room for.
    pub fn oldest_removed(&self) -> Vec<CgroupKey> {
        let mut removed: Vec<_> = self
            .by_key
            .iter()
            .filter(|(_, state)| !state.exists())
            .map(|(key, state)| (state.removed_ns, *key))
            .collect();
        if removed.len() <= MAX_REMOVED {
            return Vec::new();
        }
        removed.sort_unstable_by_key(|(removed_ns, _)| *removed_ns);
        removed.truncate(removed.len() - MAX_REMOVED / 2);
        removed.into_iter().map(|(_, key)| key).collect()
    }

    /// Forgets one. Returns what it was.
    pub fn forget(&mut self, key: &CgroupKey) -> Option<Class> {
        let state = self.by_key.remove(key)?;
        self.forgotten_ns = self.forgotten_ns.max(state.removed_ns);
        Some(state.class)
    }
}
