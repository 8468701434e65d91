//! Resources of a cgroup, read from its files in cgroup v1, v2 and hybrid systems.
//!
//! [`CgroupMounts`] says where the hierarchies are. For each controller the v1 directory counts if there is one, else the v2
//! directory. The sensor tells a cgroup's path in the v2 tree and in one v1 hierarchy; runtimes and systemd use the same path
//! in every v1 hierarchy they use at all, so that path is taken for the other controllers too, where it exists. (The paths in
//! `/proc/PID/cgroup` would be another way, but need a process that is still alive.)
//!
//! A file that is missing, unreadable or malformed costs its own value. The root cgroup and `/init.scope` have none: a
//! process left there by a controller nobody uses must not be charged with the whole machine.

mod io;
mod mounts;
mod v1;
mod v2;
mod values;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::host::HostFile;

pub use self::io::IoTotals;
pub use self::mounts::CgroupMounts;

/// What a cgroup may use and has used. What is not known is absent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Resources {
    /// CPU limit, if there is one.
    pub cpu_limit_cores: Option<f64>,
    /// CPU time used.
    pub cpu_usage_seconds: Option<f64>,
    /// Time the CPU limit kept it from running.
    pub cpu_throttled_seconds: Option<f64>,
    /// Memory limit, if there is one.
    pub memory_limit_bytes: Option<u64>,
    /// Anonymous memory and mapped files.
    pub memory_rss_bytes: Option<u64>,
    /// Page cache.
    pub memory_cache_bytes: Option<u64>,
    /// Time spent waiting for a CPU.
    pub cpu_pressure: Option<Pressure>,
    /// Time spent waiting for memory.
    pub memory_pressure: Option<Pressure>,
    /// Time spent waiting for block I/O.
    pub io_pressure: Option<Pressure>,
}

/// Totals of pressure stall information. Only cgroup v2 has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    /// Time at least one task waited.
    pub some_seconds: f64,
    /// Time all tasks waited at once. Linux before 5.13 does not tell it for the CPU.
    pub full_seconds: Option<f64>,
}

impl Resources {
    /// What is still true of a cgroup that is gone: what it has used, not what it uses or may use.
    #[must_use]
    pub fn without_gauges(self) -> Self {
        Self {
            cpu_limit_cores: None,
            memory_limit_bytes: None,
            memory_rss_bytes: None,
            memory_cache_bytes: None,
            ..self
        }
    }
}

impl CgroupMounts {
    /// Reads the files of the cgroup with this path in the v2 tree and this one in the watched v1 hierarchy. It blocks.
    pub fn read_resources(&self, v2_path: Option<&[u8]>, v1_path: Option<&[u8]>) -> Resources {
        let v2 = directory(self.v2.as_deref(), v2_path);
        let v1 = |mount: &Option<PathBuf>| directory(mount.as_deref(), v1_path);
        let mut resources = Resources::default();
        match (v1(&self.cpu), &v2) {
            (Some(directory), _) => v1::read_cpu(&directory, &mut resources),
            (None, Some(directory)) => v2::read_cpu(directory, &mut resources),
            (None, None) => {}
        }
        match (v1(&self.cpuacct), &v2) {
            (Some(directory), _) => v1::read_cpu_usage(&directory, &mut resources),
            (None, Some(directory)) => v2::read_cpu_usage(directory, &mut resources),
            (None, None) => {}
        }
        match (v1(&self.memory), &v2) {
            (Some(directory), _) => v1::read_memory(&directory, &mut resources),
            (None, Some(directory)) => v2::read_memory(directory, &mut resources),
            (None, None) => {}
        }
        if let Some(directory) = &v2 {
            v2::read_pressure(directory, &mut resources);
        }
        resources
    }

    /// Processes that are directly in a cgroup of the v2 tree or else of a v1 hierarchy. It blocks.
    pub fn processes(&self, of_v2: bool, path: &[u8]) -> Vec<u32> {
        let mounts = if of_v2 {
            [&self.v2, &None]
        } else {
            [&self.memory, &self.cpu]
        };
        let mut directories = mounts
            .into_iter()
            .filter_map(|mount| directory(mount.as_deref(), Some(path)));
        let procs = directories.find_map(|directory| text(&directory, "cgroup.procs"));
        procs
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect()
    }
}

/// The directory of a cgroup, if it exists and may be charged.
fn directory(mount: Option<&Path>, cgroup: Option<&[u8]>) -> Option<PathBuf> {
    let cgroup = Path::new(OsStr::from_bytes(cgroup?))
        .strip_prefix("/")
        .ok()?;
    let below = cgroup
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    let nobodys = cgroup.as_os_str().is_empty() || cgroup == Path::new("init.scope");
    let directory = mount?.join(cgroup);
    (below && !nobodys && directory.is_dir()).then_some(directory)
}

/// The text of a cgroup's file, if it can be read.
fn text(directory: &Path, file: &str) -> Option<String> {
    HostFile::new(directory.join(file)).text().ok()
}

#[cfg(test)]
mod tests;
