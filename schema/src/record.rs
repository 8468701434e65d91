//! What the sensor tells: one [`Record`] a fact, always the whole truth about its subject.
//!
//! Counters are totals since the kernel object they count was made, never differences, so that losing or repeating a
//! packet changes nothing once the next one arrives. `generation` tells a kernel object from a later one with the same
//! key: when it differs from what the reader knows, the totals begin again from zero.
//!
//! Bytes that come from the kernel or a container (paths, executable names) are `&[u8]`: they need not be UTF-8.

use std::net::Ipv6Addr;

/// A cgroup by its hierarchy and inode. Inode numbers repeat across hierarchies, so neither is enough alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CgroupKey {
    /// 0 is the cgroup v2 tree, others as in the first field of `/proc/PID/cgroup`.
    pub hierarchy: u32,
    /// The inode number of the cgroup's directory.
    pub id: u64,
}

/// Where a process runs: its cgroup in the v2 tree and in the one v1 hierarchy the sensor watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Workload {
    /// Inode in the v2 tree.
    pub cgroup_v2: u64,
    /// Inode in the watched v1 hierarchy ([`SensorHello::v1_hierarchy`](crate::SensorHello::v1_hierarchy)); 0 where
    /// there is none.
    pub cgroup_v1: u64,
}

/// Who did it: a workload and, within it, the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Owner<'a> {
    /// The cgroups of the process at the time.
    pub workload: Workload,
    /// File name of the executable without its directories, at most 31 bytes.
    pub executable: &'a [u8],
}

/// A cgroup that exists, or existed while something still counted refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cgroup<'a> {
    /// Which one.
    pub key: CgroupKey,
    /// Path from the root of its hierarchy, beginning with `/`.
    pub path: &'a [u8],
    /// Monotonic time the sensor first saw it; 0 when it is older than the sensor.
    pub created_ns: u64,
    /// Monotonic time it was removed; 0 while it exists.
    pub removed_ns: u64,
}

/// Processes of one cgroup, without those of its children. A process is a thread group.
///
/// A process counts in its v2 cgroup and, where one is watched, in its v1 cgroup: two subjects, each with its own
/// totals. One key for both would see a restart whenever a runtime moves a process into a container's hierarchies one
/// after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Processes {
    /// Whose processes.
    pub cgroup: CgroupKey,
    /// Monotonic time the kernel began to count for this key.
    pub generation: u64,
    /// Processes alive now.
    pub live: u32,
    /// Processes that began here (forked, or moved in), those found at the sensor's start included.
    pub started: u64,
    /// Processes that ended here or moved away.
    pub ended: u64,
    /// Times a process began after all earlier ones were gone.
    pub restarts: u64,
    /// Victims of the kernel's OOM killer.
    pub oom_kills: u64,
}

/// How long the tasks of one cgroup, without those of its children, have waited for what they needed to go on.
///
/// As with [`Processes`], a task counts in its v2 cgroup and in its watched v1 cgroup. Threads that ended are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delays {
    /// Whose tasks.
    pub cgroup: CgroupKey,
    /// Monotonic time the kernel began to count for this key.
    pub generation: u64,
    /// The kernel accounts for all waits of tasks that begin now; without this, only `totals.cpu_ns` tells anything.
    pub accounted: bool,
    /// What they waited for while the sensor watched.
    pub totals: DelayTotals,
}

/// Waits of tasks, summed over all of them. 0 also where the kernel has no such number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DelayTotals {
    /// Runnable, for a CPU.
    pub cpu_ns: u64,
    /// For block I/O.
    pub block_io_ns: u64,
    /// For pages that were swapped out.
    pub swap_in_ns: u64,
    /// For free pages, by reclaiming some.
    pub reclaim_ns: u64,
    /// For pages that were in the page cache a short time ago.
    pub thrashing_ns: u64,
    /// For memory to be compacted.
    pub compaction_ns: u64,
    /// For the copy of a page at the first write to it.
    pub write_copy_ns: u64,
    /// While their CPU served interrupts.
    pub irq_ns: u64,
}

/// What one program of one workload did with one remote address: outbound TCP only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow<'a> {
    /// Which flow.
    pub key: FlowKey<'a>,
    /// Monotonic time the kernel began to count for this key.
    pub generation: u64,
    /// Its counters.
    pub totals: FlowTotals,
}

/// Identity of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey<'a> {
    /// Who connects.
    pub owner: Owner<'a>,
    /// Remote address; IPv4 as v4-mapped. Unspecified with [`FlowKind::Other`].
    pub remote_ip: Ipv6Addr,
    /// Remote port; 0 with [`FlowKind::Other`].
    pub remote_port: u16,
    /// Where established connections really go when something on this node translates their destination, for example
    /// one of the servers behind a service's address; IPv4 as v4-mapped. Unspecified when it is the remote address.
    pub actual_ip: Ipv6Addr,
    /// Port of `actual_ip`; 0 when the destination is not translated.
    pub actual_port: u16,
    /// True when the process was in the network namespace of process 1.
    pub host_netns: bool,
    /// Whether it has a destination.
    pub kind: FlowKind,
}

/// Whether a flow is one destination or the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FlowKind {
    /// One remote address and port.
    #[default]
    Destination,
    /// Everything of this owner for which the kernel's table had no room.
    Other,
}

/// Counters of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FlowTotals {
    /// Connections that reached ESTABLISHED while the sensor watched.
    pub connects: u64,
    /// Connection attempts that ended in CLOSE without being established.
    pub failures: u64,
    /// Connections established now: a gauge.
    pub active: u32,
    /// Segments sent again.
    pub retransmits: u64,
    /// Payload bytes sent, each once however often it was retransmitted.
    pub sent_bytes: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
    /// Sum over `connects` of the time from SYN_SENT to ESTABLISHED.
    pub connect_time_ns: u64,
    /// Monotonic time of the last change.
    pub updated_ns: u64,
    /// The smoothed round trip of the connection that last had a new one: a gauge; 0 while there is none.
    pub rtt_ns: u64,
}

/// A TCP socket that listens, or the news that it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen<'a> {
    /// Socket cookie: unique for the life of the kernel.
    pub cookie: u64,
    /// The process that uses it: a holder that did not make it, if there is one, else the maker.
    pub owner: Owner<'a>,
    /// A process that holds it, for reading its namespace's addresses. It may be gone.
    pub pid: u32,
    /// Inode of its network namespace.
    pub netns: u32,
    /// Local address; IPv4 as v4-mapped, unspecified IPv4 as `::ffff:0.0.0.0`.
    pub ip: Ipv6Addr,
    /// Local port.
    pub port: u16,
    /// An unspecified IPv6 address that does not take IPv4.
    pub ipv6_only: bool,
    /// False: it stopped listening.
    pub open: bool,
}

/// Echo requests to one address and their answers, since it became a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// The address; IPv4 as v4-mapped.
    pub ip: Ipv6Addr,
    /// Monotonic time it became a target: the totals began then.
    pub generation: u64,
    /// Requests sent.
    pub sent: u64,
    /// Requests answered in time, each once.
    pub answered: u64,
    /// Requests that were not. The last request of all may be neither yet.
    pub lost: u64,
    /// The round trip of the last answer: a gauge; 0 while there is none.
    pub rtt_ns: u64,
    /// Monotonic time the last answer was taken in; 0 while there is none.
    pub answered_ns: u64,
}

/// A file below `/var/log` that processes of a workload hold open to write to it, or the news that they no longer do.
///
/// A log is known by the path its first file had. When that is renamed and the log is begun anew under the old path, both
/// files are of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLog<'a> {
    /// The log, for [`FileKind::HeldLog`](crate::FileKind::HeldLog): unique among all runs of the sensor since the node
    /// was booted.
    pub number: u64,
    /// Whose it is.
    pub workload: Workload,
    /// Its path in the mount namespace of the process.
    pub path: &'a [u8],
    /// The file.
    pub inode: u64,
    /// False: nobody holds the file any more.
    pub open: bool,
}

/// Where something can be lost, for [`Loss`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss<'a> {
    /// The stage, for example `kernel_flows` or `stream`.
    pub stage: &'a str,
    /// The reason, for example `map_full`.
    pub reason: &'a str,
    /// How many since the sensor's start.
    pub total: u64,
}

/// How well a hook works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verdict {
    /// The first rung of its ladder works.
    #[default]
    Ok,
    /// A lower rung works; the detail says what is missing.
    Degraded,
    /// This kernel cannot do it.
    Unsupported,
    /// It should work and does not.
    Failed,
}

impl Verdict {
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Degraded, Self::Unsupported, Self::Failed];

    /// The word shown to users and used as a label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
        }
    }
}

/// The state of one hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook<'a> {
    /// What it is for, for example `tcp_state`.
    pub name: &'a str,
    /// The rung in use, for example `tp_btf/inet_sock_set_state`; empty when none is.
    pub rung: &'a str,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one line; empty when all is well.
    pub detail: &'a str,
}

/// How full a kernel map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapFill<'a> {
    /// Name of the map.
    pub name: &'a str,
    /// Entries in it.
    pub entries: u32,
    /// Entries it can hold.
    pub capacity: u32,
}

/// The sensor about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SensorStatus {
    /// Resident memory.
    pub resident_bytes: u64,
    /// CPU time used, user and system.
    pub cpu_ns: u64,
    /// Records sent to this client and earlier ones.
    pub records_sent: u64,
    /// Requests answered with success.
    pub requests_granted: u64,
    /// Requests refused.
    pub requests_refused: u64,
    /// Requests that wait for the broker's answer now: a gauge.
    pub requests_waiting: u32,
}

/// One fact from the sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// All the sensor knows follows, until [`Record::SnapshotEnd`]. What is not in it is gone.
    SnapshotBegin,
    /// The end of a snapshot.
    SnapshotEnd,
    /// A cgroup.
    Cgroup(Cgroup<'a>),
    /// Processes of a cgroup.
    Processes(Processes),
    /// A flow.
    Flow(Flow<'a>),
    /// This flow left the kernel's table, to make room; its last totals were told before. If it does something again, it
    /// begins again at 0, as a later generation.
    FlowEvicted(FlowKey<'a>),
    /// A listening socket.
    Listen(Listen<'a>),
    /// Something was lost.
    Loss(Loss<'a>),
    /// A hook.
    Hook(Hook<'a>),
    /// A kernel map.
    MapFill(MapFill<'a>),
    /// The sensor itself.
    Status(SensorStatus),
    /// Waits of the tasks of a cgroup.
    Delays(Delays),
    /// Echo requests to one address.
    Ping(Ping),
    /// A file of a log that processes hold open.
    HeldLog(HeldLog<'a>),
}
