//! Which destinations and ports become series.
//!
//! Private, shared (100.64.0.0/10) and loopback addresses always do; public ones when they lie in a configured network.
//! Ports of the ephemeral range are left out, for destinations as for listens: they name a connection, not a service.
//! Rules and defaults follow coroot-node-agent, but IPv6 is tracked by default like IPv4.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;

/// Ports of services that lie inside the usual ephemeral range.
const ALWAYS_TRACKED_PORTS: [u16; 1] = [50051];

/// Settings of the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Public networks that are tracked.
    pub public_networks: Vec<IpNet>,
    /// Ports that are not.
    pub skipped_ports: PortRanges,
}

impl Default for Filter {
    fn default() -> Self {
        let every = ["0.0.0.0/0", "::/0"];
        Self {
            public_networks: every.iter().filter_map(|net| net.parse().ok()).collect(),
            skipped_ports: PortRanges(vec![32768..=60999]),
        }
    }
}

impl Filter {
    /// Whether connections to this address and port are tracked.
    pub fn tracks_destination(&self, ip: IpAddr, port: u16) -> bool {
        let ip = ip.to_canonical();
        self.tracks_port(port) && !is_link_local(ip) && (is_inside(ip) || self.is_listed(ip))
    }

    /// The same for connections that really go to `actual`. A public address that stands for servers inside is tracked
    /// even when it is not listed.
    pub fn tracks(&self, asked: SocketAddr, actual: SocketAddr) -> bool {
        let (to, really) = (asked.ip().to_canonical(), actual.ip().to_canonical());
        self.tracks_destination(to, asked.port())
            || (self.tracks_port(asked.port())
                && !is_link_local(to)
                && (is_inside(really) || self.is_listed(really)))
    }

    /// Whether a listening port is tracked.
    pub fn tracks_port(&self, port: u16) -> bool {
        ALWAYS_TRACKED_PORTS.contains(&port) || !self.skipped_ports.contains(port)
    }

    fn is_listed(&self, ip: IpAddr) -> bool {
        self.public_networks.iter().any(|net| net.contains(&ip))
    }
}

/// Ranges of ports, written `32768-60999, 8080`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortRanges(Vec<RangeInclusive<u16>>);

/// A port range that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a port or a range of ports such as 32768-60999")]
pub struct PortRangeError(String);

impl PortRanges {
    fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }
}

impl FromStr for PortRanges {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split([' ', ','])
            .filter(|part| !part.is_empty())
            .map(|part| parse_range(part).ok_or_else(|| PortRangeError(part.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse().ok()?..=last.parse().ok()?;
    (!range.is_empty()).then_some(range)
}

fn is_inside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || is_shared(ip.octets()),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

/// 100.64.0.0/10, RFC 6598.
fn is_shared(octets: [u8; 4]) -> bool {
    octets[0] == 100 && octets[1] & 0b1100_0000 == 64
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict(networks: &[&str]) -> Filter {
        Filter {
            public_networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
            ..Filter::default()
        }
    }

    #[test]
    fn addresses() {
        let none = strict(&[]);
        let listed = strict(&["8.8.8.0/24", "2001:db8::/32"]);
        for (ip, without, with) in [
            ("10.1.2.3", true, true),
            ("172.31.0.1", true, true),
            ("172.32.0.1", false, false),
            ("192.168.9.9", true, true),
            ("100.64.0.1", true, true),
            ("100.128.0.1", false, false),
            ("127.0.0.1", true, true),
            ("::1", true, true),
            ("fd00::1", true, true),
            ("8.8.8.8", false, true),
            ("::ffff:8.8.8.8", false, true),
            ("::ffff:10.0.0.1", true, true),
            ("2001:db8::7", false, true),
            ("2001:db9::7", false, false),
            ("169.254.169.254", false, false),
            ("fe80::1", false, false),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!(
                none.tracks_destination(ip, 80),
                without,
                "{ip} without a list"
            );
            assert_eq!(listed.tracks_destination(ip, 80), with, "{ip} with a list");
        }
    }

    #[test]
    fn default_tracks_public_addresses_but_not_link_local_ones() {
        let filter = Filter::default();
        assert!(filter.tracks_destination("93.184.216.34".parse().unwrap(), 443));
        assert!(filter.tracks_destination("2606:2800::1".parse().unwrap(), 443));
        assert!(!filter.tracks_destination("169.254.169.254".parse().unwrap(), 80));
    }

    #[test]
    fn public_addresses_of_servers_inside() {
        let none = strict(&[]);
        for (asked, actual, tracked) in [
            ("8.8.8.8:80", "8.8.8.8:80", false),
            ("8.8.8.8:80", "10.0.0.1:8080", true),
            ("8.8.8.8:40000", "10.0.0.1:80", false),
            ("169.254.169.254:80", "10.0.0.1:988", false),
            ("10.0.0.1:80", "8.8.8.8:80", true),
            ("8.8.8.8:80", "9.9.9.9:80", false),
        ] {
            let (asked, actual) = (asked.parse().unwrap(), actual.parse().unwrap());
            assert_eq!(none.tracks(asked, actual), tracked, "{asked} {actual}");
        }
    }

    #[test]
    fn ports() {
        let filter = Filter::default();
        for (port, tracked) in [
            (80, true),
            (32767, true),
            (32768, false),
            (50051, true),
            (60999, false),
            (61000, true),
        ] {
            assert_eq!(filter.tracks_port(port), tracked, "{port}");
        }
    }

    #[test]
    fn port_ranges_are_parsed() {
        let ranges: PortRanges = "1000-2000, 8080 9000-9001".parse().unwrap();
        assert!(ranges.contains(1000) && ranges.contains(2000) && ranges.contains(8080));
        assert!(!ranges.contains(2001) && !ranges.contains(8081));
        assert_eq!("".parse::<PortRanges>().unwrap(), PortRanges::default());
        for bad in ["x", "1-", "-1", "70000", "5-4", "1-2-3"] {
            assert!(bad.parse::<PortRanges>().is_err(), "{bad}");
        }
    }
}
