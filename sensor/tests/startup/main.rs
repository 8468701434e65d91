//! How the sensor starts and ends: exit statuses, the one line it says, and what it leaves behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod examiner;
mod followers;
mod lacking;
mod life;
mod refusals;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

const SENSOR: &str = env!("CARGO_BIN_EXE_nodescope-sensor");

fn output(flags: &[&str]) -> Output {
    Command::new(SENSOR).args(flags).output().unwrap()
}

/// The sensor ends with this status and says one line, which holds these words.
fn refuses(command: &mut Command, status: i32, words: &[&str]) {
    let output = command
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("nodescope-sensor: "), "{line}");
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
    }
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(directory.path().join("host")).unwrap();
    directory
}
