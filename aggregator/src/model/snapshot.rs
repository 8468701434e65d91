//! Snapshots: what the sensor does not mention in one is gone.

use std::collections::HashSet;

use super::Model;
use super::flows::FlowId;

/// What the present snapshot has mentioned.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) flows: HashSet<FlowId>,
    pub(super) listens: HashSet<u64>,
    /// Number and file.
    pub(super) held_logs: HashSet<(u64, u64)>,
}

impl Model {
    pub(super) fn begin_snapshot(&mut self) {
        self.snapshot = Some(Seen::default());
        self.cgroups.begin_snapshot();
    }

    pub(super) fn end_snapshot(&mut self, now_ns: u64) {
        let Some(seen) = self.snapshot.take() else {
            return;
        };
        let missing: Vec<FlowId> = self
            .flows
            .keys()
            .filter(|id| !seen.flows.contains(*id))
            .copied()
            .collect();
        for id in missing {
            self.remove_flow(&id);
        }
        self.listens
            .close_missing(|cookie| seen.listens.contains(&cookie), now_ns);
        self.listens_changed = true;
        self.held_logs.keep(&seen.held_logs);
        self.forget_cgroups(&self.cgroups.missing());
        self.sensor.complete = true;
        self.settle(now_ns);
    }
}
