//! What disks a container writes to: its writable mounts out of `/proc/PID/mountinfo`, which all may read, and what is
//! known of the disk below each.
//!
//! [`writable`] picks the mounts, [`Disks`] finds the whole disk of a partition in sysfs, [`VolumeNames`] gives the name
//! of a Kubernetes volume. How full a file system is, only the sensor can ask.
//!
//! A service of the host sees every mount of the host, so for it a mount counts only when its cgroup has done I/O on the
//! disk, and a file system only once, where it is mounted with the shortest path.

mod disks;
mod mounts;
mod names;

pub use disks::{Disk, Disks};
pub use mounts::{MountPoints, VolumeMount, writable};
pub use names::{VolumeNames, is_kubernetes_volume};
