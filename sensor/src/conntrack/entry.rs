//! One connection tracking entry as ctnetlink writes it (linux/netfilter/nfnetlink_conntrack.h). Pure.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};

use nodescope_ebpf::abi::Tuple;

use crate::netlink::attribute::Attributes;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_PROTOINFO: u16 = 4;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;

const IPPROTO_TCP: u8 = 6;
/// States from `TCP_CONNTRACK_FIN_WAIT` on: no socket that is still established has such an entry. The last one the
/// kernel uses after them, a second SYN, is not an end.
const ENDED_STATES: std::ops::RangeInclusive<u8> = 4..=8;

/// A TCP connection whose destination is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translated {
    /// As the side that connects sees it.
    pub tuple: Tuple,
    /// Where it really goes: who answers. IPv4 as v4-mapped.
    pub actual: SocketAddrV6,
    /// The connection is being closed or is closed.
    pub ended: bool,
}

/// Reads the attributes of an entry: none when it is not TCP, not translated or not whole.
pub fn translated(attributes: &[u8]) -> Option<Translated> {
    let all = Attributes(attributes);
    let asked = ends(&all.nested(CTA_TUPLE_ORIG)?)?;
    let answers = ends(&all.nested(CTA_TUPLE_REPLY)?)?;
    (answers.source != asked.destination).then(|| Translated {
        tuple: asked,
        actual: answers.source,
        ended: state(&all).is_some_and(|state| ENDED_STATES.contains(&state)),
    })
}

fn state(all: &Attributes<'_>) -> Option<u8> {
    let tcp = all.nested(CTA_PROTOINFO)?.nested(CTA_PROTOINFO_TCP)?;
    tcp.value(CTA_PROTOINFO_TCP_STATE)?.first().copied()
}

/// Both ends of one direction, if it is TCP.
fn ends(tuple: &Attributes<'_>) -> Option<Tuple> {
    let protocol = tuple.nested(CTA_TUPLE_PROTO)?;
    if protocol.value(CTA_PROTO_NUM)?.first() != Some(&IPPROTO_TCP) {
        return None;
    }
    let addresses = tuple.nested(CTA_TUPLE_IP)?;
    let end = |ipv4, ipv6, port_of| {
        let ip = ip(&addresses, ipv4, ipv6)?;
        let port = u16::from_be_bytes(protocol.value(port_of)?.try_into().ok()?);
        Some(SocketAddrV6::new(ip, port, 0, 0))
    };
    Some(Tuple {
        source: end(CTA_IP_V4_SRC, CTA_IP_V6_SRC, CTA_PROTO_SRC_PORT)?,
        destination: end(CTA_IP_V4_DST, CTA_IP_V6_DST, CTA_PROTO_DST_PORT)?,
    })
}

fn ip(addresses: &Attributes<'_>, ipv4: u16, ipv6: u16) -> Option<Ipv6Addr> {
    if let Some(bytes) = addresses.value(ipv4) {
        let octets: [u8; 4] = bytes.try_into().ok()?;
        return Some(Ipv4Addr::from(octets).to_ipv6_mapped());
    }
    let octets: [u8; 16] = addresses.value(ipv6)?.try_into().ok()?;
    Some(Ipv6Addr::from(octets))
}
