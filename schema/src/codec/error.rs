//! Why a packet could not be read.

use crate::MAX_MESSAGE_BYTES;

/// A packet that could not be read. A record that cannot be read is not an error: it is skipped and counted in
/// [`BatchCounts`](crate::BatchCounts).
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("message of {bytes} bytes, at most {MAX_MESSAGE_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not Cap'n Proto, or a pointer leads outside.
    #[error("not a valid message: {0}")]
    Malformed(#[source] capnp::Error),
    /// More bytes than the message's own table of segments says.
    #[error("{bytes} bytes after the end of the message")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// A text is not UTF-8.
    #[error("{field} is not UTF-8")]
    NotUtf8 {
        /// Field of the hello.
        field: &'static str,
    },
    /// A list of addresses ends within one.
    #[error("a list of addresses ends within one")]
    PartOfAnAddress,
    /// A newer aggregator sent a kind of message this library does not know.
    #[error("unknown kind of message")]
    UnknownMessage,
    /// A newer aggregator asks for something this library does not know. The answer is
    /// [`Refusal::Unknown`](crate::Refusal::Unknown).
    #[error("request {id} is of an unknown kind")]
    UnknownRequest {
        /// The request's number.
        id: u64,
    },
}

impl From<capnp::Error> for DecodeError {
    fn from(error: capnp::Error) -> Self {
        Self::Malformed(error)
    }
}
