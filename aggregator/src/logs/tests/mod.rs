//! A log in a directory, rotated in every way there is, read by turns of a clock that the test moves.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use nodescope_logs::decode::Format;
use nodescope_schema::{FileKind, Refusal};

mod held;

use super::chain::{self, ChainError, Want};
use super::kinds::LogPlace;
use super::open::{FileBudget, since_1970_ms};
use super::positions::Mark;
use super::settings::LogSettings;
use super::tail::Tail;
use crate::containers::{FileOpener, OpenError, OpenFuture, OwnedOpenFile};

/// Generations of a log in a directory: `log`, `log.1` and so on.
struct Directory(PathBuf);

impl FileOpener for Directory {
    fn open(&self, file: OwnedOpenFile) -> OpenFuture<'_> {
        let path = generation(&self.0, file.generation);
        Box::pin(async move { File::open(path).map_err(|_| OpenError::Refused(Refusal::NotFound)) })
    }
}

fn generation(directory: &std::path::Path, generation: u32) -> PathBuf {
    match generation {
        0 => directory.join("log"),
        older => directory.join(format!("log.{older}")),
    }
}

/// A log with its writer and its reader.
struct Node {
    directory: tempfile::TempDir,
    now_ms: u64,
    since_ms: u64,
    files: Arc<FileBudget>,
    format: Format,
    tail: Tail,
    /// How far an earlier reader noted to have come.
    saved: Option<Mark>,
    counted: u64,
    written: u64,
}

const SECOND_MS: u64 = 1_000;

impl Node {
    fn new() -> Self {
        Self::with_format(Format::Plain)
    }

    fn with_format(format: Format) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            directory,
            now_ms: 0,
            since_ms: 0,
            files: FileBudget::new(100),
            format,
            tail: tail(format),
            saved: None,
            counted: 0,
            written: 0,
        }
    }

    fn path(&self, index: u32) -> PathBuf {
        generation(self.directory.path(), index)
    }

    fn append(&self, text: &str) {
        let mut options = File::options();
        let mut file = options
            .append(true)
            .create(true)
            .open(self.path(0))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Appends lines, each a message of its own.
    fn log(&mut self, lines: u64) {
        for _ in 0..lines {
            self.written += 1;
            self.append(&line(self.written));
        }
    }

    /// Renames every generation to the next, the newest last.
    fn rotate(&self) {
        for index in (0..9).rev() {
            let _ = fs::rename(self.path(index), self.path(index + 1));
        }
    }

    /// Copies the log to the next generation and empties it.
    fn copy_and_truncate(&self) {
        for index in (1..9).rev() {
            let _ = fs::rename(self.path(index), self.path(index + 1));
        }
        fs::copy(self.path(0), self.path(1)).unwrap();
        self.truncate();
    }

    fn truncate(&self) {
        let file = File::options().write(true).open(self.path(0)).unwrap();
        file.set_len(0).unwrap();
    }

    /// One turn of the reader: ask, read, count.
    async fn turn(&mut self) {
        self.now_ms += SECOND_MS;
        let opener = Directory(self.directory.path().to_owned());
        while let Some(want) = self.tail.want(self.now_ms, || self.saved, self.since_ms) {
            let log = self.tail.places()[0].file.clone();
            match chain::find(&opener, &log, &self.files, want).await {
                Ok(found) => {
                    let limits = LogSettings::default().limits();
                    self.tail.found(0, found, limits, self.now_ms).unwrap();
                }
                Err(error) => self.tail.not_found(&error, self.now_ms),
            }
            self.read(u64::MAX);
        }
        self.read(u64::MAX);
        self.tail.settle(self.now_ms).unwrap();
        self.count();
    }

    fn read(&mut self, max: u64) {
        let mut buffer = Vec::new();
        while self
            .tail
            .read(max, self.now_ms, &mut buffer)
            .unwrap()
            .is_some()
        {}
    }

    fn count(&mut self) {
        let counts = self.tail.take_counts();
        self.counted += counts.iter().map(|count| count.messages).sum::<u64>();
    }

    async fn turns(&mut self, turns: u32) {
        for _ in 0..turns {
            self.turn().await;
        }
    }

    /// Notes how far the reader came and gets a new one.
    fn restart(&mut self) {
        self.count();
        let position = self.tail.position().unwrap();
        let at_ms = since_1970_ms(SystemTime::now());
        self.saved = position.map(|position| Mark { position, at_ms });
        self.tail = tail(self.format);
    }

    /// Enough turns for whatever waits, and then every line is counted once.
    async fn is_exact(&mut self) {
        self.turns(40).await;
        assert_eq!(self.counted, self.written);
    }

    fn gaps(&self) -> u64 {
        let report = self.tail.report();
        report.rotated_gaps + report.truncated_gaps
    }
}

fn tail(format: Format) -> Tail {
    let file = OwnedOpenFile::of_kind(FileKind::DockerJsonLog);
    let place = LogPlace::of_runtime(format, file);
    Tail::new("test".into(), vec![place], 1 << 20, 0)
}

fn line(number: u64) -> String {
    format!("2024-01-05T10:00:00.{number:06} ERROR the disk is full\n")
}

#[tokio::test]
async fn a_growing_file() {
    let mut node = Node::new();
    node.turn().await;
    for lines in [1, 0, 1000, 0, 3] {
        node.log(lines);
        node.turn().await;
    }
    node.is_exact().await;
    assert_eq!(node.gaps(), 0);
}

#[tokio::test]
async fn renamed_with_unread_lines_and_again_before_anybody_looked() {
    let mut node = Node::new();
    node.log(10);
    node.turn().await;
    for _ in 0..3 {
        node.log(5);
        node.rotate();
        node.log(7);
        node.rotate();
        node.log(2);
        node.turn().await;
    }
    node.is_exact().await;
    assert_eq!(node.gaps(), 0);
}

#[tokio::test]
async fn nothing_is_written_for_a_while_after_a_rotation() {
    let mut node = Node::new();
    node.log(10);
    node.turn().await;
    node.rotate();
    node.turns(20).await;
    node.log(10);
    node.is_exact().await;
}

#[tokio::test]
async fn copied_and_truncated() {
    let mut node = Node::new();
    for lines in [10, 2, 300] {
        node.log(lines);
        node.turn().await;
        node.log(lines);
        node.copy_and_truncate();
        node.log(lines / 2);
        node.turn().await;
    }
    node.is_exact().await;
    assert_eq!(node.gaps(), 0);
}

#[tokio::test]
async fn truncated_and_longer_than_before() {
    let mut node = Node::new();
    node.log(10);
    node.turn().await;
    node.truncate();
    node.log(50);
    node.is_exact().await;
    // What was in it had been read, but nobody can know.
    assert_eq!(node.tail.report().truncated_gaps, 1);
}

#[tokio::test]
async fn truncated_under_a_writer_that_keeps_its_place() {
    let mut node = Node::new();
    node.log(10);
    node.turn().await;
    let length = fs::metadata(node.path(0)).unwrap().len();
    node.truncate();
    let file = File::options().write(true).open(node.path(0)).unwrap();
    file.set_len(length).unwrap();
    node.log(3);
    node.is_exact().await;
}

#[tokio::test]
async fn removed_and_made_again() {
    let mut node = Node::new();
    node.log(10);
    node.turn().await;
    for idle in [0, 3, 30] {
        node.log(5);
        // Its reader still has it open.
        fs::remove_file(node.path(0)).unwrap();
        node.turns(idle).await;
        node.log(6);
        node.turns(40).await;
        assert_eq!(node.counted, node.written, "after {idle}");
    }
    node.turns(40).await;
    fs::remove_file(node.path(0)).unwrap();
    node.turns(15).await;
    assert_eq!(node.files.open(), 0, "its space must be given back");
}

#[tokio::test]
async fn one_that_took_its_place_is_asked_for_at_once() {
    let mut node = Node::new();
    node.log(5);
    node.turn().await;
    node.turn().await;
    let wants = |node: &Node| node.tail.want(node.now_ms, || None, 0);
    node.log(3);
    fs::write(node.path(1), "").unwrap();
    fs::rename(node.path(1), node.path(0)).unwrap();
    node.log(2);
    // The old one grew and lost its name in the same moment.
    node.now_ms += 100;
    node.read(u64::MAX);
    assert!(matches!(wants(&node), Some(Want::Newer(_))));
    node.is_exact().await;
}

#[tokio::test]
async fn lines_without_an_end_are_waited_for() {
    let mut node = Node::new();
    node.append("ERROR one");
    node.turns(5).await;
    assert_eq!(node.counted, 0);
    node.append(" and the rest\nERROR two");
    node.turns(5).await;
    assert_eq!(node.counted, 1);
    node.rotate();
    node.append("ERROR three\n");
    node.turns(5).await;
    assert_eq!(node.counted, 3);
}

#[tokio::test]
async fn a_message_goes_on_in_the_next_file() {
    let mut node = Node::new();
    node.append("java.lang.Error: x\n\tat a.b(C.java:1)\n");
    node.turn().await;
    node.rotate();
    node.append("\tat a.b(C.java:2)\njava.lang.Error: y\n");
    node.turns(5).await;
    assert_eq!(node.counted, 2);
}

#[tokio::test]
async fn what_is_older_than_the_first_start_is_no_news() {
    let mut node = Node::new();
    node.since_ms = u64::MAX;
    node.log(10);
    node.rotate();
    node.log(10);
    node.append("2024-01-05 half a ");
    node.turn().await;
    node.append("line\n");
    node.turns(3).await;
    assert_eq!(node.counted, 0);
    node.written = 0;
    node.log(7);
    node.is_exact().await;
}

#[tokio::test]
async fn a_late_reader_finds_all_that_exists() {
    let mut node = Node::new();
    for _ in 0..4 {
        node.log(10);
        node.rotate();
    }
    node.log(1);
    node.is_exact().await;
}

#[tokio::test]
async fn a_restart_neither_skips_nor_repeats() {
    let mut node = Node::new();
    node.log(10);
    node.turn().await;
    node.restart();
    node.is_exact().await;

    // Between two starts: grown, rotated, rotated often, copied.
    let changes: [fn(&mut Node); 5] = [
        |node| node.log(5),
        |node| node.rotate(),
        |node| {
            for _ in 0..3 {
                node.rotate();
                node.log(4);
            }
        },
        |node| {
            node.log(3);
            node.copy_and_truncate();
            node.log(2);
        },
        |node| {
            node.copy_and_truncate();
            node.log(90);
        },
    ];
    for change in changes {
        node.log(5);
        node.turn().await;
        node.log(2);
        node.restart();
        change(&mut node);
        node.log(1);
        node.is_exact().await;
        assert_eq!(node.gaps(), 0);
    }
}

#[tokio::test]
async fn a_restart_anywhere_neither_skips_nor_repeats() {
    for format in [Format::Cri, Format::Plain] {
        for piece in [1, 7, 100, 333] {
            let mut node = Node::with_format(format);
            for number in 0..60 {
                let stream = ["stdout", "stderr"][number % 2];
                let level = ["ERROR", "java.lang.Error:", "\tat a.b(C.java:3)"][number / 2 % 3];
                let part = if number % 5 == 0 { "P" } else { "F" };
                match format {
                    Format::Cri => node.append(&format!("t {stream} {part} {level} x\n")),
                    _ => node.append(&format!("{level} x\n")),
                }
                if number == 30 {
                    node.rotate();
                }
            }
            let mut whole = Node::with_format(format);
            for index in [1, 0] {
                fs::copy(node.path(index), whole.path(index)).unwrap();
            }
            whole.turns(5).await;

            for _ in 0..1000 {
                let opener = Directory(node.directory.path().to_owned());
                node.now_ms += 1;
                if let Some(want) = node.tail.want(node.now_ms, || node.saved, 0) {
                    let log = node.tail.places()[0].file.clone();
                    let found = chain::find(&opener, &log, &node.files, want).await;
                    let limits = LogSettings::default().limits();
                    node.tail
                        .found(0, found.unwrap(), limits, node.now_ms)
                        .unwrap();
                }
                let mut buffer = Vec::new();
                let pieces = 1 + node.now_ms * 7 % 400 / piece;
                for _ in 0..pieces {
                    let _ = node.tail.read(piece, node.now_ms, &mut buffer).unwrap();
                }
                node.restart();
            }
            node.turns(5).await;
            assert_eq!(
                node.counted, whole.counted,
                "{format:?} in pieces of {piece}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_gone_is_a_gap() {
    let mut node = Node::new();
    node.log(10);
    node.turn().await;
    for _ in 0..3 {
        node.rotate();
        node.log(1);
    }
    for lost in 1..=2 {
        fs::remove_file(node.path(lost)).unwrap();
    }
    node.turns(3).await;
    assert_eq!((node.counted, node.gaps()), (11, 1));

    node.restart();
    for index in 0..9 {
        let _ = fs::remove_file(node.path(index));
    }
    node.log(4);
    node.turns(3).await;
    assert_eq!((node.counted, node.gaps()), (15, 1));
}

#[tokio::test]
async fn a_place_that_makes_no_sense_is_not_used() {
    let mut node = Node::new();
    node.log(10);
    node.turn().await;
    node.restart();
    for offset in [u64::MAX, i64::MAX as u64, 1_000_000, 3] {
        let mut saved = node.saved.unwrap();
        saved.position.offset = offset;
        saved.position.pass_by = [u64::MAX; 2];
        let (log, opener) = (
            node.tail.places()[0].file.clone(),
            Directory(node.directory.path().to_owned()),
        );
        let found = chain::find(&opener, &log, &node.files, Want::Resume(saved)).await;
        let limits = LogSettings::default().limits();
        if let Ok(found) = found {
            tail(Format::Plain).found(0, found, limits, 0).unwrap();
        }
    }
}

#[tokio::test]
async fn without_room_a_log_waits_and_goes_on_where_it_was() {
    let mut node = Node::new();
    node.log(10);
    node.turn().await;
    node.tail.park(node.now_ms, 0).unwrap();
    node.count();
    assert_eq!((node.files.open(), node.counted), (0, 10));
    let all: Vec<_> = std::iter::from_fn(|| node.files.take()).collect();
    node.log(5);
    node.turns(10).await;
    assert!(node.tail.is_waiting());
    drop(all);
    node.rotate();
    node.log(1);
    node.is_exact().await;
    assert!(!node.tail.is_waiting());
}

#[tokio::test]
async fn too_much_at_once_is_passed_over_and_counted() {
    let mut node = Node::new();
    node.log(1);
    node.turn().await;
    let text = line(7).repeat(1000);
    let lines = (40 << 20) / text.len();
    for _ in 0..lines {
        node.append(&text);
        node.append(&line(8));
    }
    node.tail.settle(node.now_ms).unwrap();
    // Nothing was read yet, so the log is not known to lag.
    let mut buffer = Vec::new();
    let _ = node.tail.read(100, node.now_ms, &mut buffer).unwrap();
    node.tail.settle(node.now_ms).unwrap();
    let skipped = node.tail.report().skipped_bytes;
    assert!(skipped > 38 << 20, "{skipped}");
    node.turns(3).await;
    let all = fs::metadata(node.path(0)).unwrap().len();
    let report = node.tail.report();
    assert_eq!(report.malformed + report.undecodable_bytes, 0);
    let length = line(7).len() as u64;
    let passed = all - report.skipped_bytes - node.counted * length;
    // A line that was cut by the passing over counts once, with what there was of it.
    assert!(passed <= length, "{passed}");
}

#[test]
fn errors_say_what_they_are() {
    assert!(ChainError::Open(OpenError::Refused(Refusal::NotFound)).is_not_found());
    assert!(!ChainError::NoRoom.is_not_found());
    let is_passing = |refusal| ChainError::Open(OpenError::Refused(refusal)).is_passing();
    assert!(is_passing(Refusal::RateLimited) && !is_passing(Refusal::Forbidden));
}
