//! Netlink messages: what one read from a ctnetlink socket holds, and the request for a dump. Pure.

/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// `struct nfgenmsg`, before the attributes of an entry.
const FAMILY_BYTES: usize = 4;
const ALIGNMENT: usize = 4;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`: an entry of a dump, or one that is new.
const ENTRY: u16 = 0x0100;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`.
const GET: u16 = 0x0101;
const NLM_F_REQUEST: u16 = 1;
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
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// Of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        let Some((message, rest)) = split(bytes) else {
            return Some(Message::Broken);
        };
        self.0 = rest;
        Some(message)
    }
}

fn split(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let body = bytes.get(HEADER_BYTES..length)?;
    let rest = bytes
        .get(length.next_multiple_of(ALIGNMENT)..)
        .unwrap_or_default();
    let kind = u32_at(bytes, 4)?.to_ne_bytes();
    let (kind, flags) = (
        u16::from_ne_bytes([kind[0], kind[1]]),
        u16::from_ne_bytes([kind[2], kind[3]]),
    );
    let message = match kind {
        NLMSG_DONE => Message::Done(errno(body)),
        NLMSG_ERROR => Message::Refused(errno(body)),
        ENTRY => Message::Entry {
            attributes: body.get(FAMILY_BYTES..)?,
            interrupted: flags & NLM_F_DUMP_INTR != 0,
        },
        NLMSG_NOOP => Message::Other,
        _ => Message::Other,
    };
    Some((message, rest))
}

/// The error a body begins with, which the kernel writes as a negative number.
fn errno(body: &[u8]) -> i32 {
    u32_at(body, 0).map_or(0, |error| error.cast_signed().wrapping_neg())
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..offset + 4)?;
    Some(u32::from_ne_bytes(field.try_into().ok()?))
}

/// Asks for all entries of both address families.
pub fn dump_request() -> [u8; HEADER_BYTES + FAMILY_BYTES] {
    let mut request = [0; HEADER_BYTES + FAMILY_BYTES];
    let length = (HEADER_BYTES + FAMILY_BYTES) as u32;
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&GET.to_ne_bytes());
    request[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES + body.len()).expect("short");
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    #[test]
    fn reads_each_kind() {
        let bytes = [
            message(ENTRY, 0x12, b"\x02\0\0\0attr"),
            message(NLMSG_NOOP, 0, b""),
            message(NLMSG_ERROR, 0, &(-1_i32).to_ne_bytes()),
            message(0x0102, 0, b"gone"),
            message(NLMSG_DONE, 0, &0_i32.to_ne_bytes()),
        ]
        .concat();
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
            ]
        );
    }

    #[test]
    fn broken_bytes_end_it() {
        let mut long = message(ENTRY, 0, b"\x02\0\0\0attr");
        long[0] += 1;
        for bytes in [&[1, 2, 3][..], &[0; 16], &[15; 16], &long] {
            let messages: Vec<_> = Messages::new(bytes).collect();
            assert_eq!(messages, [Message::Broken], "{bytes:?}");
        }
        assert_eq!(Messages::new(&[]).count(), 0);
        // Too short for its family.
        assert_eq!(
            Messages::new(&message(ENTRY, 0, b"")).next(),
            Some(Message::Broken)
        );
    }
}
