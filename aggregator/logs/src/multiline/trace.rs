//! What kind of report the open message has become, and which lines that are not indented belong to it.

use super::line::{begins_python_trace, is_python_chain};

/// The report in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    /// None yet.
    None,
    /// A traceback: its frames are indented, the exception behind them is not.
    Python(Python),
    /// A panic: the goroutines' headings and functions are not indented, their positions are.
    Go,
    /// A panic: its text is on the next line, notes may follow.
    Rust {
        /// The text has not come yet.
        expects_text: bool,
    },
    /// An excerpt of a script; the error stands behind the line that marks the column.
    Node {
        /// The error has not come yet.
        expects_error: bool,
    },
    /// Tomcat announces the cause at the end of a line.
    RootCause,
}

/// How far a traceback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Python {
    Heading,
    Frames,
    /// The exception came: nothing more belongs to it unless it is announced.
    Exception,
    /// Another traceback was announced.
    Chained,
}

impl Trace {
    /// The report that a first line begins.
    pub(super) fn begun_by(line: &[u8]) -> Self {
        let mut trace = Self::None;
        trace.take(line);
        trace
    }

    /// Whether a line that nothing marks as a continuation belongs to the report.
    pub(super) fn expects(self, line: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Python(Python::Frames) => !begins_python_trace(line),
            Self::Python(Python::Chained) => begins_python_trace(line),
            Self::Python(Python::Heading) => false,
            Self::Python(Python::Exception) => is_python_chain(line),
            Self::Go => is_go(line),
            Self::Rust { expects_text } => {
                expects_text || line.starts_with(b"note: ") || line.starts_with(b"stack backtrace:")
            }
            Self::Node { expects_error } => expects_error || line.starts_with(b"Node.js v"),
            Self::RootCause => true,
        }
    }

    /// What the report is with this line.
    pub(super) fn take(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let indented = line.starts_with(b" ") || line.starts_with(b"\t");
        *self = match *self {
            _ if begins_python_trace(line) => Self::Python(Python::Heading),
            Self::Python(_) if is_python_chain(line) => Self::Python(Python::Chained),
            Self::Python(Python::Heading) if indented => Self::Python(Python::Frames),
            Self::Python(Python::Frames) if !indented => Self::Python(Python::Exception),
            Self::Rust { expects_text: true } => Self::Rust {
                expects_text: false,
            },
            Self::Node {
                expects_error: true,
            } if !indented => Self::Node {
                expects_error: false,
            },
            Self::None | Self::RootCause => begun(line, indented),
            other => other,
        };
    }
}

fn begun(line: &[u8], indented: bool) -> Trace {
    if line.starts_with(b"panic: ") || line.starts_with(b"fatal error: ") {
        return Trace::Go;
    }
    if line.starts_with(b"thread '") && memchr::memmem::find(line, b" panicked at ").is_some() {
        // Since Rust 1.73 the position ends the line with a colon and the text follows.
        return Trace::Rust {
            expects_text: line.ends_with(b":"),
        };
    }
    let marks_column =
        indented && line.contains(&b'^') && line.iter().all(|byte| b" \t^~".contains(byte));
    if marks_column {
        return Trace::Node {
            expects_error: true,
        };
    }
    if line.ends_with(b"with root cause") {
        return Trace::RootCause;
    }
    Trace::None
}

fn is_go(line: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 7] = [
        b"goroutine ",
        b"created by ",
        b"[signal ",
        b"[recovered]",
        b"exit status ",
        b"runtime stack:",
        b"...additional frames elided...",
    ];
    // A frame is the function with its arguments: `main.run(0xc000012345, ...)`.
    let is_call = line.ends_with(b")")
        && memchr::memchr(b'(', line).is_some_and(|open| {
            open > 0 && line[..open].contains(&b'.') && !line[..open].contains(&b' ')
        });
    is_call
        || BEGINNINGS
            .iter()
            .any(|beginning| line.starts_with(beginning))
}
