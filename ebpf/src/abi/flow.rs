//! Flows: who connects where, and what came of it.

use std::net::Ipv6Addr;

use super::{Decode, Owner, Reader};

/// Value of [`FlowKey::kind`]: one remote address and port.
pub const FLOW_DESTINATION: u8 = 0;
/// Value of [`FlowKey::kind`]: all destinations of the owner that found no room.
pub const FLOW_OTHER: u8 = 1;

/// Key of `flows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Who connects.
    pub owner: Owner,
    /// Remote address, IPv4 as v4-mapped.
    pub remote_ip: Ipv6Addr,
    /// Where the connections really go when something translates the destination, else unspecified.
    pub actual_ip: Ipv6Addr,
    /// Remote port.
    pub remote_port: u16,
    /// Port of `actual_ip`, else 0.
    pub actual_port: u16,
    /// [`FLOW_DESTINATION`] or [`FLOW_OTHER`].
    pub kind: u8,
    /// 1 in the network namespace of process 1.
    pub host_netns: u8,
}

impl Decode for FlowKey {
    const BYTES: usize = 88;

    fn read(r: &mut Reader<'_>) -> Self {
        let key = Self {
            owner: Owner::read(r),
            remote_ip: Ipv6Addr::from(r.bytes::<16>()),
            actual_ip: Ipv6Addr::from(r.bytes::<16>()),
            remote_port: r.u16(),
            actual_port: r.u16(),
            kind: r.u8(),
            host_netns: r.u8(),
        };
        r.skip(2);
        key
    }
}

/// Value of `flows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// When the entry was made.
    pub generation_ns: u64,
    /// Connections established.
    pub connects: u64,
    /// Connections that failed.
    pub failures: u64,
    /// Connections established now.
    pub active: i64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Payload sent.
    pub sent_bytes: u64,
    /// Payload received.
    pub received_bytes: u64,
    /// Sum of the times to connect.
    pub connect_time_ns: u64,
    /// When something last changed.
    pub updated_ns: u64,
    /// The last smoothed round trip; 0: none yet.
    pub rtt_ns: u64,
}

impl Decode for Flow {
    const BYTES: usize = 80;

    fn read(r: &mut Reader<'_>) -> Self {
        Self {
            generation_ns: r.u64(),
            connects: r.u64(),
            failures: r.u64(),
            active: r.i64(),
            retransmits: r.u64(),
            sent_bytes: r.u64(),
            received_bytes: r.u64(),
            connect_time_ns: r.u64(),
            updated_ns: r.u64(),
            rtt_ns: r.u64(),
        }
    }
}
