//! ctnetlink messages made as the kernel lays them out (linux/netlink.h, linux/netfilter/nfnetlink_conntrack.h).

use std::net::SocketAddr;

pub(crate) use nodescope_sensor::netlink::attribute::attribute;

pub(crate) const IPS_CONFIRMED: u32 = 1 << 3;
pub(crate) const IPS_DST_NAT: u32 = 1 << 5;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// One direction of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Direction {
    pub(crate) protocol: u8,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
}

fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | 0x8000, &attributes.concat())
}

fn tuple(kind: u16, direction: Direction) -> Vec<u8> {
    let Direction {
        protocol,
        source,
        destination,
    } = direction;
    let address = |address: SocketAddr, offset: u16| match address {
        SocketAddr::V4(v4) => attribute(1 + offset, &v4.ip().octets()),
        SocketAddr::V6(v6) => attribute(3 + offset, &v6.ip().octets()),
    };
    nested(
        kind,
        &[
            nested(1, &[address(source, 0), address(destination, 1)]),
            nested(
                2,
                &[
                    attribute(1, &[protocol]),
                    attribute(2, &source.port().to_be_bytes()),
                    attribute(3, &destination.port().to_be_bytes()),
                ],
            ),
        ],
    )
}

/// The attributes of an entry in a TCP state.
pub(crate) fn entry(asked: Direction, answers: Direction, status: u32, state: u8) -> Vec<u8> {
    [
        tuple(1, asked),
        tuple(2, answers),
        attribute(3, &status.to_be_bytes()),
        attribute(7, &300_u32.to_be_bytes()),
        nested(4, &[nested(1, &[attribute(1, &[state])])]),
    ]
    .concat()
}

/// A message with the header of its family.
pub(crate) fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(20 + attributes.len())
        .expect("short")
        .to_ne_bytes()
        .to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([2, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}
