//! Block devices with a file behind them.

use nix::sys::stat::{major, minor, stat};
use tempfile::NamedTempFile;

use crate::{Agent, run, run_output};

/// One of zeros, gone when dropped.
#[derive(Debug)]
pub struct LoopDevice {
    path: String,
    _file: NamedTempFile,
}

impl LoopDevice {
    /// One of this size.
    #[track_caller]
    pub fn new(bytes: u64) -> Self {
        let file = NamedTempFile::new_in("/var/tmp").expect("a file on a disk");
        file.as_file().set_len(bytes).expect("to make it longer");
        let mut losetup = Agent::here().command("losetup");
        let path = run_output(losetup.args(["--find", "--show"]).arg(file.path()));
        Self {
            path: path.trim().to_owned(),
            _file: file,
        }
    }

    /// `/dev/loopN`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// For [`crate::Unit::limit`]: bytes a second that a cgroup may `read` or `write`.
    #[track_caller]
    pub fn limits(&self, way: &str, bytes: u64) -> (String, String) {
        let number = stat(self.path.as_str()).expect("the device").st_rdev;
        let number = format!("{}:{}", major(number), minor(number));
        let v1 = format!("blkio.throttle.{way}_bps_device {number} {bytes}");
        (v1, format!("io.max {number} {}bps={bytes}", &way[..1]))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let mut losetup = Agent::here().command("losetup");
        run(losetup.args(["--detach", &self.path]));
    }
}
