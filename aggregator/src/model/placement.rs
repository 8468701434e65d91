//! Which series a flow counts for.
//!
//! A flow waits until its process's container is known; then it is given a series within the container's budget. When the
//! container gets another name, its flows wait again and find the new one.

use nodescope_schema::Workload;

use super::Model;
use super::flows::{Destination, Executable, FlowId, FlowTarget};
use super::owners::{Owner, Target};
use crate::containers::{Class, Identity};

impl Model {
    /// Puts flows of a class that count for nobody back to waiting.
    pub(super) fn reconsider_flows(&mut self, class: &Class) {
        let cgroups = &self.cgroups;
        for (id, flow) in &mut self.flows {
            if !matches!(flow.target, FlowTarget::Series { .. })
                && cgroups.class_of(&id.workload).as_ref() == Some(class)
            {
                flow.target = FlowTarget::Pending;
                self.pending.insert(*id);
            }
        }
    }

    /// Takes all flows from a container; those that still belong to it find their way back.
    pub(super) fn move_flows_from(&mut self, index: usize) {
        let of_it = |target: FlowTarget| matches!(target, FlowTarget::Series { container, .. } if container == index);
        let ids: Vec<FlowId> = self
            .flows
            .iter()
            .filter(|(_, flow)| of_it(flow.target))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let Some(flow) = self.flows.get_mut(&id) else {
                continue;
            };
            let before = *flow;
            flow.leave();
            self.close_flow(&before);
            self.pending.insert(id);
        }
    }

    /// Puts flows that the budget of containers had no room for back to waiting, once it has.
    pub(super) fn retry_flows_without_room(&mut self) {
        if self.containers.len() >= self.settings.containers {
            return;
        }
        for (id, flow) in &mut self.flows {
            if flow.target == FlowTarget::NoRoom {
                flow.target = FlowTarget::Pending;
                self.pending.insert(*id);
            }
        }
    }

    /// The oldest first, so that after a restart the same destinations get the series within the budget.
    pub(super) fn place_pending(&mut self, now_ns: u64) {
        if self.snapshot.is_some() {
            return;
        }
        let mut waiting: Vec<_> = std::mem::take(&mut self.pending)
            .into_iter()
            .filter_map(|id| Some((self.flows.get(&id)?.generation(), id)))
            .collect();
        waiting.sort_by_key(|(generation, _)| *generation);
        for (_, id) in waiting {
            self.place_flow(&id, now_ns);
        }
    }

    /// Finds the series of a flow; without one yet it waits.
    pub(super) fn place_flow(&mut self, id: &FlowId, now_ns: u64) {
        let target = self.target_of(id, now_ns);
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.target = target;
        match target {
            FlowTarget::Series {
                container,
                destination,
            } => {
                let delta = flow.advance();
                self.add_to_series(container, destination, &delta, now_ns);
            }
            FlowTarget::Pending => {
                self.pending.insert(*id);
            }
            FlowTarget::Dropped | FlowTarget::NoRoom => {}
        }
    }

    fn target_of(&mut self, id: &FlowId, now_ns: u64) -> FlowTarget {
        let wanted = id.destination();
        if !self.is_tracked(id, wanted) {
            return FlowTarget::Dropped;
        }
        let index = match self.container_of(&id.workload, &id.executable) {
            Owner::Container(index) => index,
            Owner::Nobody => return FlowTarget::Dropped,
            Owner::NoRoom => return FlowTarget::NoRoom,
            Owner::NotYet => return FlowTarget::Pending,
        };
        let budget = self.settings.destinations_per_container;
        let Some(container) = self.containers.get_mut(index) else {
            return FlowTarget::Pending;
        };
        let destination = container.destinations.assign(wanted, budget, now_ns);
        FlowTarget::Series {
            container: index,
            destination,
        }
    }

    /// A loopback address means something only in the host's namespace.
    fn is_tracked(&self, id: &FlowId, destination: Destination) -> bool {
        match destination {
            Destination::Address { asked, actual } => {
                self.settings.filter.tracks(asked, actual)
                    && (id.host_netns || !(asked.ip().is_loopback() || actual.ip().is_loopback()))
            }
            Destination::Other => true,
        }
    }

    /// The container of a process, if it is known; makes `/other/EXECUTABLE` where the setting asks for it.
    pub(super) fn container_of(&mut self, workload: &Workload, executable: &Executable) -> Owner {
        let Some(class) = self.cgroups.class_of(workload) else {
            return Owner::NotYet;
        };
        self.owners.want(&class);
        match self.owners.target(&class) {
            Target::Container(index) => Owner::Container(index),
            Target::Unknown => Owner::NotYet,
            Target::Ignored | Target::Gone => Owner::Nobody,
            Target::Other if !self.settings.report_other => Owner::Nobody,
            Target::Other => {
                let identity = other(executable);
                let index =
                    self.containers
                        .obtain(&identity, &self.global, self.settings.containers);
                index.map_or(Owner::NoRoom, Owner::Container)
            }
        }
    }
}

/// Stands for all processes of one program that belong to no container or service.
fn other(executable: &Executable) -> Identity {
    Identity {
        id: format!("/other/{}", String::from_utf8_lossy(executable.as_bytes())),
        ..Identity::default()
    }
}
