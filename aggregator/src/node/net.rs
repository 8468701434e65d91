//! Counters of network interfaces from `/proc/net/dev`, their state from `/sys/class/net`, their addresses from rtnetlink
//! (`getifaddrs`, which needs no right but the address family `AF_NETLINK`).
//!
//! All three show the network namespace the aggregator runs in, which must be the host's. Interfaces are taken by name:
//! physical ones, bonds and numbered bridges; not those of containers (`veth*`, `docker0`, `cni0`, `lxc*`).

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::LazyLock;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use regex::Regex;

use super::{Collector, NodeFacts, Readings};
use crate::host::{HostError, HostRoot, ParseError};
use crate::metrics::catalogue::node::{
    NET_INTERFACE_IP, NET_INTERFACE_UP, NET_RECEIVED_BYTES, NET_RECEIVED_PACKETS,
    NET_TRANSMITTED_BYTES, NET_TRANSMITTED_PACKETS,
};

/// Beginnings of accepted names, in lower case.
const ACCEPTED_NAMES: &str =
    r"^(enp\d+s\d+|enp\d+p\d+s\d+|eth\d|eno\d|ens\d|em\d|bond\d|p\d+p\d|enx[0-9a-f]|br\d|vmbr\d)";

#[expect(clippy::unwrap_used, reason = "a constant pattern, compiled in a test")]
static ACCEPTED: LazyLock<Regex> = LazyLock::new(|| Regex::new(ACCEPTED_NAMES).unwrap());

#[derive(Debug)]
pub(super) struct Net;

impl Collector for Net {
    fn name(&self) -> &'static str {
        "net"
    }

    fn collect(
        &mut self,
        host: &HostRoot,
        _: &NodeFacts,
        readings: &mut Readings,
    ) -> Result<(), HostError> {
        for interface in host.proc("net/dev").parse(parse)? {
            let labels = [("interface", interface.name.as_str())];
            readings.push(&NET_RECEIVED_BYTES, &labels, interface.received_bytes);
            readings.push(&NET_TRANSMITTED_BYTES, &labels, interface.transmitted_bytes);
            readings.push(&NET_RECEIVED_PACKETS, &labels, interface.received_packets);
            readings.push(
                &NET_TRANSMITTED_PACKETS,
                &labels,
                interface.transmitted_packets,
            );
            // The interface may be gone by now.
            if let Ok(state) = host
                .sys(&format!("class/net/{}/operstate", interface.name))
                .text()
            {
                readings.push(&NET_INTERFACE_UP, &labels, state.trim_end() == "up");
            }
        }
        for (interface, ip) in read_addresses()? {
            if accepts_interface(&interface) && accepts_address(ip) {
                readings.push(
                    &NET_INTERFACE_IP,
                    &[("interface", &interface), ("ip", &ip.to_string())],
                    true,
                );
            }
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Interface {
    name: String,
    received_bytes: u64,
    received_packets: u64,
    transmitted_bytes: u64,
    transmitted_packets: u64,
}

/// The accepted interfaces of `/proc/net/dev`, whose first two lines are a heading.
fn parse(text: &str) -> Result<Vec<Interface>, ParseError> {
    let mut interfaces = Vec::new();
    for (at, line) in text.lines().enumerate().skip(2) {
        let error = |what| ParseError { line: at + 1, what };
        let (name, counters) = line.split_once(':').ok_or(error("no interface"))?;
        let name = name.trim();
        if accepts_interface(name) {
            interfaces.push(
                parse_interface(name, counters)
                    .ok_or(error("a counter is missing or no number"))?,
            );
        }
    }
    Ok(interfaces)
}

fn parse_interface(name: &str, counters: &str) -> Option<Interface> {
    let counters: Vec<&str> = counters.split_ascii_whitespace().collect();
    let counter = |at: usize| counters.get(at)?.parse().ok();
    Some(Interface {
        name: name.to_owned(),
        received_bytes: counter(0)?,
        received_packets: counter(1)?,
        transmitted_bytes: counter(8)?,
        transmitted_packets: counter(9)?,
    })
}

/// A slash cannot be in a real name and would leave the interface's folder.
fn accepts_interface(name: &str) -> bool {
    !name.contains('/') && ACCEPTED.is_match(&name.to_lowercase())
}

fn accepts_address(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !link_local && !ip.is_multicast()
}

/// Addresses of all interfaces of this network namespace, each once.
fn read_addresses() -> Result<BTreeSet<(String, IpAddr)>, HostError> {
    let addresses = getifaddrs().map_err(|error| HostError::Call {
        what: "read the interfaces' addresses",
        source: io::Error::from(error),
    })?;
    Ok(addresses
        .filter_map(|address| Some((address.interface_name, to_ip(address.address?)?)))
        .collect())
}

fn to_ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::{Interface, accepts_address, accepts_interface, parse, read_addresses};

    #[test]
    fn takes_the_hosts_interfaces_only() {
        for name in [
            "eth0",
            "eth0@if7",
            "enp0s3",
            "enp0s31f6",
            "enP2p1s0",
            "enp1p2s3",
            "eno1",
            "ens160",
            "em1",
            "bond0",
            "p1p2",
            "enx001122aabbcc",
            "br0",
            "vmbr0",
            "ETH1",
        ] {
            assert!(accepts_interface(name), "{name}");
        }
        for name in [
            "lo",
            "docker0",
            "veth12ab",
            "cni0",
            "flannel.1",
            "lxc3",
            "dummy0",
            "kube-ipvs0",
            "br-0a1b2c",
            "virbr0",
            "xeth0",
            "eth",
            "eth0/../lo",
            "",
            "wlan0",
        ] {
            assert!(!accepts_interface(name), "{name}");
        }
    }

    #[test]
    fn parses_counters() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
                    \x20 eth0:257540605    7690    0    0    0     0          0         0   503219    4842    0    0    0     0       0          0\n";
        let eth0 = Interface {
            name: "eth0".into(),
            received_bytes: 257_540_605,
            received_packets: 7690,
            transmitted_bytes: 503_219,
            transmitted_packets: 4842,
        };
        assert_eq!(parse(text), Ok(vec![eth0]));
    }

    #[test]
    fn names_the_bad_line() {
        assert_eq!(parse("a\nb\neth0: 1 2 3\n").unwrap_err().line, 3);
        assert_eq!(
            parse("a\nb\nlo: x\neth0: 1 2 3 4 5 6 7 8 x 10\n")
                .unwrap_err()
                .line,
            4
        );
        assert_eq!(parse("a\nb\neth0 1 2 3\n").unwrap_err().line, 3);
    }

    #[test]
    fn leaves_out_addresses_nobody_can_reach() {
        for ip in [
            "10.0.0.1",
            "192.0.2.7",
            "2001:db8::1",
            "fd00::2",
            "127.0.0.1",
        ] {
            assert!(accepts_address(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["169.254.1.1", "fe80::1", "224.0.0.1", "ff02::1"] {
            assert!(!accepts_address(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn reads_loopback_addresses() {
        let addresses = read_addresses().unwrap();
        assert!(
            addresses.contains(&("lo".into(), IpAddr::V4(Ipv4Addr::LOCALHOST))),
            "{addresses:?}"
        );
        let v6_is_on =
            std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| text.contains(" lo\n"));
        assert_eq!(
            addresses.contains(&("lo".into(), IpAddr::V6(Ipv6Addr::LOCALHOST))),
            v6_is_on
        );
    }
}
