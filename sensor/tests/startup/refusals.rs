//! What it refuses to start with.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::common::{CLIENT, CLIENT_ID, Sensor, command, is_root};
use crate::{SENSOR, directory, output, refuses};

#[test]
fn help_and_version_need_nothing() {
    let help = output(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("--check") && help.contains("  77 "), "{help}");
    let version = output(&["--version"]).stdout;
    let wanted = concat!("nodescope-sensor ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(String::from_utf8(version).unwrap(), wanted);
}

#[test]
fn wrong_flags_are_64() {
    refuses(
        Command::new(SENSOR).arg("--nonsense"),
        64,
        &["--nonsense", "--help"],
    );
    refuses(
        Command::new(SENSOR).args(["--poll-interval-ms", "0"]),
        64,
        &["--poll-interval-ms", "100"],
    );
}

#[test]
fn another_user_than_root_is_77() {
    if !is_root() {
        return;
    }
    // The binary may lie where that user cannot go.
    let directory = directory();
    let copy = directory.path().join("sensor");
    fs::copy(SENSOR, &copy).unwrap();
    refuses(
        Command::new(&copy).uid(CLIENT_ID),
        77,
        &["run as root", "CAP_BPF", "CAP_NET_ADMIN"],
    );
    refuses(
        Command::new(&copy).arg("--check").uid(CLIENT_ID),
        77,
        &["run as root"],
    );
}

#[test]
fn what_does_not_exist_is_64() {
    if !is_root() {
        return;
    }
    let directory = directory();
    let no_user = ["--client-user", "nobody-of-that-name"];
    refuses(
        command(directory.path()).args(no_user),
        64,
        &["nobody-of-that-name", "--client-user"],
    );
    refuses(
        command(directory.path()).args(["--host-root", "/nowhere"]),
        64,
        &["/nowhere"],
    );
}

#[test]
fn a_socket_that_cannot_be_made_is_73() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut second = Command::new(SENSOR);
    second
        .args(["--client-user", CLIENT, "--socket"])
        .arg(sensor.socket());
    refuses(&mut second, 73, &["in use", "another sensor"]);
    sensor.serves();

    let directory = directory();
    let taken = directory.path().join("taken");
    fs::write(&taken, "mine").unwrap();
    let at = |path: &Path| {
        let mut command = command(directory.path());
        command.arg("--socket").arg(path);
        command
    };
    refuses(&mut at(&taken), 73, &["taken", "not a socket"]);
    assert_eq!(fs::read(&taken).unwrap(), b"mine");
    refuses(
        &mut at(&directory.path().join("a/b/sock")),
        73,
        &["cannot create", "a/b"],
    );
    let open = directory.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    refuses(&mut at(&open.join("sock")), 73, &["not safe"]);
    refuses(
        command(directory.path()).arg("--record").arg(&taken),
        73,
        &["taken", "exists"],
    );
    assert!(
        !directory.path().join("run/sensor.sock").exists(),
        "left behind"
    );
}
