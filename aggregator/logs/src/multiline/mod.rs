//! Puts the lines of one message together: stack traces of Java, Python, Go, Node.js, Ruby, .NET, Rust and PHP, dumps of
//! objects, and whatever follows a line that begins with a time.
//!
//! A line joins the open message or begins a new one by its own spelling and by what the message has become so far
//! (`trace`). A message ends when the next one begins, when nothing came for a while, or with the stream.
//!
//! Limits: after a line with a time, lines without one that have nothing to do with it join it too, as long as they
//! follow closely; a message that grew to its limit takes only lines that are clearly its own.

mod line;
mod trace;

use self::line::{
    begins_python_trace, continues_anything, has_time, is_exception, is_json_object,
    is_python_chain,
};
use self::trace::Trace;
use crate::decode::CutCounts;
use crate::level::{self, Level};

/// When a message is complete and how large it may be.
#[derive(Clone, Copy, Debug)]
pub struct AssemblyLimits {
    /// A message is complete when nothing came for so long.
    pub idle_ms: u64,
    /// Bytes of a message; the rest is cut off between two characters.
    pub max_message_bytes: usize,
}

impl Default for AssemblyLimits {
    fn default() -> Self {
        Self {
            idle_ms: 1000,
            max_message_bytes: 64 << 10,
        }
    }
}

/// Assembles the lines of one stream.
#[derive(Debug)]
pub struct Assembler {
    limits: AssemblyLimits,
    text: Vec<u8>,
    open: Option<Open>,
    counts: CutCounts,
}

/// What is known of the message that is open.
#[derive(Debug)]
struct Open {
    trace: Trace,
    has_time: bool,
    is_json: bool,
    lines: usize,
    over: u64,
    last_line_ms: u64,
}

impl Assembler {
    /// An assembler without a message.
    pub fn new(limits: AssemblyLimits) -> Self {
        Self {
            limits,
            text: Vec::new(),
            open: None,
            counts: CutCounts::default(),
        }
    }

    /// Takes a line that was read at `now_ms`, any clock that does not go back. Hands on the message before it if the
    /// line begins a new one, and says whether it did.
    pub fn push(&mut self, line: &[u8], now_ms: u64, mut sink: impl FnMut(&[u8])) -> bool {
        let text = &self.text;
        let joins = self
            .open
            .as_mut()
            .is_some_and(|open| open.takes(text, line));
        if joins {
            self.append(line, now_ms);
        } else {
            self.flush(&mut sink);
            self.begin(line, now_ms);
        }
        !joins
    }

    /// Hands on the open message if nothing was added to it for long.
    pub fn flush_idle(&mut self, now_ms: u64, sink: impl FnMut(&[u8])) {
        let idle = self
            .open
            .as_ref()
            .is_some_and(|open| now_ms.saturating_sub(open.last_line_ms) >= self.limits.idle_ms);
        if idle {
            self.flush(sink);
        }
    }

    /// Hands on the open message.
    pub fn flush(&mut self, mut sink: impl FnMut(&[u8])) {
        let Some(open) = self.open.take() else {
            return;
        };
        if open.over > 0 {
            self.counts.cut += 1;
            self.counts.cut_bytes += open.over;
            cut_between_characters(&mut self.text);
        }
        let message = self.text.trim_ascii();
        if !message.is_empty() {
            sink(message);
        }
        self.text.clear();
        self.text.shrink_to(4096);
    }

    /// Whether a message is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// What was cut off from messages.
    pub fn counts(&self) -> CutCounts {
        self.counts
    }

    fn begin(&mut self, line: &[u8], now_ms: u64) {
        // An empty line says nothing on its own.
        if line.trim_ascii().is_empty() {
            return;
        }
        let kept = line.len().min(self.limits.max_message_bytes);
        self.text.extend_from_slice(&line[..kept]);
        self.open = Some(Open {
            trace: Trace::begun_by(line),
            has_time: has_time(line),
            is_json: is_json_object(line),
            lines: 1,
            over: (line.len() - kept) as u64,
            last_line_ms: now_ms,
        });
    }

    fn append(&mut self, line: &[u8], now_ms: u64) {
        let Some(open) = &mut self.open else {
            return;
        };
        open.last_line_ms = now_ms;
        open.lines += 1;
        let max = self.limits.max_message_bytes;
        // Nothing is added behind a cut, so that what is kept is the beginning.
        if open.over > 0 || self.text.len() >= max {
            open.over += line.len() as u64 + 1;
            return;
        }
        self.text.push(b'\n');
        let kept = line.len().min(max - self.text.len());
        self.text.extend_from_slice(&line[..kept]);
        open.over += (line.len() - kept) as u64;
    }
}

impl Open {
    /// Whether the line belongs to the message with this text; the message then knows what it has become with it.
    fn takes(&mut self, text: &[u8], line: &[u8]) -> bool {
        // A record that is complete has no second line.
        if self.is_json {
            return false;
        }
        let joins = continues_anything(line)
            || self.trace.expects(line)
            || !is_json_object(line) && !has_time(line) && self.is_followed_by(text, line);
        if joins {
            self.trace.take(line);
        }
        joins
    }

    /// For lines without a time that no trace expects.
    fn is_followed_by(&self, text: &[u8], line: &[u8]) -> bool {
        if begins_python_trace(line) {
            return self.trace == Trace::None && (self.has_time || self.is_heading(text));
        }
        if is_python_chain(line) {
            return matches!(self.trace, Trace::Python(_));
        }
        if self.has_time {
            return self.over == 0;
        }
        self.trace == Trace::None && is_exception(line) && self.is_heading(text)
    }

    /// Whether the message is one line that may have the report of an exception below it.
    fn is_heading(&self, text: &[u8]) -> bool {
        self.lines == 1
            && !is_exception(text)
            && level::detect(text).is_some_and(|level| level >= Level::Warning)
    }
}

/// Removes what a cut left of a character at the end. Bytes that never were one stay.
fn cut_between_characters(text: &mut Vec<u8>) {
    let Some(start) = text.iter().rposition(|&byte| byte & 0xc0 != 0x80) else {
        return;
    };
    let broken_off = |error: std::str::Utf8Error| error.error_len().is_none();
    if std::str::from_utf8(&text[start..]).is_err_and(broken_off) {
        text.truncate(start);
    }
}
