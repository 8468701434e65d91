//! Says what kind of program a process executes: the name of its file, and its language by the marks in it.
//!
//! Why the sensor: `/proc/PID/exe` is for who has `CAP_SYS_PTRACE`, and the file may be readable by its user alone. The
//! kernel says which file it is, see [`crate::kernel::executables`]; it is reached through the sensor's own mounts, as
//! everything else of a container is (see [`super::process_root`]), and must be that very file. It is looked at by a process
//! without any right, see [`crate::examiner`], and closed again; nothing of it is given out but what is said here.
//!
//! Known limits: of a file on a file system that is mounted in the container's namespace alone, or by network, only the
//! name is told.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use nix::sys::stat::{SFlag, fstat};
use nodescope_schema::{Language, Refusal};

use super::Program;
use super::mount_table::{Table, check_mount};
use super::mounts::{Mounts, Spot, Way};
use super::process_root::{enter, first};
use super::walk::{self, file_type, refusal};
use crate::examiner::{ExamineError, Examiner};
use crate::exit::say;
use crate::kernel::executables::{ExecutableFile, Executables};

/// How long it is known what a file is: a file that nobody executes may become another one.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Files that are known; with more, all are looked at again.
const MAX_KNOWN: usize = 16 << 10;

/// Answers for processes.
#[derive(Debug)]
pub(super) struct Programs {
    executables: Executables,
    examiner: Option<Examiner>,
    own_mounts: Table,
    known: HashMap<ExecutableFile, (Instant, Language)>,
}

impl Programs {
    pub(super) fn new(executables: Executables, examiner: Option<Examiner>) -> Self {
        Self {
            executables,
            examiner,
            own_mounts: Table::default(),
            known: HashMap::new(),
        }
    }

    /// What a process executes that was asked for at this time.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if there is no such process, [`Refusal::Busy`] while another file takes its time.
    pub(super) fn describe(&mut self, pid: u32, asked: Instant) -> Result<Program, Refusal> {
        let file = self.executables.of(pid, asked).map_err(|_| Refusal::Io)?;
        let file = file.ok_or(Refusal::NotFound)?;
        let name = file.path.file_name().unwrap_or_default().as_bytes();
        Ok(Program {
            name: name.to_vec(),
            language: self.language(&file)?,
        })
    }

    fn language(&mut self, file: &ExecutableFile) -> Result<Language, Refusal> {
        let now = Instant::now();
        if let Some((at, language)) = self.known.get(file)
            && now.duration_since(*at) < MAX_AGE
        {
            return Ok(*language);
        }
        // What cannot be reached now may be another time.
        let (Ok(program), Some(examiner)) = (self.open(file), &mut self.examiner) else {
            return Ok(Language::Unknown);
        };
        let language = match examiner.language(program.as_fd()) {
            Ok(language) => language,
            Err(ExamineError::Failed) => Language::Unknown,
            Err(ExamineError::Busy) => return Err(Refusal::Busy),
            Err(error @ ExamineError::Ended) => {
                say(format_args!(
                    "{error}; the languages of programs are not known until a restart"
                ));
                self.examiner = None;
                return Ok(Language::Unknown);
            }
        };
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(file.clone(), (now, language));
        Ok(language)
    }

    /// The root of a container that began just now is not in a table of mounts that is older.
    fn open(&mut self, file: &ExecutableFile) -> Result<OwnedFd, Refusal> {
        let mounts = self.own_mounts.fresh().map_err(|_| Refusal::Io)?;
        open_by(mounts, file).or_else(|_| {
            let mounts = self.own_mounts.newest().map_err(|_| Refusal::Io)?;
            open_by(mounts, file)
        })
    }
}

fn open_by(mounts: &Mounts, file: &ExecutableFile) -> Result<OwnedFd, Refusal> {
    let (Some(directory), Some(name)) = (file.path.parent(), file.path.file_name()) else {
        return Err(Refusal::NotFound);
    };
    let spot = Spot {
        filesystem: file.filesystem,
        path: directory.to_owned(),
    };
    let ways = mounts.ways_in(&spot);
    first(ways.iter(), |way| open_in(way, name, file.inode))
}

fn open_in(way: &Way, name: &OsStr, inode: u64) -> Result<OwnedFd, Refusal> {
    let directory = enter(way)?;
    let place = walk::place(directory.as_fd(), name)?;
    check_mount(&place, &way.mount)?;
    let stat = fstat(&place).map_err(refusal)?;
    if file_type(&stat) != SFlag::S_IFREG || stat.st_ino != inode {
        return Err(Refusal::NotFound);
    }
    walk::reopen(&place)
}
