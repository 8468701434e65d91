//! The processes of the node and their cgroups, from `/proc` and the cgroup file systems.
//!
//! All of it may be read by everybody (unless `/proc` is mounted with `hidepid`). Everything is opened from directories
//! that were open before the rights were dropped, and nothing is looked for outside them.
//!
//! Sources: `proc(5)`, `cgroups(7)`.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::read;
use nodescope_ebpf::abi::WorkloadKey;

/// More than the lines of all hierarchies with paths of the usual length. What is longer is not read.
const CGROUP_BYTES: usize = 16 * 1024;
/// Subdirectories of a directory that has none, with itself.
const LINKS_OF_EMPTY: u64 = 2;

/// Says where processes are.
pub trait Places {
    /// The cgroups of a process; none when it is gone.
    fn of(&mut self, pid: u32) -> Option<WorkloadKey>;

    /// How many tasks it has; none when it is gone.
    fn tasks(&mut self, pid: u32) -> Option<u64>;
}

/// A mounted cgroup hierarchy.
#[derive(Debug)]
struct Hierarchy {
    /// 0 is the v2 tree.
    number: u32,
    root: OwnedFd,
    device: u64,
}

/// The open directories.
#[derive(Debug)]
pub struct Processes {
    proc: OwnedFd,
    v2: Hierarchy,
    v1: Option<Hierarchy>,
    buffer: Vec<u8>,
}

impl Hierarchy {
    fn open(number: u32, root: &Path) -> io::Result<Self> {
        let root = OwnedFd::from(File::open(root)?);
        let device = fstat(&root)?.st_dev;
        Ok(Self {
            number,
            root,
            device,
        })
    }

    /// The inode of a process's cgroup, from the text of its `/proc/PID/cgroup`. A cgroup that is removed has none.
    fn cgroup(&self, text: &[u8]) -> Option<u64> {
        let path = match path_in(text, self.number)? {
            b"" => Path::new("."),
            path => Path::new(OsStr::from_bytes(path)),
        };
        let stat = fstatat(&self.root, path, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        (stat.st_dev == self.device).then_some(stat.st_ino)
    }
}

impl Processes {
    /// Opens where `/proc`, the v2 tree and, with its number, a v1 hierarchy are mounted.
    ///
    /// # Errors
    /// One of them cannot be opened.
    pub fn open(proc_root: &Path, v2_root: &Path, v1: Option<&(u32, PathBuf)>) -> io::Result<Self> {
        let v1 = v1.map(|(number, root)| Hierarchy::open(*number, root));
        Ok(Self {
            proc: File::open(proc_root)?.into(),
            v2: Hierarchy::open(0, v2_root)?,
            v1: v1.transpose()?,
            buffer: vec![0; CGROUP_BYTES],
        })
    }

    /// What it needs, to be kept where all else is closed.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let hierarchies = [Some(&self.v2), self.v1.as_ref()].into_iter().flatten();
        let mut descriptors: Vec<_> = hierarchies.map(|one| one.root.as_fd()).collect();
        descriptors.push(self.proc.as_fd());
        descriptors
    }

    /// The numbers of all processes.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn list(&self) -> io::Result<Vec<u32>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut directory = Dir::openat(&self.proc, ".", flags, Mode::empty())?;
        let mut pids = Vec::new();
        for entry in directory.iter() {
            let name = entry?;
            let name = std::str::from_utf8(name.file_name().to_bytes());
            pids.extend(name.ok().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(pids)
    }

    /// Reads a process's cgroups into the buffer. Returns the length; none when it is gone or has more than fits.
    fn read_cgroups(&mut self, pid: u32) -> Option<usize> {
        let path = format!("{pid}/cgroup");
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.proc, path.as_str(), flags, Mode::empty()).ok()?;
        let mut length = 0;
        loop {
            let rest = self
                .buffer
                .get_mut(length..)
                .filter(|rest| !rest.is_empty())?;
            match read(&file, rest).ok()? {
                0 => return Some(length),
                bytes => length += bytes,
            }
        }
    }
}

impl Places for Processes {
    fn of(&mut self, pid: u32) -> Option<WorkloadKey> {
        let length = self.read_cgroups(pid)?;
        let text = self.buffer.get(..length)?;
        let workload = WorkloadKey {
            cgroup_v2: self.v2.cgroup(text).unwrap_or(0),
            cgroup_v1: self.v1.as_ref().and_then(|v1| v1.cgroup(text)).unwrap_or(0),
        };
        (workload != WorkloadKey::default()).then_some(workload)
    }

    fn tasks(&mut self, pid: u32) -> Option<u64> {
        let path = format!("{pid}/task");
        let stat = fstatat(&self.proc, path.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_nlink as u64).saturating_sub(LINKS_OF_EMPTY))
    }
}

/// A process's path below the root of a hierarchy. Paths that lead out of what the reader sees (`/../..`) are none.
fn path_in(text: &[u8], hierarchy: u32) -> Option<&[u8]> {
    let path = text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let number = std::str::from_utf8(fields.next()?).ok()?;
        let controllers = fields.next()?;
        let is_it = number.parse() == Ok(hierarchy) && (hierarchy != 0) != controllers.is_empty();
        fields.next().filter(|_| is_it)
    })?;
    let path = path.strip_prefix(b"/")?;
    let leads_out = path.split(|byte| *byte == b'/').any(|name| name == b"..");
    (!leads_out).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"12:pids:/docker/ab\n4:memory:/docker/ab:c\n1:name=systemd:/\n0::/a/b c\n";

    #[test]
    fn finds_paths_by_number() {
        for (text, hierarchy, path) in [
            (TEXT, 0, Some(&b"a/b c"[..])),
            (TEXT, 4, Some(b"docker/ab:c")),
            (TEXT, 1, Some(b"")),
            (TEXT, 3, None),
            (b"0::/", 0, Some(b"")),
            (b"0::/../other", 0, None),
            (b"0::/a/../../b", 0, None),
            (b"0::relative", 0, None),
            (b"0::/a..b/..c", 0, Some(b"a..b/..c")),
            (b"0:memory:/a", 0, None),
            (b"4::/a", 4, None),
            (b"\n:\n0\n0:", 0, None),
            (b"", 0, None),
        ] {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(path_in(text, hierarchy), path, "{shown} {hierarchy}");
        }
    }

    proptest! {
        #[test]
        fn paths_of_any_bytes_stay_inside(text in "[0-9]:[a-z]{0,2}:[/.a\n]{0,20}", hierarchy in 0_u32..10) {
            let path = path_in(text.as_bytes(), hierarchy).unwrap_or_default();
            let parts = path.split(|byte| *byte == b'/');
            prop_assert!(parts.into_iter().all(|part| part != b".."));
        }
    }

    /// A made up `/proc` and a directory for each hierarchy.
    #[test]
    fn cgroups_are_the_directories_of_paths() {
        let root = tempfile::tempdir().expect("a directory");
        for directory in [
            "proc/7/task",
            "proc/8",
            "proc/self",
            "v2/a/b c",
            "memory/docker/ab:c",
        ] {
            fs::create_dir_all(root.path().join(directory)).expect("a directory");
        }
        let cgroups = root.path().join("proc/7/cgroup");
        fs::write(&cgroups, TEXT).expect("a file");
        let inode = |path: &str| {
            fs::metadata(root.path().join(path))
                .expect("it is there")
                .ino()
        };
        let v1 = (4, root.path().join("memory"));
        let [proc, v2] = ["proc", "v2"].map(|name| root.path().join(name));
        let mut processes = Processes::open(&proc, &v2, Some(&v1)).expect("directories");
        let both = WorkloadKey {
            cgroup_v2: inode("v2/a/b c"),
            cgroup_v1: inode("memory/docker/ab:c"),
        };
        assert_eq!(processes.of(7), Some(both));
        assert_eq!((processes.of(8), processes.of(9)), (None, None));
        assert_eq!(processes.descriptors().len(), 3);
        let mut pids = processes.list().expect("a list");
        pids.sort_unstable();
        assert_eq!(pids, [7, 8]);
        // Removed in one of them, and longer than anything.
        fs::remove_dir(root.path().join("v2/a/b c")).expect("to remove it");
        assert_eq!(processes.of(7).map(|both| both.cgroup_v2), Some(0));
        fs::write(&cgroups, vec![b'x'; CGROUP_BYTES]).expect("a file");
        assert_eq!(processes.of(7), None);
    }

    #[test]
    fn tasks_of_this_process_are_counted() {
        let (proc, anywhere) = (Path::new("/proc"), Path::new("/"));
        let mut processes = Processes::open(proc, anywhere, None).expect("directories");
        let own = std::process::id();
        let tasks = fs::read_dir("/proc/self/task").expect("/proc").count();
        let counted = processes.tasks(own).expect("we live");
        // Other tests begin and end threads.
        assert!(
            counted >= 1 && counted.abs_diff(tasks as u64) < 64,
            "{counted} {tasks}"
        );
        assert!(processes.list().expect("a list").contains(&own));
    }
}
