//! What one read from a ctnetlink socket holds, and the request for a dump. Pure.

use crate::netlink::message::{self, DONE, ERROR, push_request};

/// `struct nfgenmsg`, before the attributes of an entry.
const FAMILY_BYTES: usize = 4;

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`: an entry of a dump, or one that is new.
const ENTRY: u16 = 0x0100;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`.
const GET: u16 = 0x0101;
/// In an answer: the table changed in a way that entries may be missing in the dump.
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;

/// A message of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The attributes of an entry, for [`translated`](super::entry::translated).
    Entry {
        /// The attributes.
        attributes: &'a [u8],
        /// The dump it is part of may miss entries.
        interrupted: bool,
    },
    /// The end of a dump; nonzero: it failed with this `errno`.
    Done(i32),
    /// The request was refused with this `errno`.
    Refused(i32),
    /// Something nobody asked for.
    Other,
    /// Bytes that are no message, after which nothing can be read.
    Broken,
}

/// The messages of one read.
#[derive(Debug, Clone)]
pub struct Messages<'a>(message::Messages<'a>);

impl<'a> Messages<'a> {
    /// Of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(message::Messages::new(bytes))
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.0.next()?;
        Some(message.map_or(Message::Broken, Message::of))
    }
}

impl<'a> Message<'a> {
    fn of(message: message::Message<'a>) -> Self {
        match message.kind {
            DONE => Self::Done(message.errno()),
            ERROR => Self::Refused(message.errno()),
            ENTRY => match message.body.get(FAMILY_BYTES..) {
                Some(attributes) => Self::Entry {
                    attributes,
                    interrupted: message.flags & NLM_F_DUMP_INTR != 0,
                },
                None => Self::Broken,
            },
            _ => Self::Other,
        }
    }
}

/// Asks for all entries of both address families.
pub fn dump_request() -> Vec<u8> {
    let mut request = Vec::new();
    push_request(&mut request, GET, NLM_F_DUMP, 0, &[0; FAMILY_BYTES]);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOOP: u16 = 1;

    #[test]
    fn reads_each_kind() {
        let mut bytes = Vec::new();
        for (kind, flags, body) in [
            (ENTRY, NLM_F_DUMP_INTR, &b"\x02\0\0\0attr"[..]),
            (NOOP, 0, b""),
            (ERROR, 0, &(-1_i32).to_ne_bytes()),
            (0x0102, 0, b"gone"),
            (DONE, 0, &0_i32.to_ne_bytes()),
            // Too short for its family.
            (ENTRY, 0, b""),
        ] {
            push_request(&mut bytes, kind, flags, 0, body);
        }
        let messages: Vec<_> = Messages::new(&bytes).collect();
        assert_eq!(
            messages,
            [
                Message::Entry {
                    attributes: b"attr",
                    interrupted: true
                },
                Message::Other,
                Message::Refused(1),
                Message::Other,
                Message::Done(0),
                Message::Broken,
            ]
        );
        assert_eq!(Messages::new(&[1]).next(), Some(Message::Broken));
    }
}
