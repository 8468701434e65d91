//! Packets to what they say.

use capnp::message::{Reader, ReaderOptions};
use capnp::serialize::{BufferSegments, read_message_from_flat_slice};

use super::read_message::{
    read_executable_reply, read_filesystem_reply, read_from_aggregator, read_reply,
    read_sensor_hello,
};
use super::read_record::{Skip, read_record};
use super::sensor_capnp as wire;
use super::{NESTING_LIMIT, TRAVERSAL_LIMIT_WORDS};
use crate::{DecodeError, FromAggregator, FromSensorSink, MAX_MESSAGE_BYTES};

/// What a packet of the sensor was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// The hello.
    Hello,
    /// Records.
    Records(BatchCounts),
    /// A reply.
    Reply,
    /// A kind of message, or of reply, that this library does not know. The sink was not called.
    Unknown,
}

/// What was in a packet of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchCounts {
    /// The sender's number of this packet.
    pub sequence: u64,
    /// Records given to the sink.
    pub records: u32,
    /// Records skipped because their kind, or a number in them, is newer than this library.
    pub unknown: u32,
    /// Records skipped because a pointer leads outside or a text is not UTF-8.
    pub malformed: u32,
}

/// Gives what is in one packet of the sensor to `sink`. After an error the sink was not called.
pub fn decode_from_sensor(
    bytes: &[u8],
    sink: &mut impl FromSensorSink,
) -> Result<Decoded, DecodeError> {
    use wire::from_sensor::Which;
    let message = open(bytes)?;
    let root = message.get_root::<wire::from_sensor::Reader<'_>>()?;
    match root.which() {
        Ok(Which::Hello(hello)) => {
            sink.hello(read_sensor_hello(hello?)?);
            Ok(Decoded::Hello)
        }
        Ok(Which::Batch(batch)) => read_batch(batch?, sink).map(Decoded::Records),
        Ok(Which::Reply(reply)) => Ok(read_reply(reply?).map_or(Decoded::Unknown, |reply| {
            sink.reply(reply);
            Decoded::Reply
        })),
        Ok(Which::FilesystemReply(reply)) => {
            sink.filesystem_reply(read_filesystem_reply(reply?));
            Ok(Decoded::Reply)
        }
        Ok(Which::ExecutableReply(reply)) => {
            sink.executable_reply(read_executable_reply(reply?)?);
            Ok(Decoded::Reply)
        }
        Ok(Which::None(())) | Err(_) => Ok(Decoded::Unknown),
    }
}

/// Gives what is in one packet of the aggregator to `f`, and returns what that says.
pub fn decode_from_aggregator<R>(
    bytes: &[u8],
    f: impl FnOnce(FromAggregator<'_>) -> R,
) -> Result<R, DecodeError> {
    let message = open(bytes)?;
    Ok(f(read_from_aggregator(message.get_root()?)?))
}

fn read_batch(
    batch: wire::batch::Reader<'_>,
    sink: &mut impl FromSensorSink,
) -> Result<BatchCounts, DecodeError> {
    let mut counts = BatchCounts {
        sequence: batch.get_sequence(),
        ..BatchCounts::default()
    };
    for record in batch.get_records()? {
        match read_record(record) {
            Ok(record) => {
                counts.records += 1;
                sink.record(record);
            }
            Err(Skip::Unknown) => counts.unknown += 1,
            Err(Skip::Malformed) => counts.malformed += 1,
        }
    }
    Ok(counts)
}

fn open(bytes: &[u8]) -> Result<Reader<BufferSegments<&[u8]>>, DecodeError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(DecodeError::TooLong { bytes: bytes.len() });
    }
    let options = ReaderOptions {
        traversal_limit_in_words: Some(TRAVERSAL_LIMIT_WORDS),
        nesting_limit: NESTING_LIMIT,
    };
    let mut rest = bytes;
    let message = read_message_from_flat_slice(&mut rest, options)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(DecodeError::TrailingBytes { bytes: rest.len() })
    }
}
