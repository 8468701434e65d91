//! Disks of containers: what was found at their mount points, and the series made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nodescope_schema::{FilesystemSpace, StatFilesystem};

use super::Model;
use super::containers::Container;
use crate::cgroupfs::IoTotals;
use crate::containers::Class;
use crate::metrics::catalogue::container as family;
use crate::metrics::{Descriptor, Exposition, SeriesLabels};
use crate::volumes::{Disk, VolumeMount};

/// A container whose mounts are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumesJob {
    /// Its index in the model.
    pub container: usize,
    /// Its value of the label `container_id`.
    id: Arc<str>,
    /// Its cgroups with processes: whether in the v2 tree, and the path.
    pub cgroups: Vec<(bool, Vec<u8>)>,
    /// Path of its outermost cgroup in the v2 tree.
    pub v2: Option<Vec<u8>>,
    /// Path of its outermost cgroup in the v1 hierarchy that the sensor watches.
    pub v1: Option<Vec<u8>>,
    /// It is a service, which sees all mounts of the host.
    pub is_service: bool,
}

/// One volume of a container, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundVolume {
    /// The mount.
    pub mount: VolumeMount,
    /// The disk below it.
    pub disk: Option<Disk>,
    /// I/O of the container on that disk.
    pub io: Option<IoTotals>,
    /// The file system with as much space, where the mount itself may be out of reach.
    pub backing: Option<StatFilesystem>,
}

/// One volume of a container.
#[derive(Debug, Clone)]
pub struct Volume {
    /// `mount_point`, `device` and `volume`.
    pub labels: SeriesLabels,
    /// Whose space is shown.
    pub filesystem: StatFilesystem,
    /// Whose, when that cannot be asked.
    pub backing: Option<StatFilesystem>,
    /// I/O of the container on the disk below it.
    pub io: Option<IoTotals>,
}

impl Model {
    /// Containers with processes, whose mounts and I/O should be read now.
    pub fn volumes_to_read(&self) -> Vec<VolumesJob> {
        let job = |(index, container): (usize, &Container)| {
            let cgroups = self.containers.populated(container, &self.cgroups);
            let (v2, v1) = self.containers.paths(container, &self.cgroups);
            (!cgroups.is_empty()).then(|| VolumesJob {
                container: index,
                id: Arc::clone(&container.id),
                cgroups,
                v2,
                v1,
                is_service: container.is_service(),
            })
        };
        self.containers.iter().filter_map(job).collect()
    }

    /// The volumes found in a container.
    pub fn set_volumes(&mut self, job: &VolumesJob, found: Vec<FoundVolume>) {
        let names = self.settings.volume_names;
        let budget = self.settings.volumes_per_container;
        // Its place may have been given to another one meanwhile.
        let container = self.containers.get_mut(job.container);
        let Some(container) = container.filter(|container| container.id == job.id) else {
            return;
        };
        container.volumes_over_budget = found.len().saturating_sub(budget) as u64;
        let sources = &container.volume_sources;
        container.volumes = found
            .into_iter()
            .take(budget)
            .map(|found| {
                let point = String::from_utf8_lossy(&found.mount.point);
                let root = String::from_utf8_lossy(&found.mount.root);
                let source = sources.get(&*point).map_or(&*root, String::as_str);
                let device = found.disk.as_ref().map_or("", |disk| &disk.name);
                Volume {
                    labels: SeriesLabels::new(&[
                        ("mount_point", &point),
                        ("device", device),
                        ("volume", names.name_in(source)),
                    ]),
                    filesystem: found.mount.device,
                    backing: found.backing,
                    io: found.io,
                }
            })
            .collect();
        container
            .volumes
            .sort_by(|one, other| one.labels.as_str().cmp(other.labels.as_str()));
        container
            .volumes
            .dedup_by(|one, other| one.labels == other.labels);
    }

    /// File systems whose space should be asked for.
    pub fn filesystems_to_stat(&self) -> BTreeSet<StatFilesystem> {
        let volumes = self.containers.iter();
        volumes
            .flat_map(|(_, container)| &container.volumes)
            .flat_map(|volume| [Some(volume.filesystem), volume.backing])
            .flatten()
            .collect()
    }

    /// The space of all file systems that told it.
    pub fn set_filesystems(&mut self, spaces: BTreeMap<StatFilesystem, FilesystemSpace>) {
        self.filesystems = spaces;
    }
}

type SpaceValue = fn(&FilesystemSpace) -> u64;
type IoValue = fn(&IoTotals) -> u64;

const SPACE_FAMILIES: [(&Descriptor, SpaceValue); 3] = [
    (&family::DISK_SIZE, |space| space.size_bytes),
    (&family::DISK_USED, |space| {
        space.size_bytes.saturating_sub(space.free_bytes)
    }),
    (&family::DISK_RESERVED, |space| {
        space.free_bytes.saturating_sub(space.available_bytes)
    }),
];

const IO_FAMILIES: [(&Descriptor, IoValue); 4] = [
    (&family::DISK_READS, |io| io.reads),
    (&family::DISK_READ_BYTES, |io| io.read_bytes),
    (&family::DISK_WRITES, |io| io.writes),
    (&family::DISK_WRITTEN_BYTES, |io| io.written_bytes),
];

impl Model {
    /// Writes the series of all volumes. A file system that says it has no size has none to show.
    pub(super) fn render_volumes(&self, page: &mut Exposition<'_>, shown: &[&Container]) {
        for (descriptor, value) in SPACE_FAMILIES {
            page.family(descriptor);
            for (container, volume) in volumes_of(shown) {
                let of = |device| self.filesystems.get(device);
                let space = of(&volume.filesystem).or(volume.backing.as_ref().and_then(of));
                if let Some(space) = space.filter(|space| space.size_bytes > 0) {
                    page.sample_with(&container.labels, &volume.labels, value(space));
                }
            }
        }
        for (descriptor, value) in IO_FAMILIES {
            page.family(descriptor);
            for (container, volume) in volumes_of(shown) {
                if let Some(io) = &volume.io {
                    page.sample_with(&container.labels, &volume.labels, value(io));
                }
            }
        }
    }
}

fn volumes_of<'a>(shown: &'a [&Container]) -> impl Iterator<Item = (&'a Container, &'a Volume)> {
    shown.iter().flat_map(|container| {
        container
            .volumes
            .iter()
            .map(move |volume| (*container, volume))
    })
}

impl Container {
    /// Whether it is a service of the host and not a container.
    fn is_service(&self) -> bool {
        self.classes()
            .iter()
            .any(|class| matches!(class, Class::Unit(_)))
    }
}

#[cfg(test)]
mod tests {
    use nodescope_schema::{Cgroup, CgroupKey, Processes, Record};

    use super::*;
    use crate::containers::{Identity, Resolution};
    use crate::model::tests::lines_of;
    use crate::model::{GlobalLabels, Settings};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const DISK: StatFilesystem = StatFilesystem { major: 8, minor: 0 };
    const NFS: StatFilesystem = StatFilesystem { major: 0, minor: 9 };

    /// A node with one container, which has a Kubernetes volume at `/data`.
    fn node(volumes_per_container: usize) -> Model {
        let settings = Settings {
            volumes_per_container,
            ..Settings::default()
        };
        let mut model = Model::new(settings, GlobalLabels::default());
        let key = CgroupKey {
            hierarchy: 0,
            id: 20,
        };
        let path = format!("/docker/{ID}");
        model.apply(
            &Record::Cgroup(Cgroup {
                key,
                path: path.as_bytes(),
                created_ns: 0,
                removed_ns: 0,
            }),
            1,
        );
        model.apply(
            &Record::Processes(Processes {
                cgroup: key,
                generation: 1,
                live: 1,
                started: 1,
                ended: 0,
                restarts: 0,
                oom_kills: 0,
            }),
            1,
        );
        let source = "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pv/mount".to_owned();
        for job in model.next_to_resolve(1, 10) {
            let identity = Identity {
                id: "/docker/web".to_owned(),
                volumes: [("/data".to_owned(), source.clone())].into(),
                ..Identity::default()
            };
            model.resolved(&job.class, Resolution::Container(identity.into()), 1);
        }
        model
    }

    fn found(point: &str, device: StatFilesystem, io: Option<IoTotals>) -> FoundVolume {
        FoundVolume {
            mount: VolumeMount {
                point: point.as_bytes().to_vec(),
                root: b"/".to_vec(),
                device,
                ..VolumeMount::default()
            },
            backing: None,
            disk: io.map(|_| Disk {
                device,
                name: "sda".to_owned(),
            }),
            io,
        }
    }

    fn lines(model: &Model) -> Vec<String> {
        lines_of(model, "container_resources_disk_", "mount_point=")
    }

    #[test]
    fn each_volume_shows_what_is_known_of_it() {
        let mut model = node(10);
        let io = IoTotals {
            reads: 1,
            read_bytes: 2,
            writes: 3,
            written_bytes: 4,
        };
        let job = model.volumes_to_read().remove(0);
        assert!(!job.is_service);
        let volumes = vec![found("/data", DISK, Some(io)), found("/nfs", NFS, None)];
        model.set_volumes(&job, volumes);
        assert_eq!(model.filesystems_to_stat(), [NFS, DISK].into());
        let space = FilesystemSpace {
            size_bytes: 100,
            free_bytes: 40,
            available_bytes: 35,
        };
        let nothing = FilesystemSpace::default();
        model.set_filesystems([(DISK, space), (NFS, nothing)].into());
        let data = r#""/data",device="sda",volume="pv"}"#;
        let expected = [
            "size_bytes 100",
            "used_bytes 60",
            "reserved_bytes 5",
            "reads_total 1",
            "read_bytes_total 2",
            "writes_total 3",
            "written_bytes_total 4",
        ]
        .map(|line| {
            let (name, value) = line.split_once(' ').unwrap();
            format!("{name} {data} {value}")
        });
        assert_eq!(lines(&model), expected);

        model.set_filesystems([(NFS, space)].into());
        assert_eq!(
            lines(&model)[0],
            r#"size_bytes "/nfs",device="",volume=""} 100"#
        );
    }

    #[test]
    fn a_root_out_of_reach_has_the_space_of_what_it_writes_to() {
        let mut model = node(10);
        let overlay = StatFilesystem { major: 0, minor: 7 };
        let job = model.volumes_to_read().remove(0);
        let root = FoundVolume {
            backing: Some(DISK),
            ..found("/", overlay, None)
        };
        model.set_volumes(&job, vec![root]);
        assert_eq!(model.filesystems_to_stat(), [overlay, DISK].into());
        let space = |size_bytes| FilesystemSpace {
            size_bytes,
            ..FilesystemSpace::default()
        };
        model.set_filesystems([(DISK, space(100))].into());
        let size = r#"size_bytes "/",device="",volume=""}"#;
        assert_eq!(lines(&model)[0], format!("{size} 100"));
        model.set_filesystems([(DISK, space(100)), (overlay, space(50))].into());
        assert_eq!(
            lines(&model)[0],
            format!("{size} 50"),
            "a quota for example"
        );
    }

    #[test]
    fn a_container_with_too_many_volumes_shows_some_and_says_so() {
        let mut model = node(3);
        let job = model.volumes_to_read().remove(0);
        let many = (0..10).map(|at| found(&format!("/{at}"), DISK, None));
        model.set_volumes(&job, many.collect());
        model.set_filesystems(
            [(
                DISK,
                FilesystemSpace {
                    size_bytes: 1,
                    ..FilesystemSpace::default()
                },
            )]
            .into(),
        );
        let sizes = lines(&model)
            .iter()
            .filter(|line| line.starts_with("size"))
            .count();
        assert_eq!((sizes, model.limits().volumes), (3, 7));
    }
}
