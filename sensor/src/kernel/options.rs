//! What to load, how large the maps are, and where on their ladders hooks begin.

use std::path::PathBuf;
use std::time::Duration;

/// Default of [`LoadOptions::cilium_directories`]: the second is for nodes with something else at `/sys/fs/bpf`.
const CILIUM_DIRECTORIES: [&str; 2] = ["/sys/fs/bpf/tc/globals", "/run/cilium/bpffs/tc/globals"];
/// Default of [`LoadOptions::evict_idle`].
const EVICT_IDLE: Duration = Duration::from_secs(600);

/// What to load and where things are.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Root of the cgroup v2 tree.
    pub cgroup_v2_root: PathBuf,
    /// Where `/proc` is mounted.
    pub proc_root: PathBuf,
    /// Inode of the network namespace of process 1.
    pub host_netns: u32,
    /// How large the maps are.
    pub sizes: MapSizes,
    /// How long a flow without a connection must be idle before it may go to make room.
    pub evict_idle: Duration,
    /// Whether translations of destinations count wherever they happen, not only in the namespaces of the host and of
    /// the process that connects.
    pub every_netns: bool,
    /// Whether translations are learnt from ctnetlink events although the programs could see them.
    pub conntrack_events: bool,
    /// Whether delays are asked of taskstats although the programs could read them.
    pub taskstats: bool,
    /// Where on their ladders hooks begin.
    pub rungs: Rungs,
    /// Where Cilium may have pinned its maps.
    pub cilium_directories: Vec<PathBuf>,
}

impl LoadOptions {
    /// The usual ones.
    pub fn new(cgroup_v2_root: PathBuf, host_netns: u32) -> Self {
        let proc_root = PathBuf::from("/proc");
        Self {
            cgroup_v2_root,
            proc_root,
            host_netns,
            sizes: MapSizes::default(),
            evict_idle: EVICT_IDLE,
            every_netns: false,
            conntrack_events: false,
            taskstats: false,
            rungs: Rungs::Best,
            cilium_directories: CILIUM_DIRECTORIES.map(PathBuf::from).to_vec(),
        }
    }
}

/// Entries each kernel map can hold. What happens when one is full is written at the map in `ebpf/include/maps.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapSizes {
    /// Remote addresses times programs.
    pub flows: u32,
    /// Programs with remote addresses that found no room.
    pub other_flows: u32,
    /// Listening sockets.
    pub listens: u32,
    /// Connections of containers that are being established.
    pub translations: u32,
    /// Those of five seconds that were established before an event told of them, while events are followed.
    pub settlements: u32,
    /// Translated connections older than the sensor, while it starts.
    pub older_translations: u32,
    /// Processes, and as many threads that waited.
    pub processes: u32,
    /// Cgroups with processes, and as many with processes that waited.
    pub populations: u32,
    /// Cgroups of both watched hierarchies.
    pub cgroups: u32,
}

impl Default for MapSizes {
    fn default() -> Self {
        Self {
            flows: 65_536,
            other_flows: 4096,
            listens: 16_384,
            translations: 16_384,
            settlements: 65_536,
            older_translations: 262_144,
            processes: 65_536,
            populations: 16_384,
            cgroups: 16_384,
        }
    }
}

/// Which rungs of the ladders are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rungs {
    /// All, the best first.
    #[default]
    Best,
    /// For TCP those for old kernels at once, to try them on a new one.
    LowerTcp,
}
