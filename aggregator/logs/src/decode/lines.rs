//! Cuts bytes into lines however the reader cut them into pieces.

use memchr::memchr;

/// What was cut off from lines that were too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutCounts {
    /// Lines or messages that were cut.
    pub cut: u64,
    /// Bytes that were cut off.
    pub cut_bytes: u64,
}

/// Finds the lines in a stream of bytes.
///
/// NUL bytes before a line are no part of it: they fill the hole that truncating a file leaves before its writer's
/// position. They are not kept, so a hole of any size costs nothing.
#[derive(Debug)]
pub struct LineSplitter {
    max_line_bytes: usize,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    /// Bytes of it that did not fit.
    over: u64,
    /// Bytes taken since the last newline.
    pending: u64,
    /// Bytes taken up to the last newline.
    complete: u64,
    counts: CutCounts,
}

impl LineSplitter {
    /// A splitter that cuts off what a line has beyond `max_line_bytes`.
    pub fn new(max_line_bytes: usize) -> Self {
        Self {
            max_line_bytes,
            begun: Vec::new(),
            over: 0,
            pending: 0,
            complete: 0,
            counts: CutCounts::default(),
        }
    }

    /// Takes the next bytes and hands on each line that ends in them, without its newline.
    pub fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8])) {
        self.feed_placed(bytes, |_, line| sink(line));
    }

    /// As [`Self::feed`], with each line its place: how many bytes of all that was taken came before it.
    pub(super) fn feed_placed(&mut self, mut bytes: &[u8], mut sink: impl FnMut(u64, &[u8])) {
        while let Some(end) = memchr(b'\n', bytes) {
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            let place = self.complete;
            self.complete += self.pending + end as u64 + 1;
            self.pending = 0;
            let mut sink = |line: &[u8]| sink(place, line);
            if self.begun.is_empty() && line.len() <= self.max_line_bytes {
                sink(without_hole(line));
            } else {
                self.begin(line);
                self.end(&mut sink);
            }
        }
        if !bytes.is_empty() {
            self.pending += bytes.len() as u64;
            self.begin(bytes);
        }
    }

    /// Hands on the last line if no newline ended it: nothing more will come.
    pub fn finish(&mut self, mut sink: impl FnMut(&[u8])) {
        self.finish_placed(|_, line| sink(line));
    }

    /// As [`Self::finish`], with the place of the line.
    pub(super) fn finish_placed(&mut self, mut sink: impl FnMut(u64, &[u8])) {
        let place = self.complete;
        self.complete += std::mem::take(&mut self.pending);
        let mut sink = |line: &[u8]| sink(place, line);
        if !self.begun.is_empty() {
            self.end(&mut sink);
        }
    }

    /// Bytes taken of a line that has not ended.
    pub fn pending_bytes(&self) -> u64 {
        self.pending
    }

    /// What was cut off so far.
    pub fn counts(&self) -> CutCounts {
        self.counts
    }

    fn begin(&mut self, part: &[u8]) {
        let part = if self.begun.is_empty() {
            without_hole(part)
        } else {
            part
        };
        let room = self.max_line_bytes - self.begun.len();
        let kept = part.len().min(room);
        self.begun.extend_from_slice(&part[..kept]);
        self.over += (part.len() - kept) as u64;
    }

    fn end(&mut self, sink: &mut impl FnMut(&[u8])) {
        if self.over > 0 {
            self.counts.cut += 1;
            self.counts.cut_bytes += self.over;
            self.over = 0;
        }
        sink(&self.begun);
        self.begun.clear();
        // One long line must not hold its memory for ever.
        self.begun.shrink_to(self.max_line_bytes.min(4096));
    }
}

fn without_hole(line: &[u8]) -> &[u8] {
    let hole = line.iter().take_while(|&&byte| byte == 0).count();
    &line[hole..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(splitter: &mut LineSplitter, pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut keep = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        for piece in pieces {
            splitter.feed(piece, &mut keep);
        }
        splitter.finish(&mut keep);
        lines
    }

    #[test]
    fn lines_are_found_across_pieces() {
        let mut splitter = LineSplitter::new(100);
        let lines = split(&mut splitter, &[b"ab\nc", b"d", b"\n\nend"]);
        assert_eq!(lines, ["ab", "cd", "", "end"]);
        assert_eq!(splitter.counts(), CutCounts::default());
    }

    #[test]
    fn a_long_line_is_cut_and_counted_once() {
        for pieces in [
            &[b"abcdefgh\nxy\n".as_slice()] as &[&[u8]],
            &[b"abc", b"defg", b"h\nx", b"y\n"],
        ] {
            let mut splitter = LineSplitter::new(5);
            assert_eq!(split(&mut splitter, pieces), ["abcde", "xy"]);
            let expected = CutCounts {
                cut: 1,
                cut_bytes: 3,
            };
            assert_eq!(splitter.counts(), expected);
        }
    }

    #[test]
    fn the_hole_of_a_truncated_file_is_passed() {
        let mut splitter = LineSplitter::new(5);
        let lines = split(&mut splitter, &[&[0; 1000], b"\0\0ab\0c\n"]);
        assert_eq!(lines, ["ab\0c"]);
        assert_eq!(splitter.counts(), CutCounts::default());
    }
}
