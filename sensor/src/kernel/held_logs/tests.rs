use nodescope_ebpf::abi::{Decode as _, HeldLog, LOG_PATH_BYTES, WorkloadKey};

use super::*;

/// What the program prints for a file.
fn found(cgroup_v2: u64, inode: u64, pid: u32, path: &str) -> HeldLog {
    let mut bytes = Vec::new();
    for word in [cgroup_v2, 0, inode] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(8_u32.to_ne_bytes());
    bytes.extend(pid.to_ne_bytes());
    let mut text = [0; LOG_PATH_BYTES];
    text[..path.len()].copy_from_slice(path.as_bytes());
    bytes.extend(text);
    HeldLog::from_bytes(&bytes).expect("the size")
}

/// News as `+LOG PATH INODE` and `-LOG PATH INODE`.
fn told(table: &mut LogTable, all: bool) -> Vec<String> {
    let mut told = Vec::new();
    table.poll(all, &mut |record| {
        let Record::HeldLog(log) = record else {
            panic!("{record:?}")
        };
        let sign = if log.open { '+' } else { '-' };
        let path = String::from_utf8_lossy(log.path);
        told.push(format!("{sign}{} {path} {}", log.number, log.inode));
    });
    told
}

#[test]
fn what_is_held_is_told_once() {
    let mut table = LogTable::new(100);
    let scan = [
        found(1, 11, 5, "/var/log/a.log"),
        found(1, 11, 6, "/var/log/a.log"),
        found(2, 11, 7, "/var/log/a.log"),
        found(1, 12, 5, "/var/log/b/c"),
    ];
    table.update(scan.into_iter());
    let all = [
        "+100 /var/log/a.log 11",
        "+101 /var/log/a.log 11",
        "+102 /var/log/b/c 12",
    ];
    assert_eq!(told(&mut table, false), all);
    table.update(scan.into_iter());
    assert!(told(&mut table, false).is_empty());
    assert_eq!(told(&mut table, true), all, "a new client");
    table.update(scan.into_iter().skip(2));
    assert_eq!(told(&mut table, false), ["-100 /var/log/a.log 11"]);
    assert_eq!(table.shared.get(100), None);
    assert_eq!(table.shared.get(101).expect("it is held").files[0].pid, 7);
}

#[test]
fn a_renamed_file_stays_of_its_log() {
    let mut table = LogTable::new(1);
    table.update([found(1, 11, 5, "/var/log/a.log")].into_iter());
    told(&mut table, false);
    let renamed = found(1, 11, 5, "/var/log/a.log.1");
    table.update([renamed].into_iter());
    assert!(told(&mut table, false).is_empty());
    let log = table.shared.get(1).expect("it is held");
    assert_eq!(log.path, b"/var/log/a.log");
    assert_eq!(log.files[0].path, b"/var/log/a.log.1");

    table.update([found(1, 12, 5, "/var/log/a.log"), renamed].into_iter());
    assert_eq!(told(&mut table, false), ["+1 /var/log/a.log 12"]);
    let files = table.shared.get(1).expect("it is held").files;
    assert_eq!(
        (files[0].inode, files[1].inode),
        (11, 12),
        "the newest last"
    );
    let filesystem = convert::filesystem(8);
    let is_of_another = |number| table.shared.is_of_another(number, filesystem, 11);
    assert!(!is_of_another(1) && is_of_another(2));
    let elsewhere = convert::filesystem(9);
    assert!(!table.shared.is_of_another(2, elsewhere, 11));

    table.update([found(1, 12, 5, "/var/log/a.log")].into_iter());
    assert_eq!(told(&mut table, false), ["-1 /var/log/a.log 11"]);
}

#[test]
fn one_that_was_closed_and_comes_back_is_a_new_one() {
    let mut table = LogTable::new(1);
    let scan = found(1, 11, 5, "/var/log/a.log");
    table.update([scan].into_iter());
    table.update(std::iter::empty());
    table.update([scan].into_iter());
    assert_eq!(
        told(&mut table, false),
        [
            "+1 /var/log/a.log 11",
            "-1 /var/log/a.log 11",
            "+2 /var/log/a.log 11"
        ]
    );
}

#[test]
fn logs_that_are_read_another_way_are_left_out() {
    let mut table = LogTable::new(1);
    let paths = [
        "/var/log/pods/a/b/0.log",
        "/var/log/containers/x.log",
        "/var/log/journal/1/system.journal",
    ];
    table.update(paths.iter().map(|path| found(1, 11, 5, path)));
    assert!(told(&mut table, false).is_empty());
}

#[test]
fn no_workload_takes_all_the_room() {
    let mut table = LogTable::new(1);
    let many = |cgroup: u64| {
        let file = move |inode| found(cgroup, inode, 5, &format!("/var/log/{inode}"));
        (0..100).map(file)
    };
    table.update((0..20).flat_map(many));
    assert_eq!(told(&mut table, false).len(), MAX_LOGS);
    let kept = |cgroup| {
        let of_it = table
            .logs
            .values()
            .filter(|log| log.key.0.cgroup_v2 == cgroup);
        of_it.count()
    };
    assert!((0..16).all(|cgroup| kept(cgroup) == MAX_LOGS_OF_WORKLOAD));
    assert_eq!(table.loss().total, 2000 - MAX_LOGS as u64);
}

#[test]
fn files_that_are_never_closed_have_a_bound() {
    let mut table = LogTable::new(1);
    let mut held = Vec::new();
    for inode in 0..20 {
        held.push(found(1, inode, 5, "/var/log/a.log"));
        table.update(held.iter().copied());
    }
    assert_eq!(
        table.shared.get(1).expect("it is held").files.len(),
        MAX_FILES
    );
    assert!(table.loss().total >= 4);
    let workload = WorkloadKey {
        cgroup_v2: 1,
        cgroup_v1: 0,
    };
    assert!(!table.by_file.contains_key(&(workload, 8, 19)));
}

#[test]
fn a_file_that_is_seen_as_a_rotated_one_first_waits_for_the_next_walk() {
    let mut table = LogTable::new(1);
    let rotated = found(1, 11, 5, "/var/log/a.log.1");
    let with_suffix = found(1, 12, 5, "/var/log/b-20261122.log");
    let other = found(1, 13, 5, "/var/log/c.20261122");
    table.update([rotated, with_suffix, other].into_iter());
    assert!(told(&mut table, false).is_empty());
    // Two writers have opened the new ones; the other program writes to files with such names.
    let new = [
        found(1, 14, 5, "/var/log/a.log"),
        found(1, 15, 5, "/var/log/b.log"),
    ];
    table.update(new.into_iter().chain([other]));
    let told = told(&mut table, false);
    let expected = [
        "+1 /var/log/a.log 14",
        "+2 /var/log/b.log 15",
        "+3 /var/log/c.20261122 13",
    ];
    assert_eq!(told, expected);
}
