//! The sensor's own mount table, `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`): by which path a file system with a
//! given device number can be reached, and whether that may hang. Pure: bytes in, mounts out.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nodescope_schema::StatFilesystem;

use crate::host::unescape;

/// Ways to one file system that are tried: a mount point may be covered by another mount.
const MAX_CANDIDATES: usize = 4;

/// File systems that answer without another machine or process. What is not listed may hang.
const LOCAL_TYPES: [&str; 19] = [
    "bcachefs", "bfs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfsplus", "iso9660",
    "jfs", "nilfs2", "ntfs3", "reiserfs", "tmpfs", "udf", "vfat", "xfs", "zfs",
];

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number, as in the line `mnt_id` of `/proc/PID/fdinfo/FD`.
    pub id: u32,
    /// Where it is.
    pub point: PathBuf,
    /// Neither it nor what must be walked through to it needs another machine or process.
    pub is_local: bool,
}

/// The whole table.
#[derive(Debug, Default)]
pub struct Mounts(Vec<(StatFilesystem, Mount)>);

impl Mounts {
    /// Reads the table; a line that is not complete is left out.
    pub fn parse(bytes: &[u8]) -> Self {
        Self(
            bytes
                .split(|byte| *byte == b'\n')
                .filter_map(parse_line)
                .collect(),
        )
    }

    /// Mounts of a file system, the best way to it first: local, then short.
    pub fn of(&self, filesystem: StatFilesystem) -> Vec<Mount> {
        let mut found: Vec<Mount> = self
            .0
            .iter()
            .filter(|(of, _)| *of == filesystem)
            .map(|(_, mount)| Mount {
                is_local: mount.is_local && self.is_local_way(&mount.point),
                ..mount.clone()
            })
            .collect();
        found.sort_by_key(|mount| (!mount.is_local, mount.point.as_os_str().len()));
        found.truncate(MAX_CANDIDATES);
        found
    }

    fn is_local_way(&self, point: &Path) -> bool {
        let through = |mount: &Mount| point != mount.point && point.starts_with(&mount.point);
        // Whatever the root is made of, an overlay for example, the sensor was started from it.
        let is_root = |mount: &Mount| mount.point == Path::new("/");
        self.0
            .iter()
            .all(|(_, mount)| mount.is_local || is_root(mount) || !through(mount))
    }
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER_OPTIONS`.
fn parse_line(line: &[u8]) -> Option<(StatFilesystem, Mount)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let (major, minor) = std::str::from_utf8(fields.nth(1)?).ok()?.split_once(':')?;
    let point = fields.nth(1)?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let filesystem = StatFilesystem {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    };
    let mount = Mount {
        id,
        point: PathBuf::from(OsString::from_vec(unescape(point))),
        is_local: LOCAL_TYPES
            .iter()
            .any(|local| OsStr::new(local) == OsStr::from_bytes(kind)),
    };
    Some((filesystem, mount))
}

/// `mnt_id` in the text of `/proc/PID/fdinfo/FD`.
pub fn mount_id(fdinfo: &[u8]) -> Option<u32> {
    fdinfo
        .split(|byte| *byte == b'\n')
        .find_map(|line| number(line.strip_prefix(b"mnt_id:")?.trim_ascii()))
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &[u8] = b"20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
        21 20 8:17 / /var/lib/kubelet/pods/u/volumes/v rw - xfs /dev/sdb1 rw\n\
        22 20 8:17 / /mnt/a\\040b rw shared:7 master:1 - xfs /dev/sdb1 rw\n\
        23 20 0:50 / /mnt/nfs rw - nfs4 server:/x rw\n\
        24 23 7:0 / /mnt/nfs/image rw - ext4 /dev/loop0 rw\n\
        25 20 7:0 / /mnt/a/very/long/way/to/image rw - ext4 /dev/loop0 rw\n\
        26 20 8:1 /sub /srv rw - ext4\n\
        27 20 8 / /x rw - ext4 /dev/sda1 rw\n";

    fn of(major: u32, minor: u32) -> Vec<(u32, String, bool)> {
        let mounts = Mounts::parse(TABLE).of(StatFilesystem { major, minor });
        let shown = |mount: Mount| (mount.id, mount.point.display().to_string(), mount.is_local);
        mounts.into_iter().map(shown).collect()
    }

    #[test]
    fn the_best_way_comes_first() {
        let way = |id, point: &str, local| (id, point.to_owned(), local);
        assert_eq!(of(8, 1), [way(20, "/", true), way(26, "/srv", true)]);
        assert_eq!(of(8, 17)[0], way(22, "/mnt/a b", true));
        assert_eq!(of(0, 50), [way(23, "/mnt/nfs", false)]);
        assert_eq!(of(9, 9), []);
        let image = [
            way(25, "/mnt/a/very/long/way/to/image", true),
            way(24, "/mnt/nfs/image", false),
        ];
        assert_eq!(of(7, 0), image);
    }

    #[test]
    fn a_root_that_may_hang_does_not_taint_what_is_below() {
        let table =
            b"1 0 0:30 / / rw - overlay overlay rw\n2 1 8:1 / /data rw - ext4 /dev/sda rw\n";
        let data = StatFilesystem { major: 8, minor: 1 };
        assert!(Mounts::parse(table).of(data)[0].is_local);
    }

    #[test]
    fn reads_the_number_of_a_mount() {
        assert_eq!(
            mount_id(b"pos:\t0\nflags:\t0\nmnt_id:\t29\nino:\t2\n"),
            Some(29)
        );
        assert_eq!(mount_id(b"mnt_id:\tx\n"), None);
        assert_eq!(mount_id(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes(text in proptest::collection::vec(prop_oneof![Just(b' '), Just(b':'), Just(b'-'), Just(b'1'), Just(b'\n'), any::<u8>()], 0..300)) {
            let mounts = Mounts::parse(&text);
            let one = StatFilesystem { major: 1, minor: 1 };
            prop_assert!(mounts.of(one).len() <= MAX_CANDIDATES);
            mount_id(&text);
        }
    }
}
