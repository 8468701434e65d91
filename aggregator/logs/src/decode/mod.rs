//! Entries of log files: whole lines of a container's streams, whatever form its runtime gives them on disk.

mod cri;
mod docker_json;
mod docker_local;
mod join;
mod journal;
mod lines;

pub use journal::JournalEntry;
pub(crate) use journal::JournalJoiner;
pub use lines::{CutCounts, LineSplitter};

use self::docker_local::EntrySplitter;
use self::join::Joiner;

/// The form of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// docker's `json-file` driver.
    DockerJson,
    /// docker's `local` driver.
    DockerLocal,
    /// The CRI logging format, also Podman's `k8s-file`.
    Cri,
    /// Lines of text.
    Plain,
}

/// The stream that a container wrote a line to. Plain files have only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A whole line of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Who wrote it.
    pub stream: Stream,
    /// Its text.
    pub text: &'a [u8],
    /// Where it begins: how many bytes of all that was taken came before it.
    pub place: u64,
}

/// A line of a container, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part<'a> {
    stream: Stream,
    text: &'a [u8],
    last: bool,
}

/// What a decoder met that it could not hand on as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeCounts {
    /// Lines and entries that are not of the format.
    pub malformed: u64,
    /// Bytes between entries that belong to none.
    pub skipped_bytes: u64,
    /// Lines that were cut.
    pub lines: CutCounts,
}

/// Decodes one file.
#[derive(Debug)]
pub struct Decoder {
    format: Format,
    max_line_bytes: usize,
    lines: LineSplitter,
    entries: EntrySplitter,
    parts: Parts,
}

/// What makes lines of parts.
#[derive(Debug, Default)]
struct Parts {
    joiners: [Joiner; 2],
    /// Where the lines of the open joiners begin.
    begun: [u64; 2],
    buffer: Vec<u8>,
    malformed: u64,
    skipped_bytes: u64,
    cut: CutCounts,
}

impl Decoder {
    /// A decoder for a file of a format. Lines have at most `max_line_bytes`, the rest of a longer one is cut off.
    pub fn new(format: Format, max_line_bytes: usize) -> Self {
        // In the file, escapes may make a line six times as long; 16 KiB parts are far from that limit.
        let on_disk = match format {
            Format::DockerJson => max_line_bytes.saturating_mul(6).saturating_add(1024),
            Format::Cri => max_line_bytes.saturating_add(128),
            Format::DockerLocal | Format::Plain => max_line_bytes,
        };
        Self {
            format,
            max_line_bytes,
            lines: LineSplitter::new(on_disk),
            entries: EntrySplitter::default(),
            parts: Parts::default(),
        }
    }

    /// Takes the next bytes of the file and hands on each line that is complete with them.
    pub fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(Line<'_>)) {
        let Self {
            format,
            max_line_bytes,
            lines,
            entries,
            parts,
        } = self;
        if *format == Format::DockerLocal {
            let skipped = entries.feed(bytes, |place, entry| {
                parts.push(*format, (place, entry), *max_line_bytes, &mut sink);
            });
            parts.skipped_bytes += skipped;
        } else {
            lines.feed_placed(bytes, |place, line| {
                parts.push(*format, (place, line), *max_line_bytes, &mut sink);
            });
        }
    }

    /// Hands on lines whose last part has not come: nothing more will come, or nothing came for long.
    pub fn flush(&mut self, mut sink: impl FnMut(Line<'_>)) {
        self.parts.flush(&mut sink);
    }

    /// The file ends here and the next bytes are those of another: hands on a last line without its newline. What is
    /// in parts may go on in the next file.
    pub fn end_file(&mut self, mut sink: impl FnMut(Line<'_>)) {
        let (format, max_line_bytes) = (self.format, self.max_line_bytes);
        let parts = &mut self.parts;
        self.lines.finish_placed(|place, line| {
            parts.push(format, (place, line), max_line_bytes, &mut sink);
        });
        parts.skipped_bytes += self.entries.finish();
    }

    /// Where the line of a stream begins of which only parts have come.
    pub fn open_place(&self, stream: Stream) -> Option<u64> {
        let index = stream as usize;
        self.parts.joiners[index]
            .is_open()
            .then_some(self.parts.begun[index])
    }

    /// Bytes taken of a line or entry that is not complete: a reader that starts again begins so far back.
    pub fn pending_bytes(&self) -> u64 {
        self.lines.pending_bytes() + self.entries.pending_bytes()
    }

    /// What could not be handed on as it was.
    pub fn counts(&self) -> DecodeCounts {
        let lines = self.lines.counts();
        DecodeCounts {
            malformed: self.parts.malformed,
            skipped_bytes: self.parts.skipped_bytes,
            lines: CutCounts {
                cut: lines.cut + self.parts.cut.cut,
                cut_bytes: lines.cut_bytes + self.parts.cut.cut_bytes,
            },
        }
    }
}

impl Parts {
    fn push(
        &mut self,
        format: Format,
        (place, entry): (u64, &[u8]),
        max_line_bytes: usize,
        sink: &mut impl FnMut(Line<'_>),
    ) {
        let part = match format {
            Format::Plain => Some(Part {
                stream: Stream::Stdout,
                text: entry,
                last: true,
            }),
            Format::DockerJson => docker_json::part(entry, &mut self.buffer),
            Format::DockerLocal => docker_local::part(entry),
            Format::Cri => cri::part(entry),
        };
        let Some(part) = part else {
            self.malformed += 1;
            return;
        };
        let text = if part.last {
            part.text.strip_suffix(b"\r").unwrap_or(part.text)
        } else {
            part.text
        };
        let stream = part.stream;
        let joiner = &mut self.joiners[stream as usize];
        let begun = &mut self.begun[stream as usize];
        if !joiner.is_open() {
            *begun = place;
        }
        let place = *begun;
        joiner.push(text, part.last, max_line_bytes, &mut self.cut, |text| {
            sink(Line {
                stream,
                text,
                place,
            });
        });
    }

    fn flush(&mut self, sink: &mut impl FnMut(Line<'_>)) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let joiner = &mut self.joiners[stream as usize];
            let place = self.begun[stream as usize];
            joiner.finish(&mut self.cut, |text| {
                sink(Line {
                    stream,
                    text,
                    place,
                });
            });
        }
    }
}
