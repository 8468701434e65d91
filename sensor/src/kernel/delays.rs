//! How long the tasks of each cgroup waited: runs the iterator that adds up what the kernel keeps in every task, or has
//! taskstats asked where programs cannot do that, see [`crate::taskstats`].
//!
//! taskstats gives the same numbers of the same fields, but reading the tasks is better for what matters here. A query by
//! thread group leaves out what a task waits for after its exit record was written, exit records are lost when a socket
//! overflows in a fork storm, and both need `CAP_NET_ADMIN` for as long as the sensor runs. The programs in
//! `ebpf/programs/delays.bpf.h` read a task last when the kernel frees it, which no queue is between; and taskstats says
//! nothing at all with `kernel.task_delayacct=0`, while the wait for a CPU is kept all the same.
//!
//! Budget: walking all tasks takes a bounded share of a core, see [`crate::walks`].

use std::fs;
use std::path::{Path, PathBuf};

use nodescope_ebpf::abi;
use nodescope_schema::{Loss, MapFill, Record};

use super::bpf::monotonic_ns;
use super::convert;
use super::existing::Existing;
use super::populations::delete_oldest;
use super::probes::{DELAYS, SCAN_DELAYS, TASKSTATS};
use super::table::{Batch, Opaque, Table};
use super::verdict::{HookState, broke, cannot, lacks, missing};
use super::{LoadOptions, SourceError};
use crate::taskstats::child::Child;
use crate::taskstats::follow::{EXIT_BUFFER_BYTES, Options};
use crate::taskstats::ledger::Limits;
use crate::walks::next_walk_ns;

/// Below `/proc`. Kernels before 5.14 have no such file and account unless their command line forbids it.
const SWITCH: &str = "sys/kernel/task_delayacct";
const REMEDY: &str = "block I/O and memory delays of processes that begin while kernel.task_delayacct is 0; \
                      set it to 1 with sysctl";
/// taskstats has no delays then, not even those for a CPU.
const REMEDY_OF_TASKSTATS: &str =
    "all delays while kernel.task_delayacct is 0; set it to 1 with sysctl";

/// A task, as a map's key.
pub(super) type Task = Opaque<8>;

/// What was counted of a task.
pub(super) type Counted = Opaque<80>;

/// The waits of all cgroups.
#[derive(Debug)]
pub(super) struct DelayTables {
    table: Table<abi::CgroupKey, abi::Delays>,
    threads: Table<Task, Counted>,
    threads_known: u32,
    switch: PathBuf,
    accounted: bool,
    scan_after_ns: u64,
    taskstats: Option<Child>,
    /// What the way to the delays leaves out, whatever the setting is.
    missing: String,
}

impl DelayTables {
    pub(super) fn new(
        table: Table<abi::CgroupKey, abi::Delays>,
        threads: Table<Task, Counted>,
        proc_root: &Path,
    ) -> Self {
        let switch = proc_root.join(SWITCH);
        Self {
            table,
            threads,
            threads_known: 0,
            accounted: is_on(&switch),
            switch,
            scan_after_ns: 0,
            taskstats: None,
            missing: String::new(),
        }
    }

    /// Says in the verdict of the hook what the kernel's settings leave out.
    pub(super) fn judge(&self, hooks: &mut [HookState]) {
        if let Some(hook) = hooks.iter_mut().find(|hook| hook.is(DELAYS)) {
            let missing = match (self.accounted, &self.taskstats) {
                (true, _) => &self.missing,
                (false, None) => REMEDY,
                (false, Some(_)) => REMEDY_OF_TASKSTATS,
            };
            lacks(hook, missing);
        }
    }

    /// Has taskstats asked, if that is what the kernel or a setting left.
    pub(super) fn follow(
        &mut self,
        hooks: &mut [HookState],
        options: &LoadOptions,
        v1: Option<(u32, PathBuf)>,
    ) {
        let is_wanted = |hook: &&mut HookState| hook.is(DELAYS) && hook.record().rung == TASKSTATS;
        let Some(hook) = hooks.iter_mut().find(is_wanted) else {
            return;
        };
        let entries = |table| usize::try_from(table).unwrap_or(usize::MAX);
        let options = Options {
            proc_root: options.proc_root.clone(),
            cgroup_v2_root: options.cgroup_v2_root.clone(),
            v1,
            limits: Limits {
                processes: entries(self.threads.capacity()),
                cgroups: entries(self.table.capacity()),
            },
            exit_buffer_bytes: EXIT_BUFFER_BYTES,
        };
        match Child::start(&options, monotonic_ns) {
            Ok(child) => {
                self.taskstats = Some(child);
                self.missing = missing(hook).to_owned();
            }
            Err(error) if error.is_unsupported() => cannot(hook, &error.to_string()),
            Err(error) => broke(hook, &error.to_string()),
        }
    }

    /// Hears from the process that asks taskstats. True when it has ended, which is then in the verdict.
    pub(super) fn hear(&mut self, hooks: &mut [HookState], now_ns: u64) -> bool {
        let Some(child) = self.taskstats.as_mut().filter(|child| !child.has_ended()) else {
            return false;
        };
        child.hear(now_ns);
        let has_ended = child.has_ended();
        if has_ended {
            for hook in hooks.iter_mut().filter(|hook| hook.is(DELAYS)) {
                broke(hook, "the process that asks taskstats has ended");
            }
        }
        has_ended
    }

    /// What taskstats could not tell.
    pub(super) fn losses(&self) -> [Loss<'static>; 7] {
        let lost = self.taskstats.as_ref().map(Child::losses);
        let lost = lost.unwrap_or_default();
        let loss = |reason, total| Loss {
            stage: "taskstats",
            reason,
            total,
        };
        [
            loss("overrun", lost.overruns),
            loss("missed", lost.missed),
            loss("unplaced", lost.unplaced),
            loss("unknown", lost.unknown),
            loss("refused", lost.refused),
            loss("impossible", lost.impossible),
            loss("failed", lost.failed),
        ]
    }

    /// Looks whether the kernel's setting has changed; true when it has.
    pub(super) fn look_at_switch(&mut self) -> bool {
        let accounted = is_on(&self.switch);
        std::mem::replace(&mut self.accounted, accounted) != accounted
    }

    /// Counts the tasks that are followed.
    pub(super) fn count_threads(&mut self, batch: &mut Batch) -> Result<(), SourceError> {
        self.threads_known = self.threads.for_each(batch, |_, _, _| {})?;
        Ok(())
    }

    /// Walks all tasks, if it is time.
    pub(super) fn scan(&mut self, existing: &Existing) -> Result<(), SourceError> {
        let begun_ns = monotonic_ns();
        if begun_ns < self.scan_after_ns {
            return Ok(());
        }
        let result = existing.run(SCAN_DELAYS);
        let ended_ns = monotonic_ns();
        self.scan_after_ns = next_walk_ns(begun_ns, ended_ns);
        result
    }

    /// Emits what changed since `since_ns`, and makes room. Returns how many cgroups there are.
    pub(super) fn poll(
        &self,
        batch: &mut Batch,
        since_ns: u64,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), SourceError> {
        if let Some(child) = &self.taskstats {
            self.poll_taskstats(child, since_ns, emit);
            return Ok(());
        }
        let entries = self.table.for_each(batch, |_, key, delays| {
            if delays.updated_ns >= since_ns {
                emit(&Record::Delays(convert::delays(
                    key,
                    &delays,
                    self.accounted,
                )));
            }
        })?;
        self.emit_fills(entries, self.threads_known, emit);
        // One that is needed again is made again, as a later generation.
        delete_oldest(&self.table, batch, entries, |delays| {
            Some(delays.updated_ns)
        })
    }

    fn poll_taskstats(&self, child: &Child, since_ns: u64, emit: &mut dyn FnMut(&Record<'_>)) {
        for (key, account) in child.cgroups() {
            if account.updated_ns >= since_ns {
                let delays = convert::account(*key, account, self.accounted);
                emit(&Record::Delays(delays));
            }
        }
        let cgroups = u32::try_from(child.cgroups().len()).unwrap_or(u32::MAX);
        self.emit_fills(cgroups, child.followed(), emit);
    }

    /// The process that asks taskstats keeps as many cgroups and processes as the maps have room for.
    fn emit_fills(&self, cgroups: u32, followed: u32, emit: &mut dyn FnMut(&Record<'_>)) {
        for (fill, entries) in [
            (self.table.fill(), cgroups),
            (self.threads.fill(), followed),
        ] {
            emit(&Record::MapFill(MapFill { entries, ..fill }));
        }
    }
}

fn is_on(switch: &Path) -> bool {
    fs::read(switch).map_or(true, |text| text.trim_ascii() != b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_zero_is_off() {
        let directory = std::env::temp_dir().join(format!("delayacct-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let switch = directory.join("switch");
        for (text, on) in [("0\n", false), ("1\n", true), ("", true)] {
            fs::write(&switch, text).unwrap();
            assert_eq!(is_on(&switch), on, "{text:?}");
        }
        fs::remove_dir_all(&directory).unwrap();
        assert!(is_on(&switch));
    }
}
