//! Podman in a sandbox, of the system or of a user: no daemon, only commands.

use std::process::Command;

use crate::{Place, Sandbox, Unit, image, run_output, try_run, user};

/// Podman's own defaults are higher than what a test machine without CAP_SYS_RESOURCE may set.
const LIMITS: &str = "--ulimit nofile=1024:1024 --ulimit nproc=1024:1024";

/// The image every test container runs.
const IMAGE: &str = "localhost/nodescope-test:1";

/// Podman's storage, at its default places in the sandbox. Dropping it removes all containers.
#[derive(Debug)]
pub struct Podman {
    sandbox: Sandbox,
    is_rootless: bool,
}

impl Podman {
    /// Podman of the system, with the image imported.
    #[track_caller]
    pub fn start() -> Self {
        let podman = Self {
            sandbox: Sandbox::new(),
            is_rootless: false,
        };
        image::import(&podman.sandbox, podman.client(Place::default()), IMAGE);
        podman
    }

    /// Podman of a user that exists only in the sandbox, with the image imported.
    #[track_caller]
    pub fn start_rootless() -> Self {
        let podman = Self {
            sandbox: Sandbox::new(),
            is_rootless: true,
        };
        user::add(&podman.sandbox);
        image::import(&podman.sandbox, podman.client(Place::default()), IMAGE);
        podman
    }

    /// The user of rootless containers.
    pub fn user_id() -> u32 {
        user::ID
    }

    /// Where it runs.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn client(&self, place: Place<'_>) -> Command {
        let place = Place {
            sandbox: Some(&self.sandbox),
            ..place
        };
        let mut command = if self.is_rootless {
            user::command(place, "podman")
        } else {
            place.command("podman")
        };
        command.args([
            // runc also runs where v1 and v2 hierarchies are mixed; crun refuses.
            "--runtime=runc",
            "--cgroup-manager=cgroupfs",
            "--log-level=error",
            "--events-backend=file",
        ]);
        command.current_dir("/");
        command
    }

    /// `podman WORDS`; its output.
    #[track_caller]
    pub fn run(&self, words: &str) -> String {
        self.run_in(Place::default(), words)
    }

    /// The same in another place.
    #[track_caller]
    pub fn run_in(&self, place: Place<'_>, words: &str) -> String {
        run_output(self.client(place).args(words.split_whitespace()))
    }

    /// A container in the background, in the sandbox's network, that runs the load generator; its id.
    #[track_caller]
    pub fn run_load(&self, options: &str, words: &str) -> String {
        self.make("run --detach", options, words)
    }

    /// The same for a user, in a scope. Without cgroup v2 a user's runtime cannot make cgroups, so systemd's part of it is
    /// played here. The containers must be gone before the scope.
    #[track_caller]
    pub fn run_load_in_scope(&self, options: &str, words: &str) -> Unit {
        let id = self.make("create", options, words);
        let service = format!("/user.slice/user-{0}.slice/user@{0}.service", user::ID);
        let unit = Unit::at(&format!("{service}/user.slice/libpod-{id}.scope"));
        self.run_in(Place::in_unit(&unit), &format!("start {id}"));
        unit
    }

    #[track_caller]
    fn make(&self, how: &str, options: &str, words: &str) -> String {
        self.run(&format!(
            "{how} {LIMITS} --network host {options} {IMAGE} /bin/nodescope-load {words}"
        ))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = try_run(
            self.client(Place::default())
                .args(["rm", "--all", "--force", "--time", "0"]),
        );
    }
}
