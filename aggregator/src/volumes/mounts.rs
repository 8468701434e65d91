//! Which mounts of a mount namespace are volumes. Pure; the bytes are chosen by whoever may mount there.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nodescope_schema::StatFilesystem as Device;

use crate::mountinfo::{self, Mount};

/// What is in memory or stands for something in the kernel; nothing of it is on a disk.
const NO_VOLUMES: [&[u8]; 28] = [
    b"autofs",
    b"binfmt_misc",
    b"bpf",
    b"cgroup",
    b"cgroup2",
    b"configfs",
    b"debugfs",
    b"devpts",
    b"devtmpfs",
    b"efivarfs",
    b"fuse.gvfsd-fuse",
    b"fuse.lxcfs",
    b"fuse.portal",
    b"fusectl",
    b"hugetlbfs",
    b"mqueue",
    b"nfsd",
    b"nsfs",
    b"proc",
    b"pstore",
    b"ramfs",
    b"rpc_pipefs",
    b"securityfs",
    b"selinuxfs",
    b"smackfs",
    b"sysfs",
    b"tmpfs",
    b"tracefs",
];

/// Single files that every runtime mounts, and which are on the node's own disk.
const RUNTIME_FILES: [&[u8]; 4] = [
    b"/etc/hostname",
    b"/etc/hosts",
    b"/etc/resolv.conf",
    b"/run/.containerenv",
];

/// A writable mount of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeMount {
    /// Where it is, in the container.
    pub point: Vec<u8>,
    /// Directory of the file system that is mounted.
    pub root: Vec<u8>,
    /// Device number of the file system.
    pub device: Device,
    /// Name of the block device it is on below `/dev`, where only its source tells that: plain, or `mapper/NAME`.
    pub block_source: Option<String>,
    /// Where an overlay at the container's root keeps what is written, as whoever mounted it says.
    pub upper: Option<Vec<u8>>,
}

/// The volumes in a mount table, by mount point. What is covered by a later mount at the same place is left out.
pub fn writable(table: &[u8]) -> Vec<VolumeMount> {
    let mut by_point = BTreeMap::new();
    for mount in mountinfo::parse(table) {
        by_point.insert(mount.point.to_vec(), mount);
    }
    by_point.into_values().filter_map(volume).collect()
}

fn volume(mount: Mount<'_>) -> Option<VolumeMount> {
    let below = |directory: &[u8]| mount.point.starts_with(directory);
    let is_runtimes = RUNTIME_FILES.contains(&&*mount.point)
        || [&b"/proc/"[..], b"/sys/", b"/dev/"].into_iter().any(below);
    if !mount.is_writable || is_runtimes || NO_VOLUMES.contains(&mount.kind) {
        return None;
    }
    Some(VolumeMount {
        block_source: block_source(&mount),
        upper: upper(&mount),
        point: mount.point.into_owned(),
        root: mount.root.into_owned(),
        device: mount.device,
    })
}

fn block_source(mount: &Mount<'_>) -> Option<String> {
    let name = mount.source.strip_prefix(b"/dev/")?;
    let last = name.strip_prefix(b"mapper/").unwrap_or(name);
    let is_plain = mount.kind == b"btrfs" && !last.starts_with(b".") && !last.contains(&b'/');
    let name = String::from_utf8(name.to_vec()).ok()?;
    is_plain.then_some(name)
}

/// Only for the root, which the runtime mounts: what a container mounts itself may name any directory.
fn upper(mount: &Mount<'_>) -> Option<Vec<u8>> {
    if mount.kind != b"overlay" || &*mount.point != b"/" {
        return None;
    }
    let mut options = mount.options.split(|byte| *byte == b',');
    let upper = options.find_map(|option| option.strip_prefix(b"upperdir="))?;
    Some(mountinfo::unescape(upper).into_owned())
}

/// The file systems of a mount table by mount point: to be asked for many paths, each of which costs its own depth and not
/// the length of the table.
#[derive(Debug, Default)]
pub struct MountPoints(HashMap<PathBuf, Device>);

impl MountPoints {
    /// Reads the mount table of whoever uses the paths. Of two mounts at the same place the later one covers the other.
    pub fn of(table: &[u8]) -> Self {
        let point = |mount: &Mount<'_>| Path::new(OsStr::from_bytes(&mount.point)).to_owned();
        let mounts = mountinfo::parse(table);
        Self(mounts.map(|mount| (point(&mount), mount.device)).collect())
    }

    /// Which file system an absolute path is on.
    pub fn filesystem_of(&self, path: &[u8]) -> Option<Device> {
        let mut above = Path::new(OsStr::from_bytes(path)).ancestors();
        above.find_map(|point| self.0.get(point)).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &[u8] = b"100 1 0:60 / / rw,relatime - overlay overlay rw,lowerdir=l\n\
        101 100 0:61 / /proc rw - proc proc rw\n\
        102 100 0:62 / /dev rw - tmpfs tmpfs rw\n\
        103 100 8:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n\
        104 100 8:1 /secret /run/secret ro - ext4 /dev/sda1 rw\n\
        105 100 8:17 / /frozen rw - xfs /dev/sdb1 ro\n\
        106 100 8:33 / /data rw - ext4 /dev/sdc1 rw\n\
        107 100 259:1 / /data rw - xfs /dev/nvme0n1p1 rw\n\
        108 100 0:70 /v /btr\\040fs rw - btrfs /dev/sdd rw\n\
        109 100 0:71 / /nfs rw - nfs4 server:/export rw\n\
        110 100 8:1 /t /dev/termination-log rw - ext4 /dev/sda1 rw\n";

    #[test]
    fn volumes_are_what_can_be_written_to_on_a_disk() {
        let found = writable(TABLE);
        let points: Vec<_> = found.iter().map(|mount| mount.point.as_slice()).collect();
        assert_eq!(points, [&b"/"[..], b"/btr fs", b"/data", b"/nfs"]);
        assert_eq!(
            found[2].device,
            Device {
                major: 259,
                minor: 1
            }
        );
        assert_eq!(found[1].block_source.as_deref(), Some("sdd"));
        assert_eq!(found[1].root, b"/v");
        assert_eq!(found[2].block_source, None);
    }

    #[test]
    fn the_upper_directory_of_the_root_alone() {
        let upper = |point: &str, kind: &str, options: &str| {
            let line = format!("1 0 0:50 / {point} rw - {kind} o rw,lowerdir=/l,{options}\n");
            writable(line.as_bytes()).remove(0).upper
        };
        let found = upper("/", "overlay", "upperdir=/home/u\\054x/diff,workdir=/w");
        assert_eq!(found.as_deref(), Some(&b"/home/u,x/diff"[..]));
        assert_eq!(upper("/data", "overlay", "upperdir=/etc"), None);
        assert_eq!(upper("/", "xfs", "upperdir=/etc"), None);
        assert_eq!(upper("/", "overlay", "workdir=/w"), None);
    }

    #[test]
    fn a_path_is_on_the_mount_next_above() {
        let table = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 8:2 / /home rw - xfs /dev/sdb rw\n\
            3 1 8:3 / /home rw - xfs /dev/sdc rw\n";
        let points = MountPoints::of(table);
        let on = |path: &[u8]| points.filesystem_of(path).map(|device| device.minor);
        assert_eq!(on(b"/home/u/diff"), Some(3));
        assert_eq!(on(b"/homely"), Some(1));
        assert_eq!((on(b"/"), on(b"/home")), (Some(1), Some(3)));
        assert_eq!(on(b"relative"), None);
        assert_eq!(MountPoints::of(b"").filesystem_of(b"/"), None);
    }

    #[test]
    fn a_source_names_nothing_but_a_device() {
        let source_of = |source: &str| {
            let line = format!("1 0 0:1 / /m rw - btrfs {source} rw\n");
            writable(line.as_bytes()).remove(0).block_source
        };
        for source in [
            "/dev/../x",
            "/dev/.",
            "/dev/mapper/../x",
            "/dev/mapper/a/b",
            "/dev/disk/a",
            "sda",
            "/dev",
        ] {
            assert_eq!(source_of(source), None, "{source}");
        }
        let mapped = source_of("/dev/mapper/luks-1");
        assert_eq!(mapped.as_deref(), Some("mapper/luks-1"));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(prop_oneof![Just(b' '), Just(b'/'), Just(b'-'), Just(b'\n'), Just(b'1'), Just(b':'), any::<u8>()], 0..300)) {
            let _ = writable(&bytes);
        }
    }
}
