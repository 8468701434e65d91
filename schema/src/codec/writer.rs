//! Packs records into packets.

use capnp::Word;
use capnp::message::{Builder, ScratchSpaceHeapAllocator};
use capnp::serialize;

use super::sensor_capnp as wire;
use super::size::{EMPTY_BATCH_WORDS, record_words};
use super::staging::{Parts, Staging};
use super::write_record::write_record;
use super::{MAX_MESSAGE_WORDS, WORD_BYTES};
use crate::{MAX_MESSAGE_BYTES, Record};

/// Packs records into packets of at most [`MAX_MESSAGE_BYTES`]. Its memory is used again for each packet.
#[derive(Debug)]
pub struct RecordWriter {
    staging: Staging,
    /// Size of the packet if it were finished now.
    words: usize,
    scratch: Vec<Word>,
    packet: Vec<u8>,
}

impl RecordWriter {
    /// An empty writer.
    pub fn new() -> Self {
        Self {
            staging: Staging::default(),
            words: EMPTY_BATCH_WORDS,
            scratch: Word::allocate_zeroed_vec(MAX_MESSAGE_WORDS),
            packet: Vec::with_capacity(MAX_MESSAGE_BYTES),
        }
    }

    /// Adds a record and says true. False: it does not fit any more; [`Self::finish`] the packet and push it again.
    ///
    /// An empty writer takes any record: paths longer than [`MAX_PATH_BYTES`](crate::MAX_PATH_BYTES), executables
    /// longer than [`MAX_EXECUTABLE_BYTES`](crate::MAX_EXECUTABLE_BYTES) and other texts longer than
    /// [`MAX_NAME_BYTES`](crate::MAX_NAME_BYTES) are cut.
    #[must_use]
    pub fn push(&mut self, record: &Record<'_>) -> bool {
        let parts = Parts::of(record);
        let words = self.words + record_words(record, &parts);
        if words > MAX_MESSAGE_WORDS {
            return false;
        }
        self.words = words;
        self.staging.push(record, parts);
        true
    }

    /// True when there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records waiting.
    pub fn len(&self) -> usize {
        self.staging.len()
    }

    /// The packet with all records pushed since the last one. `sequence` is for the reader to notice a lost packet.
    pub fn finish(&mut self, sequence: u64) -> &[u8] {
        let scratch = Word::words_to_bytes_mut(&mut self.scratch);
        let used = scratch.len().min(self.words * WORD_BYTES);
        let allocator = ScratchSpaceHeapAllocator::new(&mut scratch[..used]);
        let mut message = Builder::new(allocator);
        write_batch(message.init_root(), &self.staging, sequence);
        self.packet.clear();
        serialize::write_message(&mut self.packet, &message)
            .expect("writing to memory does not fail");
        debug_assert_eq!(self.packet.len(), self.words * WORD_BYTES);
        self.staging.clear();
        self.words = EMPTY_BATCH_WORDS;
        &self.packet
    }
}

impl Default for RecordWriter {
    fn default() -> Self {
        Self::new()
    }
}

fn write_batch(out: wire::from_sensor::Builder<'_>, staging: &Staging, sequence: u64) {
    let mut batch = out.init_batch();
    batch.set_sequence(sequence);
    // A packet holds fewer than 8192 records: each takes at least a word.
    let count = u32::try_from(staging.len()).unwrap_or(u32::MAX);
    let mut records = batch.init_records(count);
    for (index, record) in (0..count).zip(staging.iter()) {
        write_record(records.reborrow().get(index), &record);
    }
}
