//! Cgroups older than the sensor: walks the directories of a hierarchy into the map `cgroups`.
//!
//! The hooks run already, so an entry they made is newer and stays.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nodescope_ebpf::abi::{Cgroup, CgroupKey};

use super::bpf::{MapHandle, monotonic_ns};

/// Directories looked at in one hierarchy; above the number of cgroups the map holds by default.
const DIRECTORIES_MAX: usize = 65_536;

/// What became of the cgroups of a walk.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seeded {
    /// Cgroups that are in the map now, the hooks' included.
    pub known: u32,
    /// Cgroups that are not: map full, path too long, too many, or a directory that could not be read.
    pub lost: u32,
}

/// Puts the cgroups below `root` into `cgroups`.
pub(super) fn seed(cgroups: &MapHandle, root: &Path, hierarchy: u32) -> Seeded {
    visit(root, &mut |directory| {
        add(cgroups, root, directory, hierarchy)
    })
}

/// Calls `take` with the directories of a hierarchy, each before those in it. It says whether there is room for it.
pub(super) fn visit(root: &Path, take: &mut dyn FnMut(&Path) -> io::Result<bool>) -> Seeded {
    let mut seeded = Seeded::default();
    let mut pending = vec![root.to_path_buf()];
    let mut looked_at = 0;
    while let Some(directory) = pending.pop() {
        looked_at += 1;
        if looked_at > DIRECTORIES_MAX {
            seeded.lost += 1;
            continue;
        }
        match take(&directory) {
            Ok(true) => seeded.known += 1,
            Ok(false) => seeded.lost += 1,
            // Removed since its parent was read.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => seeded.lost += 1,
        }
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
    }
    seeded
}

/// The path of a cgroup from the root of its hierarchy.
pub(super) fn path_below(root: &Path, directory: &Path) -> PathBuf {
    Path::new("/").join(directory.strip_prefix(root).unwrap_or(directory))
}

/// False when the path is too long. Errors of the map and of the directory.
fn add(cgroups: &MapHandle, root: &Path, directory: &Path, hierarchy: u32) -> io::Result<bool> {
    let key = CgroupKey {
        id: fs::symlink_metadata(directory)?.ino(),
        hierarchy,
    };
    let path = path_below(root, directory);
    let Some(mut entry) = Cgroup::existing(path.as_os_str().as_bytes(), monotonic_ns()) else {
        return Ok(false);
    };
    if !cgroups.insert(&key.to_bytes(), &entry.to_bytes())? {
        return Ok(true);
    }
    // Its removal may have been seen before the entry was there to be marked.
    if fs::symlink_metadata(directory).map_or(0, |metadata| metadata.ino()) != key.id {
        entry.removed_ns = monotonic_ns();
        entry.updated_ns = entry.removed_ns;
        cgroups.set(&key.to_bytes(), &entry.to_bytes())?;
    }
    Ok(true)
}
