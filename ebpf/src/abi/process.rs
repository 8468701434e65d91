//! Processes, the counters of a cgroup's, and how long its tasks waited.

use super::{Decode, Reader, WorkloadKey};

/// Value of `populations`: the processes of a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Population {
    /// When the entry was made.
    pub generation_ns: u64,
    /// Processes alive.
    pub live: i64,
    /// Processes that began here.
    pub started: u64,
    /// Processes that ended here.
    pub ended: u64,
    /// Times a process began after all were gone.
    pub restarts: u64,
    /// Victims of the OOM killer.
    pub oom_kills: u64,
    /// When something last changed.
    pub updated_ns: u64,
}

impl Decode for Population {
    const BYTES: usize = 56;

    fn read(r: &mut Reader<'_>) -> Self {
        Self {
            generation_ns: r.u64(),
            live: r.i64(),
            started: r.u64(),
            ended: r.u64(),
            restarts: r.u64(),
            oom_kills: r.u64(),
            updated_ns: r.u64(),
        }
    }
}

/// Value of `processes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Process {
    /// The cgroups it is counted in.
    pub workload: WorkloadKey,
    /// When its first task began.
    pub start_ns: u64,
}

impl Decode for Process {
    const BYTES: usize = 24;

    fn read(r: &mut Reader<'_>) -> Self {
        Self {
            workload: WorkloadKey::read(r),
            start_ns: r.u64(),
        }
    }
}

/// Value of `delays`: how long the tasks of a cgroup waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delays {
    /// When the entry was made.
    pub generation_ns: u64,
    /// When something last changed.
    pub updated_ns: u64,
    /// For a CPU.
    pub cpu_ns: u64,
    /// For block I/O.
    pub block_io_ns: u64,
    /// For pages that were swapped out.
    pub swap_in_ns: u64,
    /// For free pages.
    pub reclaim_ns: u64,
    /// For pages that had just left the page cache.
    pub thrashing_ns: u64,
    /// For memory compaction.
    pub compaction_ns: u64,
    /// For copies of pages at the first write.
    pub write_copy_ns: u64,
    /// While the CPU served interrupts.
    pub irq_ns: u64,
}

impl Decode for Delays {
    const BYTES: usize = 80;

    /// The fields are in the order of `enum delay_kind`.
    fn read(r: &mut Reader<'_>) -> Self {
        Self {
            generation_ns: r.u64(),
            updated_ns: r.u64(),
            cpu_ns: r.u64(),
            block_io_ns: r.u64(),
            swap_in_ns: r.u64(),
            reclaim_ns: r.u64(),
            thrashing_ns: r.u64(),
            compaction_ns: r.u64(),
            write_copy_ns: r.u64(),
            irq_ns: r.u64(),
        }
    }
}
