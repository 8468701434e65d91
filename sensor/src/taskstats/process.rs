//! A process that is followed: what of its waits was counted, where it is, and what it can have waited for. Pure.
//!
//! The kernel gets a wait for block I/O wrong now and then, and then counts from the one before or from the start of the
//! machine (see `ebpf/programs/delays.bpf.h`). A wait that ends now began after the last look but one at which the process
//! had run since the look before. What is longer, and a quarter more, is left out; of a process with several tasks, what is
//! longer than all of them have been.

use nodescope_ebpf::abi::WorkloadKey;

use super::ledger::Losses;
use super::stats::{Stats, Waits};
use crate::processes::Places;

/// A process may be moved by who started it while it is younger than this, in nanoseconds.
const YOUNG_NS: u64 = 10_000_000_000;
/// And is looked for again after this time.
const PLACE_NS: u64 = 10_000_000_000;

/// A process that is followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    pub counted: Waits,
    pub switches: u64,
    /// It had begun by then.
    pub began_ns: u64,
    pub first_seen_ns: u64,
    pub looked_ns: u64,
    /// No wait that ends from now on began before.
    pub may_wait_since_ns: u64,
    pub place: Option<WorkloadKey>,
    pub placed_ns: u64,
    pub tasks_ended: u64,
    /// The last one it was seen in.
    pub walk: u64,
    pub has_ended: bool,
}

impl Process {
    /// One that had begun by `began_ns` and was met now.
    pub(super) fn new(began_ns: u64, now_ns: u64) -> Self {
        Self {
            counted: Waits::default(),
            switches: 0,
            began_ns,
            first_seen_ns: now_ns,
            looked_ns: began_ns,
            may_wait_since_ns: began_ns,
            place: None,
            placed_ns: 0,
            tasks_ended: 0,
            walk: 0,
            has_ended: false,
        }
    }

    /// One that had begun before anybody looked: what it waited for until now was another time's.
    pub(super) fn older(stats: &Stats, now_ns: u64) -> Self {
        Self {
            counted: stats.waits,
            switches: stats.switches,
            ..Self::new(now_ns, now_ns)
        }
    }

    /// Looks where it is, if that may have changed.
    pub(super) fn find(&mut self, pid: u32, now_ns: u64, places: &mut dyn Places) {
        let is_young = now_ns.saturating_sub(self.first_seen_ns) < YOUNG_NS;
        let is_stale = now_ns.saturating_sub(self.placed_ns) > PLACE_NS;
        if self.place.is_some() && !is_young && !is_stale {
            return;
        }
        if let Some(place) = places.of(pid) {
            self.place = Some(place);
            self.placed_ns = now_ns;
        }
    }

    fn is_possible(
        &self,
        block_io_ns: u64,
        pid: u32,
        now_ns: u64,
        places: &mut dyn Places,
    ) -> bool {
        if block_io_ns <= and_a_quarter(now_ns.saturating_sub(self.may_wait_since_ns)) {
            return true;
        }
        let tasks = places.tasks(pid).unwrap_or(1) + self.tasks_ended;
        let age_ns = and_a_quarter(now_ns.saturating_sub(self.began_ns));
        tasks > 1 && block_io_ns <= age_ns.saturating_mul(tasks)
    }

    /// What is new in `stats`, which is counted from now on.
    pub(super) fn take_new(
        &mut self,
        pid: u32,
        stats: &Stats,
        now_ns: u64,
        places: &mut dyn Places,
        losses: &mut Losses,
    ) -> Waits {
        let mut new = stats.waits.since(&self.counted);
        if !self.is_possible(new.block_io_ns(), pid, now_ns, places) {
            losses.impossible += 1;
            new = new.without_block_io();
        }
        // What the kernel moves from a task that ends to its process is there twice for a moment.
        self.counted = self.counted.max(&stats.waits);
        if stats.switches != self.switches {
            self.switches = stats.switches;
            self.may_wait_since_ns = self.looked_ns;
        }
        self.looked_ns = now_ns;
        new
    }
}

fn and_a_quarter(ns: u64) -> u64 {
    ns.saturating_add(ns / 4)
}
