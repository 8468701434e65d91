//! Logs that processes hold open, as the sensor's records tell them.

use nodescope_schema::HeldLog;

use super::*;
use crate::model::logs::LogJob;

const PATH: &str = "/var/log/web.log";

/// A file of log `number` is held, or not any more.
fn held(number: u64, inode: u64, open: bool) -> Record<'static> {
    Record::HeldLog(HeldLog {
        number,
        workload: WEB,
        path: PATH.as_bytes(),
        inode,
        open,
    })
}

/// Logs to read as the sensor's number and the files that are held.
fn logs(node: &Node) -> Vec<(String, Vec<u64>)> {
    let shown = |job: LogJob| {
        assert_eq!(job.container.as_bytes(), UNIT);
        let place = &job.places[0];
        assert_eq!(&*place.source, PATH);
        let number = String::from_utf8(place.file.container.clone()).unwrap();
        (number, place.held.clone())
    };
    let jobs = node.model.held_logs_to_read();
    jobs.into_iter().map(shown).collect()
}

#[test]
fn files_come_and_go() {
    let mut node = unit_node();
    node.apply(&[held(7, 1, true), held(7, 2, true), held(7, 2, true)]);
    assert_eq!(logs(&node), [("7".to_owned(), vec![1, 2])]);
    node.apply(&[held(7, 1, false)]);
    assert_eq!(logs(&node), [("7".to_owned(), vec![2])]);
    node.apply(&[held(7, 2, false), held(8, 2, false)]);
    assert_eq!(logs(&node), []);
}

#[test]
fn a_log_of_nobody_that_is_known_waits() {
    let mut node = Node::new(Settings::default());
    node.apply(&[held(7, 1, true)]);
    assert_eq!(logs(&node), []);
    node.apply(&[cgroup(10, UNIT), cgroup(110, UNIT), processes(10, 1, 1, 0)]);
    node.resolve("");
    assert_eq!(logs(&node), [("7".to_owned(), vec![1])]);
}

#[test]
fn what_a_snapshot_does_not_mention_is_gone() {
    let mut node = unit_node();
    node.apply(&[held(7, 1, true), held(7, 2, true), held(9, 3, true)]);
    node.model.disconnected();
    assert_eq!(logs(&node).len(), 2, "it stays until the sensor is back");
    node.connect(2);
    // Another run of the sensor has another number for the same log, and the later one comes last.
    node.apply(&[
        Record::SnapshotBegin,
        cgroup(10, UNIT),
        cgroup(110, UNIT),
        processes(10, 1, 1, 0),
        held(50, 2, true),
    ]);
    assert_eq!(logs(&node).last(), Some(&("50".to_owned(), vec![2])));
    node.apply(&[Record::SnapshotEnd]);
    assert_eq!(logs(&node), [("50".to_owned(), vec![2])]);
}

#[test]
fn there_is_a_bound() {
    let mut node = unit_node();
    for number in 0..5_000 {
        node.apply(&[held(number, number, true)]);
    }
    for inode in 0..100 {
        node.apply(&[held(0, inode, true)]);
    }
    let logs = logs(&node);
    assert_eq!((logs.len(), logs[0].1.len()), (4096, 64));
}
