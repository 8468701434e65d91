//! Real journal files, made by systemd-journal-remote from its export format. `make test` installs it as root only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nodescope_journal::{Field, Journal, Library, MAX_FIELD_BYTES};
use nodescope_tests::{JournalDirectory, require_root};

/// Entries `from..to` of one service.
fn entries(from: u64, to: u64) -> impl Iterator<Item = Vec<(&'static str, String)>> {
    (from..to).map(|number| {
        vec![
            ("PRIORITY", (number % 8).to_string()),
            ("_SYSTEMD_UNIT", "api.service".to_owned()),
            ("_SYSTEMD_CGROUP", "/system.slice/api.service".to_owned()),
            ("MESSAGE", format!("line {number}")),
        ]
    })
}

fn open(directory: &Path) -> Journal {
    Journal::open_directory(Arc::new(Library::load().unwrap()), directory).unwrap()
}

fn message(journal: &mut Journal) -> String {
    let mut value = Vec::new();
    assert!(journal.read_field(Field::MESSAGE, &mut value).unwrap());
    String::from_utf8(value).unwrap()
}

#[test]
fn every_entry_is_read_once_and_in_order() {
    require_root!();
    const ENTRIES: u64 = 100_000;
    let directory = JournalDirectory::new();
    directory.add(entries(0, ENTRIES));
    let mut journal = open(directory.path());
    journal.seek_head().unwrap();
    let mut value = Vec::new();
    for number in 0..ENTRIES {
        assert!(journal.advance().unwrap(), "entry {number}");
        assert_eq!(message(&mut journal), format!("line {number}"));
        assert!(journal.read_field(Field::PRIORITY, &mut value).unwrap());
        assert_eq!(value, (number % 8).to_string().as_bytes());
        assert!(journal.read_field(Field::CGROUP, &mut value).unwrap());
        assert_eq!(value, b"/system.slice/api.service");
        assert!(!journal.read_field(Field::CONTAINER_ID, &mut value).unwrap());
        assert!(value.is_empty());
    }
    assert!(!journal.advance().unwrap());
}

#[test]
fn the_end_is_behind_what_is_there_and_before_what_comes() {
    require_root!();
    let directory = JournalDirectory::new();
    directory.add(entries(0, 10));
    let mut journal = open(directory.path());
    journal.seek_end().unwrap();
    assert!(!journal.advance().unwrap());
    directory.add(entries(10, 12));
    wait_for_entry(&mut journal);
    assert_eq!(message(&mut journal), "line 10");
    assert!(journal.advance().unwrap());
    assert_eq!(message(&mut journal), "line 11");
    assert!(!journal.advance().unwrap());
}

#[test]
fn the_end_of_an_empty_directory_is_before_all_that_comes() {
    require_root!();
    let directory = JournalDirectory::new();
    let mut journal = open(directory.path());
    journal.seek_end().unwrap();
    assert!(!journal.advance().unwrap());
    directory.add(entries(0, 2));
    wait_for_entry(&mut journal);
    assert_eq!(message(&mut journal), "line 0");
}

#[test]
fn a_cursor_goes_on_where_it_stopped() {
    require_root!();
    let directory = JournalDirectory::new();
    directory.add(entries(0, 10));
    let mut journal = open(directory.path());
    journal.seek_head().unwrap();
    for _ in 0..4 {
        assert!(journal.advance().unwrap());
    }
    let cursor = journal.cursor().unwrap();
    let mut later = open(directory.path());
    later.seek_after(&cursor).unwrap();
    assert!(later.advance().unwrap());
    assert_eq!(message(&mut later), "line 4");
}

#[test]
fn a_cursor_whose_entry_is_gone_goes_on_with_the_next_one() {
    require_root!();
    let directory = JournalDirectory::new();
    directory.add(entries(0, 10));
    directory.add(entries(10, 20));
    let mut journal = open(directory.path());
    journal.seek_head().unwrap();
    for _ in 0..5 {
        assert!(journal.advance().unwrap());
    }
    let cursor = journal.cursor().unwrap();
    drop(journal);
    std::fs::remove_file(directory.path().join("0.journal")).unwrap();
    let mut later = open(directory.path());
    later.seek_after(&cursor).unwrap();
    assert!(later.advance().unwrap());
    assert_eq!(message(&mut later), "line 10");
}

#[test]
fn what_is_no_cursor_is_refused() {
    require_root!();
    let directory = JournalDirectory::new();
    let mut journal = open(directory.path());
    assert!(journal.seek_after("nonsense").is_err());
    assert!(journal.seek_after("s=\0").is_err());
}

#[test]
fn a_long_field_is_cut() {
    require_root!();
    let directory = JournalDirectory::new();
    let long = "x".repeat(300_000);
    directory.add([vec![("MESSAGE", long)]]);
    let mut journal = open(directory.path());
    journal.seek_head().unwrap();
    assert!(journal.advance().unwrap());
    assert_eq!(message(&mut journal).len(), MAX_FIELD_BYTES);
    for bytes in [70_000, 1, 300_000] {
        journal.set_max_field_bytes(bytes).unwrap();
        assert_eq!(message(&mut journal).len(), bytes);
    }
    journal.set_max_field_bytes(300_001).unwrap();
    assert_eq!(message(&mut journal).len(), 300_000);
}

#[test]
fn damaged_files_are_no_reason_to_stop() {
    require_root!();
    let directory = JournalDirectory::new();
    directory.add(entries(0, 100));
    let path = directory.path().join("0.journal");
    let good = std::fs::read(&path).unwrap();
    for (number, place) in (0..good.len().min(60_000)).step_by(997).enumerate() {
        let mut bad = good.clone();
        let end = (place + 64).min(bad.len());
        bad[place..end].fill(0xff);
        std::fs::write(directory.path().join(format!("bad{number}.journal")), bad).unwrap();
    }
    std::fs::write(
        directory.path().join("cut.journal"),
        &good[..good.len() / 3],
    )
    .unwrap();
    let mut journal = open(directory.path());
    journal.seek_head().unwrap();
    let mut value = Vec::new();
    let mut steps = 0;
    // Errors are reported and not fatal; what counts is that it ends and nothing crashes.
    while steps < 1_000_000 {
        steps += 1;
        match journal.advance() {
            Ok(true) => {
                let _damaged = journal.read_field(Field::MESSAGE, &mut value);
            }
            Ok(false) | Err(_) => break,
        }
    }
    assert!(steps < 1_000_000);
}

fn wait_for_entry(journal: &mut Journal) {
    for _ in 0..100 {
        if journal.advance().unwrap() {
            return;
        }
        journal.wait(Duration::from_millis(100)).unwrap();
    }
    panic!("no entry came");
}
