//! What the sensor must know of the node before it loads anything: the cgroup v2 tree, the node's name and the network
//! namespace of process 1.
//!
//! Where neither the sensor nor process 1 has cgroup v2 mounted, the sensor mounts it for itself alone, detached from
//! every directory: only this process sees it, and it goes away with it. It is the last resort because all mounts of
//! cgroup v2 share their options: mounting it again, without them, would take `nsdelegate` from the system's.
#![expect(
    unsafe_code,
    reason = "fsopen, fsconfig and fsmount have no safe wrapper among our dependencies"
)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

/// Something about the node cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file of `/proc` cannot be read.
    #[error("cannot read {}: mount /proc", path.display())]
    Proc {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no cgroup v2 tree and none can be mounted.
    #[error(
        "no cgroup v2 tree is mounted and mounting one failed: mount -t cgroup2 none /sys/fs/cgroup/unified"
    )]
    NoCgroup2(#[source] Errno),
}

/// The cgroup v2 tree.
#[derive(Debug)]
pub struct CgroupTree {
    /// Its root directory.
    pub path: PathBuf,
    /// The sensor's own mount, which `path` leads to; none where it is mounted.
    _own_mount: Option<OwnedFd>,
}

/// Finds the cgroup v2 tree, or mounts it.
///
/// # Errors
/// See [`HostError`].
pub fn cgroup_tree() -> Result<CgroupTree, HostError> {
    let own = mounted_cgroup2("/proc/self/mountinfo")?;
    // In a container our own tree may be a part of the node's, which process 1 has whole if it is the node's.
    let whole = inode("/proc/self/ns/cgroup") == inode("/proc/1/ns/cgroup");
    let found = own
        .clone()
        .filter(|_| whole)
        .or_else(cgroup2_of_process_1)
        .or(own);
    if let Some(path) = found {
        return Ok(CgroupTree {
            path,
            _own_mount: None,
        });
    }
    let mount = mount_cgroup2().map_err(HostError::NoCgroup2)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
    Ok(CgroupTree {
        path,
        _own_mount: Some(mount),
    })
}

fn cgroup2_of_process_1() -> Option<PathBuf> {
    let path = mounted_cgroup2("/proc/1/mountinfo").ok().flatten()?;
    let path = Path::new("/proc/1/root").join(path.strip_prefix("/").ok()?);
    // It may be hidden.
    path.is_dir().then_some(path)
}

fn mounted_cgroup2(mountinfo: &str) -> Result<Option<PathBuf>, HostError> {
    let path = PathBuf::from(mountinfo);
    let mounts = std::fs::read(&path).map_err(|source| HostError::Proc { path, source })?;
    Ok(find_cgroup2(&mounts))
}

/// Mount point of the largest cgroup v2 tree in the text of `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`).
fn find_cgroup2(mountinfo: &[u8]) -> Option<PathBuf> {
    let trees = mountinfo.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let height = height(fields.nth(3)?)?;
        let mount_point = fields.next()?;
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        (kind == b"cgroup2").then_some((height, mount_point))
    });
    // Of several as large the first: `max_by_key` would take the last.
    let largest = trees.reduce(|best, tree| if tree.0 > best.0 { tree } else { best });
    largest.map(|(_, path)| PathBuf::from(std::ffi::OsString::from_vec(unescape(path))))
}

/// How far a mount's root is above that of the reader's cgroup namespace (`/..` is one above); none when below.
fn height(root: &[u8]) -> Option<usize> {
    let mut parts = root
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty());
    parts.try_fold(0, |height, part| (part == b"..").then_some(height + 1))
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let escaped = after
            .first_chunk::<3>()
            .filter(|_| *first == b'\\')
            .and_then(octal);
        plain.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            &after[3..]
        } else {
            after
        };
    }
    plain
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// `FSCONFIG_CMD_CREATE` of `linux/mount.h`.
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
/// `FSOPEN_CLOEXEC` and `FSMOUNT_CLOEXEC`.
const CLOEXEC: libc::c_uint = 1;
const MOUNT_FLAGS: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

fn mount_cgroup2() -> Result<OwnedFd, Errno> {
    // SAFETY: the name is a C string that lives longer than the call.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, c"cgroup2".as_ptr(), CLOEXEC) };
    let context = owned(context)?;
    let none: *const libc::c_char = std::ptr::null();
    let fd = context.as_raw_fd();
    // SAFETY: this command takes neither key nor value.
    let made = unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, none, none, 0) };
    Errno::result(made)?;
    // SAFETY: takes three numbers.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fd, CLOEXEC, MOUNT_FLAGS) })
}

fn owned(result: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(result)?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel just made this descriptor for us and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Names and numbers for the sensor's hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Host name in the UTS namespace of process 1.
    pub hostname: String,
    /// Inode of the network namespace of process 1; our own where that cannot be seen.
    pub netns: u32,
    /// Kernel release.
    pub kernel_release: String,
    /// Random number of this run.
    pub run_id: u64,
}

/// Reads them. Joins the UTS namespace of process 1 if it is another one, as in a container.
///
/// # Errors
/// The kernel's random numbers cannot be read.
pub fn node() -> Result<Node, HostError> {
    join_node_uts();
    // Process 1 is hidden from a root with fewer capabilities than it has.
    let netns = ["/proc/1/ns/net", "/proc/self/ns/net"]
        .into_iter()
        .find_map(inode)
        .unwrap_or(0);
    Ok(Node {
        hostname: read_line("/proc/sys/kernel/hostname"),
        netns: u32::try_from(netns).unwrap_or(0),
        kernel_release: read_line("/proc/sys/kernel/osrelease"),
        run_id: random()?,
    })
}

/// Where it is not allowed the own name has to do.
fn join_node_uts() {
    if inode("/proc/1/ns/uts") == inode("/proc/self/ns/uts") {
        return;
    }
    if let Ok(namespace) = File::open("/proc/1/ns/uts") {
        let _ = setns(namespace, CloneFlags::CLONE_NEWUTS);
    }
}

fn inode(path: &str) -> Option<u64> {
    std::fs::metadata(path).map(|stat| stat.ino()).ok()
}

fn read_line(path: &str) -> String {
    std::fs::read_to_string(path)
        .map(|line| line.trim_end().to_owned())
        .unwrap_or_default()
}

fn random() -> Result<u64, HostError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 8];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|source| HostError::Proc {
            path: path.to_owned(),
            source,
        })?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HYBRID: &[u8] = b"\
        25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
        31 25 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
        32 25 0:28 /sub /mnt/part rw - cgroup2 cgroup2 rw\n\
        33 25 0:28 / /sys/fs/cgroup/with\\040space\\134 rw shared:10 master:1 - cgroup2 none rw\n\
        34 25 0:28 / /sys/fs/cgroup/second rw - cgroup2 none rw\n";

    #[test]
    fn finds_the_whole_tree() {
        let found = find_cgroup2(HYBRID);
        assert_eq!(found, Some(PathBuf::from("/sys/fs/cgroup/with space\\")));
        assert_eq!(
            find_cgroup2(b"31 25 0:27 / /sys rw - cgroup cgroup2 rw\n"),
            None
        );
        assert_eq!(find_cgroup2(b""), None);
    }

    #[test]
    fn in_a_container_the_tree_above_is_the_larger_one() {
        let mounts = b"33 25 0:28 / /sys/fs/cgroup rw - cgroup2 none rw\n\
            34 25 0:28 /../.. /host/cgroup rw - cgroup2 none rw\n\
            35 25 0:28 /../sibling /other rw - cgroup2 none rw\n";
        assert_eq!(find_cgroup2(mounts), Some(PathBuf::from("/host/cgroup")));
    }

    proptest! {
        #[test]
        fn any_bytes(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            find_cgroup2(&text);
            prop_assert!(unescape(&text).len() <= text.len());
        }
    }

    #[test]
    fn knows_this_node() {
        let node = node().unwrap();
        assert!(!node.hostname.is_empty());
        assert!(
            node.kernel_release
                .starts_with(|first: char| first.is_ascii_digit())
        );
        assert_ne!(node.run_id, super::node().unwrap().run_id);
    }

    /// Needs root. The mount is a real one: it lists cgroups, and no directory leads to it. In a cgroup namespace of
    /// its own, because in the first one it would change the options of the system's mount.
    #[test]
    fn mounts_for_itself_alone() {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            return;
        }
        let thread = std::thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP).unwrap();
            let mounts = || mounted_cgroup2("/proc/self/mountinfo").unwrap();
            let before = mounts();
            let mount = mount_cgroup2().unwrap();
            let path = format!("/proc/self/fd/{}/cgroup.procs", mount.as_raw_fd());
            assert!(Path::new(&path).exists());
            assert_eq!(mounts(), before);
            drop(mount);
            assert!(!Path::new(&path).exists());
        });
        thread.join().unwrap();
    }
}
