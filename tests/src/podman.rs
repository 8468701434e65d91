//! Podman in a sandbox: no daemon, only commands.

use std::process::Command;

use crate::{Sandbox, image, run_output, try_run};

/// Podman's own defaults are higher than what a test machine without CAP_SYS_RESOURCE may set.
const LIMITS: &str = "--ulimit nofile=1024:1024 --ulimit nproc=1024:1024";

/// The image every test container runs.
const IMAGE: &str = "localhost/nodescope-test:1";

/// Podman's storage, at its default places in the sandbox. Dropping it removes all containers.
#[derive(Debug)]
pub struct Podman {
    sandbox: Sandbox,
}

impl Podman {
    /// Makes the sandbox and imports the image.
    #[track_caller]
    pub fn start() -> Self {
        let podman = Self {
            sandbox: Sandbox::new(),
        };
        let archive = podman.sandbox.directory().join("image.tar");
        image::tar(&archive);
        run_output(podman.client().arg("import").arg(&archive).arg(IMAGE));
        podman
    }

    /// Where it runs.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn client(&self) -> Command {
        let mut command = self.sandbox.command("podman");
        command.args([
            // runc also runs where v1 and v2 hierarchies are mixed; crun refuses.
            "--runtime=runc",
            "--cgroup-manager=cgroupfs",
            "--log-level=error",
            "--events-backend=file",
        ]);
        command
    }

    /// `podman WORDS`; its output.
    #[track_caller]
    pub fn run(&self, words: &str) -> String {
        run_output(self.client().args(words.split_whitespace()))
    }

    /// A container in the background, in the sandbox's network, that runs the load generator; its id.
    #[track_caller]
    pub fn run_load(&self, options: &str, words: &str) -> String {
        self.run(&format!(
            "run --detach {LIMITS} --network host {options} {IMAGE} /bin/nodescope-load {words}"
        ))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = try_run(
            self.client()
                .args(["rm", "--all", "--force", "--time", "0"]),
        );
    }
}
