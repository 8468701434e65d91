//! The files of one log, asked from the sensor from the newest on, as far back as there is something to read.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use nodescope_schema::{FileKind, Refusal};

use super::open::{FileBudget, OpenLog, since_1970_ms};
use super::position::{FileId, Position};
use super::positions::Mark;
use crate::containers::{FileOpener, OpenError, OwnedOpenFile};

/// Files of one log that are looked at; the sensor gives no more.
const MAX_GENERATIONS: u32 = 32;

/// The kernel stamps files with the time of its last tick, of which there are a hundred a second at least.
const TICK_MS: u64 = 10;
/// Several times the sensor's pause between two walks over open files.
const RECENTLY_MS: u64 = 60_000;

/// What is wanted of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// What an earlier reader left.
    Resume(Mark),
    /// What was written since this time, in milliseconds since 1970: no earlier reader is known.
    First(u64),
    /// All there is.
    All,
    /// What follows this file.
    Newer(FileId),
    /// The file before the newest: it may be a copy of that one from before it was truncated.
    Copy,
}

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// Begin with the first of these files at a place.
    Begin {
        /// The files in their order.
        logs: Vec<OpenLog>,
        /// Place in the first.
        offset: u64,
        /// See [`Position::pass_by`].
        pass_by: [u64; 2],
        /// The file that was read before is not there any more.
        is_gap: bool,
    },
    /// These files follow; none when the known one is the newest.
    Newer {
        /// The files in their order.
        logs: Vec<OpenLog>,
        /// There may have been others between them and the known one.
        is_gap: bool,
    },
    /// The file before the newest, if there is one.
    Copy(Option<OpenLog>),
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The sensor gives no file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Too many files are open.
    #[error("too many open log files")]
    NoRoom,
    /// A file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl ChainError {
    /// There is no such log.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Open(OpenError::Refused(Refusal::NotFound)))
    }

    /// It says nothing about the log: the next answer may be another one.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NoRoom => true,
            Self::Io(_) => false,
            Self::Open(OpenError::Refused(refusal)) => {
                matches!(refusal, Refusal::RateLimited | Refusal::Busy)
            }
            Self::Open(OpenError::Disconnected | OpenError::TimedOut) => true,
        }
    }
}

/// Looks for what is wanted.
///
/// # Errors
/// The newest file cannot be had, or it cannot be told what came before it.
pub async fn find(
    opener: &dyn FileOpener,
    log: &OwnedOpenFile,
    budget: &Arc<FileBudget>,
    want: Want,
) -> Result<Found, ChainError> {
    if want == Want::Copy {
        let copy = match open(opener, log, 1, budget, want).await? {
            Answer::File(examined) => Some(examined.log),
            Answer::NoMore | Answer::OnlyOne => None,
        };
        return Ok(Found::Copy(copy));
    }
    let mut chain = Chain::default();
    for generation in 0..MAX_GENERATIONS {
        match open(opener, log, generation, budget, want).await? {
            Answer::File(examined) => {
                if chain.add(examined) {
                    break;
                }
            }
            Answer::NoMore => break,
            Answer::OnlyOne => {
                chain.is_only_one = true;
                break;
            }
        }
    }
    Ok(chain.found(want))
}

/// What the sensor says to a generation.
enum Answer {
    File(Examined),
    /// There are none so old.
    NoMore,
    /// Logs of this kind have one file; one that is replaced is gone, so how many there were cannot be told.
    OnlyOne,
}

/// A file, and what it is to what is wanted.
#[derive(Debug)]
struct Examined {
    log: OpenLog,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// What was wanted begins here.
    Begin,
    /// It has what the wanted file had before it was truncated.
    Copy,
    /// It is older than what is wanted.
    TooOld,
    /// It is newer than what is wanted.
    Newer,
}

/// Opens one generation. The newest must be there.
async fn open(
    opener: &dyn FileOpener,
    log: &OwnedOpenFile,
    generation: u32,
    budget: &Arc<FileBudget>,
    want: Want,
) -> Result<Answer, ChainError> {
    let request = OwnedOpenFile {
        generation,
        ..log.clone()
    };
    let file = match opener.open(request).await {
        Ok(file) => file,
        Err(OpenError::Refused(reason)) if generation > 0 => match reason {
            Refusal::NotFound | Refusal::Forbidden => return Ok(Answer::NoMore),
            Refusal::BadArgument => return Ok(Answer::OnlyOne),
            _ => return Err(OpenError::Refused(reason).into()),
        },
        Err(error) => return Err(error.into()),
    };
    // Not before there is a file: two logs that hold one each would deny each other the place for a second one, which as
    // a rule there is not.
    let permit = budget.take().ok_or(ChainError::NoRoom)?;
    let is_first = matches!(want, Want::First(_));
    let was_let_go = is_first && generation > 0 && log.kind == FileKind::HeldLog;
    let examine = move |file: File| -> io::Result<Examined> {
        let log = OpenLog::new(file, permit)?;
        let role = match role(&log, want)? {
            Role::Newer if was_let_go && is_idle(&log) => Role::TooOld,
            role => role,
        };
        Ok(Examined { log, role })
    };
    let examined = tokio::task::spawn_blocking(move || examine(file)).await;
    let examined =
        examined.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok(Answer::File(examined))
}

/// Of the files beside one that is held, those that were held at an earlier walk are known by their log. So of a log that
/// is found now only those are news that were rotated since the last walk.
fn is_idle(log: &OpenLog) -> bool {
    let now_ms = since_1970_ms(SystemTime::now());
    now_ms.saturating_sub(log.written_ms) > RECENTLY_MS
}

fn role(log: &OpenLog, want: Want) -> io::Result<Role> {
    Ok(match want {
        Want::Resume(mark) if log.holds(&mark.position)? => Role::Begin,
        Want::Resume(mark) if log.is_copy(&mark.position)? => Role::Copy,
        Want::Newer(id) if log.id == id => Role::Begin,
        Want::First(since_ms) if log.born_ms.is_none_or(|born_ms| born_ms < since_ms) => {
            Role::TooOld
        }
        Want::Resume(_) | Want::Newer(_) | Want::First(_) | Want::All | Want::Copy => Role::Newer,
    })
}

/// Files from the newest on.
#[derive(Debug, Default)]
struct Chain {
    logs: Vec<Examined>,
    is_only_one: bool,
}

impl Chain {
    /// Returns whether nothing before it is wanted.
    fn add(&mut self, examined: Examined) -> bool {
        // A rotation between two questions shows the same file again under its next name.
        let known = self
            .logs
            .iter()
            .any(|older| older.log.id == examined.log.id);
        let is_last = matches!(examined.role, Role::Begin | Role::TooOld);
        if !known {
            self.logs.push(examined);
        }
        is_last && !known
    }

    fn found(mut self, want: Want) -> Found {
        let last = self.logs.last().map(|examined| examined.role);
        match want {
            Want::Newer(_) => {
                let is_known = last == Some(Role::Begin);
                if is_known {
                    self.logs.pop();
                }
                Found::Newer {
                    is_gap: !is_known && !self.is_only_one,
                    logs: self.in_order(),
                }
            }
            Want::Resume(mark) => self.resume(&mark),
            Want::First(_) | Want::All | Want::Copy => self.first(),
        }
    }

    /// What was made since the first start is read whole; of an older file, only what will be written.
    fn first(mut self) -> Found {
        let is_old = |examined: &Examined| examined.role == Role::TooOld;
        let newest_is_old = self.logs.first().is_some_and(is_old);
        if newest_is_old {
            self.logs.truncate(1);
        } else {
            self.logs.retain(|examined| !is_old(examined));
        }
        let logs = self.in_order();
        let offset = match logs.first() {
            Some(log) if newest_is_old => log.size(),
            _ => 0,
        };
        Found::Begin {
            logs,
            offset,
            pass_by: [0; 2],
            is_gap: false,
        }
    }

    fn resume(mut self, mark: &Mark) -> Found {
        let Position {
            offset, pass_by, ..
        } = mark.position;
        let at = |role| self.logs.iter().position(|examined| examined.role == role);
        if let Some(begin) = at(Role::Begin).or_else(|| at(Role::Copy)) {
            self.logs.truncate(begin + 1);
            return Found::Begin {
                logs: self.in_order(),
                offset,
                pass_by,
                is_gap: false,
            };
        }
        // The file is gone or has something else in it. What was written since then is new.
        let is_new = |examined: &Examined| examined.log.written_ms + TICK_MS >= mark.at_ms;
        let new = self.logs.iter().take_while(|examined| is_new(examined));
        let new = new.count();
        self.logs.truncate(new.max(1));
        let logs = self.in_order();
        let offset = match logs.first() {
            Some(log) if new == 0 => log.size(),
            _ => 0,
        };
        Found::Begin {
            logs,
            offset,
            pass_by: [0; 2],
            is_gap: true,
        }
    }

    fn in_order(self) -> Vec<OpenLog> {
        let logs = self.logs.into_iter().rev();
        logs.map(|examined| examined.log).collect()
    }
}
