//! What the tasks of containers waited for.
//!
//! The sensor sends totals by cgroup; a container adds up those of its cgroups and keeps them when a cgroup goes or the
//! sensor begins again. So each cgroup remembers what of its totals was handed on. Totals of a cgroup whose container has
//! no name yet wait.

use std::collections::HashSet;

use nodescope_schema::{CgroupKey, DelayTotals, Delays};

use super::Model;
use super::owners::Owner;

/// The totals of one cgroup.
#[derive(Debug, Clone, Copy, Default)]
pub struct CgroupDelays {
    generation: u64,
    /// Newest totals from the sensor.
    latest: DelayTotals,
    /// What was not handed on yet.
    waiting: DelayTotals,
    accounted: bool,
}

impl CgroupDelays {
    /// Takes newer totals. Those of another generation begin from zero; what shrinks within one adds nothing.
    pub fn update(&mut self, record: &Delays) {
        if record.generation != self.generation {
            self.generation = record.generation;
            self.latest = DelayTotals::default();
        }
        let new = zip(&record.totals, &self.latest, u64::saturating_sub);
        self.waiting = zip(&self.waiting, &new, u64::saturating_add);
        self.latest = record.totals;
        self.accounted = record.accounted;
    }
}

/// The waits of one container's tasks.
#[derive(Debug, Clone, Copy, Default)]
pub struct ContainerDelays {
    v2: DelayTotals,
    v1: DelayTotals,
    /// Whether the sensor has told of a cgroup of it.
    pub known: bool,
    /// Whether the kernel accounts for other waits than those for a CPU.
    pub accounted: bool,
}

impl ContainerDelays {
    /// A task counts in both hierarchies. A runtime may put it into the container's place in one of them only, or later.
    pub fn totals(&self) -> DelayTotals {
        zip(&self.v2, &self.v1, u64::max)
    }

    fn take(&mut self, key: CgroupKey, cgroup: &mut CgroupDelays) {
        let side = if key.hierarchy == 0 {
            &mut self.v2
        } else {
            &mut self.v1
        };
        *side = zip(
            side,
            &std::mem::take(&mut cgroup.waiting),
            u64::saturating_add,
        );
        self.known = true;
        self.accounted = cgroup.accounted;
    }
}

fn zip(one: &DelayTotals, other: &DelayTotals, with: fn(u64, u64) -> u64) -> DelayTotals {
    DelayTotals {
        cpu_ns: with(one.cpu_ns, other.cpu_ns),
        block_io_ns: with(one.block_io_ns, other.block_io_ns),
        swap_in_ns: with(one.swap_in_ns, other.swap_in_ns),
        reclaim_ns: with(one.reclaim_ns, other.reclaim_ns),
        thrashing_ns: with(one.thrashing_ns, other.thrashing_ns),
        compaction_ns: with(one.compaction_ns, other.compaction_ns),
        write_copy_ns: with(one.write_copy_ns, other.write_copy_ns),
        irq_ns: with(one.irq_ns, other.irq_ns),
    }
}

impl Model {
    /// Totals of a cgroup that is not known (yet) come again with the next snapshot or change.
    pub(super) fn apply_delays(&mut self, record: &Delays) {
        if self.cgroups.update_delays(record) {
            self.delayed.insert(record.cgroup);
        }
    }

    /// Hands on what cgroups with a container have.
    pub(super) fn place_delays(&mut self) {
        let waiting: HashSet<CgroupKey> = std::mem::take(&mut self.delayed);
        for key in waiting {
            let Some(class) = self.cgroups.get(&key).map(|state| &state.class) else {
                continue;
            };
            match self.owners.container(class) {
                Owner::Container(index) => {
                    let delays = self.cgroups.delays_mut(&key);
                    if let (Some(container), Some(delays)) =
                        (self.containers.get_mut(index), delays)
                    {
                        container.delays.take(key, delays);
                    }
                }
                Owner::NotYet => {
                    self.delayed.insert(key);
                }
                Owner::Nobody | Owner::NoRoom => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(generation: u64, cpu_ns: u64) -> Delays {
        Delays {
            generation,
            totals: DelayTotals {
                cpu_ns,
                block_io_ns: cpu_ns * 2,
                ..DelayTotals::default()
            },
            ..Delays::default()
        }
    }

    #[test]
    fn repeated_records_and_new_generations_add_up_right() {
        let mut cgroup = CgroupDelays::default();
        let mut container = ContainerDelays::default();
        let v1 = CgroupKey {
            hierarchy: 3,
            id: 1,
        };
        for (record, sum) in [
            (record(1, 10), 10),
            (record(1, 10), 10),
            (record(1, 15), 15),
            (record(1, 14), 15),
            (record(2, 4), 19),
        ] {
            cgroup.update(&record);
            container.take(v1, &mut cgroup);
            assert_eq!(container.totals().cpu_ns, sum, "{record:?}");
        }
        // Two generations may pass before a name is found.
        cgroup.update(&record(2, 5));
        cgroup.update(&record(3, 7));
        container.take(v1, &mut cgroup);
        assert_eq!(container.totals().cpu_ns, 27);
        // The v2 cgroup of the same tasks.
        let mut same = CgroupDelays::default();
        same.update(&record(1, 26));
        container.take(CgroupKey::default(), &mut same);
        assert_eq!(container.totals().cpu_ns, 27);
    }
}
