//! From cgroups to containers: which class each cgroup is of, and what container that is.
//!
//! A path gives a class at once; what container that is may need a runtime's file and so comes later, through
//! [`Model::next_to_resolve`] and [`Model::resolved`]. Until then flows wait with their totals, so nothing is lost.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use nodescope_schema::{Cgroup, CgroupKey, Processes};

use super::Model;
use crate::containers::{Class, Ignored, Resolution};

/// How long a container waits that the budget has no room for.
const OVER_BUDGET_RETRY_NS: u64 = 10_000_000_000;
/// How often a resolved container's metadata is read again, to see that it was renamed.
const REFRESH_NS: u64 = 30_000_000_000;

/// A class to find the container of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveJob {
    /// The class.
    pub class: Class,
}

/// What is known about a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Nothing yet.
    Unknown,
    /// This container.
    Container(usize),
    /// No container or service.
    Other,
    /// Not to be shown.
    Ignored,
    /// Its container had no process for too long.
    Gone,
}

impl Target {
    /// What belongs to no container or service may be shown by its executable; what only serves a container may not.
    fn of_ignored(reason: Ignored) -> Self {
        match reason {
            Ignored::Root
            | Ignored::UnknownLayout
            | Ignored::UnknownContainer
            | Ignored::Init
            | Ignored::UserSession
            | Ignored::Scope => Self::Other,
            Ignored::Removed
            | Ignored::Monitor
            | Ignored::PodDirectory
            | Ignored::Pause
            | Ignored::Unnamed => Self::Ignored,
        }
    }
}

#[derive(Debug)]
struct OwnerState {
    target: Target,
    in_progress: bool,
    next_try_ns: u64,
}

/// All classes seen.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_class: HashMap<Class, OwnerState>,
}

impl Owners {
    /// A class appeared.
    pub(super) fn want(&mut self, class: &Class) {
        if self.by_class.contains_key(class) {
            return;
        }
        let target = match class {
            Class::Ignored(reason) => Target::of_ignored(*reason),
            Class::Pod => Target::Ignored,
            Class::Container(_) | Class::Unit(_) => Target::Unknown,
        };
        let state = OwnerState {
            target,
            in_progress: false,
            next_try_ns: 0,
        };
        self.by_class.insert(class.clone(), state);
    }

    /// A cgroup of this class was made: if the class is known, its container may have got another name meanwhile.
    fn want_again(&mut self, class: &Class) {
        self.want(class);
        if let Some(state) = self.by_class.get_mut(class) {
            state.next_try_ns = 0;
        }
    }

    pub(super) fn target(&self, class: &Class) -> Target {
        self.by_class
            .get(class)
            .map_or(Target::Unknown, |state| state.target)
    }

    /// The container of a class; what belongs to none counts for nobody.
    pub(super) fn container(&self, class: &Class) -> Owner {
        match self.target(class) {
            Target::Container(index) => Owner::Container(index),
            Target::Unknown => Owner::NotYet,
            Target::Other | Target::Ignored | Target::Gone => Owner::Nobody,
        }
    }

    /// Its last cgroup is gone.
    pub(super) fn forget(&mut self, class: &Class) {
        self.by_class.remove(class);
    }

    /// Their container was removed.
    pub(super) fn gone(&mut self, classes: &[Class]) {
        for class in classes {
            if let Some(state) = self.by_class.get_mut(class) {
                state.target = Target::Gone;
            }
        }
    }

    /// A class whose container was removed has processes again.
    fn revive(&mut self, class: &Class) -> bool {
        let Some(state) = self
            .by_class
            .get_mut(class)
            .filter(|state| state.target == Target::Gone)
        else {
            return false;
        };
        state.target = Target::Unknown;
        state.next_try_ns = 0;
        true
    }

    fn retry(&mut self, class: &Class, now_ns: u64, after: Duration) {
        if let Some(state) = self.by_class.get_mut(class) {
            state.wait(now_ns.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)));
        }
    }

    /// Classes seen.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_class.len()
    }

    /// Lookups under way.
    pub(super) fn under_way(&self) -> usize {
        self.by_class
            .values()
            .filter(|state| state.in_progress)
            .count()
    }

    fn next(&mut self, now_ns: u64, limit: usize) -> Vec<ResolveJob> {
        let due = self
            .by_class
            .iter_mut()
            .filter(|(_, state)| state.is_due(now_ns));
        due.take(limit)
            .map(|(class, state)| {
                state.in_progress = true;
                ResolveJob {
                    class: class.clone(),
                }
            })
            .collect()
    }
}

impl OwnerState {
    fn is_due(&self, now_ns: u64) -> bool {
        let wanted = matches!(self.target, Target::Unknown | Target::Container(_));
        wanted && !self.in_progress && self.next_try_ns <= now_ns
    }

    fn settle(&mut self, target: Target, now_ns: u64) {
        self.in_progress = false;
        self.target = target;
        self.next_try_ns = now_ns + REFRESH_NS;
    }

    fn wait(&mut self, until_ns: u64) {
        self.in_progress = false;
        self.next_try_ns = until_ns;
    }
}

impl Model {
    pub(super) fn apply_cgroup(&mut self, cgroup: &Cgroup<'_>) {
        let old = self
            .cgroups
            .get(&cgroup.key)
            .map(|state| state.class.clone());
        if let (true, Some(class)) = (cgroup.removed_ns != 0, &old) {
            self.removed_classes.insert(class.clone());
        }
        let Some(class) = self.cgroups.update(cgroup) else {
            return;
        };
        if let Some(old) = old.filter(|old| *old != class) {
            self.containers.remove_member(&old, cgroup.key);
        }
        if matches!(class, Class::Container(_) | Class::Unit(_)) {
            self.containers.add_member(&class, cgroup.key);
        }
        self.owners.want_again(&class);
    }

    /// Classes one of whose cgroups was removed since the last call: what was remembered of their names is stale.
    pub fn take_removed(&mut self) -> HashSet<Class> {
        std::mem::take(&mut self.removed_classes)
    }

    pub(super) fn apply_processes(&mut self, processes: &Processes) {
        let Some(state) = self.cgroups.update_processes(processes) else {
            return;
        };
        if processes.live > 0 && state.exists() {
            let class = state.class.clone();
            if self.owners.revive(&class) {
                self.reconsider_flows(&class);
            }
        }
    }

    /// Cgroups of pods that are in none of their containers, with processes: they may be gVisor's.
    pub fn pods_to_identify(&self) -> Vec<(CgroupKey, Vec<u8>)> {
        self.cgroups.live_pods()
    }

    /// A process in a pod's cgroup told what the cgroup is.
    pub fn reclassify(&mut self, key: CgroupKey, class: Class) {
        if !self.cgroups.set_class(key, &class) {
            return;
        }
        self.containers.add_member(&class, key);
        self.owners.want(&class);
        self.reconsider_flows(&class);
    }

    /// Classes whose container should be looked up now. Each comes back through [`Model::resolved`].
    pub fn next_to_resolve(&mut self, now_ns: u64, limit: usize) -> Vec<ResolveJob> {
        self.owners.next(now_ns, limit)
    }

    /// What was found out about a class.
    pub fn resolved(&mut self, class: &Class, resolution: Resolution, now_ns: u64) {
        let before = self.owners.target(class);
        let logs = match &resolution {
            Resolution::Container(identity) => Some(identity.logs.clone()),
            Resolution::Ignored(_) | Resolution::Retry { .. } => None,
        };
        let target = match resolution {
            Resolution::Container(identity) => self
                .containers
                .obtain(&identity, &self.global, self.settings.containers)
                .map(Target::Container),
            Resolution::Ignored(reason) => Some(Target::of_ignored(reason)),
            Resolution::Retry { after, .. } => return self.owners.retry(class, now_ns, after),
        };
        let Some(state) = self.owners.by_class.get_mut(class) else {
            return;
        };
        let Some(target) = target else {
            return state.wait(now_ns + OVER_BUDGET_RETRY_NS);
        };
        state.settle(target, now_ns);
        if target != before {
            self.retarget(class, before, target, now_ns);
        }
        if let (Target::Container(index), Some(places)) = (target, logs)
            && let Some(container) = self.containers.get_mut(index)
        {
            container.set_logs(class, &places);
        }
    }

    /// A class belongs to another container than before: a first answer, or a new name.
    fn retarget(&mut self, class: &Class, before: Target, target: Target, now_ns: u64) {
        if let Target::Container(index) = target {
            self.containers.tie(index, class);
        }
        if let Target::Container(old) = before {
            self.containers.untie(old, class);
            self.move_flows_from(old);
            if self
                .containers
                .get(old)
                .is_some_and(|container| !container.has_classes())
            {
                self.containers.remove(old);
            }
        }
        self.listens_changed = true;
        self.settle(now_ns);
    }
}

/// To whom something belongs.
pub(super) enum Owner {
    Container(usize),
    Nobody,
    /// A container that the budget has no room for.
    NoRoom,
    NotYet,
}
