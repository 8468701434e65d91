//! A containerd in a sandbox, with `ctr` as its client.

use std::process::Command;

use crate::wait::DEADLINE;
use crate::{Process, Sandbox, image, run_output, try_run};

/// containerd, state and socket at their default places in the sandbox.
#[derive(Debug)]
pub struct Containerd {
    daemon: Process,
    /// Where it listens, a path inside.
    socket: String,
    sandbox: Sandbox,
}

impl Containerd {
    /// Starts it as it comes.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_in(
            Sandbox::new(),
            "version = 2\n",
            "/run/containerd/containerd.sock",
        )
    }

    /// Starts it with a configuration that makes it listen on `socket`.
    #[track_caller]
    pub(crate) fn start_in(sandbox: Sandbox, config: &str, socket: &str) -> Self {
        sandbox.write("/etc/containerd/config.toml", config);
        let log = sandbox.directory().join("containerd.log");
        let daemon = Process::start("containerd", &mut sandbox.command("containerd"), &log);
        let mut containerd = Self {
            daemon,
            socket: socket.to_owned(),
            sandbox,
        };
        let mut version = containerd.client("default");
        containerd
            .daemon
            .wait_ready(DEADLINE, version.arg("version"));
        containerd
    }

    /// Where it runs.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// `ctr --namespace NAMESPACE`.
    pub fn client(&self, namespace: &str) -> Command {
        let mut command = self.sandbox.command("ctr");
        command.args(["--address", &self.socket, "--namespace", namespace]);
        command
    }

    /// The end of its log.
    pub(crate) fn log_tail(&self) -> String {
        self.daemon.log_tail()
    }

    /// A container from a plain root directory that runs the load generator, in the sandbox's network.
    #[track_caller]
    pub fn run_load(&self, namespace: &str, id: &str, options: &[&str], words: &str) {
        let root = self.sandbox.directory().join(id);
        std::fs::create_dir_all(&root).expect("our own directory");
        image::root_directory(&root);
        let mut command = self.client(namespace);
        command
            .args(["run", "--detach", "--net-host", "--rootfs"])
            .args(options)
            .arg(&root)
            .arg(id);
        run_output(
            command
                .arg("/bin/nodescope-load")
                .args(words.split_whitespace()),
        );
    }

    /// Ends a container and removes it.
    pub fn remove(&self, namespace: &str, id: &str) {
        let _ = try_run(
            self.client(namespace)
                .args(["task", "delete", "--force", id]),
        );
        let _ = try_run(self.client(namespace).args(["container", "delete", id]));
        for root in crate::hierarchies() {
            // Where containers of this namespace were; it stays when another containerd uses it.
            let _ = std::fs::remove_dir(root.join(namespace));
        }
    }
}
