//! On files in a directory of the node that this process says to hold.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;

use nodescope_schema::{FileKind, OpenFile, StatFilesystem};

use super::super::mounts::Mounts;
use super::*;
use crate::held_logs::{HeldFile, HeldLog};

struct Node {
    directory: tempfile::TempDir,
    held: HeldLogs,
}

impl Node {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir_in("/var/tmp").unwrap(),
            held: HeldLogs::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Logs of these names, with their numbers, each with one file that is there.
    fn hold(&self, logs: &[(u64, &str)]) {
        let log = |(number, name): &(u64, &str)| {
            let path = self.path(name).into_os_string().into_encoded_bytes();
            let file = HeldFile {
                filesystem: filesystem(),
                inode: fs::symlink_metadata(self.path(name)).unwrap().ino(),
                pid: std::process::id(),
                path: path.clone(),
            };
            let files = vec![file];
            (*number, HeldLog { path, files })
        };
        self.held.set(logs.iter().map(log));
    }

    fn open(&self, number: u64, generation: u32) -> Result<String, Refusal> {
        let query = Query::check(&OpenFile {
            kind: FileKind::HeldLog,
            container: number.to_string().as_bytes(),
            namespace: b"",
            root: b"",
            uid: 0,
            generation,
        });
        let opened = HeldLogFiles::new(self.held.clone()).open(&query.unwrap())?;
        let mut text = String::new();
        File::from(opened).read_to_string(&mut text).unwrap();
        Ok(text)
    }
}

/// That of the directories.
fn filesystem() -> StatFilesystem {
    let mounts = fs::read("/proc/self/mountinfo").unwrap();
    let spot = Mounts::parse(&mounts).spot(Path::new("/var/tmp"));
    spot.unwrap().filesystem
}

#[test]
fn one_of_the_same_number_on_another_file_system_is_not() {
    let node = Node::new();
    node.write("app.log", "now");
    node.hold(&[(7, "app.log")]);
    let mut log = node.held.get(7).unwrap();
    log.files[0].filesystem.minor += 1;
    node.held.set([(7, log)].into_iter());
    assert_eq!(node.open(7, 0), Err(Refusal::NotFound));
}

#[test]
fn the_file_that_is_held_is_opened() {
    let node = Node::new();
    node.write("app.log", "now");
    node.hold(&[(7, "app.log")]);
    assert_eq!(node.open(7, 0).as_deref(), Ok("now"));
    assert_eq!(node.open(8, 0), Err(Refusal::NotFound));
    assert_eq!(node.open(7, 1), Err(Refusal::BadArgument));
}

#[test]
fn another_file_in_its_place_is_not() {
    let node = Node::new();
    node.write("secret", "secret");
    let replacements: [&dyn Fn(&PathBuf); 4] = [
        &|path| fs::write(path, "secret").unwrap(),
        &|path| symlink(node.path("secret"), path).unwrap(),
        &|path| fs::hard_link(node.path("secret"), path).unwrap(),
        &|path| nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)).unwrap(),
    ];
    for replace in replacements {
        node.write("app.log", "now");
        node.hold(&[(7, "app.log")]);
        // Its number is not given to another one as long as it is open.
        let _held = File::open(node.path("app.log")).unwrap();
        fs::remove_file(node.path("app.log")).unwrap();
        replace(&node.path("app.log"));
        assert!(node.open(7, 0).is_err());
        fs::remove_file(node.path("app.log")).unwrap();
    }
}

#[test]
fn a_second_name_is_refused() {
    let node = Node::new();
    node.write("secret", "secret");
    fs::hard_link(node.path("secret"), node.path("app.log")).unwrap();
    node.hold(&[(7, "app.log")]);
    assert_eq!(node.open(7, 0), Err(Refusal::NotFound));
}

#[test]
fn rotated_files_come_by_their_age() {
    let node = Node::new();
    for (age, name) in ["app.log.2", "app.log-20261121", "app-20261120.log"]
        .iter()
        .enumerate()
    {
        node.write(name, name);
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(100 + age as u64);
        File::options()
            .append(true)
            .open(node.path(name))
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    node.write("app.log", "now");
    for other in [
        "app.log.3.gz",
        "app.log.swp",
        "app.log.d",
        "application.log",
        "app.log-x",
    ] {
        node.write(other, other);
    }
    node.hold(&[(7, "app.log")]);
    let all: Vec<_> = (0..5).map(|generation| node.open(7, generation)).collect();
    let file = |name: &str| Ok(name.to_owned());
    assert_eq!(
        all,
        [
            file("now"),
            file("app.log.2"),
            file("app.log-20261121"),
            file("app-20261120.log"),
            Err(Refusal::BadArgument),
        ]
    );
}

#[test]
fn what_is_not_of_the_log_is_no_rotated_file() {
    let node = Node::new();
    node.write("app.log", "now");
    node.write("app.log.1", "of another log");
    node.hold(&[(7, "app.log"), (8, "app.log.1")]);
    assert_eq!(node.open(7, 1), Err(Refusal::BadArgument));
    node.hold(&[(7, "app.log")]);
    assert!(node.open(7, 1).is_ok());

    node.write("secret", "secret");
    fs::remove_file(node.path("app.log.1")).unwrap();
    symlink(node.path("secret"), node.path("app.log.1")).unwrap();
    fs::hard_link(node.path("secret"), node.path("app.log.2")).unwrap();
    fs::create_dir(node.path("app.log.3")).unwrap();
    assert_eq!(node.open(7, 1), Err(Refusal::BadArgument));

    node.write("app.log.4", "of another user");
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(node.path("app.log.4"), Some(1), None).unwrap();
        assert_eq!(node.open(7, 1), Err(Refusal::BadArgument));
    }
}

#[test]
fn a_renamed_file_is_found_by_its_new_name() {
    let node = Node::new();
    node.write("app.log.1", "old");
    let path = |name| node.path(name).into_os_string().into_encoded_bytes();
    let file = HeldFile {
        filesystem: filesystem(),
        inode: fs::metadata(node.path("app.log.1")).unwrap().ino(),
        pid: std::process::id(),
        path: path("app.log.1"),
    };
    let log = HeldLog {
        path: path("app.log"),
        files: vec![file],
    };
    node.held.set([(7, log)].into_iter());
    assert_eq!(node.open(7, 0).as_deref(), Ok("old"));
    assert_eq!(node.open(7, 1), Err(Refusal::BadArgument));
}

#[test]
fn one_that_was_renamed_since_the_walk_is_found_beside() {
    let node = Node::new();
    node.write("app.log", "old");
    node.hold(&[(7, "app.log")]);
    fs::rename(node.path("app.log"), node.path("app.log.1")).unwrap();
    assert_eq!(node.open(7, 0).as_deref(), Ok("old"));
    node.write("app.log", "new");
    assert_eq!(node.open(7, 0).as_deref(), Ok("old"));
    fs::rename(node.path("app.log.1"), node.path("elsewhere")).unwrap();
    assert_eq!(node.open(7, 0), Err(Refusal::NotFound));
}

#[test]
fn a_process_that_is_gone_is_no_way() {
    let node = Node::new();
    node.write("app.log", "now");
    let path = node.path("app.log").into_os_string().into_encoded_bytes();
    let file = HeldFile {
        filesystem: filesystem(),
        inode: fs::metadata(node.path("app.log")).unwrap().ino(),
        pid: u32::MAX,
        path: path.clone(),
    };
    let files = vec![file];
    node.held.set([(7, HeldLog { path, files })].into_iter());
    assert_eq!(node.open(7, 0), Err(Refusal::NotFound));
}
