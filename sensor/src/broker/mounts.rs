//! Mount tables, `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`). Of a process: which file system a path of it is on, and
//! where. Of the sensor itself: by which path a file system, or a directory of it, can be reached, and whether that may
//! hang. Pure: bytes in, mounts out.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

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

/// A directory of a file system, wherever that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The file system.
    pub filesystem: StatFilesystem,
    /// Path from its root.
    pub path: PathBuf,
}

/// How to reach a [`Spot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The mount to begin at.
    pub mount: Mount,
    /// Path below it; no other mount lies on it.
    pub below: PathBuf,
}

/// The whole table.
#[derive(Debug, Default)]
pub struct Mounts(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    filesystem: StatFilesystem,
    /// Directory of the file system that is mounted.
    root: PathBuf,
    /// A union of directories of other file systems, which are on this machine wherever runtimes make them.
    is_overlay: bool,
    /// Of a union, the directory with what was written to it; as who mounted it has said it.
    upper: Option<PathBuf>,
    mount: Mount,
}

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
            .filter(|entry| entry.filesystem == filesystem)
            .map(|Entry { mount, .. }| Mount {
                is_local: mount.is_local && self.is_local_way(&mount.point),
                ..mount.clone()
            })
            .collect();
        found.sort_by_key(|mount| (!mount.is_local, mount.point.as_os_str().len()));
        found.truncate(MAX_CANDIDATES);
        found
    }

    /// Where an absolute path leads for a process whose table this is, if it has no symbolic link in it.
    pub fn spot(&self, path: &Path) -> Option<Spot> {
        // Of two at the same place the later one covers the other.
        let entry = self
            .0
            .iter()
            .filter(|entry| path.starts_with(&entry.mount.point))
            .max_by_key(|entry| entry.mount.point.as_os_str().len())?;
        let below = path.strip_prefix(&entry.mount.point).ok()?;
        let path: PathBuf = entry.root.components().chain(below.components()).collect();
        let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        let found = path.is_absolute() && path.components().all(is_plain);
        found.then_some(Spot {
            filesystem: entry.filesystem,
            path,
        })
    }

    /// Ways to what was written into a directory, if nothing on them needs another machine or process. What is in a union
    /// is reached through the directory below it first, the others come by their length: a file that stays open there does
    /// not keep the union from being unmounted.
    pub fn ways_to(&self, spot: &Spot) -> Vec<Way> {
        let upper = self.upper_of(spot);
        let mut ways = upper.map_or_else(Vec::new, |upper| self.ways_in(&upper));
        ways.extend(self.ways_in(spot));
        ways
    }

    /// Where a union that is mounted here keeps what was written into a directory.
    fn upper_of(&self, spot: &Spot) -> Option<Spot> {
        let mut unions = self
            .0
            .iter()
            .filter(|entry| entry.filesystem == spot.filesystem);
        let upper = unions.find_map(|entry| entry.upper.as_ref())?;
        self.spot(&upper.join(spot.path.strip_prefix("/").ok()?))
    }

    /// Ways to a directory where it is, as [`Self::ways_to`] has them: what is in a union is reached through the union.
    pub fn ways_in(&self, spot: &Spot) -> Vec<Way> {
        let mut ways: Vec<Way> = self
            .0
            .iter()
            .filter(|entry| entry.filesystem == spot.filesystem)
            .filter(|entry| entry.mount.is_local || entry.is_overlay)
            .filter(|entry| self.is_local_way(&entry.mount.point))
            .filter_map(|entry| {
                let below = spot.path.strip_prefix(&entry.root).ok()?.to_owned();
                let mount = entry.mount.clone();
                self.is_open_way(&mount.point, &below)
                    .then_some(Way { mount, below })
            })
            .collect();
        ways.sort_by_key(|way| way.mount.point.as_os_str().len());
        ways.truncate(MAX_CANDIDATES);
        ways
    }

    /// Whether no other mount lies below `point` on the way to `below`.
    fn is_open_way(&self, point: &Path, below: &Path) -> bool {
        let end = point.join(below);
        let between =
            |other: &Path| other != point && other.starts_with(point) && end.starts_with(other);
        !self.0.iter().any(|entry| between(&entry.mount.point))
    }

    fn is_local_way(&self, point: &Path) -> bool {
        let through = |mount: &Mount| point != mount.point && point.starts_with(&mount.point);
        // Whatever the root is made of, an overlay for example, the sensor was started from it.
        let is_root = |mount: &Mount| mount.point == Path::new("/");
        self.0
            .iter()
            .all(|Entry { mount, .. }| mount.is_local || is_root(mount) || !through(mount))
    }
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER_OPTIONS`.
fn parse_line(line: &[u8]) -> Option<Entry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let (major, minor) = std::str::from_utf8(fields.nth(1)?).ok()?.split_once(':')?;
    let root = fields.next()?;
    let point = fields.next()?;
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = fields.next()?;
    let super_options = fields.nth(1).unwrap_or_default();
    let filesystem = StatFilesystem {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    };
    let path = |field| PathBuf::from(OsString::from_vec(unescape(field)));
    let mount = Mount {
        id,
        point: path(point),
        is_local: LOCAL_TYPES
            .iter()
            .any(|local| OsStr::new(local) == OsStr::from_bytes(kind)),
    };
    Some(Entry {
        filesystem,
        root: path(root),
        is_overlay: kind == b"overlay",
        upper: upper_directory(kind, super_options).map(path),
        mount,
    })
}

/// The option `upperdir` of a union; relative ones are to a directory that nobody knows any more.
fn upper_directory<'a>(kind: &[u8], super_options: &'a [u8]) -> Option<&'a [u8]> {
    let mut options = super_options.split(|byte| *byte == b',');
    let upper = options.find_map(|option| option.strip_prefix(b"upperdir="))?;
    (kind == b"overlay" && upper.starts_with(b"/")).then_some(upper)
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

    const CONTAINER: &[u8] = b"90 80 0:60 / / rw - overlay overlay rw\n\
        91 90 0:61 / /proc rw - proc proc rw\n\
        92 90 8:17 /u/tmp /tmp rw - xfs /dev/sdb1 rw\n\
        93 90 0:62 net:[1] /ns rw - nsfs nsfs rw\n";

    const NODE: &[u8] = b"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        21 20 8:17 / /var/lib rw - xfs /dev/sdb1 rw\n\
        22 21 0:60 / /var/lib/c/merged rw - overlay overlay rw\n\
        23 20 0:50 / /nfs rw - nfs4 server:/x rw\n\
        24 20 8:1 /tmp/private/tmp /tmp rw - ext4 /dev/sda1 rw\n\
        25 20 8:17 /u /mnt/u rw - xfs /dev/sdb1 rw\n\
        26 25 0:70 / /mnt/u/tmp/deep rw - tmpfs tmpfs rw\n\
        27 21 0:71 / /var/lib/d/merged rw - overlay overlay rw,lowerdir=/l,upperdir=/var/lib/d/diff,workdir=/w\n\
        28 21 0:72 / /var/lib/e/merged rw - overlay overlay rw,lowerdir=/l,upperdir=e/diff\n\
        29 21 0:73 / /var/lib/f/merged rw - overlay overlay rw,upperdir=/nfs/diff\n";

    fn spot(table: &[u8], path: &str) -> Option<(u32, u32, String)> {
        let spot = Mounts::parse(table).spot(Path::new(path))?;
        let path = spot.path.display().to_string();
        Some((spot.filesystem.major, spot.filesystem.minor, path))
    }

    fn ways(major: u32, minor: u32, path: &str) -> Vec<(u32, String)> {
        let spot = Spot {
            filesystem: StatFilesystem { major, minor },
            path: path.into(),
        };
        let ways = Mounts::parse(NODE).ways_to(&spot);
        let shown = |way: Way| (way.mount.id, way.below.display().to_string());
        ways.into_iter().map(shown).collect()
    }

    #[test]
    fn a_path_of_a_container_is_a_spot_on_a_file_system() {
        assert_eq!(spot(CONTAINER, "/tmp"), Some((8, 17, "/u/tmp".to_owned())));
        assert_eq!(
            spot(CONTAINER, "/tmpx/a"),
            Some((0, 60, "/tmpx/a".to_owned()))
        );
        assert_eq!(spot(CONTAINER, "/ns/x"), None, "no directory");
        assert_eq!(spot(b"", "/tmp"), None);
    }

    #[test]
    fn a_spot_is_reached_through_the_node_s_own_mounts() {
        let way = |id, below: &str| (id, below.to_owned());
        assert_eq!(ways(0, 60, "/tmp"), [way(22, "tmp")]);
        // The node's /tmp lies under the private one; what is inside that is reached by both names.
        assert_eq!(ways(8, 1, "/tmp"), []);
        assert_eq!(ways(8, 1, "/tmp/private/tmp"), [way(24, "")]);
        assert_eq!(
            ways(8, 17, "/u/tmp"),
            [way(25, "tmp"), way(21, "u/tmp")],
            "a mount further down does not matter"
        );
        assert_eq!(ways(8, 17, "/u/tmp/deep"), [way(21, "u/tmp/deep")]);
        assert_eq!(ways(0, 50, "/tmp"), [], "it may hang");
        assert_eq!(ways(0, 99, "/tmp"), [], "in a container alone");
    }

    #[test]
    fn what_was_written_into_a_union_is_reached_below_it() {
        let way = |id, below: &str| (id, below.to_owned());
        assert_eq!(
            ways(0, 71, "/var/log"),
            [way(21, "d/diff/var/log"), way(27, "var/log")]
        );
        assert_eq!(ways(0, 72, "/var/log"), [way(28, "var/log")]);
        assert_eq!(ways(0, 73, "/var/log"), [way(29, "var/log")], "it may hang");
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
            if let Some(spot) = mounts.spot(Path::new("/tmp")) {
                prop_assert!(mounts.ways_to(&spot).len() <= 2 * MAX_CANDIDATES);
            }
            mount_id(&text);
        }
    }
}
