//! Where the cgroup hierarchies are mounted: as `/proc/self/mountinfo` says, or below a root that was set.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::host::{HostError, HostRoot};
use crate::mountinfo::{self, Mount};

/// The v2 tree and the v1 hierarchies of the controllers that are read. A hybrid system has both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupMounts {
    pub(super) v2: Option<PathBuf>,
    pub(super) cpu: Option<PathBuf>,
    pub(super) cpuacct: Option<PathBuf>,
    pub(super) memory: Option<PathBuf>,
    pub(super) blkio: Option<PathBuf>,
}

impl CgroupMounts {
    /// Finds the hierarchies. A system without any is not an error: nothing can be read then.
    pub fn discover(host: &HostRoot) -> Result<Self, HostError> {
        match host.cgroup_root() {
            Some(root) => Ok(Self::below(root)),
            None => Ok(Self::from_mountinfo(&host.proc("self/mountinfo").bytes()?)),
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn from_mountinfo(bytes: &[u8]) -> Self {
        let mut mounts = Self::default();
        for mount in mountinfo::parse(bytes).filter(is_whole) {
            let point = Path::new(OsStr::from_bytes(&mount.point));
            match mount.kind {
                b"cgroup2" => keep_first(&mut mounts.v2, point),
                b"cgroup" => mounts.add_v1(mount.options, point),
                _ => {}
            }
        }
        mounts
    }

    fn add_v1(&mut self, options: &[u8], point: &Path) {
        for option in options.split(|byte| *byte == b',') {
            match option {
                b"cpu" => keep_first(&mut self.cpu, point),
                b"cpuacct" => keep_first(&mut self.cpuacct, point),
                b"memory" => keep_first(&mut self.memory, point),
                b"blkio" => keep_first(&mut self.blkio, point),
                _ => {}
            }
        }
    }

    /// The usual places below the usual root of all hierarchies.
    fn below(root: &Path) -> Self {
        if root.join("cgroup.controllers").exists() {
            return Self {
                v2: Some(root.to_owned()),
                ..Self::default()
            };
        }
        let first = |names: &[&str]| {
            names
                .iter()
                .map(|name| root.join(name))
                .find(|path| path.is_dir())
        };
        Self {
            v2: first(&["unified"]),
            cpu: first(&["cpu", "cpu,cpuacct"]),
            cpuacct: first(&["cpuacct", "cpu,cpuacct"]),
            memory: first(&["memory"]),
            blkio: first(&["blkio"]),
        }
    }
}

/// Whether a mount shows its hierarchy from the root on. In a cgroup namespace the host's root is some `/..` above.
/// Others, a container's own cgroup for example, would need other paths than the sensor tells.
fn is_whole(mount: &Mount<'_>) -> bool {
    let root = &*mount.root;
    root == b"/" || (!root.is_empty() && root.chunks(3).all(|part| part == b"/.."))
}

fn keep_first(place: &mut Option<PathBuf>, point: &Path) {
    place.get_or_insert_with(|| point.to_owned());
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::CgroupMounts;
    use crate::host::HostRoot;

    fn path(path: &str) -> Option<PathBuf> {
        Some(path.into())
    }

    #[test]
    fn finds_a_hybrid_layout() {
        let text = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
            42 31 0:32 / /other/memory rw - cgroup cgroup rw,memory\n";
        let wanted = CgroupMounts {
            v2: path("/sys/fs/cgroup/unified"),
            cpu: path("/sys/fs/cgroup/cpu,cpuacct"),
            cpuacct: path("/sys/fs/cgroup/cpu,cpuacct"),
            memory: path("/sys/fs/cgroup/memory"),
            blkio: None,
        };
        assert_eq!(CgroupMounts::from_mountinfo(text), wanted);
    }

    #[test]
    fn a_mount_of_a_part_does_not_count() {
        let text = b"1 0 0:1 /docker/x /a rw - cgroup2 cgroup2 rw\n2 0 0:1 /../.. /b rw - cgroup2 cgroup2 rw\n";
        assert_eq!(CgroupMounts::from_mountinfo(text).v2, path("/b"));
        assert!(
            CgroupMounts::from_mountinfo(b"1 0 0:1 /..x /a rw - cgroup2 cgroup2 rw\n").is_empty()
        );
        assert!(CgroupMounts::from_mountinfo(b"\xff\n\n - ").is_empty());
    }

    #[test]
    fn a_root_that_was_set_has_the_usual_layout() {
        let root = tempfile::tempdir().unwrap();
        let host = HostRoot::default().with_cgroup_root(root.path().to_owned());
        for name in ["cpu,cpuacct", "memory", "unified"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        let hybrid = CgroupMounts::discover(&host).unwrap();
        assert_eq!(hybrid.cpu, Some(root.path().join("cpu,cpuacct")));
        assert_eq!(
            (hybrid.cpuacct, hybrid.v2),
            (hybrid.cpu, Some(root.path().join("unified")))
        );

        std::fs::write(root.path().join("cgroup.controllers"), "").unwrap();
        let wanted = CgroupMounts {
            v2: Some(root.path().to_owned()),
            ..CgroupMounts::default()
        };
        assert_eq!(CgroupMounts::discover(&host).unwrap(), wanted);
    }

    #[test]
    fn reads_the_mount_table_of_the_host() {
        let root = tempfile::tempdir().unwrap();
        let host = HostRoot::new(root.path());
        assert!(CgroupMounts::discover(&host).is_err());
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        std::fs::write(
            root.path().join("proc/self/mountinfo"),
            "1 0 0:1 / /c rw - cgroup2 cgroup2 rw\n",
        )
        .unwrap();
        assert_eq!(CgroupMounts::discover(&host).unwrap().v2, path("/c"));
    }
}
