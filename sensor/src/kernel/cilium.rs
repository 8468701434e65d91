//! Cilium's maps of connections to services and of backends, for the programs to look into.
//!
//! Cilium translates packets of pods by programs of its own, where the kernel's connection tracking does not see it: with its
//! default settings those to cluster addresses of services. Its maps say which backend a connection has from its SYN on
//! (`ebpf/programs/cilium.bpf.h`). They are pinned, and may come after the sensor and be made anew, so they are looked for
//! now and then and put into maps of ours, which the programs were loaded with.
//!
//! Why the aggregator cannot do it: BPF maps are for root, and an entry may be gone by the time it hears of the connection.
//! The maps are opened for reading only.
//!
//! Known limits: maps that are not as Cilium 1.13 and later make them by default (with `bpf-distributed-lru` or
//! `preallocate-maps`) cannot be put there, which is in the verdict. Where Cilium translates in the socket (kube-proxy
//! replacement), the kernel knows the backend only, and so it is the destination too.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use nodescope_ebpf::maps;

use super::LoadError;
use super::bpf::{self, MapHandle, MapInfo};
use super::probes::CILIUM;
use super::verdict::{HookState, lacks};

const HASH: u32 = 1;
const LRU_HASH: u32 = 9;
const NO_PREALLOC: u32 = 1;
const ONLY_KEY: [u8; 4] = 0_u32.to_ne_bytes();

/// A map of Cilium's and what it must be like for ours, as `ebpf/include/maps.h` has it.
#[derive(Debug)]
struct Kind {
    ours: &'static str,
    pinned: &'static str,
    info: MapInfo,
}

const KINDS: [Kind; 4] = [
    Kind {
        ours: maps::CILIUM_CT4,
        pinned: "cilium_ct4_global",
        info: map_like(LRU_HASH, 14, 56, 0),
    },
    Kind {
        ours: maps::CILIUM_CT6,
        pinned: "cilium_ct6_global",
        info: map_like(LRU_HASH, 38, 56, 0),
    },
    Kind {
        ours: maps::CILIUM_BACKENDS4,
        pinned: "cilium_lb4_backends_v3",
        info: map_like(HASH, 4, 12, NO_PREALLOC),
    },
    Kind {
        ours: maps::CILIUM_BACKENDS6,
        pinned: "cilium_lb6_backends_v3",
        info: map_like(HASH, 4, 24, NO_PREALLOC),
    },
];

const fn map_like(kind: u32, key_bytes: u32, value_bytes: u32, flags: u32) -> MapInfo {
    MapInfo {
        kind,
        id: 0,
        key_bytes,
        value_bytes,
        flags,
    }
}

/// One of them.
#[derive(Debug)]
struct Slot {
    kind: &'static Kind,
    ours: MapHandle,
    /// Which one is in it.
    id: Option<u32>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Cilium {
    directories: Vec<PathBuf>,
    slots: Vec<Slot>,
}

impl Cilium {
    /// With our maps, by their names.
    pub(super) fn new<'a>(
        directories: Vec<PathBuf>,
        ours: impl Fn(&'static str) -> Result<BorrowedFd<'a>, LoadError>,
    ) -> Result<Self, LoadError> {
        let slot = |kind: &'static Kind| {
            let ours = MapHandle::new(ours(kind.ours)?, ONLY_KEY.len(), size_of::<u32>())?;
            let id = None;
            Ok(Slot { kind, ours, id })
        };
        Ok(Self {
            directories,
            slots: KINDS.iter().map(slot).collect::<Result<_, LoadError>>()?,
        })
    }

    /// Looks whether they are there. True when the verdict has changed.
    pub(super) fn look(&mut self, hooks: &mut [HookState]) -> bool {
        let Some(hook) = hooks.iter_mut().find(|hook| hook.is(CILIUM)) else {
            return false;
        };
        let before = hook.clone();
        let (mut used, mut refused) = (Vec::new(), Vec::new());
        for slot in &mut self.slots {
            if let Err(why) = slot.look(&self.directories) {
                refused.push(format!("{}: {why}", slot.kind.pinned));
            }
            used.extend(slot.id.map(|_| slot.kind.pinned));
        }
        lacks(hook, &refused.join("; "));
        if refused.is_empty() {
            hook.detail = used.join(", ");
        }
        *hook != before
    }
}

impl Slot {
    /// Puts in what is there now. A map that is there and cannot be used is the error.
    fn look(&mut self, directories: &[PathBuf]) -> Result<(), String> {
        let (found, refused) = match find(directories, self.kind) {
            Ok(found) => (found, Ok(())),
            Err(why) => (None, Err(why)),
        };
        if found.as_ref().map(|(id, _)| *id) != self.id {
            self.put(found).map_err(|error| error.to_string())?;
        }
        refused
    }

    fn put(&mut self, found: Option<(u32, OwnedFd)>) -> io::Result<()> {
        self.id = None;
        let Some((id, map)) = found else {
            return self.ours.delete(&ONLY_KEY).map(drop);
        };
        self.ours.set(&ONLY_KEY, &map.as_raw_fd().to_ne_bytes())?;
        self.id = Some(id);
        Ok(())
    }
}

/// The map that is there, with its number.
fn find(directories: &[PathBuf], kind: &Kind) -> Result<Option<(u32, OwnedFd)>, String> {
    for directory in directories {
        let path = directory.join(kind.pinned).into_os_string().into_vec();
        let path = CString::new(path).map_err(|error| error.to_string())?;
        match bpf::open_pinned(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return check(opened, &kind.info).map(Some),
        }
    }
    Ok(None)
}

fn check(opened: io::Result<OwnedFd>, wanted: &MapInfo) -> Result<(u32, OwnedFd), String> {
    let map = opened.map_err(|error| error.to_string())?;
    let info = bpf::map_info(map.as_fd()).map_err(|error| error.to_string())?;
    if (MapInfo { id: 0, ..info }) == *wanted {
        return Ok((info.id, map));
    }
    let MapInfo {
        kind,
        key_bytes,
        value_bytes,
        flags,
        ..
    } = info;
    Err(format!(
        "type {kind}, keys of {key_bytes} and values of {value_bytes} bytes, flags {flags:#x}: not as Cilium makes it by default"
    ))
}
