//! Says what kind of program a file is, without parsing it in the sensor.
//!
//! The file of a process may be anything: whoever started it made it. So a process without any right looks at it,
//! see `child.rs`: forked while the sensor starts, it forks another one for each file, which may read that file and
//! nothing else, for two seconds and with little memory, and whose status is the answer. What a hostile file
//! could win is to be taken for a program of another language.

mod child;
pub mod elf;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nodescope_schema::Language;

use crate::packet::{self, Received};

/// How long an answer may take: longer than the child may look at a file.
const PATIENCE: Duration = Duration::from_secs(5);
/// The number of the question; behind it, in an answer, the language.
const QUESTION_BYTES: usize = 8;
const ANSWER_BYTES: usize = QUESTION_BYTES + 1;

/// There is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExamineError {
    /// The file could not be read, or not in time.
    #[error("the file cannot be examined")]
    Failed,
    /// An earlier file still takes its time.
    #[error("another file is being examined")]
    Busy,
    /// The process that looks at files has ended.
    #[error("the process that examines files has ended")]
    Ended,
}

/// With the number of its question.
type Answer = (u64, Result<Language, ExamineError>);

/// The sensor's side.
#[derive(Debug)]
pub struct Examiner {
    socket: OwnedFd,
    asked: u64,
    answered: u64,
}

impl Examiner {
    /// Starts the process. To be called while there is one thread, after the rights were dropped.
    ///
    /// # Errors
    /// The kernel gives no socket or no process.
    pub fn start() -> io::Result<Self> {
        Ok(Self {
            socket: child::start()?,
            asked: 0,
            answered: 0,
        })
    }

    /// The language of a program.
    ///
    /// # Errors
    /// See [`ExamineError`].
    pub fn language(&mut self, program: BorrowedFd<'_>) -> Result<Language, ExamineError> {
        self.take_late_answers()?;
        self.asked += 1;
        let question = self.asked.to_ne_bytes();
        packet::send(self.socket.as_fd(), &question, Some(program))
            .map_err(|_| ExamineError::Ended)?;
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut wait = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            // Interrupted, it is asked again.
            let _ = poll(&mut wait, timeout);
            match self.answer()? {
                Some((number, answer)) if number == self.asked => return answer,
                _ if left.is_zero() => return Err(ExamineError::Failed),
                _ => {}
            }
        }
    }

    /// Of questions that were given up.
    fn take_late_answers(&mut self) -> Result<(), ExamineError> {
        while self.answered < self.asked {
            if self.answer()?.is_none() {
                return Err(ExamineError::Busy);
            }
        }
        Ok(())
    }

    /// An answer that is there, with the number of its question.
    fn answer(&mut self) -> Result<Option<Answer>, ExamineError> {
        let mut bytes = [0; ANSWER_BYTES];
        match packet::receive(self.socket.as_fd(), &mut bytes) {
            Ok(Received::Nothing) => Ok(None),
            Ok(Received::Packet(ANSWER_BYTES)) => {
                let (number, status) = bytes.split_at(QUESTION_BYTES);
                let number = u64::from_ne_bytes(number.try_into().unwrap_or_default());
                self.answered = number;
                let language = child::decode(status[0]).ok_or(ExamineError::Failed);
                Ok(Some((number, language)))
            }
            _ => Err(ExamineError::Ended),
        }
    }
}
