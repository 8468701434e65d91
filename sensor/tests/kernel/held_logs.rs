//! Files below `/var/log` that this process holds open: those it writes as logs, and no others.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nodescope_schema::Record;
use nodescope_sensor::kernel::{Kernel, Rungs, Source as _};

use super::support::Node;

struct Directory(PathBuf);

impl Directory {
    fn new(parent: &str, test: &str) -> Self {
        let path = Path::new(parent).join(format!("nodescope-{}-{test}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    fn open(&self, name: &str, how: fn(&mut OpenOptions) -> &mut OpenOptions) -> File {
        let mut options = File::options();
        let file = how(options.create(true)).open(self.0.join(name));
        file.expect("a new file")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What is told of this process's files after a walk, as `+PATH INODE` and `-PATH INODE`.
fn rescan(kernel: &mut Kernel, node: &Node) -> Vec<String> {
    kernel.rescan().expect("a walk");
    let mut told = Vec::new();
    let mut take = |record: &Record<'_>| {
        let Record::HeldLog(log) = record else { return };
        if log.workload.cgroup_v2 == node.own.id {
            let sign = if log.open { '+' } else { '-' };
            let path = String::from_utf8_lossy(log.path);
            told.push(format!("{sign}{path} {}", log.inode));
        }
    };
    kernel.poll(&mut take).expect("a poll");
    told.sort();
    told
}

fn line(sign: char, directory: &Directory, name: &str, file: &File) -> String {
    let inode = file.metadata().expect("an open file").ino();
    format!("{sign}{} {inode}", directory.0.join(name).display())
}

#[test]
fn what_is_written_as_a_log_is_told() {
    let Some(node) = Node::new("held") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let directory = Directory::new("/var/log", "held");
    let elsewhere = Directory::new("/var/tmp", "held");
    let logs = [
        ("appended", directory.open("appended", |o| o.append(true))),
        (
            "written",
            directory.open("written", |o| o.write(true).truncate(true)),
        ),
        (
            "both",
            directory.open("both", |o| o.append(true).read(true)),
        ),
    ];
    let _others = [
        directory.open("database", |o| o.write(true).read(true).truncate(true)),
        elsewhere.open("appended", |o| o.append(true)),
        File::open(directory.0.join("written")).expect("our file"),
    ];
    let _twice = directory.open("appended", |o| o.append(true));
    let deleted = directory.open("deleted", |o| o.append(true));
    fs::remove_file(directory.0.join("deleted")).expect("our file");
    let mut expected: Vec<String> = logs
        .iter()
        .map(|(name, file)| line('+', &directory, name, file))
        .collect();
    expected.sort();
    assert_eq!(rescan(&mut kernel, &node), expected);
    assert!(rescan(&mut kernel, &node).is_empty(), "told once");

    let [_, (_, written), _] = logs;
    let gone = line('-', &directory, "written", &written);
    drop(written);
    drop(deleted);
    assert!(rescan(&mut kernel, &node).contains(&gone));
}

#[test]
fn a_long_list_is_told_whole() {
    let Some(node) = Node::new("held-many") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let directory = Directory::new("/var/log", "held-many");
    // More than the kernel keeps before it is read, and than are told of one workload.
    let _files: Vec<File> = (0..200)
        .map(|number| {
            let name = format!("{number}-{}", "x".repeat(200));
            directory.open(&name, |o| o.append(true))
        })
        .collect();
    let refused = |kernel: &mut Kernel| {
        let losses = node.snapshot(kernel).losses;
        let mut totals = losses
            .iter()
            .filter(|(name, _)| name.starts_with("held_logs"));
        totals.next().expect("the loss").1
    };
    let before = refused(&mut kernel);
    assert_eq!(rescan(&mut kernel, &node).len(), 64);
    assert_eq!(refused(&mut kernel) - before, 200 - 64);
}
