//! Messages: what one read from a netlink socket holds. Pure.

use super::ALIGNMENT;

/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;

/// `NLMSG_ERROR`: a request was refused, or with the error 0 done.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of an answer of several messages.
pub const DONE: u16 = 3;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;

/// A message without its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// Of the request that it answers.
    pub sequence: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The error a body begins with, as `errno`; the kernel writes a negative number.
    pub fn errno(&self) -> i32 {
        u32_at(self.body, 0).map_or(0, |error| error.cast_signed().wrapping_neg())
    }
}

/// Bytes that are no message, after which nothing can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// The messages of one read; ends after a broken one.
#[derive(Debug, Clone)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// Of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        let Some((message, rest)) = split(bytes) else {
            return Some(Err(Broken));
        };
        self.0 = rest;
        Some(Ok(message))
    }
}

fn split(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let body = bytes.get(HEADER_BYTES..length)?;
    let rest = bytes
        .get(length.next_multiple_of(ALIGNMENT)..)
        .unwrap_or_default();
    let kind = u32_at(bytes, 4)?.to_ne_bytes();
    let message = Message {
        kind: u16::from_ne_bytes([kind[0], kind[1]]),
        flags: u16::from_ne_bytes([kind[2], kind[3]]),
        sequence: u32_at(bytes, 8)?,
        body,
    };
    Some((message, rest))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..offset + 4)?;
    Some(u32::from_ne_bytes(field.try_into().ok()?))
}

/// Appends a request to `bytes`, which may hold others before it. `flags` are beside `NLM_F_REQUEST`.
pub fn push_request(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, body: &[u8]) {
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    // The kernel knows who asks.
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_written() {
        let mut bytes = Vec::new();
        push_request(&mut bytes, 7, 0x300, 42, b"odd");
        push_request(&mut bytes, ERROR, 0, 43, &(-1_i32).to_ne_bytes());
        let messages: Vec<_> = Messages::new(&bytes).collect();
        let first = Message {
            kind: 7,
            flags: 0x301,
            sequence: 42,
            body: b"odd",
        };
        assert_eq!(messages[0], Ok(first));
        let second = messages[1].expect("a message");
        assert_eq!((second.kind, second.sequence), (ERROR, 43));
        assert_eq!(second.errno(), 1);
        assert_eq!(messages.len(), 2);
    }

    #[test]
    fn broken_bytes_end_it() {
        let mut long = Vec::new();
        push_request(&mut long, 1, 0, 0, b"body");
        long[0] += 1;
        for bytes in [&[1, 2, 3][..], &[0; 16], &[15; 16], &long] {
            let messages: Vec<_> = Messages::new(bytes).collect();
            assert_eq!(messages, [Err(Broken)], "{bytes:?}");
        }
        assert_eq!(Messages::new(&[]).count(), 0);
    }
}
