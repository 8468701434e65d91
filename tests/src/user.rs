//! An ordinary user that exists only in a sandbox: with a home, a runtime directory and subordinate ids, as rootless
//! runtimes need.

use std::process::Command;

use crate::{Place, Sandbox};

/// The user's id, and the group's.
pub(crate) const ID: u32 = 4242;
const NAME: &str = "nodescope-test-user";
const HOME: &str = "/var/lib/nodescope-test-user";

/// Adds the user, who can also reach what is in the sandbox's directory.
#[track_caller]
pub(crate) fn add(sandbox: &Sandbox) {
    sandbox.shell(&format!(
        "echo {NAME}:x:{ID}:{ID}::{HOME}:/bin/sh >>/etc/passwd
        echo {NAME}:x:{ID}: >>/etc/group
        echo {NAME}:100000:65536 >>/etc/subuid
        echo {NAME}:100000:65536 >>/etc/subgid
        mkdir -p {HOME} /run/user/{ID}
        chown {ID}:{ID} {HOME} /run/user/{ID}"
    ));
    sandbox.let_others_in();
}

/// `program` as that user, at a place in the sandbox.
pub(crate) fn command(place: Place<'_>, program: &str) -> Command {
    let mut command = place.command("setpriv");
    let id = ID.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "env"]);
    command.arg(format!("HOME={HOME}"));
    command.arg(format!("XDG_RUNTIME_DIR=/run/user/{ID}"));
    command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.arg(program);
    command.current_dir("/");
    command
}
