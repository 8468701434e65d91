//! What programs run in each container, as far as their command lines tell.
//!
//! A container's processes are looked at when one has begun or ended since the last look, once more after that, because a
//! process that was just made has the command line of its parent until it calls `execve`, and otherwise now and then.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Model;
use super::cgroups::Cgroups;
use super::containers::{Container, Containers};
use crate::metrics::SeriesLabels;

/// Containers looked at in one round.
const CONTAINERS_PER_ROUND: usize = 100;
/// Cgroups of one container whose processes are looked at.
const CGROUPS_PER_CONTAINER: usize = 32;
/// How often a container in which nothing begins is looked at.
const REFRESH_NS: u64 = 60_000_000_000;

/// What the processes of a container are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programs {
    /// Their kinds.
    pub types: BTreeSet<&'static str>,
    /// Those that are Java virtual machines, in the order of their numbers.
    pub jvms: BTreeSet<u32>,
}

/// Programs of a container.
#[derive(Debug, Default)]
pub struct Applications {
    programs: Programs,
    /// One block for each type.
    labels: Vec<SeriesLabels>,
    last_look: Option<Look>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    at_ns: u64,
    /// Processes that had begun and that had ended by then.
    changes: u64,
    /// Whether the look before this one saw as many: what it found is no process on its way to `execve`.
    settled: bool,
}

/// A container whose processes are to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessesJob {
    /// Its index in the model.
    pub container: usize,
    /// Its value of the label `container_id`.
    pub id: Arc<str>,
    /// Its cgroups with processes: whether in the v2 tree, and the path.
    pub cgroups: Vec<(bool, Vec<u8>)>,
    changes: u64,
}

impl Applications {
    /// One block of labels for each type of program.
    pub fn labels(&self) -> &[SeriesLabels] {
        &self.labels
    }

    /// Processes that are Java virtual machines.
    pub fn jvms(&self) -> &BTreeSet<u32> {
        &self.programs.jvms
    }

    fn is_due(&self, changes: u64, now_ns: u64) -> bool {
        self.last_look.is_none_or(|last| {
            last.changes != changes
                || !last.settled
                || now_ns.saturating_sub(last.at_ns) >= REFRESH_NS
        })
    }

    fn set(&mut self, programs: Programs, changes: u64, now_ns: u64) {
        let settled = self.last_look.is_some_and(|last| last.changes == changes);
        self.last_look = Some(Look {
            at_ns: now_ns,
            changes,
            settled,
        });
        if self.programs.types != programs.types {
            let labels = |kind: &&str| SeriesLabels::new(&[("application_type", kind)]);
            self.labels = programs.types.iter().map(labels).collect();
        }
        self.programs = programs;
    }
}

impl Containers {
    /// Cgroups of a container that have processes: of the v2 tree if it has any there.
    pub(super) fn populated(
        &self,
        container: &Container,
        cgroups: &Cgroups,
    ) -> Vec<(bool, Vec<u8>)> {
        let of = |v2: bool| -> Vec<_> {
            self.members(container, cgroups)
                .filter(|(key, state)| (key.hierarchy == 0) == v2 && state.exists())
                .filter(|(_, state)| state.processes.live > 0)
                .take(CGROUPS_PER_CONTAINER)
                .map(|(_, state)| (v2, state.path.to_vec()))
                .collect()
        };
        let v2 = of(true);
        if v2.is_empty() { of(false) } else { v2 }
    }

    /// Processes of a container that have begun and that have ended.
    fn changes(&self, container: &Container, cgroups: &Cgroups) -> u64 {
        self.members(container, cgroups)
            .map(|(_, state)| state.processes.started + state.processes.ended)
            .sum()
    }
}

impl Model {
    /// Containers whose processes should be looked at now, those first whose last look is the longest ago.
    pub fn processes_to_read(&self, now_ns: u64) -> Vec<ProcessesJob> {
        let (containers, cgroups) = (&self.containers, &self.cgroups);
        let mut due: Vec<(usize, &Container, u64)> = containers
            .iter()
            .map(|(index, container)| (index, container, containers.changes(container, cgroups)))
            .filter(|(_, container, changes)| container.applications.is_due(*changes, now_ns))
            .collect();
        due.sort_by_key(|(_, container, _)| {
            container.applications.last_look.map(|look| look.at_ns)
        });
        due.into_iter()
            .take(CONTAINERS_PER_ROUND)
            .map(|(index, container, changes)| ProcessesJob {
                container: index,
                id: Arc::clone(&container.id),
                cgroups: containers.populated(container, cgroups),
                changes,
            })
            .collect()
    }

    /// The programs found in a container.
    pub fn set_applications(&mut self, job: &ProcessesJob, programs: Programs, now_ns: u64) {
        // Its place may have been given to another one meanwhile.
        let container = self.containers.get_mut(job.container);
        if let Some(container) = container.filter(|container| container.id == job.id) {
            container.applications.set(programs, job.changes, now_ns);
        }
    }
}
