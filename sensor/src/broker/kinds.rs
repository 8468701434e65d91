//! The closed table of files the sensor opens for its client. A kind of file is one row; what no row describes is not
//! opened, whatever is asked.
//!
//! A path has two parts. The `base` is the runtime's own directory: an administrator may have replaced a part of it by
//! a symbolic link, and such a link is followed if only root can have made it. Below it lies the `file`, whose path has
//! the identifiers from the request in it; there no link is followed at all. See [`super::walk`] for the exact rule.
//!
//! Logs of containers are rows too. The aggregator reads and parses them, but their directories are closed to all but
//! root, and a log's path is never taken from anybody: it follows from the container's identifiers. What is given out is
//! a descriptor for reading a regular file that the runtime's user owns; requests for logs share the rate of the others.
//!
//! A log that a process holds open has no place here: its path is what the kernel said of that process, see
//! [`super::held_logs`], and the request has the number of that.
//!
//! Paths are the real ones (`/run`, not `/var/run`). Sources: docker's `daemon/config`, containerd's shim v2 bundle,
//! containers-storage's `storage.conf(5)`, `lxc.container.conf(5)`, and the state directories of k3s, k0s and microk8s.

use nodescope_schema::FileKind;

use super::generations::Generations;

/// One kind of file.
#[derive(Debug)]
pub struct Kind {
    /// Its number on the wire.
    pub file_kind: FileKind,
    /// What the container argument must look like.
    pub container: Form,
    /// What the namespace argument must look like.
    pub namespace: Form,
    /// Whether the request may name another base than those of the row.
    pub data_root: bool,
    /// Longest file that is given out.
    pub max_bytes: u64,
    /// How the files of a log that is rotated are named.
    pub generations: Generations,
    /// The base may lie in a directory that a group of the system may write to, as `/var/log` is on Debian's relatives.
    /// Nobody but root can make what belongs to root there, so all it gives that group is to hide or exchange logs.
    pub base_of_group: bool,
    /// Where the system's runtime keeps it; the first that is there is taken. Empty for [`Generations::Held`].
    pub system: &'static [Place],
    /// Where a user's rootless runtime keeps it; empty when there is no such thing.
    pub user: &'static [Place],
}

/// Base and file. `{container}`, `{namespace}`, `{home}` and `{uid}` stand for checked values.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Directory of the runtime.
    pub base: &'static str,
    /// Path below it.
    pub file: &'static str,
}

/// Form of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It must be empty.
    Empty,
    /// 64 lower-case hexadecimal digits.
    Id,
    /// 1 to 76 letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`: containerd's rule for identifiers
    /// (`identifiers.Validate`), also right for LXC and for a container of a pod.
    Name,
    /// The name of a pod's log directory, `NAMESPACE_POD_UID`: lower-case letters, digits, `.` and `-`, parted by two `_`.
    Pod,
    /// A number in decimal.
    Number,
}

/// Files that hold one container: a specification with a long environment is some 100 KiB.
const CONTAINER_BYTES: u64 = 4 << 20;
/// Files that hold all containers of a store.
const STORE_BYTES: u64 = 32 << 20;
/// Logs may be of any length: they are not read here.
const LOG_BYTES: u64 = u64::MAX;
/// Small files.
const SMALL_BYTES: u64 = 256 << 10;

const fn place(base: &'static str, file: &'static str) -> Place {
    Place { base, file }
}

const DOCKER_CONFIG: &str = "containers/{container}/config.v2.json";
const DOCKER_JSON_LOG: &str = "containers/{container}/{container}-json.log";
const DOCKER_LOCAL_LOG: &str = "containers/{container}/local-logs/container.log";
const CONTAINERD_CONFIG: &str = "io.containerd.runtime.v2.task/{namespace}/{container}/config.json";

const STORAGE_RUN: &str = "/run/containers/storage";
const STORAGE_GRAPH: &str = "/var/lib/containers/storage";
const STORAGE_USER_RUN: &str = "/run/user/{uid}/containers";
const STORAGE_USER_GRAPH: &str = "{home}/.local/share/containers/storage";

/// The directory's name begins with that of the storage driver.
const OVERLAY_CONFIG: &str = "overlay-containers/{container}/userdata/config.json";
const VFS_CONFIG: &str = "vfs-containers/{container}/userdata/config.json";
const BTRFS_CONFIG: &str = "btrfs-containers/{container}/userdata/config.json";
const ZFS_CONFIG: &str = "zfs-containers/{container}/userdata/config.json";

const OVERLAY_LOG: &str = "overlay-containers/{container}/userdata/ctr.log";
const VFS_LOG: &str = "vfs-containers/{container}/userdata/ctr.log";
const BTRFS_LOG: &str = "btrfs-containers/{container}/userdata/ctr.log";
const ZFS_LOG: &str = "zfs-containers/{container}/userdata/ctr.log";

/// The table, in the order of [`FileKind::ALL`].
pub const KINDS: [Kind; FileKind::ALL.len()] = [
    Kind {
        file_kind: FileKind::DockerConfig,
        container: Form::Id,
        namespace: Form::Empty,
        data_root: true,
        max_bytes: CONTAINER_BYTES,
        generations: Generations::One,
        base_of_group: false,
        system: &[place("/var/lib/docker", DOCKER_CONFIG)],
        user: &[place("{home}/.local/share/docker", DOCKER_CONFIG)],
    },
    Kind {
        file_kind: FileKind::DockerDaemon,
        container: Form::Empty,
        namespace: Form::Empty,
        data_root: false,
        max_bytes: SMALL_BYTES,
        generations: Generations::One,
        base_of_group: false,
        system: &[place("/etc/docker", "daemon.json")],
        user: &[place("{home}/.config/docker", "daemon.json")],
    },
    Kind {
        file_kind: FileKind::ContainerdBundle,
        container: Form::Name,
        namespace: Form::Name,
        data_root: false,
        max_bytes: CONTAINER_BYTES,
        generations: Generations::One,
        base_of_group: false,
        system: &[
            place("/run/containerd", CONTAINERD_CONFIG),
            place("/run/k3s/containerd", CONTAINERD_CONFIG),
            place("/run/k0s/containerd", CONTAINERD_CONFIG),
            place(
                "/var/snap/microk8s/common/run/containerd",
                CONTAINERD_CONFIG,
            ),
        ],
        user: &[],
    },
    Kind {
        file_kind: FileKind::StorageBundle,
        container: Form::Id,
        namespace: Form::Empty,
        data_root: false,
        max_bytes: CONTAINER_BYTES,
        generations: Generations::One,
        base_of_group: false,
        system: &[
            place(STORAGE_RUN, OVERLAY_CONFIG),
            place(STORAGE_GRAPH, OVERLAY_CONFIG),
            place(STORAGE_RUN, VFS_CONFIG),
            place(STORAGE_GRAPH, VFS_CONFIG),
            place(STORAGE_RUN, BTRFS_CONFIG),
            place(STORAGE_GRAPH, BTRFS_CONFIG),
            place(STORAGE_RUN, ZFS_CONFIG),
            place(STORAGE_GRAPH, ZFS_CONFIG),
        ],
        user: &[
            place(STORAGE_USER_RUN, OVERLAY_CONFIG),
            place(STORAGE_USER_GRAPH, OVERLAY_CONFIG),
            place(STORAGE_USER_RUN, VFS_CONFIG),
            place(STORAGE_USER_GRAPH, VFS_CONFIG),
            place(STORAGE_USER_RUN, BTRFS_CONFIG),
            place(STORAGE_USER_GRAPH, BTRFS_CONFIG),
        ],
    },
    Kind {
        file_kind: FileKind::StorageContainers,
        container: Form::Empty,
        namespace: Form::Empty,
        data_root: false,
        max_bytes: STORE_BYTES,
        generations: Generations::One,
        base_of_group: false,
        system: &[
            place(STORAGE_GRAPH, "overlay-containers/containers.json"),
            place(STORAGE_GRAPH, "vfs-containers/containers.json"),
            place(STORAGE_GRAPH, "btrfs-containers/containers.json"),
            place(STORAGE_GRAPH, "zfs-containers/containers.json"),
        ],
        user: &[
            place(STORAGE_USER_GRAPH, "overlay-containers/containers.json"),
            place(STORAGE_USER_GRAPH, "vfs-containers/containers.json"),
            place(STORAGE_USER_GRAPH, "btrfs-containers/containers.json"),
        ],
    },
    Kind {
        file_kind: FileKind::LxcConfig,
        container: Form::Name,
        namespace: Form::Empty,
        data_root: false,
        max_bytes: SMALL_BYTES,
        generations: Generations::One,
        base_of_group: false,
        system: &[place("/var/lib/lxc", "{container}/config")],
        user: &[],
    },
    Kind {
        file_kind: FileKind::SystemUuid,
        container: Form::Empty,
        namespace: Form::Empty,
        data_root: false,
        max_bytes: SMALL_BYTES,
        generations: Generations::One,
        base_of_group: false,
        system: &[place("/sys/class/dmi/id", "product_uuid")],
        user: &[],
    },
    Kind {
        file_kind: FileKind::DockerJsonLog,
        container: Form::Id,
        namespace: Form::Empty,
        data_root: true,
        max_bytes: LOG_BYTES,
        generations: Generations::Numbered,
        base_of_group: false,
        system: &[place("/var/lib/docker", DOCKER_JSON_LOG)],
        user: &[place("{home}/.local/share/docker", DOCKER_JSON_LOG)],
    },
    Kind {
        file_kind: FileKind::DockerLocalLog,
        container: Form::Id,
        namespace: Form::Empty,
        data_root: true,
        max_bytes: LOG_BYTES,
        generations: Generations::Numbered,
        base_of_group: false,
        system: &[place("/var/lib/docker", DOCKER_LOCAL_LOG)],
        user: &[place("{home}/.local/share/docker", DOCKER_LOCAL_LOG)],
    },
    Kind {
        file_kind: FileKind::PodLog,
        container: Form::Name,
        namespace: Form::Pod,
        data_root: false,
        max_bytes: LOG_BYTES,
        generations: Generations::PodLogs,
        base_of_group: true,
        system: &[place("/var/log/pods", "{namespace}/{container}")],
        user: &[],
    },
    Kind {
        file_kind: FileKind::PodmanLog,
        container: Form::Id,
        namespace: Form::Empty,
        data_root: false,
        max_bytes: LOG_BYTES,
        generations: Generations::One,
        base_of_group: false,
        system: &[
            place(STORAGE_GRAPH, OVERLAY_LOG),
            place(STORAGE_GRAPH, VFS_LOG),
            place(STORAGE_GRAPH, BTRFS_LOG),
            place(STORAGE_GRAPH, ZFS_LOG),
        ],
        user: &[
            place(STORAGE_USER_GRAPH, OVERLAY_LOG),
            place(STORAGE_USER_GRAPH, VFS_LOG),
            place(STORAGE_USER_GRAPH, BTRFS_LOG),
        ],
    },
    Kind {
        file_kind: FileKind::HeldLog,
        container: Form::Number,
        namespace: Form::Empty,
        data_root: false,
        max_bytes: LOG_BYTES,
        generations: Generations::Held,
        base_of_group: false,
        system: &[],
        user: &[],
    },
];

/// The row of a kind.
pub fn find(file_kind: FileKind) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.file_kind == file_kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_exactly_one_row() {
        for file_kind in FileKind::ALL {
            let rows = KINDS
                .iter()
                .filter(|kind| kind.file_kind == file_kind)
                .count();
            assert_eq!(rows, 1, "{file_kind:?}");
        }
    }

    #[test]
    fn places_are_plain_paths() {
        for kind in &KINDS {
            let has_places = kind.generations != Generations::Held;
            assert_eq!(!kind.system.is_empty(), has_places, "{:?}", kind.file_kind);
            for place in kind.system.iter().chain(kind.user) {
                assert!(place.base.starts_with('/') || place.base.starts_with("{home}/"));
                assert!(!place.base.starts_with("/var/run/"), "{}", place.base);
                for part in place.base.split('/').skip(1).chain(place.file.split('/')) {
                    assert!(!matches!(part, "" | "." | ".."), "{place:?}");
                }
            }
        }
    }

    #[test]
    fn every_argument_a_row_takes_has_its_place() {
        for kind in &KINDS {
            for place in kind.system.iter().chain(kind.user) {
                let uses = |word: &str| place.file.contains(word);
                assert_eq!(
                    uses("{container}"),
                    kind.container != Form::Empty,
                    "{place:?}"
                );
                assert_eq!(
                    uses("{namespace}"),
                    kind.namespace != Form::Empty,
                    "{place:?}"
                );
                assert!(!uses("{home}") && !uses("{uid}"), "{place:?}");
            }
        }
    }

    #[test]
    fn system_places_name_no_user() {
        for place in KINDS.iter().flat_map(|kind| kind.system) {
            assert!(!place.base.contains('{'), "{place:?}");
        }
    }
}
