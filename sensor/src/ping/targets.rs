//! Which addresses may be sent echo requests, whoever asks. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of one other machine, in the form that sockets take; none for what is not.
///
/// Left out are groups (multicast, broadcast), nobody (unspecified, "this network"), this machine by its loopback, what
/// means nothing without an interface (link-local), and what is not assigned (class E). The broadcast address of a
/// subnet looks like any other: the kernel refuses it, because the socket does not ask to broadcast.
pub(super) fn target(octets: [u8; 16]) -> Option<IpAddr> {
    let ip = IpAddr::V6(Ipv6Addr::from(octets)).to_canonical();
    let allowed = match ip {
        IpAddr::V4(ip) => is_one_machine_v4(ip),
        IpAddr::V6(ip) => is_one_machine_v6(ip),
    };
    allowed.then_some(ip)
}

fn is_one_machine_v4(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    // 224 and above: multicast, class E, broadcast.
    first != 0 && first < 224 && !ip.is_loopback() && !ip.is_link_local()
}

fn is_one_machine_v6(ip: Ipv6Addr) -> bool {
    // `::/96` holds unspecified, loopback and the addresses that once embedded IPv4.
    let embeds_v4 = ip.segments()[..6] == [0; 6];
    !(embeds_v4 || ip.is_multicast() || ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_one_other_machine() {
        for (text, allowed) in [
            ("10.0.0.1", true),
            ("100.64.0.1", true),
            ("192.168.1.255", true),
            ("8.8.8.8", true),
            ("223.255.255.255", true),
            ("::ffff:10.0.0.1", true),
            ("fd00::1", true),
            ("2001:db8::1", true),
            ("64:ff9b::808:808", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("127.0.0.1", false),
            ("127.255.0.1", false),
            ("169.254.169.254", false),
            ("224.0.0.1", false),
            ("239.255.255.250", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::ffff:255.255.255.255", false),
            ("::ffff:127.0.0.1", false),
            ("::", false),
            ("::1", false),
            ("::10.0.0.1", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ] {
            let ip: IpAddr = text.parse().unwrap();
            let octets = match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            let expected = allowed.then_some(ip.to_canonical());
            assert_eq!(target(octets), expected, "{text}");
        }
    }
}
