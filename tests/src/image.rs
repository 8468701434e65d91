//! A root directory for containers: busybox and the load generator, both static, an empty log and nothing else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::{Sandbox, load_program, run, run_output};

const BUSYBOX: &str = "/usr/bin/busybox";
const APPLETS: [&str; 8] = ["sh", "sleep", "cat", "true", "false", "echo", "ip", "kill"];

/// A log that comes with the image.
pub const SHIPPED_LOG: &str = "/var/log/shipped/app.log";

/// Fills `directory`.
pub fn root_directory(directory: &Path) {
    for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "run"] {
        fs::create_dir_all(directory.join(name)).expect("our own directory");
    }
    let busybox = if Path::new(BUSYBOX).exists() {
        BUSYBOX
    } else {
        "/bin/busybox"
    };
    for (source, name) in [(busybox, "busybox"), (load_program(), "nodescope-load")] {
        let target = directory.join("bin").join(name);
        // Not by us: see Agent::start_with.
        run(Command::new("cp").arg(source).arg(&target));
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).expect("our own file");
    }
    for applet in APPLETS {
        symlink("busybox", directory.join("bin").join(applet)).expect("our own directory");
    }
    fs::write(directory.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")
        .expect("our own directory");
    fs::write(directory.join("etc/group"), "root:x:0:\n").expect("our own directory");
    let log = directory.join(SHIPPED_LOG.trim_start_matches('/'));
    fs::create_dir_all(log.parent().expect("a directory")).expect("our own directory");
    fs::write(log, "").expect("our own directory");
}

/// The same as a tar archive.
pub(crate) fn tar(archive: &Path) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    root_directory(directory.path());
    run(Command::new("tar")
        .arg("-cf")
        .arg(archive)
        .arg("-C")
        .arg(directory.path())
        .arg("."));
}

/// The same as an image `reference`, with the client of Docker or Podman in a sandbox.
#[track_caller]
pub(crate) fn import(sandbox: &Sandbox, mut client: Command, reference: &str) {
    let archive = sandbox.directory().join("image.tar");
    tar(&archive);
    run_output(client.arg("import").arg(&archive).arg(reference));
    let _ = fs::remove_file(&archive);
}

/// The same as an image archive of Docker's format, named `reference`, that sleeps when it is run without a command.
pub(crate) fn docker_archive(archive: &Path, reference: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let layer = directory.path().join("layer.tar");
    tar(&layer);
    let sum = run_output(Command::new("sha256sum").arg(&layer));
    let digest = sum.split_whitespace().next().expect("a digest");
    let config = json!({
        "architecture": go_architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/bin/sleep", "1000000"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest =
        json!([{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]);
    for (name, content) in [("config.json", config), ("manifest.json", manifest)] {
        fs::write(directory.path().join(name), content.to_string()).expect("our own directory");
    }
    run(Command::new("tar")
        .arg("-cf")
        .arg(archive)
        .arg("-C")
        .arg(directory.path())
        .args(["manifest.json", "config.json", "layer.tar"]));
}

/// What images call this machine.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
