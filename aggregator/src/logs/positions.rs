//! How far each log was read, kept over restarts of this process in one file of the state directory.
//!
//! The file is text: a first line with the format's version and the time of the first start here, then one JSON object a
//! line. It is written anew and renamed over the old one, and never before what it says was counted; what is counted
//! is shown only after it was written. So whatever ends this process, what was shown and what the next process will
//! count are together every line once.
//!
//! Nothing it may contain does harm: a place is only used in a file that the sensor opens for the log of that name and
//! that has the right bytes before it. A line that cannot be read is left out, a file of another version is ignored.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::position::Position;

/// Name of the file.
const FILE_NAME: &str = "log-positions";
/// The form of the file.
const VERSION: u32 = 1;
/// Logs remembered; beyond it those that were read longest ago are forgotten.
const MAX_LOGS: usize = 20_000;
/// Of those, logs that processes of one container make as they like.
const MAX_GROUP: usize = 256;
/// Longest file that is read.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Longest name of a log.
const MAX_NAME_BYTES: usize = 2048;

/// How far a log was read, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The place.
    pub position: Position,
    /// When it was noted, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The places of all logs.
#[derive(Debug)]
pub struct Positions {
    directory: PathBuf,
    since_ms: u64,
    marks: BTreeMap<String, Mark>,
    journal: Option<String>,
    is_changed: bool,
}

/// Why the places could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is there and cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Its first line is not what it should be.
    #[error("is not of version {VERSION}")]
    Version,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    log_positions: u32,
    since_ms: u64,
    /// The last entry of the journal that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    at_ms: u64,
    position: Position,
}

impl Positions {
    /// Those that the directory keeps. Without a usable file there are none, and logs count as first seen at `now_ms`.
    /// Blocks.
    pub fn load(directory: &Path, now_ms: u64) -> (Self, Result<(), LoadError>) {
        let mut positions = Self {
            directory: directory.to_owned(),
            since_ms: now_ms,
            marks: BTreeMap::new(),
            journal: None,
            is_changed: true,
        };
        let outcome = match read(&directory.join(FILE_NAME)) {
            Ok(text) => positions.parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        };
        (positions, outcome)
    }

    fn parse(&mut self, text: &[u8]) -> Result<(), LoadError> {
        let mut lines = text.split(|byte| *byte == b'\n');
        let header: Option<Header> = lines
            .next()
            .and_then(|line| serde_json::from_slice(line).ok());
        let header = header
            .filter(|header| header.log_positions == VERSION)
            .ok_or(LoadError::Version)?;
        // A time to come would make every log an old one.
        self.since_ms = header.since_ms.min(self.since_ms);
        self.journal = header
            .journal
            .filter(|cursor| cursor.len() <= MAX_NAME_BYTES);
        let readable = lines.filter_map(|line| serde_json::from_slice::<Line<'_>>(line).ok());
        let usable = readable.filter(|line| {
            line.log.len() <= MAX_NAME_BYTES && i64::try_from(line.position.offset).is_ok()
        });
        self.marks = usable
            .take(MAX_LOGS)
            .map(|line| {
                let Line {
                    log,
                    at_ms,
                    position,
                } = line;
                (log.into_owned(), Mark { position, at_ms })
            })
            .collect();
        Ok(())
    }

    /// When nodescope first ran here, in milliseconds since 1970.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// How far a log was read.
    pub fn get(&self, log: &str) -> Option<Mark> {
        self.marks.get(log).copied()
    }

    /// How far one of these files was read, by its number, as a log whose name begins with `prefix`.
    pub fn of_file(&self, prefix: &str, inodes: &[u64]) -> Option<Mark> {
        let of_them = |mark: &Mark| inodes.contains(&mark.position.file.inode);
        let marks = self.group(prefix).map(|(_, mark)| *mark);
        marks.filter(of_them).max_by_key(|mark| mark.at_ms)
    }

    fn group<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Mark)> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let logs = self.marks.range::<str, _>(from);
        logs.take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// A log was read so far, one of a group whose names begin with `prefix` and whose number somebody else decides.
    pub fn set_in_group(&mut self, prefix: &str, log: &str, mark: Mark) {
        if !self.marks.contains_key(log) && self.group(prefix).count() >= MAX_GROUP {
            let oldest = self.group(prefix).min_by_key(|(_, mark)| mark.at_ms);
            if let Some(oldest) = oldest.map(|(log, _)| log.clone()) {
                self.marks.remove(&oldest);
            }
        }
        self.set(log, mark);
    }

    /// A log was read so far.
    pub fn set(&mut self, log: &str, mark: Mark) {
        if self
            .get(log)
            .is_some_and(|known| known.position == mark.position)
        {
            return;
        }
        self.is_changed = true;
        if !self.marks.contains_key(log) && self.marks.len() >= MAX_LOGS {
            let oldest = self.marks.iter().min_by_key(|(_, mark)| mark.at_ms);
            if let Some(oldest) = oldest.map(|(log, _)| log.clone()) {
                self.marks.remove(&oldest);
            }
        }
        self.marks.insert(log.to_owned(), mark);
    }

    /// The cursor of the last entry of the journal that was counted.
    pub fn journal(&self) -> Option<&str> {
        self.journal.as_deref()
    }

    /// The journal was counted up to this entry.
    pub fn set_journal(&mut self, cursor: &str) {
        if self.journal.as_deref() != Some(cursor) && cursor.len() <= MAX_NAME_BYTES {
            self.journal = Some(cursor.to_owned());
            self.is_changed = true;
        }
    }

    /// Writes them if they changed. Blocks.
    ///
    /// # Errors
    /// The file cannot be written; the old one stays.
    pub fn save(&mut self) -> io::Result<()> {
        if !self.is_changed {
            return Ok(());
        }
        let path = self.directory.join(FILE_NAME);
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&self.text()?)?;
        drop(file);
        fs::rename(&new, &path)?;
        self.is_changed = false;
        Ok(())
    }

    fn text(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(&Header {
            log_positions: VERSION,
            since_ms: self.since_ms,
            journal: self.journal.clone(),
        })?;
        for (log, mark) in &self.marks {
            text.push(b'\n');
            serde_json::to_writer(
                &mut text,
                &Line {
                    log: log.into(),
                    at_ms: mark.at_ms,
                    position: mark.position,
                },
            )?;
        }
        text.push(b'\n');
        Ok(text)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::position::{FileId, Fingerprint};
    use super::*;

    fn mark(offset: u64, at_ms: u64) -> Mark {
        let file = FileId {
            device: 1,
            inode: u64::MAX,
        };
        let position = Position {
            file,
            offset,
            pass_by: [0, 7],
            before: Fingerprint::default(),
        };
        Mark { position, at_ms }
    }

    fn load(directory: &tempfile::TempDir, now_ms: u64) -> Positions {
        let (positions, outcome) = Positions::load(directory.path(), now_ms);
        outcome.unwrap();
        positions
    }

    #[test]
    fn they_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut positions = load(&directory, 50);
        positions.set("a\n\"", mark(5, 60));
        positions.set("b", mark(6, 61));
        positions.set("b", mark(7, 62));
        positions.set_journal("s=1;i=2");
        positions.save().unwrap();
        let again = load(&directory, 100);
        assert_eq!(again.since_ms(), 50);
        assert_eq!(again.get("a\n\""), Some(mark(5, 60)));
        assert_eq!(again.get("b"), Some(mark(7, 62)));
        assert_eq!(again.get("c"), None);
        assert_eq!(again.journal(), Some("s=1;i=2"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let mut positions = load(&directory, 0);
        for log in 0..=MAX_LOGS as u64 {
            positions.set(&log.to_string(), mark(log, log));
        }
        assert_eq!(positions.marks.len(), MAX_LOGS);
        assert_eq!(positions.get("0"), None);
        positions.save().unwrap();
        let again = load(&directory, 0);
        assert_eq!(again.marks, positions.marks);
    }

    #[test]
    fn one_container_cannot_make_others_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let mut positions = load(&directory, 0);
        positions.set("held:/docker/b:/var/log/b", mark(1, 1));
        for log in 0..=MAX_GROUP as u64 {
            let name = format!("held:/docker/a:/var/log/{log}");
            positions.set_in_group("held:/docker/a:", &name, mark(log, 10 + log));
        }
        assert_eq!(positions.marks.len(), MAX_GROUP + 1);
        assert_eq!(positions.get("held:/docker/a:/var/log/0"), None);
        assert!(positions.get("held:/docker/a:/var/log/1").is_some());
        assert!(positions.get("held:/docker/b:/var/log/b").is_some());
    }

    #[test]
    fn other_content_is_harmless() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        for text in ["", "x", "{}", "{\"log_positions\":2,\"since_ms\":1}"] {
            fs::write(&path, text).unwrap();
            let (positions, outcome) = Positions::load(directory.path(), 9);
            assert!(matches!(outcome, Err(LoadError::Version)), "{text}");
            assert_eq!((positions.since_ms(), positions.marks.len()), (9, 0));
        }
        let mut good = load_of(&directory);
        good.set("good", mark(1, 1));
        let mut text = good.text().unwrap();
        text.extend_from_slice(b"{\"log\":\"half\",\"at_ms\":1,\"posi");
        text.extend_from_slice(b"\n\xff\xfe\n\n{\"log\":1}\n");
        fs::write(&path, &text).unwrap();
        assert_eq!(load(&directory, 9).marks, good.marks);
    }

    fn load_of(directory: &tempfile::TempDir) -> Positions {
        Positions::load(directory.path(), 3).0
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old() {
        let directory = tempfile::tempdir().unwrap();
        let mut positions = load(&directory, 0);
        positions.set("a", mark(1, 1));
        positions.save().unwrap();
        fs::create_dir(directory.path().join("log-positions.new")).unwrap();
        positions.set("a", mark(2, 2));
        assert!(positions.save().is_err());
        assert_eq!(load(&directory, 0).get("a"), Some(mark(1, 1)));
    }

    proptest! {
        #[test]
        fn any_bytes(rest: Vec<u8>) {
            let directory = tempfile::tempdir().unwrap();
            let text = [b"{\"log_positions\":1,\"since_ms\":5}\n", rest.as_slice()].concat();
            fs::write(directory.path().join(FILE_NAME), text).unwrap();
            let positions = load(&directory, 4);
            prop_assert_eq!(positions.since_ms(), 4);
        }
    }
}
