//! A running sensor and what `/proc` says of it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodescope_schema::Refusal;

use super::{CLIENT, DAEMON, PATIENCE, Peer};

/// A running sensor; killed when dropped.
pub(crate) struct Sensor {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) child: Child,
}

impl Sensor {
    /// Starts one with these further flags and waits until it listens.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(directory.path().join("host/etc")).unwrap();
        fs::copy("/etc/passwd", directory.path().join("host/etc/passwd")).unwrap();
        let child = command(directory.path()).args(flags).spawn().unwrap();
        let mut sensor = Self { directory, child };
        sensor.wait_until_ready();
        sensor
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains("nodescope-sensor: ready\n") {
            assert_eq!(self.child.try_wait().unwrap(), None, "{}", self.log());
            assert!(Instant::now() < deadline, "{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("run/sensor.sock")
    }

    /// Where the sensor looks for files of the node.
    pub(crate) fn host(&self) -> PathBuf {
        self.directory.path().join("host")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn is_up(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end, and returns its exit status.
    pub(crate) fn end(&mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.child.id()))
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        self.kib("VmRSS:")
    }

    /// A field of `/proc/PID/status` that is in KiB.
    pub(crate) fn kib(&self, field: &str) -> u64 {
        let text = self.status(field);
        text.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn status(&self, field: &str) -> String {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .unwrap();
        line.trim_start_matches(':').trim().to_owned()
    }

    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Processor time used so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).unwrap();
        let after_name = stat.rsplit_once(") ").unwrap().1;
        let fields: Vec<&str> = after_name.split(' ').collect();
        let ticks: u64 = fields[11..=12]
            .iter()
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum();
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
            .unwrap()
            .unwrap();
        Duration::from_millis(ticks * 1000 / per_second as u64)
    }

    /// A good client is still served: it gets a snapshot and a file.
    pub(crate) fn serves(&mut self) {
        assert!(self.is_up(), "{}", self.log());
        self.put("etc/docker/daemon.json", "good");
        let mut peer = Peer::greeted(self);
        peer.wait_for_snapshot();
        // The attack may have used up what may be asked in this second.
        for id in 0.. {
            match peer.open(id, &DAEMON) {
                Ok(text) => return assert_eq!(text, "good"),
                Err(Refusal::RateLimited) if id < 20 => {
                    std::thread::sleep(Duration::from_millis(100))
                }
                Err(refusal) => panic!("{refusal}: {}", self.log()),
            }
        }
    }

    /// Puts a file of root into the node's file system.
    pub(crate) fn put(&self, path: &str, text: &str) -> PathBuf {
        let path = self.host().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sensor's command, with its log, socket and node in `directory`.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nodescope-sensor"));
    command
        .args(["--client-user", CLIENT, "--socket"])
        .arg(directory.join("run/sensor.sock"))
        .arg("--host-root")
        .arg(directory.join("host"))
        .stdin(Stdio::null())
        .stderr(
            File::options()
                .create(true)
                .append(true)
                .open(directory.join("log"))
                .unwrap(),
        );
    command
}
