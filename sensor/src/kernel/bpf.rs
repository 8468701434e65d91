//! The `bpf(2)` commands that reading maps and running iterators take, and the clock of the programs.
//!
//! aya has no batch lookup and cannot run an iterator twice. These wrappers check every length against the sizes the
//! map was made with, because the kernel writes as many bytes as the map says.
#![expect(unsafe_code, reason = "system calls that nix does not have")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const MAP_LOOKUP_BATCH: libc::c_long = 24;
const LINK_CREATE: libc::c_long = 28;
const ITER_CREATE: libc::c_long = 33;
const ATTACH_TRACE_ITER: u32 = 28;
const NOEXIST: u64 = 1;
/// The descriptor is for reading.
const RDONLY: u32 = 8;
/// Where `recursion_misses` ends in `struct bpf_prog_info` of `linux/bpf.h`.
const PROGRAM_INFO_BYTES: usize = 216;

/// A map by its descriptor, with the sizes of its keys and values in bytes.
#[derive(Debug)]
pub(super) struct MapHandle {
    fd: OwnedFd,
    key_bytes: usize,
    value_bytes: usize,
}

#[repr(C)]
#[derive(Default)]
struct ElementAttr {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    element_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    fd: u32,
    info_bytes: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct PathAttr {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkAttr {
    program_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct IterAttr {
    link_fd: u32,
    flags: u32,
}

/// Calls the kernel with `attr`, whose type must be the one of `command`.
fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a live, exclusively borrowed `repr(C)` struct of the size given, with no padding; the addresses
    // in it are the callers' duty, who take them from live slices of checked length.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn raw(fd: &impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

fn own(fd: libc::c_long) -> OwnedFd {
    let fd = i32::try_from(fd).unwrap_or(-1);
    // SAFETY: only called with the descriptor the kernel has just made for us, which nobody else owns; descriptors
    // always fit an i32.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

impl MapHandle {
    /// Keeps a descriptor of its own. A per-CPU map's `value_bytes` are those of all CPUs together.
    pub(super) fn new(
        fd: BorrowedFd<'_>,
        key_bytes: usize,
        value_bytes: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            fd: fd.try_clone_to_owned()?,
            key_bytes,
            value_bytes,
        })
    }

    pub(super) fn key_bytes(&self) -> usize {
        self.key_bytes
    }

    pub(super) fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    fn element(&self, key: &[u8], value: u64, flags: u64) -> ElementAttr {
        assert_eq!(key.len(), self.key_bytes, "length of a map key");
        ElementAttr {
            map_fd: raw(&self.fd),
            key: key.as_ptr().addr() as u64,
            value,
            flags,
            ..Default::default()
        }
    }

    /// Copies the value of `key`; false when there is none.
    pub(super) fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        self.read(MAP_LOOKUP_ELEM, key, value)
    }

    /// Copies the value of `key` and deletes the entry in one step. Kernels before 5.14 refuse it for hashes.
    pub(super) fn take(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        self.read(MAP_LOOKUP_AND_DELETE_ELEM, key, value)
    }

    fn read(&self, command: libc::c_long, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        assert_eq!(value.len(), self.value_bytes, "length of a map value");
        found(bpf(
            command,
            &mut self.element(key, value.as_mut_ptr().addr() as u64, 0),
        ))
    }

    /// Writes an entry that is there already or makes it.
    pub(super) fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert_eq!(value.len(), self.value_bytes, "length of a map value");
        bpf(
            MAP_UPDATE_ELEM,
            &mut self.element(key, value.as_ptr().addr() as u64, 0),
        )
        .map(drop)
    }

    /// Makes an entry; false when there is one.
    pub(super) fn insert(&self, key: &[u8], value: &[u8]) -> io::Result<bool> {
        assert_eq!(value.len(), self.value_bytes, "length of a map value");
        match bpf(
            MAP_UPDATE_ELEM,
            &mut self.element(key, value.as_ptr().addr() as u64, NOEXIST),
        ) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            result => result.map(|_| true),
        }
    }

    /// Deletes an entry; false when there is none.
    pub(super) fn delete(&self, key: &[u8]) -> io::Result<bool> {
        found(bpf(MAP_DELETE_ELEM, &mut self.element(key, 0, 0)))
    }

    /// Copies some entries of a hash: `cursor` is where to begin (none: at the first) and becomes where to go on (none:
    /// that was all). Returns how many. ENOSPC: the buffers must hold more entries.
    pub(super) fn lookup_batch(
        &self,
        cursor: &mut Option<u32>,
        keys: &mut [u8],
        values: &mut [u8],
    ) -> io::Result<usize> {
        let room = (keys.len() / self.key_bytes).min(values.len() / self.value_bytes);
        let begin = cursor.unwrap_or_default();
        let mut next = 0_u32;
        let mut attr = BatchAttr {
            in_batch: if cursor.is_some() {
                std::ptr::from_ref(&begin).addr() as u64
            } else {
                0
            },
            out_batch: std::ptr::from_mut(&mut next).addr() as u64,
            keys: keys.as_mut_ptr().addr() as u64,
            values: values.as_mut_ptr().addr() as u64,
            count: u32::try_from(room).unwrap_or(u32::MAX),
            map_fd: raw(&self.fd),
            ..Default::default()
        };
        let result = bpf(MAP_LOOKUP_BATCH, &mut attr);
        *cursor = match result {
            Ok(_) => Some(next),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => None,
            Err(e) => return Err(e),
        };
        Ok(room.min(attr.count as usize))
    }
}

impl AsFd for MapHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn found(result: io::Result<libc::c_long>) -> io::Result<bool> {
    match result {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        result => result.map(|_| true),
    }
}

/// Makes a link of a loaded iterator program, from which it can be run any number of times.
pub(super) fn link_iterator(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = LinkAttr {
        program_fd: raw(&program),
        attach_type: ATTACH_TRACE_ITER,
        ..Default::default()
    };
    bpf(LINK_CREATE, &mut attr).map(own)
}

/// A new run of a linked iterator; reading it runs the program.
pub(super) fn start_iterator(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    bpf(
        ITER_CREATE,
        &mut IterAttr {
            link_fd: raw(&link),
            flags: 0,
        },
    )
    .map(own)
}

/// How often the kernel skipped a run of the program, because another one was under way on the same CPU; none before
/// Linux 5.12.
pub(super) fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    // `struct bpf_prog_info` up to `recursion_misses`. Zeros ask for none of the arrays it can point to.
    let mut info = [0_u8; PROGRAM_INFO_BYTES];
    let mut attr = InfoAttr {
        fd: raw(&program),
        info_bytes: u32::try_from(info.len()).unwrap_or(u32::MAX),
        info: info.as_mut_ptr().addr() as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    let known = attr.info_bytes as usize >= info.len();
    Ok(info
        .last_chunk()
        .filter(|_| known)
        .map(|bytes| u64::from_ne_bytes(*bytes)))
}

/// What a map is like, the beginning of `struct bpf_map_info` of `linux/bpf.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct MapInfo {
    pub kind: u32,
    /// Which map it is, as long as the machine runs.
    pub id: u32,
    pub key_bytes: u32,
    pub value_bytes: u32,
    pub flags: u32,
}

/// Opens a map that somebody has pinned, to read it.
pub(super) fn open_pinned(path: &CStr) -> io::Result<OwnedFd> {
    let mut attr = PathAttr {
        path: path.as_ptr().addr() as u64,
        flags: RDONLY,
        ..Default::default()
    };
    bpf(OBJ_GET, &mut attr).map(own)
}

/// What the map is like. Of something else that was pinned it is nonsense.
pub(super) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let mut info = [0_u32; 6];
    let mut attr = InfoAttr {
        fd: raw(&map),
        info_bytes: u32::try_from(size_of_val(&info)).unwrap_or(u32::MAX),
        info: info.as_mut_ptr().addr() as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    let [kind, id, key_bytes, value_bytes, _entries, flags] = info;
    Ok(MapInfo {
        kind,
        id,
        key_bytes,
        value_bytes,
        flags,
    })
}

/// The clock of `bpf_ktime_get_ns`.
pub(super) fn monotonic_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Gives memory that loading took back to the kernel; it is many times what running takes.
pub(super) fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
