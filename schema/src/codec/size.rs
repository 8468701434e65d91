//! The exact size of a record in a packet, to know before encoding when a packet is full.

use capnp::traits::HasStructSize;

use super::WORD_BYTES;
use super::sensor_capnp as wire;
use super::staging::Parts;
use crate::Record;

/// Table of segments of a message of one segment: their count less one, and the length of the first.
const SEGMENT_TABLE_WORDS: usize = 1;
const ROOT_POINTER_WORDS: usize = 1;
const LIST_TAG_WORDS: usize = 1;

/// A packet without records.
pub(super) const EMPTY_BATCH_WORDS: usize = SEGMENT_TABLE_WORDS
    + ROOT_POINTER_WORDS
    + struct_words::<wire::from_sensor::Builder<'_>>()
    + struct_words::<wire::batch::Builder<'_>>()
    + LIST_TAG_WORDS;

/// What `record` with these `parts` adds to a packet.
pub(super) fn record_words(record: &Record<'_>, parts: &Parts<'_>) -> usize {
    struct_words::<wire::record::Builder<'_>>() + body_words(record, parts)
}

fn body_words(record: &Record<'_>, parts: &Parts<'_>) -> usize {
    let bytes = data_words(parts.bytes);
    let [first, second, third] = parts.texts.map(text_words);
    match record {
        Record::SnapshotBegin | Record::SnapshotEnd => 0,
        Record::Cgroup(_) => struct_words::<wire::cgroup::Builder<'_>>() + bytes,
        Record::Processes(_) => struct_words::<wire::processes::Builder<'_>>(),
        Record::Flow(_) => {
            struct_words::<wire::flow::Builder<'_>>()
                + struct_words::<wire::flow_key::Builder<'_>>()
                + bytes
        }
        Record::FlowEvicted(_) => struct_words::<wire::flow_key::Builder<'_>>() + bytes,
        Record::Listen(_) => struct_words::<wire::listen::Builder<'_>>() + bytes,
        Record::Loss(_) => struct_words::<wire::loss::Builder<'_>>() + first + second,
        Record::Hook(_) => struct_words::<wire::hook::Builder<'_>>() + first + second + third,
        Record::MapFill(_) => struct_words::<wire::map_fill::Builder<'_>>() + first,
        Record::Status(_) => struct_words::<wire::sensor_status::Builder<'_>>(),
        Record::Delays(_) => struct_words::<wire::delays::Builder<'_>>(),
        Record::Ping(_) => struct_words::<wire::ping::Builder<'_>>(),
        Record::HeldLog(_) => struct_words::<wire::held_log::Builder<'_>>() + bytes,
    }
}

const fn struct_words<B: HasStructSize>() -> usize {
    B::STRUCT_SIZE.data as usize + B::STRUCT_SIZE.pointers as usize
}

fn data_words(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(WORD_BYTES)
}

/// Text ends with a zero byte that is not part of its length.
fn text_words(text: &str) -> usize {
    (text.len() + 1).div_ceil(WORD_BYTES)
}
