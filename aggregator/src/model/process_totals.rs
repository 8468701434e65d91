//! Restarts and OOM kills of containers, added up over their cgroups, runs of the sensor and forgotten cgroups.

use super::cgroups::{CgroupState, Cgroups};
use super::containers::{Container, Containers};

/// Counters that come from the processes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessTotals {
    /// Times it began again.
    pub restarts: u64,
    /// Its victims of the OOM killer.
    pub oom_kills: u64,
}

impl Containers {
    /// Restarts and OOM kills, this run's and earlier ones'.
    pub fn process_totals(&self, container: &Container, cgroups: &Cgroups) -> ProcessTotals {
        let now = process_totals(
            self.members(container, cgroups)
                .map(|(key, state)| (key.hierarchy == 0, state)),
        );
        ProcessTotals {
            restarts: container.earlier.restarts + now.restarts,
            oom_kills: container.earlier.oom_kills + now.oom_kills,
        }
    }

    /// The sensor's counters are about to begin again: keeps what they said.
    pub fn keep_process_totals(&mut self, cgroups: &Cgroups) {
        let totals: Vec<_> = self
            .iter()
            .map(|(index, container)| (index, self.process_totals(container, cgroups)))
            .collect();
        for (index, totals) in totals {
            if let Some(container) = self.get_mut(index) {
                container.earlier = totals;
            }
        }
    }

    /// Cgroups of a container were forgotten: keeps what they added to its totals, which were `before`.
    pub fn keep_lost_totals(&mut self, index: usize, before: ProcessTotals, cgroups: &Cgroups) {
        let Some(container) = self.get(index) else {
            return;
        };
        let after = self.process_totals(container, cgroups);
        if let Some(container) = self.get_mut(index) {
            container.earlier.restarts += before.restarts.saturating_sub(after.restarts);
            container.earlier.oom_kills += before.oom_kills.saturating_sub(after.oom_kills);
        }
    }
}

/// Restarts and OOM kills of the cgroups of one container, each with whether it is of the v2 tree.
///
/// A process counts in both hierarchies, so only one is used: v2 when it has any process at all. A container begins
/// again either in the same cgroup (the kernel side counts that) or in a new one at the same place; cgroups inside a
/// container come and go with what runs in it and are no restarts of the container.
fn process_totals<'a>(members: impl Iterator<Item = (bool, &'a CgroupState)>) -> ProcessTotals {
    let used: Vec<_> = members
        .filter(|(_, state)| state.processes.started > 0)
        .collect();
    let any_v2 = used.iter().any(|(v2, _)| *v2);
    let used: Vec<_> = used
        .into_iter()
        .filter(|(v2, _)| *v2 == any_v2)
        .map(|(_, state)| state)
        .collect();
    let Some(depth) = used.iter().map(|state| state.depth()).min() else {
        return ProcessTotals::default();
    };
    let outermost = used.iter().filter(|state| state.depth() == depth);
    let in_place: u64 = outermost
        .clone()
        .map(|state| state.processes.restarts)
        .sum();
    ProcessTotals {
        restarts: in_place + outermost.count() as u64 - 1,
        oom_kills: used.iter().map(|state| state.processes.oom_kills).sum(),
    }
}
