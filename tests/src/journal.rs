//! Real journal files, made by systemd-journal-remote from its export format (`systemd.io/JOURNAL_EXPORT_FORMATS`).

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const PROGRAM: &str = "/usr/lib/systemd/systemd-journal-remote";
const BOOT: &str = "0123456789abcdef0123456789abcdef";
const FIRST_MICROS: u64 = 1_700_000_000_000_000;

/// A directory of journal files that everybody may read.
#[derive(Debug)]
pub struct JournalDirectory {
    directory: TempDir,
    entries: Cell<u64>,
    files: Cell<u32>,
}

impl JournalDirectory {
    /// Without a file.
    #[track_caller]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), open).expect("our own directory");
        Self {
            directory,
            entries: Cell::new(0),
            files: Cell::new(0),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Adds a file with these entries, each its fields, all later than those of earlier files.
    #[track_caller]
    pub fn add<'a>(&self, entries: impl IntoIterator<Item = Vec<(&'a str, String)>>) {
        let mut export = String::new();
        for fields in entries {
            let number = self.entries.replace(self.entries.get() + 1);
            let time = FIRST_MICROS + number;
            write!(
                export,
                "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={number}\n_BOOT_ID={BOOT}\n"
            )
            .expect("memory");
            for (name, value) in fields {
                writeln!(export, "{name}={value}").expect("memory");
            }
            export.push('\n');
        }
        let number = self.files.replace(self.files.get() + 1);
        // Under another name first: a reader of the directory takes a file up when it has a journal's name.
        let staged = tempfile::tempdir_in(self.path()).expect("our own directory");
        let file = staged.path().join("a.journal");
        self.write(&file, &export);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("our own file");
        fs::rename(&file, self.path().join(format!("{number}.journal"))).expect("our own file");
    }

    fn write(&self, file: &Path, export: &str) {
        let mut child = Command::new(PROGRAM)
            .arg(format!("--output={}", file.display()))
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-journal-remote is installed");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(export.as_bytes()).expect("a reader");
        drop(input);
        assert!(child.wait().expect("our own child").success());
    }
}

impl Default for JournalDirectory {
    fn default() -> Self {
        Self::new()
    }
}
