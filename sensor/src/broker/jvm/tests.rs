//! On files in the real `/tmp`, named after processes that live as long as the test.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::*;

/// A process of ours with a directory `hsperfdata_*` in the node's `/tmp`.
struct Machine {
    process: Child,
    directory: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let process = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let name = format!("/tmp/hsperfdata_nodescope-test-{}", process.id());
        let directory = PathBuf::from(name);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        Self { process, directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.join(self.process.id().to_string())
    }

    fn open(&self) -> Result<String, Refusal> {
        let opened = JvmData::default().open(self.process.id())?;
        let mut text = String::new();
        std::fs::File::from(opened)
            .read_to_string(&mut text)
            .unwrap();
        Ok(text)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn the_file_of_a_process() {
    let machine = Machine::new();
    assert_eq!(machine.open(), Err(Refusal::NotFound), "none yet");
    fs::write(machine.file(), "data").unwrap();
    assert_eq!(machine.open().as_deref(), Ok("data"));
    let own = std::process::id();
    assert_eq!(
        JvmData::default().open(own).err(),
        Some(Refusal::NotFound),
        "another process"
    );
    assert_eq!(
        JvmData::default().open(u32::MAX).err(),
        Some(Refusal::NotFound),
        "no process"
    );
}

#[test]
fn nothing_but_a_plain_file_is_given_out() {
    let machine = Machine::new();
    let target = machine.directory.join("target");
    fs::write(&target, "secret").unwrap();
    symlink(&target, machine.file()).unwrap();
    assert_eq!(machine.open(), Err(Refusal::Forbidden), "a symbolic link");

    fs::remove_file(machine.file()).unwrap();
    fs::hard_link(&target, machine.file()).unwrap();
    assert_eq!(machine.open(), Err(Refusal::Forbidden), "a second name");

    fs::remove_file(machine.file()).unwrap();
    fs::create_dir(machine.file()).unwrap();
    assert_eq!(machine.open(), Err(Refusal::Forbidden), "a directory");

    fs::remove_dir(machine.file()).unwrap();
    let long = fs::File::create(machine.file()).unwrap();
    long.set_len(MAX_BYTES + 1).unwrap();
    assert_eq!(machine.open(), Err(Refusal::Forbidden), "too long");
    long.set_len(MAX_BYTES).unwrap();
    assert!(machine.open().is_ok());
}

#[test]
fn a_directory_that_others_may_change_is_none() {
    let machine = Machine::new();
    fs::write(machine.file(), "data").unwrap();
    for mode in [0o775, 0o757, 0o777] {
        fs::set_permissions(&machine.directory, Permissions::from_mode(mode)).unwrap();
        assert_eq!(machine.open(), Err(Refusal::NotFound), "{mode:o}");
    }
}

#[test]
fn a_link_in_the_place_of_the_directory_is_not_followed() {
    let machine = Machine::new();
    fs::write(machine.file(), "data").unwrap();
    let moved = machine
        .directory
        .with_file_name(format!("nodescope-test-moved-{}", machine.process.id()));
    fs::rename(&machine.directory, &moved).unwrap();
    symlink(&moved, &machine.directory).unwrap();
    let opened = machine.open();
    fs::remove_file(&machine.directory).unwrap();
    fs::rename(&moved, &machine.directory).unwrap();
    assert!(opened.is_err(), "{opened:?}");
    assert_eq!(machine.open().as_deref(), Ok("data"));
}
