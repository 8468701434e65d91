//! How the sensor ends: one line on standard error and an exit status (numbers of `sysexits.h`).

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// Exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to end.
    Ok = 0,
    /// A flag is wrong, or names something that does not exist.
    Usage = 64,
    /// The kernel lacks something without which nothing works.
    Unavailable = 69,
    /// It broke.
    Internal = 70,
    /// The socket or recording cannot be made.
    CannotCreate = 73,
    /// Rights are missing.
    NotPermitted = 77,
}

/// Status and meaning, for `--help`.
pub const STATUSES: [(Exit, &str); 6] = [
    (Exit::Ok, "asked to end; with --check: no hook failed"),
    (Exit::Usage, "wrong flag, or no such user"),
    (
        Exit::Unavailable,
        "this kernel lacks cgroup v2 or refuses the programs; with --check: a hook failed",
    ),
    (Exit::Internal, "internal error"),
    (
        Exit::CannotCreate,
        "cannot make the socket or the recording, or its path is in use",
    ),
    (
        Exit::NotPermitted,
        "not root and without the needed capabilities",
    ),
];

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the sensor ends other than by request.
#[derive(Debug)]
pub struct Failure {
    /// Its status.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with its own message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// A failure told by an error and what is below it.
    pub fn because(exit: Exit, error: &dyn std::error::Error) -> Self {
        Self::new(exit, chain(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// For `map_err`: a failure told by the error.
pub fn because<E: std::error::Error>(exit: Exit) -> impl Fn(E) -> Failure {
    move |error| Failure::because(exit, &error)
}

/// For `map_err`: a failure told by a path and the error.
pub fn at<E: std::error::Error>(exit: Exit, path: &Path) -> impl Fn(E) -> Failure {
    move |error| Failure::new(exit, format!("{}: {}", path.display(), chain(&error)))
}

/// An error and its sources in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        line.push_str(": ");
        line.push_str(&source.to_string());
        next = source.source();
    }
    line.replace('\n', " ")
}

/// Writes a line to standard error, the service's log.
pub fn say(line: fmt::Arguments<'_>) {
    // When nobody reads the log there is nobody to tell.
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr().lock(),
        format_args!("nodescope-sensor: {line}\n"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::SocketError;

    #[test]
    fn one_line_with_the_reason() {
        let error = SocketError::Call {
            what: "bind",
            path: "/run/x".into(),
            source: nix::errno::Errno::EACCES,
        };
        let failure = Failure::because(Exit::CannotCreate, &error);
        assert_eq!(
            failure.to_string(),
            "cannot bind /run/x: EACCES: Permission denied"
        );
    }
}
