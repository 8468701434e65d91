//! Key and value of the maps of translations.

use std::net::{Ipv6Addr, SocketAddrV6};

use super::{Decode, Reader};

/// Both ends of a TCP connection, from the side that connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The end that connects, IPv4 as v4-mapped.
    pub source: SocketAddrV6,
    /// What it connects to, as it was before any translation.
    pub destination: SocketAddrV6,
}

impl Tuple {
    /// The bytes of the key in the map.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.source.ip().octets());
        bytes[16..32].copy_from_slice(&self.destination.ip().octets());
        bytes[32..34].copy_from_slice(&self.source.port().to_ne_bytes());
        bytes[34..36].copy_from_slice(&self.destination.port().to_ne_bytes());
        bytes
    }
}

impl Decode for Tuple {
    const BYTES: usize = 40;

    fn read(r: &mut Reader<'_>) -> Self {
        let source_ip = Ipv6Addr::from(r.bytes::<16>());
        let destination_ip = Ipv6Addr::from(r.bytes::<16>());
        let (source_port, destination_port) = (r.u16(), r.u16());
        r.skip(4);
        Self {
            source: SocketAddrV6::new(source_ip, source_port, 0, 0),
            destination: SocketAddrV6::new(destination_ip, destination_port, 0, 0),
        }
    }
}

/// Where a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// When the entry was made.
    pub created_ns: u64,
    /// The actual destination, IPv4 as v4-mapped; port 0 while none is known.
    pub actual: SocketAddrV6,
}

impl Translation {
    /// The bytes of the value in the map.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.created_ns.to_ne_bytes());
        bytes[8..24].copy_from_slice(&self.actual.ip().octets());
        bytes[24..26].copy_from_slice(&self.actual.port().to_ne_bytes());
        bytes
    }
}

impl Decode for Translation {
    const BYTES: usize = 32;

    fn read(r: &mut Reader<'_>) -> Self {
        let created_ns = r.u64();
        let ip = Ipv6Addr::from(r.bytes::<16>());
        let port = r.u16();
        r.skip(6);
        Self {
            created_ns,
            actual: SocketAddrV6::new(ip, port, 0, 0),
        }
    }
}
