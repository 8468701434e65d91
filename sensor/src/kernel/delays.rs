//! How long the tasks of each cgroup waited: runs the iterator that adds up what the kernel keeps in every task.
//!
//! taskstats would give the same numbers of the same fields, but this way is better for what matters here. A query by
//! thread group leaves out what a task waits for after its exit record was written, exit records are lost when a socket
//! overflows in a fork storm, and both need `CAP_NET_ADMIN` for as long as the sensor runs. The programs in
//! `ebpf/programs/delays.bpf.h` read a task last when the kernel frees it, which no queue is between; and taskstats says
//! nothing at all with `kernel.task_delayacct=0`, while the wait for a CPU is kept all the same.
//!
//! Budget: walking all tasks takes at most [`SCAN_SHARE`] of a core, because the next walk waits that much longer.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nodescope_ebpf::abi;
use nodescope_schema::{MapFill, Record};

use super::SourceError;
use super::convert;
use super::existing::Existing;
use super::populations::delete_oldest;
use super::probes::{DELAYS, SCAN_DELAYS};
use super::table::{Batch, Opaque, Table};
use super::verdict::{HookState, lacks};

/// Least time between two walks.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);
/// A walk may take one part in this many of a core.
const SCAN_SHARE: u64 = 200;
/// Below `/proc`. Kernels before 5.14 have no such file and account unless their command line forbids it.
const SWITCH: &str = "sys/kernel/task_delayacct";
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
    switch: PathBuf,
    accounted: bool,
    scan_after_ns: u64,
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
        }
    }

    /// Says in the verdict of the hook what the kernel's settings leave out.
    pub(super) fn judge(&self, hooks: &mut [HookState]) {
        if let Some(hook) = hooks.iter_mut().find(|hook| hook.is(DELAYS)) {
            lacks(hook, if self.accounted { "" } else { REMEDY });
        }
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
    pub(super) fn scan(
        &mut self,
        existing: &Existing,
        clock_ns: fn() -> u64,
    ) -> Result<(), SourceError> {
        let begun_ns = clock_ns();
        if begun_ns < self.scan_after_ns {
            return Ok(());
        }
        let result = existing.run(SCAN_DELAYS);
        let ended_ns = clock_ns();
        self.scan_after_ns = next_scan_ns(begun_ns, ended_ns);
        result
    }

    /// Emits what changed since `since_ns`, and makes room. Returns how many cgroups there are.
    pub(super) fn poll(
        &self,
        batch: &mut Batch,
        since_ns: u64,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), SourceError> {
        let entries = self.table.for_each(batch, |_, key, delays| {
            if delays.updated_ns >= since_ns {
                emit(&Record::Delays(convert::delays(
                    key,
                    &delays,
                    self.accounted,
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

/// When to walk again after a walk that took this long.
fn next_scan_ns(begun_ns: u64, ended_ns: u64) -> u64 {
    let interval_ns = u64::try_from(SCAN_INTERVAL.as_nanos()).unwrap_or(u64::MAX);
    let pause_ns = ended_ns.saturating_sub(begun_ns).saturating_mul(SCAN_SHARE);
    begun_ns.saturating_add(interval_ns.max(pause_ns))
}

fn is_on(switch: &Path) -> bool {
    fs::read(switch).map_or(true, |text| text.trim_ascii() != b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_long_walk_is_followed_by_a_longer_pause() {
        assert_eq!(next_scan_ns(5 * SECOND, 5 * SECOND + 1000), 7 * SECOND);
        let ended = 5 * SECOND + SECOND / 10;
        assert_eq!(next_scan_ns(5 * SECOND, ended), 25 * SECOND);
        assert_eq!(next_scan_ns(u64::MAX - 1, u64::MAX), u64::MAX);
        assert_eq!(next_scan_ns(2, 1), 2 + 2 * SECOND);
    }

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
