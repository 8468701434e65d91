//! A file system that never answers, as that of a dead server: FUSE whose other side reads no request.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::Sandbox;

/// The mount, in a sandbox. Dropping it ends the waits of all who asked.
#[derive(Debug)]
pub struct HangingFilesystem {
    _requests: File,
}

impl HangingFilesystem {
    /// Mounts it at a directory that exists.
    #[track_caller]
    pub fn mount(sandbox: &Sandbox, point: &str) -> Self {
        let namespace = PathBuf::from(format!("/proc/{}/ns/mnt", sandbox.pid()));
        let point = PathBuf::from(point);
        // A thread of its own, which never comes back from that namespace.
        let requests = std::thread::spawn(move || mount_in(&namespace, &point));
        Self {
            _requests: requests.join().expect("the mount is made"),
        }
    }
}

fn mount_in(namespace: &Path, point: &Path) -> File {
    let requests = File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .expect("/dev/fuse");
    let namespace = File::open(namespace).expect("the sandbox's namespace");
    unshare(CloneFlags::CLONE_FS).expect("a root directory of its own");
    setns(namespace, CloneFlags::CLONE_NEWNS).expect("the sandbox can be entered");
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
        requests.as_raw_fd()
    );
    mount(
        Some("hanging"),
        point,
        Some("fuse"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .expect("FUSE can be mounted");
    requests
}
