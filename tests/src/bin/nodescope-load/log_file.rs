//! A log file that its writer rotates itself, in the two ways there are: it renames the file and goes on in it for a
//! while before it opens a new one, as a service does that is told to reopen its logs, or it copies the file and empties
//! it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::args::Args;

/// Of the lines of a file, one in so many is written after it was renamed.
const LATE_PART: u64 = 10;

/// The file that is written.
pub(crate) struct LogFile {
    path: String,
    file: File,
    /// Lines from one rotation to the next; 0: none.
    rotate_lines: u64,
    by_copy: bool,
    /// Lines since the last rotation.
    lines: u64,
    rotations: u64,
    is_renamed: bool,
}

impl LogFile {
    /// The file of `--file`, if there is one.
    pub(crate) fn from_args(args: &Args) -> Result<Option<Self>, String> {
        let Some(path) = args.get::<String>("file")? else {
            return Ok(None);
        };
        Ok(Some(Self {
            file: open(&path).map_err(|error| format!("{path}: {error}"))?,
            path,
            rotate_lines: args.get("rotate-lines")?.unwrap_or(0),
            by_copy: args.has("copy"),
            lines: 0,
            rotations: 0,
            is_renamed: false,
        }))
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.is_renamed {
            self.file = open(&self.path)?;
            self.is_renamed = false;
            return Ok(());
        }
        self.lines = 0;
        self.rotations += 1;
        let rotated = format!("{}.{}", self.path, self.rotations);
        if self.by_copy {
            fs::copy(&self.path, rotated)?;
            return self.file.set_len(0);
        }
        self.is_renamed = true;
        fs::rename(&self.path, rotated)
    }

    /// Lines until something happens to the file.
    fn lines_left(&self) -> u64 {
        let end = if self.is_renamed {
            self.rotate_lines / LATE_PART
        } else {
            self.rotate_lines
        };
        end.saturating_sub(self.lines)
    }
}

fn open(path: &str) -> io::Result<File> {
    if let Some(directory) = Path::new(path).parent() {
        fs::create_dir_all(directory)?;
    }
    File::options().append(true).create(true).open(path)
}

impl Write for LogFile {
    /// Whole lines, as a logger writes them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.rotate_lines == 0 {
            self.file.write_all(bytes)?;
            return Ok(bytes.len());
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.lines_left() == 0 {
                self.rotate()?;
            }
            self.file.write_all(line)?;
            self.lines += u64::from(line.ends_with(b"\n"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
