//! Where connections really go when their destination is translated: the share of each server is what the server itself
//! accepted, in connections and in bytes.

use std::net::SocketAddr;

use nodescope_tests::*;

static AGENT: Shared<Agent> = Shared::new();

const CONNECTS: u64 = 90;
const UPLOAD: u64 = 700;
const DOWNLOAD: u64 = 30_000;
/// What the load generator sends before the payload of an exchange.
const HEADER_BYTES: u64 = 16;

/// A server in a namespace of its own, which counts what it accepts.
struct Backend {
    netns: Netns,
    server: Server,
}

impl Backend {
    fn start(ipv6: bool) -> Self {
        let netns = Netns::linked();
        let ip = if ipv6 {
            format!("[{}]", netns.inner6())
        } else {
            netns.inner()
        };
        let place = Place::default().and_netns(&netns);
        let server = Server::start(place, &format!("{ip}:8080"));
        Self { netns, server }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Connections its kernel made for listening sockets.
    fn accepted(&self) -> u64 {
        self.netns.snmp("Tcp", "PassiveOpens")
    }
}

/// Waits until the container has `connects` to `actual` through `service`, with their bytes.
fn settles(agent: &Agent, unit: &Unit, service: &str, actual: &str, connects: u64) {
    let labels = [
        ("container_id", unit.path()),
        ("destination", service),
        ("actual_destination", actual),
    ];
    let families = [
        ("container_net_tcp_successful_connects_total", connects),
        ("container_net_tcp_active_connections", 0),
        (
            "container_net_tcp_bytes_sent_total",
            connects * (UPLOAD + HEADER_BYTES),
        ),
        (
            "container_net_tcp_bytes_received_total",
            connects * DOWNLOAD,
        ),
    ];
    agent.settle_together(&labels, &families);
}

/// Connects through a service with three servers and compares every share.
fn shares(agent: &Agent, place: Place<'_>, unit: &Unit, service: &str, ipv6: bool) {
    let backends = [(); 3].map(|()| Backend::start(ipv6));
    let addresses: Vec<SocketAddr> = backends.iter().map(Backend::address).collect();
    let service = VirtualService::new(service.parse().expect("an address"), &addresses);
    let before: Vec<u64> = backends.iter().map(Backend::accepted).collect();
    let to = service.address().to_string();
    let words = format!(
        "connect --to {to} --count {CONNECTS} --parallel 3 --upload {UPLOAD} --download {DOWNLOAD}"
    );
    assert_eq!(run_load(place, &words).established, CONNECTS);
    let mut sum = 0;
    for (backend, before) in backends.iter().zip(before) {
        let accepted = backend.accepted() - before;
        assert!(accepted > 0, "the rules choose each server");
        settles(agent, unit, &to, &backend.address().to_string(), accepted);
        sum += accepted;
    }
    assert_eq!(sum, CONNECTS);
    let all = Expected {
        connects: CONNECTS,
        sent_bytes: CONNECTS * (UPLOAD + HEADER_BYTES),
        received_bytes: CONNECTS * DOWNLOAD,
        ..Expected::default()
    };
    all.settles(agent, unit.path(), "");
}

#[test]
fn a_container_connects_to_a_service() {
    require_root!();
    let (agent, unit, netns) = (
        AGENT.get(Agent::start),
        Unit::service("nat4"),
        Netns::linked(),
    );
    let place = Place::in_unit(&unit).and_netns(&netns);
    shares(&agent, place, &unit, "10.96.7.1:80", false);
}

#[test]
fn a_container_connects_to_a_service_over_ipv6() {
    require_root!();
    let (agent, unit, netns) = (
        AGENT.get(Agent::start),
        Unit::service("nat6"),
        Netns::linked(),
    );
    let place = Place::in_unit(&unit).and_netns(&netns);
    shares(&agent, place, &unit, "[fd00:96::7]:80", true);
}

#[test]
fn a_process_of_the_host_connects_to_a_service() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("nathost"));
    shares(&agent, Place::in_unit(&unit), &unit, "10.96.7.2:80", false);
}

#[test]
fn the_server_is_the_host_itself() {
    require_root!();
    let (agent, unit, netns) = (
        AGENT.get(Agent::start),
        Unit::service("natlocal"),
        Netns::linked(),
    );
    let server = Server::start(Agent::here(), &format!("{}:8080", netns.outer()));
    let service = VirtualService::new(
        "10.96.7.3:80".parse().expect("an address"),
        &[server.address()],
    );
    let to = service.address().to_string();
    let words = format!("connect --to {to} --count 20 --upload {UPLOAD} --download {DOWNLOAD}");
    let place = Place::in_unit(&unit).and_netns(&netns);
    assert_eq!(run_load(place, &words).established, 20);
    settles(&agent, &unit, &to, &server.address().to_string(), 20);
}

#[test]
fn connects_that_fail_have_no_actual_destination() {
    require_root!();
    let (agent, unit, netns) = (
        AGENT.get(Agent::start),
        Unit::service("natfail"),
        Netns::linked(),
    );
    let backend = Netns::linked();
    let nobody: SocketAddr = format!("{}:9", backend.inner())
        .parse()
        .expect("an address");
    let service = VirtualService::new("10.96.7.4:80".parse().expect("an address"), &[nobody]);
    let to = service.address().to_string();
    let place = Place::in_unit(&unit).and_netns(&netns);
    let report = run_load(place, &format!("connect --to {to} --count 7"));
    assert_eq!(report.refused, 7);
    let failed = Expected {
        failures: 7,
        ..Expected::default()
    };
    failed.settles(&agent, unit.path(), &to);
    failed.settles(&agent, unit.path(), "");
}

/// A namespace that translates for itself, as the side-cars of a service mesh make it.
#[test]
fn the_container_translates_by_itself() {
    require_root!();
    let (agent, unit, netns) = (
        AGENT.get(Agent::start),
        Unit::service("natown"),
        Netns::linked(),
    );
    let server = Server::start(Agent::here(), &format!("{}:8081", netns.outer()));
    let to = "10.96.7.5:80";
    netns.nft(&format!(
        "table ip t {{ chain c {{ type nat hook output priority -100; \
         ip daddr 10.96.7.5 tcp dport 80 dnat to {}; }}; }}",
        server.address()
    ));
    let words = format!("connect --to {to} --count 20 --upload {UPLOAD} --download {DOWNLOAD}");
    let place = Place::in_unit(&unit).and_netns(&netns);
    assert_eq!(run_load(place, &words).established, 20);
    settles(&agent, &unit, to, &server.address().to_string(), 20);
}
