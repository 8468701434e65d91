//! Joins the parts into which a runtime cuts a long line (docker and containerd at 16 KiB).

use super::lines::CutCounts;

/// The parts of one stream's line so far.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    parts: Vec<u8>,
    open: bool,
    over: u64,
}

impl Joiner {
    /// Takes a part and hands on the line if it was the last one. A line has `max_bytes` at most.
    pub(crate) fn push(
        &mut self,
        part: &[u8],
        last: bool,
        max_bytes: usize,
        counts: &mut CutCounts,
        sink: impl FnOnce(&[u8]),
    ) {
        if last && !self.open && part.len() <= max_bytes {
            sink(part);
            return;
        }
        self.open = true;
        let room = max_bytes.saturating_sub(self.parts.len());
        let kept = part.len().min(room);
        self.parts.extend_from_slice(&part[..kept]);
        self.over += (part.len() - kept) as u64;
        if last {
            self.finish(counts, sink);
        }
    }

    /// Whether a line waits for its last part.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Hands on what there is of a line whose last part never came.
    pub(crate) fn finish(&mut self, counts: &mut CutCounts, sink: impl FnOnce(&[u8])) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let over = std::mem::take(&mut self.over);
        counts.cut += u64::from(over > 0);
        counts.cut_bytes += over;
        sink(&self.parts);
        self.parts = Vec::new();
    }
}
