//! Where this host's files are, and the only way to read them: with a size limit and the path in every error.
//!
//! The roots are injectable, so that collectors and parsers run on fixtures. Text that is not UTF-8 is read with the
//! replacement character; parsers of paths take the bytes instead.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use nix::unistd::{SysconfVar, sysconf};

/// Longest file that is read. The largest one is `/proc/self/mountinfo` on a node with thousands of containers; a longer
/// file is an error and costs what is read from it.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// A file of the host could not be used.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It could not be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is longer than allowed.
    #[error("{} is longer than {limit} bytes", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Longest size that is read.
        limit: u64,
    },
    /// It does not contain what it should.
    #[error("{}, {error}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        error: ParseError,
    },
    /// The kernel refused a call that reads no file.
    #[error("cannot {what}")]
    Call {
        /// What was asked.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Text that is not as the kernel writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Roots of the host's file systems and the units of its numbers.
#[derive(Debug, Clone)]
pub struct HostRoot {
    root: PathBuf,
    proc: PathBuf,
    sys: PathBuf,
    cgroup: Option<PathBuf>,
    ticks_per_second: f64,
    page_bytes: u64,
}

impl Default for HostRoot {
    /// The running system.
    fn default() -> Self {
        Self::new(Path::new("/"))
    }
}

impl HostRoot {
    /// Files below `root`, which stands for `/`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            proc: root.join("proc"),
            sys: root.join("sys"),
            cgroup: None,
            // POSIX names both as always available; the fallbacks are the values of every common Linux.
            ticks_per_second: system_number(SysconfVar::CLK_TCK)
                .map_or(100.0, |ticks| ticks as f64),
            page_bytes: system_number(SysconfVar::PAGE_SIZE).unwrap_or(4096),
        }
    }

    /// Looks for cgroup hierarchies below `cgroup` and not where they are mounted.
    #[must_use]
    pub fn with_cgroup_root(mut self, cgroup: PathBuf) -> Self {
        self.cgroup = Some(cgroup);
        self
    }

    /// The file at this absolute path.
    pub fn file(&self, path: &str) -> HostFile {
        HostFile::new(self.root.join(path.trim_start_matches('/')))
    }

    /// A file of procfs.
    pub fn proc(&self, path: &str) -> HostFile {
        HostFile::new(self.proc.join(path))
    }

    /// A file of sysfs.
    pub fn sys(&self, path: &str) -> HostFile {
        HostFile::new(self.sys.join(path))
    }

    /// The root of the cgroup hierarchies, if one was set.
    pub fn cgroup_root(&self) -> Option<&Path> {
        self.cgroup.as_deref()
    }

    /// Clock ticks a second, the unit of CPU times in procfs.
    pub fn ticks_per_second(&self) -> f64 {
        self.ticks_per_second
    }

    /// Size of a memory page.
    pub fn page_bytes(&self) -> u64 {
        self.page_bytes
    }
}

fn system_number(name: SysconfVar) -> Option<u64> {
    sysconf(name)
        .ok()
        .flatten()
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| *number > 0)
}

/// One file of the host.
#[derive(Debug, Clone)]
pub struct HostFile {
    path: PathBuf,
}

impl HostFile {
    /// A file at its path on this machine.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes.
    pub fn bytes(&self) -> Result<Vec<u8>, HostError> {
        let bytes = self.first_bytes(MAX_FILE_BYTES + 1)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(HostError::TooLong {
                path: self.path.clone(),
                limit: MAX_FILE_BYTES,
            });
        }
        Ok(bytes)
    }

    /// At most `limit` of its bytes, from the start.
    pub fn first_bytes(&self, limit: u64) -> Result<Vec<u8>, HostError> {
        let mut bytes = Vec::new();
        File::open(&self.path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(|source| HostError::Read {
                path: self.path.clone(),
                source,
            })?;
        Ok(bytes)
    }

    /// Its text; what is not UTF-8 becomes the replacement character.
    pub fn text(&self) -> Result<String, HostError> {
        let bytes = self.bytes()?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Its text, parsed.
    pub fn parse<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, ParseError>,
    ) -> Result<T, HostError> {
        parse(&self.text()?).map_err(|error| HostError::Parse {
            path: self.path.clone(),
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{HostFile, HostRoot, MAX_FILE_BYTES, ParseError};

    #[test]
    fn errors_name_the_file() {
        let root = tempfile::tempdir().unwrap();
        let host = HostRoot::new(root.path());
        let missing = host.proc("stat").text().unwrap_err();
        assert_eq!(
            missing.to_string(),
            format!("cannot read {}/proc/stat", root.path().display())
        );

        let path = root.path().join("etc");
        std::fs::write(&path, "x\n").unwrap();
        let wrong = host
            .file("/etc")
            .parse(|_| {
                Err::<(), _>(ParseError {
                    line: 1,
                    what: "no number",
                })
            })
            .unwrap_err();
        assert_eq!(
            wrong.to_string(),
            format!("{}, line 1: no number", path.display())
        );
    }

    #[test]
    fn a_long_file_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("long");
        std::fs::File::create(&path)
            .unwrap()
            .set_len(MAX_FILE_BYTES + 1)
            .unwrap();
        assert!(
            HostFile::new(path)
                .bytes()
                .unwrap_err()
                .to_string()
                .contains("is longer than")
        );
    }

    #[test]
    fn text_that_is_not_utf8_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("name");
        std::fs::write(&path, b"a\xffb").unwrap();
        assert_eq!(HostFile::new(path).text().unwrap(), "a\u{fffd}b");
    }

    #[test]
    fn the_system_states_its_units() {
        let host = HostRoot::default();
        assert!(host.page_bytes().is_power_of_two() && host.ticks_per_second() >= 1.0);
    }
}
