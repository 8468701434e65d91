//! Mirror of `include/abi.h`: keys and values of the maps, read from bytes without unsafe code.
//!
//! Each type has `BYTES` and `from_bytes`, which is none when the length is not exactly that. Integers are in the
//! byte order of the machine.

use std::net::Ipv6Addr;

mod reader;
mod translation;
pub use reader::{Decode, Reader};
pub use translation::{Translation, Tuple};

/// Longest file name of an executable, with its terminating zero.
pub const EXECUTABLE_BYTES: usize = 32;
/// Longest path of a cgroup, with its terminating zero.
pub const CGROUP_PATH_BYTES: usize = 512;

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

/// Value of [`FlowKey::kind`]: one remote address and port.
pub const FLOW_DESTINATION: u8 = 0;
/// Value of [`FlowKey::kind`]: all destinations of the owner that found no room.
pub const FLOW_OTHER: u8 = 1;

/// Key of `flows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Who connects.
    pub owner: Owner,
    /// Remote address, IPv4 as v4-mapped.
    pub remote_ip: Ipv6Addr,
    /// Where the connections really go when something translates the destination, else unspecified.
    pub actual_ip: Ipv6Addr,
    /// Remote port.
    pub remote_port: u16,
    /// Port of `actual_ip`, else 0.
    pub actual_port: u16,
    /// [`FLOW_DESTINATION`] or [`FLOW_OTHER`].
    pub kind: u8,
    /// 1 in the network namespace of process 1.
    pub host_netns: u8,
}

impl Decode for FlowKey {
    const BYTES: usize = 88;

    fn read(r: &mut Reader<'_>) -> Self {
        let key = Self {
            owner: Owner::read(r),
            remote_ip: Ipv6Addr::from(r.bytes::<16>()),
            actual_ip: Ipv6Addr::from(r.bytes::<16>()),
            remote_port: r.u16(),
            actual_port: r.u16(),
            kind: r.u8(),
            host_netns: r.u8(),
        };
        r.skip(2);
        key
    }
}

/// Value of `flows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// When the entry was made.
    pub generation_ns: u64,
    /// Connections established.
    pub connects: u64,
    /// Connections that failed.
    pub failures: u64,
    /// Connections established now.
    pub active: i64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Payload sent.
    pub sent_bytes: u64,
    /// Payload received.
    pub received_bytes: u64,
    /// Sum of the times to connect.
    pub connect_time_ns: u64,
    /// When something last changed.
    pub updated_ns: u64,
    /// The last smoothed round trip; 0: none yet.
    pub rtt_ns: u64,
}

impl Decode for Flow {
    const BYTES: usize = 80;

    fn read(r: &mut Reader<'_>) -> Self {
        Self {
            generation_ns: r.u64(),
            connects: r.u64(),
            failures: r.u64(),
            active: r.i64(),
            retransmits: r.u64(),
            sent_bytes: r.u64(),
            received_bytes: r.u64(),
            connect_time_ns: r.u64(),
            updated_ns: r.u64(),
            rtt_ns: r.u64(),
        }
    }
}

/// Value of `listens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// The process that called listen, or the first one found holding an older socket.
    pub maker: Owner,
    /// The holder the last scan preferred.
    pub holder: Owner,
    /// Thread group of the maker.
    pub maker_pid: u32,
    /// Thread group of the holder.
    pub holder_pid: u32,
    /// The scan that found the holder; 0: none yet.
    pub holder_scan: u32,
    /// How the holder relates to the maker; only the programs use it.
    pub holder_rank: u32,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Local port; 0 while it is not known.
    pub port: u16,
    /// 1 when an IPv6 socket takes no IPv4.
    pub ipv6_only: u8,
    /// Local address, IPv4 as v4-mapped.
    pub ip: Ipv6Addr,
}

impl Decode for Listen {
    const BYTES: usize = 136;

    fn read(r: &mut Reader<'_>) -> Self {
        let maker = Owner::read(r);
        let holder = Owner::read(r);
        let (maker_pid, holder_pid) = (r.u32(), r.u32());
        let (holder_scan, holder_rank) = (r.u32(), r.u32());
        let (netns, port, ipv6_only) = (r.u32(), r.u16(), r.u8());
        r.skip(1);
        let ip = Ipv6Addr::from(r.bytes::<16>());
        Self {
            maker,
            holder,
            maker_pid,
            holder_pid,
            holder_scan,
            holder_rank,
            netns,
            port,
            ipv6_only,
            ip,
        }
    }
}

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

/// Key of `cgroups`, `populations` and `delays`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupKey {
    /// Inode of the directory.
    pub id: u64,
    /// 0 is the v2 tree.
    pub hierarchy: u32,
}

impl CgroupKey {
    /// The bytes of the key in the map.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.id.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.hierarchy.to_ne_bytes());
        bytes
    }
}

impl Decode for CgroupKey {
    const BYTES: usize = 16;

    fn read(r: &mut Reader<'_>) -> Self {
        let key = Self {
            id: r.u64(),
            hierarchy: r.u32(),
        };
        r.skip(4);
        key
    }
}

/// Value of `cgroups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cgroup {
    /// When it was made; 0: before the sensor started.
    pub created_ns: u64,
    /// When it was removed; 0: it exists.
    pub removed_ns: u64,
    /// When the entry last changed.
    pub updated_ns: u64,
    path_bytes: u32,
    path: [u8; CGROUP_PATH_BYTES],
}

impl Cgroup {
    /// An entry for a cgroup found at the start; none when the path is too long.
    pub fn existing(path: &[u8], now_ns: u64) -> Option<Self> {
        let mut entry = Self {
            created_ns: 0,
            removed_ns: 0,
            updated_ns: now_ns,
            path_bytes: u32::try_from(path.len()).ok()?,
            path: [0; CGROUP_PATH_BYTES],
        };
        if path.len() >= CGROUP_PATH_BYTES {
            return None;
        }
        entry.path[..path.len()].copy_from_slice(path);
        Some(entry)
    }

    /// Path from the root of the hierarchy.
    pub fn path(&self) -> &[u8] {
        let bytes = usize::try_from(self.path_bytes).unwrap_or(CGROUP_PATH_BYTES);
        &self.path[..bytes.min(CGROUP_PATH_BYTES)]
    }

    /// The bytes of the value in the map.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.created_ns.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.removed_ns.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.updated_ns.to_ne_bytes());
        bytes[24..28].copy_from_slice(&self.path_bytes.to_ne_bytes());
        bytes[32..].copy_from_slice(&self.path);
        bytes
    }
}

impl Decode for Cgroup {
    const BYTES: usize = 544;

    fn read(r: &mut Reader<'_>) -> Self {
        let (created_ns, removed_ns, updated_ns) = (r.u64(), r.u64(), r.u64());
        let path_bytes = r.u32();
        r.skip(4);
        Self {
            created_ns,
            removed_ns,
            updated_ns,
            path_bytes,
            path: r.bytes(),
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

/// Stages of [`losses`], in the order of `enum loss_stage`.
pub const LOSS_STAGES: [&str; 9] = [
    "kernel_flows",
    "kernel_connections",
    "kernel_listens",
    "kernel_processes",
    "kernel_populations",
    "kernel_cgroups",
    "kernel_events",
    "kernel_delays",
    "kernel_translations",
];
/// Reasons of [`losses`], in the order of `enum loss_reason`.
pub const LOSS_REASONS: [&str; 4] = ["full", "refused", "truncated", "unknown"];

/// Stage and reason of each index of the map `losses`, in order.
pub fn losses() -> impl Iterator<Item = (&'static str, &'static str)> {
    LOSS_STAGES
        .into_iter()
        .flat_map(|stage| LOSS_REASONS.into_iter().map(move |reason| (stage, reason)))
}
