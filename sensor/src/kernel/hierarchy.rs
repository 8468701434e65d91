//! Which cgroup v1 hierarchy to watch beside the v2 tree, from `/proc/self/cgroup`, and where it is mounted, from
//! `/proc/self/mountinfo` (proc(5)). Containers of older setups differ in v1 hierarchies only.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nodescope_ebpf::abi::V1Controller;

use crate::host::unescape;

/// In order of preference: what container runtimes are sure to use first.
const CONTROLLERS: [(&str, V1Controller); 5] = [
    ("memory", V1Controller::Memory),
    ("pids", V1Controller::Pids),
    ("cpu", V1Controller::Cpu),
    ("cpuacct", V1Controller::Cpuacct),
    ("cpuset", V1Controller::Cpuset),
];

/// A v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Its number.
    pub number: u32,
    /// Its controllers as in `/proc/PID/cgroup`.
    pub controllers: String,
    /// The one by which the programs find it.
    pub controller: V1Controller,
    /// That controller's name.
    pub controller_name: &'static str,
}

impl Hierarchy {
    /// The one to watch; none where there is only the v2 tree. From the sensor's own line in `/proc`, whose first fields
    /// are the same for every process.
    pub(super) fn watched(proc_root: &Path) -> Option<Self> {
        choose(&fs::read_to_string(proc_root.join("self/cgroup")).ok()?)
    }

    /// Where it is mounted.
    pub(super) fn root(&self, proc_root: &Path) -> Option<PathBuf> {
        let mountinfo = fs::read(proc_root.join("self/mountinfo")).ok()?;
        mount_point(&mountinfo, self.controller_name)
    }
}

/// The hierarchy of the first of [`CONTROLLERS`] that has one, from the text of a `/proc/PID/cgroup`.
fn choose(proc_cgroup: &str) -> Option<Hierarchy> {
    CONTROLLERS.iter().find_map(|(name, controller)| {
        proc_cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let number = fields.next()?.parse().ok().filter(|number| *number != 0)?;
            let controllers = fields.next()?;
            controllers
                .split(',')
                .any(|c| c == *name)
                .then(|| Hierarchy {
                    number,
                    controllers: controllers.to_owned(),
                    controller: *controller,
                    controller_name: name,
                })
        })
    })
}

/// Where the root of the hierarchy of `controller` is mounted, from the bytes of a `mountinfo`.
fn mount_point(mountinfo: &[u8], controller: &str) -> Option<PathBuf> {
    mountinfo.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        // Optional fields end with a dash.
        let dash = fields.iter().position(|field| *field == b"-")?;
        let (root, point) = (fields.get(3)?, fields.get(4)?);
        let (kind, options) = (fields.get(dash + 1)?, fields.get(dash + 3)?);
        let has_controller = options
            .split(|byte| *byte == b',')
            .any(|option| option == controller.as_bytes());
        (*root == b"/" && *kind == b"cgroup" && has_controller)
            .then(|| PathBuf::from(OsStr::from_bytes(&unescape(point))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_before_all_others() {
        let chosen =
            choose("12:pids:/\n4:memory:/docker/x\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n")
                .expect("one");
        assert_eq!((chosen.number, chosen.controllers.as_str()), (4, "memory"));
        assert_eq!(chosen.controller, V1Controller::Memory);
    }

    #[test]
    fn a_shared_hierarchy_keeps_its_name() {
        let chosen = choose("3:cpu,cpuacct:/\n0::/\n").expect("one");
        assert_eq!(
            (chosen.number, chosen.controllers.as_str()),
            (3, "cpu,cpuacct")
        );
    }

    #[test]
    fn a_pure_v2_system_has_none() {
        assert_eq!(choose("0::/init.scope\n"), None);
        assert_eq!(choose("1:name=systemd:/\n0::/memory\n"), None);
        assert_eq!(choose("memory\nx:memory:/\n:::\n"), None);
    }

    #[test]
    fn finds_the_mount_by_its_controller() {
        let mountinfo = b"25 20 0:22 / /proc rw - proc proc rw\n\
            30 29 0:26 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n\
            31 29 0:27 /docker/x /other rw - cgroup cgroup rw,memory\n\
            32 29 0:27 / /sys/fs/cg\\040roup/memory rw shared:10 master:1 - cgroup cgroup rw,memory\n\
            33 29 0:28";
        assert_eq!(
            mount_point(mountinfo, "memory"),
            Some(PathBuf::from("/sys/fs/cg roup/memory"))
        );
        assert_eq!(mount_point(mountinfo, "pids"), None);
    }
}
