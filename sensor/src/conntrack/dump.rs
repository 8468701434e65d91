//! All translated connections that a network namespace knows, by one dump.

use std::io;
use std::time::{Duration, Instant};

use super::ConntrackError;
use super::entry::{Translated, translated};
use super::message::{Message, Messages, dump_request};
use crate::netlink::socket::{READ_BYTES, Received, Socket};

/// A dump takes no longer than this; 100,000 entries take a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kernel answers at once.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// What a dump went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dumped {
    /// Entries of all kinds.
    pub entries: u64,
    /// Entries of translated TCP connections.
    pub translated: u64,
    /// The table changed in between in a way that some may be missing.
    pub interrupted: bool,
}

/// Asks for all entries and calls `visit` with those that are translated.
///
/// # Errors
/// The kernel refused, or it took too long.
pub fn dump(socket: &Socket, visit: &mut dyn FnMut(&Translated)) -> Result<Dumped, ConntrackError> {
    socket.send(&dump_request())?;
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = vec![0; READ_BYTES];
    let mut dumped = Dumped::default();
    while Instant::now() < deadline {
        match socket.receive(&mut buffer, ANSWER_PATIENCE)? {
            Received::Bytes(length) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                if take(bytes, &mut dumped, visit)? {
                    return Ok(dumped);
                }
            }
            Received::Nothing => break,
            Received::Overrun => dumped.interrupted = true,
        }
    }
    Err(ConntrackError::Slow)
}

/// True at the end of the dump.
fn take(
    bytes: &[u8],
    dumped: &mut Dumped,
    visit: &mut dyn FnMut(&Translated),
) -> Result<bool, ConntrackError> {
    for message in Messages::new(bytes) {
        match message {
            Message::Entry {
                attributes,
                interrupted,
            } => {
                dumped.entries += 1;
                dumped.interrupted |= interrupted;
                if let Some(found) = translated(attributes) {
                    dumped.translated += 1;
                    visit(&found);
                }
            }
            Message::Done(0) => return Ok(true),
            Message::Done(errno) | Message::Refused(errno) => {
                return Err(io::Error::from_raw_os_error(errno).into());
            }
            Message::Other => {}
            Message::Broken => return Err(ConntrackError::Broken),
        }
    }
    Ok(false)
}
