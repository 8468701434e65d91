//! Entries and messages as bytes.

use std::net::{SocketAddr, SocketAddrV6};

use nodescope_sensor::conntrack::entry::translated;
use nodescope_sensor::conntrack::message::{Message, Messages};
use proptest::prelude::*;

use super::support::*;

const ESTABLISHED: u8 = 3;

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn v6(address: SocketAddr) -> SocketAddrV6 {
    match address {
        SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0),
        SocketAddr::V6(v6) => v6,
    }
}

fn direction(protocol: u8, source: &str, destination: &str) -> Direction {
    Direction {
        protocol,
        source: at(source),
        destination: at(destination),
    }
}

#[test]
fn a_service_and_its_server() {
    for [client, service, server] in [
        ["10.0.0.9:40000", "10.96.0.1:443", "10.1.2.3:6443"],
        ["[fd00::9]:40000", "[fd00:96::1]:443", "[fd00:1::3]:6443"],
    ] {
        let asked = direction(TCP, client, service);
        let bytes = entry(
            asked,
            direction(TCP, server, client),
            IPS_CONFIRMED | IPS_DST_NAT,
            ESTABLISHED,
        );
        let found = translated(&bytes).expect("a translated connection");
        assert_eq!(found.tuple.source, v6(at(client)));
        assert_eq!(found.tuple.destination, v6(at(service)));
        assert_eq!(found.actual, v6(at(server)));
        assert!(!found.ended);
    }
}

/// The client of a masqueraded connection is another one for the server; where it goes is what counts.
#[test]
fn the_client_may_be_translated_too() {
    let asked = direction(TCP, "10.0.0.9:40000", "10.96.0.1:443");
    let answers = direction(TCP, "10.1.2.3:6443", "192.168.0.1:1025");
    let found = translated(&entry(asked, answers, IPS_DST_NAT, ESTABLISHED));
    assert_eq!(
        found.map(|found| found.actual),
        Some(v6(at("10.1.2.3:6443")))
    );
    // Only the client is translated.
    let asked = direction(TCP, "10.0.0.9:40000", "10.1.2.3:6443");
    assert_eq!(translated(&entry(asked, answers, 0, ESTABLISHED)), None);
}

/// IPVS alters the reply of an entry (`ip_vs_update_conntrack`, with net.ipv4.vs.conntrack=1) and leaves its status
/// without the bits of NAT.
#[test]
fn ipvs_has_no_bit_of_its_own() {
    let asked = direction(TCP, "10.0.0.9:40000", "10.97.0.1:80");
    let answers = direction(TCP, "10.99.2.2:7301", "10.0.0.9:40000");
    let found = translated(&entry(asked, answers, IPS_CONFIRMED, ESTABLISHED));
    assert_eq!(
        found.map(|found| found.actual),
        Some(v6(at("10.99.2.2:7301")))
    );
}

#[test]
fn only_tcp_and_only_what_is_whole() {
    let (client, service, server) = ("10.0.0.9:53000", "10.96.0.10:53", "10.1.2.3:53");
    let udp = entry(
        direction(UDP, client, service),
        direction(UDP, server, client),
        IPS_DST_NAT,
        0,
    );
    assert_eq!(translated(&udp), None);
    let tcp = entry(
        direction(TCP, client, service),
        direction(TCP, server, client),
        IPS_DST_NAT,
        ESTABLISHED,
    );
    let whole = translated(&tcp);
    assert!(whole.is_some());
    // Both tuples come first; without the second there is nothing to say.
    for length in 0..100 {
        assert_eq!(translated(&tcp[..length]), None, "{length}");
    }
}

#[test]
fn connections_that_end() {
    let asked = direction(TCP, "10.0.0.9:40000", "10.96.0.1:443");
    let answers = direction(TCP, "10.1.2.3:6443", "10.0.0.9:40000");
    for state in 0..=9 {
        let found = translated(&entry(asked, answers, IPS_DST_NAT, state));
        assert_eq!(
            found.map(|found| found.ended),
            Some((4..=8).contains(&state)),
            "{state}"
        );
    }
}

/// A dump of nf_conntrack on Linux 6.18 while one TCP connection went through a DNAT rule to 127.0.0.1:8080, beside one
/// that did not, and a UDP packet: as read from the socket.
#[test]
fn a_recorded_dump() {
    let bytes = include_bytes!("dump-6.18.bin");
    let (mut entries, mut found, mut ends) = (0, Vec::new(), 0);
    for message in Messages::new(bytes) {
        match message {
            Message::Entry { attributes, .. } => {
                entries += 1;
                found.extend(translated(attributes));
            }
            Message::Done(0) => ends += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((entries, found.len(), ends), (5, 2, 1));
    for found in found {
        assert_eq!(found.actual.port(), 8080);
        assert_eq!(found.tuple.destination.port(), 80);
        assert!(!found.ended);
    }
}

proptest! {
    #[test]
    fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = translated(&bytes);
        prop_assert!(Messages::new(&bytes).count() <= bytes.len() / 16 + 1);
    }

    #[test]
    fn a_changed_byte_is_no_matter(
        place in 0_usize..200,
        value in any::<u8>(),
        ports in any::<(u16, u16, u16)>(),
    ) {
        let end = |ip: [u8; 4], port| SocketAddr::from((ip, port));
        let (client, service, server) = (
            end([10, 0, 0, 9], ports.0),
            end([10, 96, 0, 1], ports.1),
            end([10, 1, 2, 3], ports.2),
        );
        let asked = Direction { protocol: TCP, source: client, destination: service };
        let answers = Direction { protocol: TCP, source: server, destination: client };
        let attributes = entry(asked, answers, IPS_DST_NAT, ESTABLISHED);
        let found = translated(&attributes).expect("a translated connection");
        prop_assert_eq!(found.actual, v6(server));
        let mut bytes = message(0x0100, 2, &attributes);
        let place = place % bytes.len();
        bytes[place] = value;
        for message in Messages::new(&bytes) {
            if let Message::Entry { attributes, .. } = message {
                let _ = translated(attributes);
            }
        }
    }
}
