//! nodescope's BPF object and the Rust mirror of what its maps hold.
//!
//! The C sources are in `programs/` and `include/`; `build.rs` compiles them into [`OBJECT`]. `include/abi.h` is the
//! contract between the two sides, [`abi`] its mirror, and `tests/layout.rs` the proof that they agree. Nothing here
//! makes a system call.
#![forbid(unsafe_code)]

pub mod abi;

/// Bytes at an address fit for ELF headers.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static ALIGNED_OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/sensor.bpf.o")));

/// The BPF object, an ELF file aligned to 8 bytes.
pub static OBJECT: &[u8] = &ALIGNED_OBJECT.0;

/// Names of the maps the sensor reads or writes.
pub mod maps {
    /// [`FlowKey`](crate::abi::FlowKey) to [`Flow`](crate::abi::Flow).
    pub const FLOWS: &str = "flows";
    /// The same for each owner's destinations that found no room in [`FLOWS`].
    pub const OTHER_FLOWS: &str = "other_flows";
    /// Socket cookie to [`Listen`](crate::abi::Listen).
    pub const LISTENS: &str = "listens";
    /// [`Tuple`](crate::abi::Tuple) to [`Translation`](crate::abi::Translation): connections under way.
    pub const TRANSLATIONS: &str = "translations";
    /// The same for connections older than the sensor; filled while it starts.
    pub const OLDER_TRANSLATIONS: &str = "older_translations";
    /// The same for those that events of netlink tell of, or that were established before.
    pub const SETTLEMENTS: &str = "settlements";
    /// Whether events of netlink are followed, so that [`SETTLEMENTS`] decides.
    pub const FOLLOWS_EVENTS: &str = "follows_events";
    /// Of one entry: Cilium's map of IPv4 connections.
    pub const CILIUM_CT4: &str = "cilium_ct4";
    /// The same of IPv6 connections.
    pub const CILIUM_CT6: &str = "cilium_ct6";
    /// The same of IPv4 backends.
    pub const CILIUM_BACKENDS4: &str = "cilium_backends4";
    /// The same of IPv6 backends.
    pub const CILIUM_BACKENDS6: &str = "cilium_backends6";
    /// Ports somebody listens on; filled while the sensor starts.
    pub const LISTEN_PORTS: &str = "listen_ports";
    /// Thread group id to the cgroups it is counted in.
    pub const PROCESSES: &str = "processes";
    /// [`CgroupKey`](crate::abi::CgroupKey) to [`Population`](crate::abi::Population).
    pub const POPULATIONS: &str = "populations";
    /// [`CgroupKey`](crate::abi::CgroupKey) to [`Delays`](crate::abi::Delays).
    pub const DELAYS: &str = "delays";
    /// Address of a task to what was counted of its delays.
    pub const THREADS: &str = "threads";
    /// [`CgroupKey`](crate::abi::CgroupKey) to [`Cgroup`](crate::abi::Cgroup).
    pub const CGROUPS: &str = "cgroups";
    /// Index of [`losses`](crate::abi::losses) to a counter per CPU.
    pub const LOSSES: &str = "losses";
    /// Files that were looked at; filled while open files are walked.
    pub const LOG_CANDIDATES: &str = "log_candidates";
    /// Executables whose path was printed; filled while tasks are walked.
    pub const EXECUTABLES: &str = "executables";
    /// The number of the running scan.
    pub const SCAN: &str = "scan";
    /// Ring buffer of [`Event`](crate::abi::Event).
    pub const EVENTS: &str = "events";
}

/// Names of the constants the sensor sets before it loads the programs.
pub mod globals {
    /// `u32`: inode of the network namespace of process 1.
    pub const HOST_NETNS: &str = "host_netns";
    /// `u32`: nonzero when translations in any network namespace count, not only in the host's and the socket's own.
    pub const EVERY_NETNS: &str = "every_netns";
    /// `u64`: monotonic time before which a task is older than the sensor.
    pub const STARTED_NS: &str = "started_ns";
    /// `u32`: number of the watched cgroup v1 hierarchy.
    pub const V1_HIERARCHY: &str = "v1_hierarchy";
    /// `u32`: [`V1Controller`](crate::abi::V1Controller).
    pub const V1_CONTROLLER: &str = "v1_controller";
}
