//! A Docker daemon in a sandbox.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::wait::DEADLINE;
use crate::{Process, Sandbox, UNPRIVILEGED_GROUP_ID, image, run_output, try_run};

/// The image every test container runs.
const IMAGE: &str = "nodescope-test:1";

/// dockerd with its containerd, its socket in the sandbox. Dropping it removes all its containers first.
#[derive(Debug)]
pub struct Docker {
    daemon: Process,
    sandbox: Sandbox,
}

impl Docker {
    /// With Docker's default directories.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with("{}")
    }

    /// The container id of a container of this name.
    pub fn container_id(name: &str) -> String {
        format!("/docker/{name}")
    }

    /// With a `daemon.json`, which the sensor can read too.
    #[track_caller]
    pub fn start_with(daemon_json: &str) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("/etc/docker/daemon.json", daemon_json);
        let log = sandbox.directory().join("dockerd.log");
        let mut command = sandbox.command("dockerd");
        // The v1 hierarchies of the test machines have no owner that would object; the driver is what a node without
        // systemd has. The proxy is a process a port that nobody needs here.
        command.args([
            "--host",
            "unix:///run/docker.sock",
            "--exec-opt",
            "native.cgroupdriver=cgroupfs",
        ]);
        command.args(["--userland-proxy=false", "--shutdown-timeout", "1"]);
        // A second socket in a directory that is seen from outside too.
        let shared = format!("unix://{}", api_socket(&sandbox).display());
        command.args([
            "--host",
            &shared,
            "--group",
            &UNPRIVILEGED_GROUP_ID.to_string(),
        ]);
        let daemon = Process::start("dockerd", &mut command, &log);
        let mut docker = Self { daemon, sandbox };
        let mut version = docker.client();
        docker.daemon.wait_ready(DEADLINE, version.arg("version"));
        image::import(&docker.sandbox, docker.client(), IMAGE);
        docker
    }

    /// The socket of its API, which the aggregator's group may use: what an administrator does who configures that
    /// source.
    #[track_caller]
    pub fn api_socket(&self) -> PathBuf {
        self.sandbox.let_others_in();
        api_socket(&self.sandbox)
    }

    /// Where it runs.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn client(&self) -> Command {
        let mut command = self.sandbox.command("docker");
        command.args(["--host", "unix:///run/docker.sock"]);
        command
    }

    /// `docker WORDS`, split at spaces; its output.
    #[track_caller]
    pub fn run(&self, words: &str) -> String {
        run_output(self.client().args(words.split_whitespace()))
    }

    /// `docker WORDS` as a command to do more with.
    pub fn command(&self, words: &str) -> Command {
        let mut command = self.client();
        command.args(words.split_whitespace());
        command
    }

    /// A container in the background that runs the load generator with these words; its id.
    #[track_caller]
    pub fn run_load(&self, options: &str, words: &str) -> String {
        self.run(&format!(
            "run --detach {options} {IMAGE} /bin/nodescope-load {words}"
        ))
    }

    /// The container's address in its only network.
    #[track_caller]
    pub fn address_of(&self, container: &str) -> String {
        address_of(self.client(), container)
    }

    /// The image reference as the metrics show it.
    pub fn image(&self) -> &'static str {
        IMAGE
    }

    /// A file of Docker as seen from outside.
    pub fn outside(&self, path: &str) -> std::path::PathBuf {
        self.sandbox.outside(path)
    }
}

fn api_socket(sandbox: &Sandbox) -> PathBuf {
    sandbox.directory().join("docker.sock")
}

/// A container's address in its only network. Docker 29 has no address beside the list of networks any more.
#[track_caller]
pub(crate) fn address_of(mut client: Command, container: &str) -> String {
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    run_output(client.args(["inspect", "--format", address, container]))
}

/// Removes all containers of a daemon, by commands of its client.
pub(crate) fn remove_all(client: impl Fn() -> Command) {
    let ids = try_run(client().args(["ps", "--all", "--quiet"])).stdout;
    let ids = String::from_utf8_lossy(&ids);
    if !ids.trim().is_empty() {
        let _ = try_run(
            client()
                .args(["rm", "--force", "--volumes"])
                .args(ids.split_whitespace()),
        );
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        remove_all(|| self.client());
        for root in crate::hierarchies() {
            // Only when it is empty: another daemon may use the same name.
            let _ = std::fs::remove_dir(root.join(Path::new("docker")));
        }
    }
}
