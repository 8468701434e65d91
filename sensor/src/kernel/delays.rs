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

use std::path::{Path, PathBuf};

use nodescope_ebpf::abi;
use nodescope_schema::{Loss, MapFill, Record};

use super::asked::{self, Asked};
use super::bpf::monotonic_ns;
use super::convert;
use super::existing::Existing;
use super::populations::delete_oldest;
use super::probes::{DELAYS, SCAN_DELAYS, TASKSTATS};
use super::switch::Switch;
use super::table::{Batch, Opaque, Table};
use super::verdict::{HookState, lacks};
use super::{LoadOptions, SourceError};
use crate::taskstats::follow::{EXIT_BUFFER_BYTES, Options};
use crate::taskstats::ledger::Limits;
use crate::walks::next_walk_ns;

const REMEDY: &str = "block I/O and memory delays of processes that begin while kernel.task_delayacct is 0; \
                      set it to 1 with sysctl";

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
    switch: Switch,
    scan_after_ns: u64,
    taskstats: Option<Asked>,
}

impl DelayTables {
    pub(super) fn new(
        table: Table<abi::CgroupKey, abi::Delays>,
        threads: Table<Task, Counted>,
        proc_root: &Path,
    ) -> Self {
        Self {
            table,
            threads,
            threads_known: 0,
            switch: Switch::new(proc_root),
            scan_after_ns: 0,
            taskstats: None,
        }
    }

    /// Says in the verdict of the hook what the kernel's settings leave out.
    pub(super) fn judge(&self, hooks: &mut [HookState]) {
        if let Some(hook) = hooks.iter_mut().find(|hook| hook.is(DELAYS)) {
            let missing = match (&self.taskstats, self.switch.is_on()) {
                (Some(asked), accounted) => asked.missing(accounted),
                (None, true) => "",
                (None, false) => REMEDY,
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
        self.taskstats = Asked::start(hook, &taskstats_options(options, v1));
    }

    /// Hears from the process that asks taskstats. True when it has ended, which is then in the verdict.
    pub(super) fn hear(&mut self, hooks: &mut [HookState], now_ns: u64) -> bool {
        let hook = hooks.iter_mut().find(|hook| hook.is(DELAYS));
        let asked = self.taskstats.as_mut();
        asked.is_some_and(|asked| asked.hear(hook, now_ns))
    }

    /// What taskstats could not tell.
    pub(super) fn losses(&self) -> [Loss<'static>; 7] {
        asked::losses(self.taskstats.as_ref())
    }

    /// Looks whether the kernel's setting has changed; true when it has.
    pub(super) fn look_at_switch(&mut self) -> bool {
        self.switch.look()
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
        if let Some(asked) = &self.taskstats {
            asked.poll(self.switch.is_on(), since_ns, emit);
            return Ok(());
        }
        let entries = self.table.for_each(batch, |_, key, delays| {
            if delays.updated_ns >= since_ns {
                emit(&Record::Delays(convert::delays(
                    key,
                    &delays,
                    self.switch.is_on(),
                )));
            }
        })?;
        for (fill, entries) in [
            (self.table.fill(), entries),
            (self.threads.fill(), self.threads_known),
        ] {
            emit(&Record::MapFill(MapFill { entries, ..fill }));
        }
        // One that is needed again is made again, as a later generation.
        delete_oldest(&self.table, batch, entries, |delays| {
            Some(delays.updated_ns)
        })
    }
}

/// For a process that keeps as much as the maps would.
pub(super) fn taskstats_options(options: &LoadOptions, v1: Option<(u32, PathBuf)>) -> Options {
    let [processes, cgroups] = [options.sizes.processes, options.sizes.populations]
        .map(|entries| usize::try_from(entries).unwrap_or(usize::MAX));
    Options {
        proc_root: options.proc_root.clone(),
        cgroup_v2_root: options.cgroup_v2_root.clone(),
        v1,
        limits: Limits { processes, cgroups },
        exit_buffer_bytes: EXIT_BUFFER_BYTES,
    }
}
