//! Mounts and a network of their own for container daemons: nothing of theirs outlives the test or meets another test.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Process, eventually, run};

/// An address in every sandbox that is not loopback, for load between processes and containers of one sandbox.
const ADDRESS: &str = "10.214.0.1";

/// A process that keeps a mount namespace and a network namespace. In them `/run`, `/var/lib` and `/var/log` are empty,
/// `/etc` can be written without the host seeing it, and [`Sandbox::address`] is a local address.
#[derive(Debug)]
pub struct Sandbox {
    keeper: Process,
    directory: TempDir,
}

impl Sandbox {
    /// Makes one.
    #[track_caller]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("nodescope-sandbox")
            .tempdir()
            .expect("a temporary directory");
        let path = directory.path().display();
        let ready = directory.path().join("ready");
        let script = format!(
            "set -e
            mkdir {path}/scratch
            mount -t tmpfs sandbox {path}/scratch
            mkdir {path}/scratch/etc {path}/scratch/etc.work
            mount -t overlay overlay -o lowerdir=/etc,upperdir={path}/scratch/etc,workdir={path}/scratch/etc.work /etc
            mount -t tmpfs -o mode=755 sandbox-run /run
            mount -t tmpfs -o mode=755 sandbox-lib /var/lib
            mount -t tmpfs -o mode=755 sandbox-log /var/log
            mkdir -p /run/lock /etc/docker /etc/containers /etc/cni/net.d
            ip link set lo up
            ip address add {ADDRESS}/32 dev lo
            touch {}
            exec sleep infinity",
            ready.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--", "sh", "-c", &script]);
        let mut keeper = Process::start("sandbox", &mut command, &directory.path().join("log"));
        eventually("the sandbox is made", || {
            assert!(keeper.is_alive(), "{}", keeper.log_tail());
            ready.exists().then_some(())
        });
        Self { keeper, directory }
    }

    /// Whose namespaces they are.
    pub fn pid(&self) -> u32 {
        self.keeper.pid()
    }

    /// A directory on the host that is also seen inside.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Lets other users reach what is in that directory.
    #[track_caller]
    pub fn let_others_in(&self) {
        let reachable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.directory(), reachable).expect("our own directory");
    }

    /// A local address inside that is not loopback.
    pub fn address(&self) -> &'static str {
        ADDRESS
    }

    /// A path inside as it is reached from outside.
    pub fn outside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid()))
    }

    /// What to put before a command to run it inside.
    pub fn enter_words(&self) -> Vec<String> {
        let pid = self.pid();
        let mut words = vec!["nsenter".to_owned()];
        words.push(format!("--mount=/proc/{pid}/ns/mnt"));
        words.push(format!("--net=/proc/{pid}/ns/net"));
        words.push("--".to_owned());
        words
    }

    /// A command inside.
    pub fn command(&self, program: &str) -> Command {
        let words = self.enter_words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program).stdin(Stdio::null());
        command
    }

    /// Writes a file inside.
    #[track_caller]
    pub fn write(&self, path: &str, content: &str) {
        let outside = self.outside(path);
        let parent = outside.parent().expect("a file has a directory");
        std::fs::create_dir_all(parent).unwrap_or_else(|error| panic!("{path}: {error}"));
        std::fs::write(&outside, content).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A shell line inside that must succeed.
    #[track_caller]
    pub fn shell(&self, line: &str) {
        run(self.command("sh").args(["-c", line]));
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}
