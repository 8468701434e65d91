//! Adds up by cgroup what processes waited for. Pure: who calls it has the clock, and says where processes are.
//!
//! What a process waited for since the last look counts for the cgroup it is in now. Of a process that had begun before the
//! first walk, what it waited for until then was another time's. When a process ends, its exit record has what is left.

use std::collections::HashMap;

use super::accounts::Accounts;
use super::message::Exit;
use super::process::Process;
use super::stats::Stats;
use crate::processes::Places;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Processes that are followed. What others waited for is counted when they end.
    pub processes: usize,
    /// Cgroups with totals. Those that changed least recently make room; one that is needed again begins anew.
    pub cgroups: usize,
}

/// What could not be counted, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Times the kernel had no room for exit records.
    pub overruns: u64,
    /// Processes that are gone without an exit record.
    pub missed: u64,
    /// Processes that had ended before it was known where they were.
    pub unplaced: u64,
    /// Exit records, of kernels before 5.19, that may be of a process or of one of its tasks.
    pub unknown: u64,
    /// Processes that found no room, once a walk, and cgroups whose last waits were not told before they made room.
    pub refused: u64,
    /// Waits for block I/O that are longer than there was time for.
    pub impossible: u64,
    /// Messages that could not be read, and questions that were not answered.
    pub failed: u64,
}

impl Losses {
    /// What they are called, in the order of [`Losses::totals`].
    pub const REASONS: [&str; 7] = [
        "overrun",
        "missed",
        "unplaced",
        "unknown",
        "refused",
        "impossible",
        "failed",
    ];

    /// All of them.
    pub fn totals(&self) -> [u64; 7] {
        let Self {
            overruns,
            missed,
            unplaced,
            unknown,
            refused,
            impossible,
            failed,
        } = *self;
        [
            overruns, missed, unplaced, unknown, refused, impossible, failed,
        ]
    }
}

impl From<[u64; 7]> for Losses {
    /// The reverse of [`Losses::totals`].
    fn from(totals: [u64; 7]) -> Self {
        let [
            overruns,
            missed,
            unplaced,
            unknown,
            refused,
            impossible,
            failed,
        ] = totals;
        Self {
            overruns,
            missed,
            unplaced,
            unknown,
            refused,
            impossible,
            failed,
        }
    }
}

/// All processes and cgroups.
#[derive(Debug)]
pub struct Ledger {
    limits: Limits,
    processes: HashMap<u32, Process>,
    /// What was added up.
    pub accounts: Accounts,
    /// Number of the walk that is made or was made last.
    walk: u64,
    /// When the first walk began.
    started_ns: u64,
    /// The first walk is over: what is met from now on began after it.
    is_seeded: bool,
    /// Some that were met in the first walk found no room.
    some_older_unknown: bool,
    walk_began_ns: u64,
    /// When the walk before that began.
    last_walk_ns: u64,
    /// But for what accounts have forgotten.
    pub(super) losses: Losses,
}

impl Ledger {
    /// Before the first walk.
    pub fn new(limits: Limits, v1_hierarchy: u32) -> Self {
        Self {
            limits,
            processes: HashMap::new(),
            accounts: Accounts::new(limits.cgroups, v1_hierarchy),
            walk: 0,
            started_ns: 0,
            is_seeded: false,
            some_older_unknown: false,
            walk_began_ns: 0,
            last_walk_ns: 0,
            losses: Losses::default(),
        }
    }

    /// What was not counted.
    pub fn losses(&self) -> Losses {
        let refused = self.losses.refused + self.accounts.forgotten;
        Losses {
            refused,
            ..self.losses
        }
    }

    /// How many processes are followed.
    pub fn followed(&self) -> usize {
        self.processes.len()
    }

    /// All processes are looked at from now on.
    pub fn begin_walk(&mut self, now_ns: u64) {
        if self.walk == 0 {
            self.started_ns = now_ns;
        }
        self.walk += 1;
        self.last_walk_ns = self.walk_began_ns;
        self.walk_began_ns = now_ns;
    }

    /// A process that lives, or waits to be removed by its parent.
    pub fn living(&mut self, pid: u32, stats: &Stats, now_ns: u64, places: &mut dyn Places) {
        // Of one that waits to be removed there may be nothing left.
        if stats.elapsed_ns == 0 && stats.switches == 0 {
            if let Some(known) = self.processes.get_mut(&pid) {
                known.walk = self.walk;
            }
            return;
        }
        let mut known = match self.processes.get(&pid) {
            Some(known) => *known,
            None if self.processes.len() >= self.limits.processes => {
                self.losses.refused += 1;
                self.some_older_unknown |= !self.is_seeded;
                return;
            }
            None => self.meet(stats, now_ns),
        };
        known.walk = self.walk;
        known.has_ended = false;
        let is_new = known.place.is_none();
        let waited = !stats.waits.since(&known.counted).is_none();
        if is_new || waited {
            known.find(pid, now_ns, places);
        }
        // One that is nowhere has just ended.
        if let Some(place) = known.place {
            let new = known.take_new(pid, stats, now_ns, places, &mut self.losses);
            self.accounts.add(place, &new, now_ns);
        }
        self.processes.insert(pid, known);
    }

    fn meet(&self, stats: &Stats, now_ns: u64) -> Process {
        // The ages of all its tasks are at least its own.
        let since_ns = now_ns.saturating_sub(self.started_ns);
        let may_be_older = self.some_older_unknown && stats.elapsed_ns > since_ns;
        if self.is_seeded && !may_be_older {
            return Process::new(self.last_walk_ns, now_ns);
        }
        Process::older(stats, now_ns)
    }

    /// A task has ended.
    pub fn ended(&mut self, exit: &Exit, now_ns: u64, places: &mut dyn Places) {
        let Some((pid, stats)) = self.ended_process(exit) else {
            return;
        };
        let began_ns = now_ns.saturating_sub(exit.task.elapsed_ns);
        let known = self.processes.get(&pid).copied();
        if known.is_none() && (!self.is_seeded || began_ns < self.started_ns) {
            return;
        }
        self.meet_parent(exit.task.parent, now_ns, places);
        let mut known = known.unwrap_or_else(|| Process::new(began_ns, now_ns));
        if exit.process.is_some() {
            known.tasks_ended = known.tasks_ended.max(1);
        }
        known.find(pid, now_ns, places);
        let new = known.take_new(pid, &stats, now_ns, places, &mut self.losses);
        // A child begins where its parent is.
        let parent = self.processes.get(&exit.task.parent);
        let place = known
            .place
            .or_else(|| parent.and_then(|parent| parent.place));
        match place {
            Some(place) => self.accounts.add(place, &new, now_ns),
            None if new.is_none() => {}
            None => self.losses.unplaced += 1,
        }
        let is_certain = exit.process.is_some() || exit.task.thread_group.is_some();
        if is_certain {
            self.processes.remove(&pid);
        } else if let Some(entry) = self.processes.get_mut(&pid) {
            // Its other tasks may go on: if so, the next walk finds it.
            *entry = Process {
                has_ended: true,
                ..known
            };
        }
    }

    /// The process that ended with this task, and all of it; none when others of it go on.
    fn ended_process(&mut self, exit: &Exit) -> Option<(u32, Stats)> {
        if exit.process.is_some() {
            return exit.process;
        }
        let alone = Some((exit.pid, exit.task));
        match exit.task.thread_group {
            Some(group) if group == exit.pid && exit.task.was_last => alone,
            Some(group) => {
                if let Some(known) = self.processes.get_mut(&group) {
                    known.tasks_ended += 1;
                }
                None
            }
            // Only the task that executes a program is left of its process then.
            None if self.processes.contains_key(&exit.pid) || !exit.task.only_forked => alone,
            None => {
                self.losses.unknown += 1;
                None
            }
        }
    }

    /// Who has had a child that ended may end as soon, and be gone before it is found.
    fn meet_parent(&mut self, parent: u32, now_ns: u64, places: &mut dyn Places) {
        let has_room = self.processes.len() < self.limits.processes;
        if self.processes.contains_key(&parent) || !has_room || self.some_older_unknown {
            return;
        }
        let mut known = Process::new(self.last_walk_ns, now_ns);
        known.find(parent, now_ns, places);
        if known.place.is_some() {
            known.walk = self.walk;
            self.processes.insert(parent, known);
        }
    }

    /// All processes were looked at, and all exit records until now were taken.
    pub fn end_walk(&mut self) {
        let (walk, losses) = (self.walk, &mut self.losses);
        self.processes.retain(|_, known| {
            let is_there = known.walk == walk;
            losses.missed += u64::from(!is_there && !known.has_ended);
            is_there
        });
        self.is_seeded = true;
    }
}

#[cfg(test)]
mod tests;
