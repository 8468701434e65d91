//! The addresses one container talks to, whatever the ports: what round trips are measured to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::flows::FlowDelta;
use crate::metrics::SeriesLabels;

/// One address.
#[derive(Debug)]
pub struct Peer {
    /// `destination_ip`.
    pub labels: SeriesLabels,
    /// The last round trip of a TCP connection to it.
    pub tcp_rtt_ns: Option<u64>,
    /// Whether there ever was a connection: failed attempts prove nothing about an address.
    has_connected: bool,
    /// Connections open now.
    active: i64,
    /// When anything last changed.
    used_ns: u64,
}

/// All addresses of one container: at most as many as it has destinations, which have a budget.
#[derive(Debug, Default)]
pub struct Peers(BTreeMap<IpAddr, Peer>);

impl Peers {
    /// Something happened with connections to `ip`.
    pub fn add(&mut self, ip: IpAddr, delta: &FlowDelta, now_ns: u64) {
        let peer = self.0.entry(ip).or_insert_with(|| Peer::new(ip));
        peer.active = (peer.active + delta.active).max(0);
        peer.has_connected |= delta.connects > 0 || peer.active > 0;
        peer.used_ns = peer.used_ns.max(now_ns);
        if delta.rtt_ns > 0 {
            peer.tcp_rtt_ns = Some(delta.rtt_ns);
        }
    }

    /// Removes those without a connection and without a change since `before_ns`.
    pub fn expire(&mut self, before_ns: u64) {
        self.0
            .retain(|_, peer| peer.active > 0 || peer.used_ns >= before_ns);
    }

    /// Those to which there was a connection.
    pub fn connected(&self) -> impl Iterator<Item = (IpAddr, &Peer)> {
        self.0
            .iter()
            .filter(|(_, peer)| peer.has_connected)
            .map(|(ip, peer)| (*ip, peer))
    }
}

impl Peer {
    fn new(ip: IpAddr) -> Self {
        Self {
            labels: SeriesLabels::new(&[("destination_ip", &ip.to_string())]),
            tcp_rtt_ns: None,
            has_connected: false,
            active: 0,
            used_ns: 0,
        }
    }

    /// Whether there is a connection now.
    pub fn is_open(&self) -> bool {
        self.active > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn delta(connects: u64, active: i64, rtt_ns: u64) -> FlowDelta {
        FlowDelta {
            connects,
            active,
            rtt_ns,
            failures: 1,
            ..FlowDelta::default()
        }
    }

    #[test]
    fn several_flows_are_one_peer() {
        let mut peers = Peers::default();
        peers.add(IP, &delta(0, 0, 0), 5);
        assert_eq!(peers.connected().count(), 0, "a failed attempt");
        peers.add(IP, &delta(1, 1, 0), 6);
        peers.add(IP, &delta(0, 1, 70), 3);
        let (ip, peer) = peers.connected().next().unwrap();
        assert_eq!((ip, peer.tcp_rtt_ns, peer.is_open()), (IP, Some(70), true));
        peers.expire(100);
        assert_eq!(peers.connected().count(), 1, "it has connections");
        peers.add(IP, &delta(0, -2, 0), 7);
        peers.expire(7);
        assert_eq!(peers.connected().count(), 1, "it had one just now");
        peers.expire(8);
        assert_eq!(peers.connected().count(), 0);
    }
}
