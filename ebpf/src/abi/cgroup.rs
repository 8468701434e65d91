//! Cgroups: the key of several maps, and the entries of `cgroups`.

use super::{Decode, Reader};

/// Longest path of a cgroup, with its terminating zero.
pub const CGROUP_PATH_BYTES: usize = 512;

/// Key of `cgroups`, `populations` and `delays`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupKey {
    /// Inode of the directory.
    pub id: u64,
    /// 0 is the v2 tree.
    pub hierarchy: u32,
}

impl CgroupKey {
    /// The bytes of the key in the map.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.id.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.hierarchy.to_ne_bytes());
        bytes
    }
}

impl Decode for CgroupKey {
    const BYTES: usize = 16;

    fn read(r: &mut Reader<'_>) -> Self {
        let key = Self {
            id: r.u64(),
            hierarchy: r.u32(),
        };
        r.skip(4);
        key
    }
}

/// Value of `cgroups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cgroup {
    /// When it was made; 0: before the sensor started.
    pub created_ns: u64,
    /// When it was removed; 0: it exists.
    pub removed_ns: u64,
    /// When the entry last changed.
    pub updated_ns: u64,
    path_bytes: u32,
    path: [u8; CGROUP_PATH_BYTES],
}

impl Cgroup {
    /// An entry for a cgroup found at the start; none when the path is too long.
    pub fn existing(path: &[u8], now_ns: u64) -> Option<Self> {
        let mut entry = Self {
            created_ns: 0,
            removed_ns: 0,
            updated_ns: now_ns,
            path_bytes: u32::try_from(path.len()).ok()?,
            path: [0; CGROUP_PATH_BYTES],
        };
        if path.len() >= CGROUP_PATH_BYTES {
            return None;
        }
        entry.path[..path.len()].copy_from_slice(path);
        Some(entry)
    }

    /// Path from the root of the hierarchy.
    pub fn path(&self) -> &[u8] {
        let bytes = usize::try_from(self.path_bytes).unwrap_or(CGROUP_PATH_BYTES);
        &self.path[..bytes.min(CGROUP_PATH_BYTES)]
    }

    /// The bytes of the value in the map.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.created_ns.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.removed_ns.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.updated_ns.to_ne_bytes());
        bytes[24..28].copy_from_slice(&self.path_bytes.to_ne_bytes());
        bytes[32..].copy_from_slice(&self.path);
        bytes
    }
}

impl Decode for Cgroup {
    const BYTES: usize = 544;

    fn read(r: &mut Reader<'_>) -> Self {
        let (created_ns, removed_ns, updated_ns) = (r.u64(), r.u64(), r.u64());
        let path_bytes = r.u32();
        r.skip(4);
        Self {
            created_ns,
            removed_ns,
            updated_ns,
            path_bytes,
            path: r.bytes(),
        }
    }
}
