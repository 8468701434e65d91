//! Mirror of `include/abi.h`: keys and values of the maps, read from bytes without unsafe code.
//!
//! Each type has `BYTES` and `from_bytes`, which is none when the length is not exactly that. Integers are in the
//! byte order of the machine.

mod cgroup;
mod executable;
mod flow;
mod listen;
mod log;
mod loss;
mod process;
mod reader;
mod translation;

pub use cgroup::{CGROUP_PATH_BYTES, Cgroup, CgroupKey};
pub use executable::{EXECUTABLE_NAME_BYTES, EXECUTABLE_PATH_NAMES, Executable, ExecutableName};
pub use flow::{FLOW_DESTINATION, FLOW_OTHER, Flow, FlowKey};
pub use listen::Listen;
pub use log::{HeldLog, LOG_PATH_BYTES};
pub use loss::{LOSS_REASONS, LOSS_STAGES, losses};
pub use process::{Delays, Population, Process};
pub use reader::{Decode, Reader};
pub use translation::{Translation, Tuple};

/// Longest file name of an executable, with its terminating zero.
pub const EXECUTABLE_BYTES: usize = 32;

/// Where a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WorkloadKey {
    /// Inode in the v2 tree.
    pub cgroup_v2: u64,
    /// Inode in the watched v1 hierarchy; 0 where there is none.
    pub cgroup_v1: u64,
}

impl Decode for WorkloadKey {
    const BYTES: usize = 16;

    fn read(r: &mut Reader<'_>) -> Self {
        Self {
            cgroup_v2: r.u64(),
            cgroup_v1: r.u64(),
        }
    }
}

/// A workload and a program in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Owner {
    /// Its cgroups.
    pub workload: WorkloadKey,
    /// File name of the executable, filled up with zeros.
    pub executable: [u8; EXECUTABLE_BYTES],
}

impl Owner {
    /// The name without the zeros.
    pub fn name(&self) -> &[u8] {
        self.executable
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default()
    }
}

impl Decode for Owner {
    const BYTES: usize = 48;

    fn read(r: &mut Reader<'_>) -> Self {
        Self {
            workload: WorkloadKey::read(r),
            executable: r.bytes(),
        }
    }
}

/// What an [`Event`] is about.
pub const EVENT_CGROUP: u32 = 1;
/// What an [`Event`] is about.
pub const EVENT_LISTEN: u32 = 2;

/// A hint that an entry changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// [`EVENT_CGROUP`] or [`EVENT_LISTEN`].
    pub kind: u32,
    /// Hierarchy of the cgroup.
    pub hierarchy: u32,
    /// Cgroup id or socket cookie.
    pub id: u64,
}

impl Decode for Event {
    const BYTES: usize = 16;

    fn read(r: &mut Reader<'_>) -> Self {
        Self {
            kind: r.u32(),
            hierarchy: r.u32(),
            id: r.u64(),
        }
    }
}

/// The controller whose v1 hierarchy the programs watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum V1Controller {
    /// No v1 hierarchy.
    None = 0,
    /// `memory`.
    Memory = 1,
    /// `pids`.
    Pids = 2,
    /// `cpu`.
    Cpu = 3,
    /// `cpuacct`.
    Cpuacct = 4,
    /// `cpuset`.
    Cpuset = 5,
}
