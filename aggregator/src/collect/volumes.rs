//! Reads the mounts and the block I/O of containers.

use std::collections::HashSet;

use crate::cgroupfs::CgroupMounts;
use crate::host::HostRoot;
use crate::model::volumes::{FoundVolume, VolumesJob};
use crate::volumes::{Disks, MountPoints, VolumeMount, writable};

/// What was found in a container.
pub(super) type Found = (VolumesJob, Vec<FoundVolume>);

/// Reads the mounts and the I/O of each container. It blocks. A container whose processes have all just ended is left out.
pub(super) fn read(host: &HostRoot, jobs: Vec<VolumesJob>) -> Vec<Found> {
    let Ok(mounts) = CgroupMounts::discover(host) else {
        return Vec::new();
    };
    let mut disks = Disks::new(host);
    // The runtimes' paths are those of the node. Without the table only what needs it is missing.
    let nodes_table = host.proc("1/mountinfo").bytes().unwrap_or_default();
    let nodes_mounts = MountPoints::of(&nodes_table);
    jobs.into_iter()
        .filter_map(|job| {
            let table = mount_table(host, &mounts, &job)?;
            let volumes = volumes(&mounts, &mut disks, &job, writable(&table), &nodes_mounts);
            Some((job, volumes))
        })
        .collect()
}

/// The mounts of the first process that is still there.
fn mount_table(host: &HostRoot, mounts: &CgroupMounts, job: &VolumesJob) -> Option<Vec<u8>> {
    job.cgroups
        .iter()
        .flat_map(|(of_v2, path)| mounts.processes(*of_v2, path))
        .find_map(|pid| host.proc(&format!("{pid}/mountinfo")).bytes().ok())
        .filter(|table| !table.is_empty())
}

fn volumes(
    mounts: &CgroupMounts,
    disks: &mut Disks<'_>,
    job: &VolumesJob,
    found: Vec<VolumeMount>,
    nodes_mounts: &MountPoints,
) -> Vec<FoundVolume> {
    let io = mounts.read_io(job.v2.as_deref(), job.v1.as_deref());
    let mut volumes: Vec<_> = found
        .into_iter()
        .map(|mount| {
            let disk = disks.of(&mount);
            let io = disk.as_ref().and_then(|disk| io.get(&disk.device).copied());
            let upper = mount.upper.as_deref();
            let backing = upper.and_then(|upper| nodes_mounts.filesystem_of(upper));
            FoundVolume {
                mount,
                disk,
                io,
                backing,
            }
        })
        .collect();
    if job.is_service {
        volumes.retain(|volume| volume.io.is_some());
        volumes.sort_by_key(|volume| volume.mount.point.len());
        let mut seen = HashSet::new();
        volumes.retain(|volume| seen.insert(volume.mount.device));
    }
    volumes
}
