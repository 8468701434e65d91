//! What happened, in numbers.

use std::fmt;
use std::io::{self, Write};

/// Counts of one run; sums of several runs by `+=`.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) established: u64,
    pub(crate) refused: u64,
    pub(crate) timed_out: u64,
    pub(crate) failed_otherwise: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) elapsed_ms: u64,
}

impl Report {
    /// Counts a failed connect by its kind.
    pub(crate) fn failed(&mut self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => self.refused += 1,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => self.timed_out += 1,
            _ => self.failed_otherwise += 1,
        }
    }
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.established += other.established;
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        self.failed_otherwise += other.failed_otherwise;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            established,
            refused,
            timed_out,
            failed_otherwise,
            sent_bytes,
            received_bytes,
            elapsed_ms,
        } = self;
        write!(
            f,
            "{{\"established\":{established},\"refused\":{refused},\"timed_out\":{timed_out},"
        )?;
        write!(
            f,
            "\"failed_otherwise\":{failed_otherwise},\"sent_bytes\":{sent_bytes},"
        )?;
        write!(
            f,
            "\"received_bytes\":{received_bytes},\"elapsed_ms\":{elapsed_ms}}}"
        )
    }
}

/// One line on standard output, at once: the reader waits for it.
pub(crate) fn say(line: impl fmt::Display) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("standard output: {error}"))
}
