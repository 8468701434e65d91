//! Echo requests and replies of ICMP (RFC 792) and ICMPv6 (RFC 4443) as bytes. Pure.
//!
//! A request carries a cookie that nobody else can know, so that an answer proves that its sender got the request.

/// Bytes of an echo message: header, cookie, and zeros that make a frame longer than the shortest of Ethernet, so that
/// no padding follows.
pub(super) const ECHO_BYTES: usize = HEADER_BYTES + PAYLOAD_BYTES;
const HEADER_BYTES: usize = 8;
const PAYLOAD_BYTES: usize = 32;

/// Longest header of IPv4.
pub(super) const IPV4_HEADER_BYTES_MAX: usize = 60;

/// Which of the two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// ICMP over IPv4.
    V4,
    /// ICMP over IPv6.
    V6,
}

impl Family {
    /// Type of a request.
    fn request(self) -> u8 {
        match self {
            Self::V4 => 8,
            Self::V6 => 128,
        }
    }

    /// Type of a reply.
    pub(super) fn reply(self) -> u8 {
        match self {
            Self::V4 => 0,
            Self::V6 => 129,
        }
    }
}

/// What tells an echo message from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Echo {
    /// The same for all of this process.
    pub identifier: u16,
    /// Counts requests.
    pub sequence: u16,
    /// Of this request alone.
    pub cookie: u64,
}

/// A request. The kernel fills in the checksum of ICMPv6, which covers addresses too.
pub(super) fn request(family: Family, echo: Echo) -> [u8; ECHO_BYTES] {
    let mut bytes = [0; ECHO_BYTES];
    let (header, payload) = bytes.split_at_mut(HEADER_BYTES);
    header[0] = family.request();
    header[4..6].copy_from_slice(&echo.identifier.to_be_bytes());
    header[6..8].copy_from_slice(&echo.sequence.to_be_bytes());
    payload[..8].copy_from_slice(&echo.cookie.to_be_bytes());
    if family == Family::V4 {
        let sum = checksum(&bytes).to_be_bytes();
        bytes[2..4].copy_from_slice(&sum);
    }
    bytes
}

/// A reply as a raw socket gives it: behind its IP header with IPv4, alone with IPv6, where the kernel has checked it.
pub(super) fn parse_reply(family: Family, packet: &[u8]) -> Option<Echo> {
    let message = match family {
        Family::V4 => behind_ipv4_header(packet).filter(|message| checksum(message) == 0)?,
        Family::V6 => packet,
    };
    parse(message, family.reply())
}

/// A request of ours out of the frame that the kernel gives back with its time of transmission. What comes before it
/// depends on the interface; nothing comes after it.
pub(super) fn parse_sent(family: Family, frame: &[u8]) -> Option<Echo> {
    let message = frame.last_chunk::<ECHO_BYTES>()?;
    parse(message, family.request())
}

fn parse(message: &[u8], kind: u8) -> Option<Echo> {
    // Longer or shorter than what was sent is no answer to it.
    let message: &[u8; ECHO_BYTES] = message.try_into().ok()?;
    let [
        first,
        code,
        _,
        _,
        i0,
        i1,
        s0,
        s1,
        c0,
        c1,
        c2,
        c3,
        c4,
        c5,
        c6,
        c7,
        ..,
    ] = *message;
    (first == kind && code == 0).then_some(Echo {
        identifier: u16::from_be_bytes([i0, i1]),
        sequence: u16::from_be_bytes([s0, s1]),
        cookie: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
    })
}

fn behind_ipv4_header(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    (first >> 4 == 4 && header >= 20)
        .then(|| packet.get(header..))
        .flatten()
}

/// The checksum of RFC 1071: 0 over a message with a right one in it.
fn checksum(message: &[u8]) -> u16 {
    let (pairs, rest) = message.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u32::from(*byte) << 8);
    let sum = pairs
        .iter()
        .fold(last, |sum, pair| sum + u32::from(u16::from_be_bytes(*pair)));
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ECHO: Echo = Echo {
        identifier: 0x1234,
        sequence: 0x0507,
        cookie: 0x0102_0304_0506_0708,
    };

    /// What a machine makes of a request: another type, and a checksum that fits it.
    fn answer(family: Family, request: &[u8]) -> Vec<u8> {
        let mut message = request.to_vec();
        message[0] = family.reply();
        message[2..4].fill(0);
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        match family {
            Family::V4 => [vec![0x45; 1], vec![0; 19], message].concat(),
            Family::V6 => message,
        }
    }

    #[test]
    fn a_request_is_as_the_rfc_says() {
        let bytes = request(Family::V4, ECHO);
        // By hand: 0x0800 + 0x1234 + 0x0507 + 0x0102 + 0x0304 + 0x0506 + 0x0708 = 0x2f4f.
        assert_eq!(bytes[..8], [8, 0, 0xd0, 0xb0, 0x12, 0x34, 0x05, 0x07]);
        assert_eq!(bytes[8..16], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(checksum(&bytes), 0);
        assert_eq!(
            request(Family::V6, ECHO)[..8],
            [128, 0, 0, 0, 0x12, 0x34, 5, 7]
        );
    }

    #[test]
    fn what_no_answer_is() {
        for family in [Family::V4, Family::V6] {
            let good = answer(family, &request(family, ECHO));
            assert_eq!(parse_reply(family, &good), Some(ECHO));
            assert_eq!(
                parse_reply(family, &request(family, ECHO)),
                None,
                "a request"
            );
            assert_eq!(parse_reply(family, &good[..good.len() - 1]), None, "cut");
            assert_eq!(
                parse_reply(family, &[&good[..], b"x"].concat()),
                None,
                "longer"
            );
        }
        let mut damaged = answer(Family::V4, &request(Family::V4, ECHO));
        damaged[30] ^= 1;
        assert_eq!(parse_reply(Family::V4, &damaged), None);
        for first in [0x44, 0x4f, 0x65, 0x00] {
            damaged[0] = first;
            assert_eq!(parse_reply(Family::V4, &damaged), None);
        }
    }

    proptest! {
        #[test]
        fn what_goes_out_comes_back(
            identifier: u16, sequence: u16, cookie: u64, before in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let echo = Echo { identifier, sequence, cookie };
            for family in [Family::V4, Family::V6] {
                let sent = request(family, echo);
                prop_assert_eq!(parse_reply(family, &answer(family, &sent)), Some(echo));
                prop_assert_eq!(parse_sent(family, &[&before[..], &sent].concat()), Some(echo));
            }
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for family in [Family::V4, Family::V6] {
                parse_reply(family, &bytes);
                parse_sent(family, &bytes);
            }
        }

        #[test]
        fn a_changed_bit_is_noticed(bit in 0..ECHO_BYTES * 8) {
            let mut changed = answer(Family::V4, &request(Family::V4, ECHO));
            changed[20 + bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(parse_reply(Family::V4, &changed), None);
        }
    }
}
