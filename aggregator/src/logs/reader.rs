//! Reads one log from file to file as it is rotated, and feeds its bytes to a [`Source`].
//!
//! - A file that was renamed is read to its end before the one that follows it. Lines and messages may go on there.
//! - A file that was truncated begins again. That it was is seen by its length and, if it has grown again since, by the
//!   bytes before the place it was read up to: each read begins with those.
//! - A file stays open as long as a message that began in it is not complete, so that its place can be noted.
//!
//! Who gives it files is [`super::chain`]. Everything here blocks, none of it waits.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use nodescope_logs::decode::Format;
use nodescope_logs::{Source, SourceLimits};

use super::open::{Look, OpenLog};
use super::position::{Fingerprint, Position};

/// Bytes of what was read last that are looked at again.
const OVERLAP_BYTES: usize = 256;

/// A log and how far it was read.
pub struct Reader {
    source: Source,
    format: Format,
    /// The last is being read; those before it have messages that are not complete.
    segments: VecDeque<Segment>,
    /// The files that follow it, the next one first.
    queue: VecDeque<Arc<OpenLog>>,
    /// Place in the file that is being read.
    offset: u64,
    /// What is before it.
    before: Vec<u8>,
    /// When the content of the file had changed when its end was read.
    written: Option<(i64, i64)>,
    /// The next bytes are the end of a line whose beginning was not read.
    is_inside_line: bool,
    is_truncated: bool,
    /// The last place that was asked for; its bytes need not be read again.
    known: Option<Position>,
    skipped_bytes: u64,
}

/// A part of a file that was fed to the source without a gap.
struct Segment {
    log: Arc<OpenLog>,
    /// Bytes that had been fed before it.
    place: u64,
    /// Place in the file of its first byte.
    offset: u64,
}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many bytes; there may be more.
    Bytes(u64),
    /// All that there is was read.
    End,
    /// The file was truncated: [`Reader::go_on`] is to be called, with a copy of what was in it if there is one.
    Truncated,
}

impl Reader {
    /// A reader without a file.
    pub fn new(format: Format, limits: SourceLimits) -> Self {
        Self {
            source: Source::new(format, limits),
            format,
            segments: VecDeque::new(),
            queue: VecDeque::new(),
            offset: 0,
            before: Vec::new(),
            written: None,
            is_inside_line: false,
            is_truncated: false,
            known: None,
            skipped_bytes: 0,
        }
    }

    /// What it feeds.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What it feeds.
    pub fn source_mut(&mut self) -> &mut Source {
        &mut self.source
    }

    /// The newest file it knows of; none when it has no file.
    pub fn newest(&self) -> Option<&Arc<OpenLog>> {
        let current = self.segments.back().map(|segment| &segment.log);
        self.queue.back().or(current)
    }

    /// Bytes passed over because too many were waiting, and ends of lines whose beginning was passed over.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// Begins at `offset` of the first of `logs`, which follow each other. What lines of each stream begin in the first
    /// `pass_by` bytes was counted before.
    ///
    /// # Errors
    /// The first file cannot be read.
    pub fn attach(&mut self, logs: Vec<OpenLog>, offset: u64, pass_by: [u64; 2]) -> io::Result<()> {
        self.detach();
        let mut logs = logs.into_iter().map(Arc::new);
        let Some(first) = logs.next() else {
            return Ok(());
        };
        let before = read_before(&first, offset)?;
        let is_text = self.format != Format::DockerLocal;
        self.is_inside_line = is_text && before.last().is_some_and(|byte| *byte != b'\n');
        let place = self.source.fed_bytes();
        self.source.pass_by(pass_by.map(|bytes| place + bytes));
        self.begin(first, offset, before);
        self.queue = logs.collect();
        Ok(())
    }

    /// Files that follow, in their order.
    pub fn follow(&mut self, logs: Vec<OpenLog>) {
        self.queue.extend(logs.into_iter().map(Arc::new));
    }

    /// Closes all files. What was read of them is counted.
    pub fn detach(&mut self) {
        if !self.segments.is_empty() {
            self.source.flush(true);
        }
        self.segments.clear();
        self.queue.clear();
        self.is_truncated = false;
    }

    /// Goes on after a truncation: with the rest of `copy`, if it is one of what was read, and then with the file's new
    /// beginning. Returns whether the copy was one; if not, lines may be missing.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub fn go_on(&mut self, copy: Option<OpenLog>) -> io::Result<bool> {
        self.is_truncated = false;
        let Some(current) = self.segments.back().map(|segment| Arc::clone(&segment.log)) else {
            return Ok(false);
        };
        if let Some(copy) = copy
            && !self.before.is_empty()
            && read_before(&copy, self.offset).is_ok_and(|before| before.ends_with(&self.before))
        {
            self.queue.push_front(current);
            let (offset, before) = (self.offset, std::mem::take(&mut self.before));
            self.begin(Arc::new(copy), offset, before);
            return Ok(true);
        }
        self.source.end_file();
        self.begin(current, 0, Vec::new());
        Ok(false)
    }

    fn begin(&mut self, log: Arc<OpenLog>, offset: u64, before: Vec<u8>) {
        self.segments.push_back(Segment {
            log,
            place: self.source.fed_bytes(),
            offset,
        });
        self.offset = offset;
        self.before = before;
        self.written = None;
        self.known = None;
    }

    /// Reads at most `max` bytes, at `now_ms` of any clock that does not go back. Files with numbers in `held` may still be
    /// written to, although others follow them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(
        &mut self,
        max: u64,
        now_ms: u64,
        held: &[u64],
        buffer: &mut Vec<u8>,
    ) -> io::Result<Step> {
        if self.is_truncated {
            return Ok(Step::Truncated);
        }
        let Some(segment) = self.segments.back() else {
            return Ok(Step::End);
        };
        let look = segment.log.look()?;
        if look.size < self.offset {
            return Ok(self.truncated());
        }
        if look.size == self.offset && self.written == Some(look.written) {
            return Ok(self.at_end(held));
        }
        let overlap = self.before.len();
        let new = usize::try_from(max.min(look.size - self.offset)).unwrap_or(usize::MAX);
        buffer.resize(overlap + new, 0);
        let read = read_at(&segment.log, buffer, self.offset - overlap as u64)?;
        let Some((before, bytes)) = buffer[..read].split_at_checked(overlap) else {
            return Ok(self.truncated());
        };
        if before != self.before {
            return Ok(self.truncated());
        }
        self.take(bytes, now_ms);
        if self.offset == look.size {
            self.written = Some(look.written);
        }
        match bytes.len() {
            0 if self.written.is_some() => Ok(self.at_end(held)),
            0 => Ok(Step::End),
            bytes => Ok(Step::Bytes(bytes as u64)),
        }
    }

    fn take(&mut self, bytes: &[u8], now_ms: u64) {
        self.offset += bytes.len() as u64;
        let surplus = (self.before.len() + bytes.len()).saturating_sub(OVERLAP_BYTES);
        self.before.drain(..surplus.min(self.before.len()));
        let kept = bytes.len().min(OVERLAP_BYTES);
        self.before.extend_from_slice(&bytes[bytes.len() - kept..]);
        let text = if self.is_inside_line {
            self.pass_line_end(bytes)
        } else {
            bytes
        };
        self.source.feed(text, now_ms);
    }

    fn pass_line_end<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let passed = end.map_or(bytes.len(), |end| end + 1);
        self.is_inside_line = end.is_none();
        self.skipped_bytes += passed as u64;
        if let Some(segment) = self.segments.back_mut() {
            segment.offset += passed as u64;
        }
        &bytes[passed..]
    }

    fn truncated(&mut self) -> Step {
        self.is_truncated = true;
        Step::Truncated
    }

    /// The end of a file is only believed by a look that came after the next file was known: its writer had gone on to
    /// that one, unless it still holds this one.
    fn at_end(&mut self, held: &[u64]) -> Step {
        let current = self.segments.back().map(|segment| segment.log.id.inode);
        if current.is_some_and(|inode| held.contains(&inode)) {
            return Step::End;
        }
        let Some(next) = self.queue.pop_front() else {
            return Step::End;
        };
        self.source.end_file();
        self.begin(next, 0, Vec::new());
        Step::Bytes(0)
    }

    /// Bytes that wait to be read.
    ///
    /// # Errors
    /// A file cannot be looked at.
    pub fn backlog_bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        if let Some(segment) = self.segments.back() {
            bytes += segment.log.look()?.size.saturating_sub(self.offset);
        }
        for log in &self.queue {
            bytes += log.look()?.size;
        }
        Ok(bytes)
    }

    /// Passes over all but the newest `keep` bytes that wait.
    ///
    /// # Errors
    /// A file cannot be looked at.
    pub fn skip_to_newest(&mut self, keep: u64) -> io::Result<()> {
        let mut surplus = self.backlog_bytes()?.saturating_sub(keep);
        while surplus > 0
            && let Some(segment) = self.segments.back()
        {
            let log = Arc::clone(&segment.log);
            let rest = log.look()?.size.saturating_sub(self.offset);
            let passed = rest.min(surplus);
            // What was truncated meanwhile cannot be passed over.
            surplus = if rest == 0 && self.queue.is_empty() {
                0
            } else {
                surplus - passed
            };
            self.skipped_bytes += passed;
            self.source.end_file();
            if passed < rest || self.queue.is_empty() {
                self.begin(log, self.offset + passed, Vec::new());
                self.is_inside_line = self.format != Format::DockerLocal;
            } else if let Some(next) = self.queue.pop_front() {
                self.begin(next, 0, Vec::new());
            }
        }
        Ok(())
    }

    /// Up to where everything is counted; none when there is no file. Closes files that are done with.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn position(&mut self) -> io::Result<Option<Position>> {
        let places = self.source.counted_places();
        let place = places[0].min(places[1]);
        while self.segments.len() > 1 && self.segments[1].place <= place {
            self.segments.pop_front();
        }
        let Some(segment) = self.segments.front() else {
            return Ok(None);
        };
        let offset = segment.offset + place.saturating_sub(segment.place);
        let file = segment.log.id;
        let is_known = |known: &Position| known.file == file && known.offset == offset;
        let before = match self.known.filter(is_known) {
            Some(known) => known.before,
            None => Fingerprint::read(&segment.log.file, offset).unwrap_or_default(),
        };
        self.known = Some(Position {
            file,
            offset,
            pass_by: places.map(|of_stream| of_stream - place),
            before,
        });
        Ok(self.known)
    }

    /// What the file that is being read looks like.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn look(&self) -> io::Result<Option<Look>> {
        let log = self.segments.back().map(|segment| &segment.log);
        log.map(|log| log.look()).transpose()
    }
}

fn read_before(log: &OpenLog, offset: u64) -> io::Result<Vec<u8>> {
    let bytes = offset.min(OVERLAP_BYTES as u64);
    let mut before = vec![0; bytes as usize];
    log.file.read_exact_at(&mut before, offset - bytes)?;
    Ok(before)
}

fn read_at(log: &OpenLog, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match log.file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
