//! Rights of the process, and when it gives them up.
//!
//! [`CAPABILITIES`] is the whole list: what starting needs goes once the kernel side is attached and the socket is
//! bound; what is left serves the stream and the broker. The uid stays: files of runtimes belong to root, and without
//! its capabilities root is just their owner. Not needed then: writing past permissions, making sockets of any
//! network (those for echo requests stay open), other processes' memory or root directories (see [`crate::broker::filesystems`]).

use std::collections::HashSet;

use caps::{CapSet, Capability};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// A capability and how long it is needed.
#[derive(Debug)]
pub struct Need {
    /// Which one.
    pub capability: Capability,
    /// For how long.
    pub phase: Phase,
    /// Who needs it.
    pub why: &'static str,
}

/// When a capability is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// To start, and without it the sensor cannot.
    Start,
    /// To start, in some cases: it is tried without.
    StartOptional,
    /// From the start on, and kept.
    Kept,
}

/// Every capability the sensor uses.
pub const CAPABILITIES: [Need; 11] = [
    need(
        Capability::CAP_BPF,
        Phase::Kept,
        "load programs; before Linux 5.19 also read maps",
    ),
    need(
        Capability::CAP_PERFMON,
        Phase::Start,
        "load tracing programs",
    ),
    need(
        Capability::CAP_NET_ADMIN,
        Phase::Start,
        "attach to the cgroup tree; ask for connection tracking entries; taskstats",
    ),
    need(
        Capability::CAP_DAC_READ_SEARCH,
        Phase::Kept,
        "open files of rootless runtimes and Java virtual machines, programs; reach mount points",
    ),
    need(
        Capability::CAP_SYS_ADMIN,
        Phase::StartOptional,
        "mount cgroup v2 where it is not; enter namespaces for --nat-in-containers",
    ),
    need(
        Capability::CAP_SYS_PTRACE,
        Phase::StartOptional,
        "see the namespaces of process 1",
    ),
    need(
        Capability::CAP_SYS_RESOURCE,
        Phase::StartOptional,
        "locked memory before Linux 5.11",
    ),
    need(
        Capability::CAP_NET_RAW,
        Phase::StartOptional,
        "open the sockets for echo requests",
    ),
    need(
        Capability::CAP_CHOWN,
        Phase::StartOptional,
        "give the socket its group",
    ),
    need(
        Capability::CAP_DAC_OVERRIDE,
        Phase::StartOptional,
        "make the socket as another user",
    ),
    need(
        Capability::CAP_SETPCAP,
        Phase::StartOptional,
        "empty the bounding set",
    ),
];

const fn need(capability: Capability, phase: Phase, why: &'static str) -> Need {
    Need {
        capability,
        phase,
        why,
    }
}

/// Rights are missing or could not be dropped.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The process was started with too few.
    #[error("not permitted: run as root or with these capabilities too: {missing}")]
    Missing {
        /// What is missing.
        missing: String,
    },
    /// The kernel would not say or change the capabilities.
    #[error("cannot read or change capabilities")]
    Capabilities(#[source] caps::errors::CapsError),
    /// A setting of the process could not be made.
    #[error("cannot set {what}")]
    Setting {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: nix::errno::Errno,
    },
}

/// Checks that what starting needs is there.
///
/// # Errors
/// [`PrivilegeError::Missing`] names what is not.
pub fn check() -> Result<(), PrivilegeError> {
    let effective = caps::read(None, CapSet::Effective).map_err(PrivilegeError::Capabilities)?;
    let missing = missing(&effective);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PrivilegeError::Missing { missing })
    }
}

/// Names of the needed capabilities that are not in `effective`, separated by spaces.
fn missing(effective: &HashSet<Capability>) -> String {
    let required = CAPABILITIES
        .iter()
        .filter(|need| need.phase != Phase::StartOptional);
    let missing = required.filter(|need| !effective.contains(&need.capability));
    missing
        .map(|need| need.capability.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Lifts the limit of locked memory, to which maps counted before Linux 5.11. Where this is not allowed, a kernel that
/// needs it says so when a map is made.
pub fn lift_memory_lock_limit() {
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Gives up, for good, all that only starting needs. To be called while there is one thread.
///
/// # Errors
/// Fails when anything is still there afterwards: the sensor must not go on with more than its table says.
pub fn drop_rights() -> Result<(), PrivilegeError> {
    drop_all_but(&kept())
}

/// The same for a process that keeps other rights.
///
/// # Errors
/// As [`drop_rights`].
pub fn drop_all_but(kept: &HashSet<Capability>) -> Result<(), PrivilegeError> {
    empty_bounding_set();
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(PrivilegeError::Capabilities)?;
    }
    let held = caps::read(None, CapSet::Permitted).map_err(PrivilegeError::Capabilities)?;
    let kept: HashSet<Capability> = kept.intersection(&held).copied().collect();
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).map_err(PrivilegeError::Capabilities)?;
    }
    setting("no_new_privs", prctl::set_no_new_privs())?;
    setting("dumpable", prctl::set_dumpable(false))?;
    setting("RLIMIT_CORE", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    let (descriptors, hard) = setting("RLIMIT_NOFILE", getrlimit(Resource::RLIMIT_NOFILE))?;
    let descriptors = descriptors.min(MAX_DESCRIPTORS);
    setting(
        "RLIMIT_NOFILE",
        setrlimit(
            Resource::RLIMIT_NOFILE,
            descriptors,
            hard.min(MAX_DESCRIPTORS),
        ),
    )
}

/// Far more than programs, maps, the queues of the broker and two connections need.
const MAX_DESCRIPTORS: u64 = 2048;

/// What stays after [`drop_rights`], if it was there.
pub fn kept() -> HashSet<Capability> {
    let kept = CAPABILITIES.iter().filter(|need| need.phase == Phase::Kept);
    kept.map(|need| need.capability).collect()
}

/// Without `CAP_SETPCAP` it stays as it is; `no_new_privs` and seccomp's ban of `execve` hold all the same.
fn empty_bounding_set() {
    for capability in caps::all() {
        let _ = caps::drop(None, CapSet::Bounding, capability);
    }
}

fn setting<T>(what: &'static str, result: nix::Result<T>) -> Result<T, PrivilegeError> {
    result.map_err(|source| PrivilegeError::Setting { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_capability_once_with_a_reason() {
        for need in &CAPABILITIES {
            let rows = CAPABILITIES
                .iter()
                .filter(|row| row.capability == need.capability)
                .count();
            assert_eq!(rows, 1, "{}", need.capability);
            assert!(!need.why.is_empty());
        }
    }

    #[test]
    fn names_what_is_missing() {
        let mut held: HashSet<_> = CAPABILITIES.iter().map(|need| need.capability).collect();
        assert_eq!(missing(&held), "");
        held.remove(&Capability::CAP_CHOWN);
        assert_eq!(missing(&held), "");
        held.remove(&Capability::CAP_PERFMON);
        held.remove(&Capability::CAP_BPF);
        assert_eq!(missing(&held), "CAP_BPF CAP_PERFMON");
    }

    #[test]
    fn little_is_kept() {
        let kept = kept();
        assert!(kept.contains(&Capability::CAP_DAC_READ_SEARCH));
        assert!(!kept.contains(&Capability::CAP_SYS_ADMIN));
        assert!(kept.len() <= 3);
    }

    /// Capabilities belong to a thread: this one ends with them.
    #[test]
    fn drops_all_but_what_is_kept() {
        if check().is_err() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            return;
        }
        let thread = std::thread::spawn(|| {
            let before = caps::read(None, CapSet::Effective).unwrap();
            empty_bounding_set();
            caps::set(None, CapSet::Effective, &kept()).unwrap();
            caps::set(None, CapSet::Permitted, &kept()).unwrap();
            let after = caps::read(None, CapSet::Permitted).unwrap();
            (before, after, caps::read(None, CapSet::Bounding).unwrap())
        });
        let (before, after, bounding) = thread.join().unwrap();
        assert!(before.len() > after.len());
        assert_eq!(after, kept());
        assert!(bounding.is_empty(), "{bounding:?}");
    }
}
