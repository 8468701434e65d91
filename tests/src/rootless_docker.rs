//! A Docker daemon of an ordinary user, in a sandbox, in RootlessKit with slirp4netns. Docker's own script for this,
//! `dockerd-rootless.sh`, does the same; Ubuntu does not ship it.
//!
//! Without cgroup v2 as the main hierarchy rootless Docker makes no cgroups. systemd's part, a scope for each container,
//! is then played here: the container's first process waits until it has been moved, and only then runs its load.

use std::process::Command;

use crate::wait::DEADLINE;
use crate::{Place, Process, Sandbox, Unit, docker, image, run_output, user};

const IMAGE: &str = "nodescope-test:1";
/// A network and copies of directories that the daemon writes to.
const ROOTLESSKIT: [&str; 9] = [
    "--net=slirp4netns",
    "--mtu=65520",
    "--slirp4netns-sandbox=auto",
    "--slirp4netns-seccomp=auto",
    "--disable-host-loopback",
    "--port-driver=builtin",
    "--copy-up=/etc",
    "--copy-up=/run",
    "--propagation=rslave",
];
/// Run in there; what is removed are links to what others own.
const DAEMON: &str =
    "rm -f /run/docker /run/containerd /run/xtables.lock; exec dockerd --shutdown-timeout 1";
/// Waits for a sign, then becomes the load generator.
const WAIT: &str = "while [ ! -e /go ]; do sleep 0.05; done; exec /bin/nodescope-load \"$@\"";

/// The daemon. Dropping it removes its containers first.
#[derive(Debug)]
pub struct RootlessDocker {
    daemon: Process,
    sandbox: Sandbox,
}

impl RootlessDocker {
    /// Starts it and imports the image.
    #[track_caller]
    pub fn start() -> Self {
        let sandbox = Sandbox::new();
        user::add(&sandbox);
        // Anybody may open it on most systems, on test machines only root; slirp4netns needs it.
        sandbox.shell("mknod -m 666 /run/tun c 10 200 && mount --bind /run/tun /dev/net/tun");
        let log = sandbox.directory().join("dockerd.log");
        let mut command = user::command(inside(&sandbox), "rootlesskit");
        command.args(ROOTLESSKIT).args(["sh", "-c", DAEMON]);
        let daemon = Process::start("rootless dockerd", &mut command, &log);
        let mut docker = Self { daemon, sandbox };
        let mut version = docker.client();
        docker
            .daemon
            .wait_ready(DEADLINE * 4, version.arg("version"));
        image::import(&docker.sandbox, docker.client(), IMAGE);
        docker
    }

    /// Whose it is.
    pub fn user_id() -> u32 {
        user::ID
    }

    /// The container id of a container of this name.
    pub fn container_id(name: &str) -> String {
        format!("/docker/user-{}/{name}", user::ID)
    }

    /// The image reference as the metrics show it.
    pub fn image(&self) -> &'static str {
        IMAGE
    }

    /// Where it runs.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn client(&self) -> Command {
        let mut command = user::command(inside(&self.sandbox), "docker");
        command.args([
            "--host",
            &format!("unix:///run/user/{}/docker.sock", user::ID),
        ]);
        command
    }

    /// `docker WORDS`, split at spaces; its output.
    #[track_caller]
    pub fn run(&self, words: &str) -> String {
        run_output(self.client().args(words.split_whitespace()))
    }

    /// The container's address in its network.
    #[track_caller]
    pub fn address_of(&self, container: &str) -> String {
        docker::address_of(self.client(), container)
    }

    /// A container in the background that runs the load generator with these words, in a scope as systemd makes it.
    /// The scope must outlive the daemon.
    #[track_caller]
    pub fn run_load(&self, name: &str, words: &str) -> Unit {
        let mut command = self.client();
        command.args([
            "run", "--detach", "--name", name, IMAGE, "/bin/sh", "-c", WAIT, "sh",
        ]);
        let id = run_output(command.args(words.split_whitespace()));
        let service = format!("/user.slice/user-{0}.slice/user@{0}.service", user::ID);
        let unit = Unit::at(&format!("{service}/user.slice/docker-{id}.scope"));
        let pid = self.run(&format!("inspect --format {{{{.State.Pid}}}} {name}"));
        unit.take_in(pid.parse().expect("a pid"));
        self.run(&format!("exec {name} /bin/sh -c :>/go"));
        unit
    }
}

fn inside(sandbox: &Sandbox) -> Place<'_> {
    Place {
        sandbox: Some(sandbox),
        ..Place::default()
    }
}

impl Drop for RootlessDocker {
    fn drop(&mut self) {
        docker::remove_all(|| self.client());
    }
}
