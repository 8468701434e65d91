//! Where connections really go when their destination is translated: the share of each server is what the server itself
//! accepted, in connections and in bytes.

use std::fs;
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nodescope_tests::*;
use tempfile::NamedTempFile;

static AGENT: Shared<Agent> = Shared::new();

/// Written by a test that must be the only one that makes translated connections: its agent would count their late events
/// too. All others read.
static TRANSLATIONS: RwLock<()> = RwLock::new(());

fn beside_others() -> RwLockReadGuard<'static, ()> {
    TRANSLATIONS.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    TRANSLATIONS.write().unwrap_or_else(PoisonError::into_inner)
}

const CONNECTS: u64 = 90;
const UPLOAD: u64 = 700;
const DOWNLOAD: u64 = 30_000;
/// What the load generator sends before the payload of an exchange.
const HEADER_BYTES: u64 = 16;

/// A server in a namespace of its own, which counts what it accepts.
struct Backend {
    netns: Netns,
    server: Server,
    count: NamedTempFile,
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
        let count = NamedTempFile::new().expect("a temporary file");
        let path = count.path().display();
        let words = format!("serve --listen {ip}:8080 --count-file {path}");
        Self {
            server: Server::start_with(place, &words),
            netns,
            count,
        }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Connections it accepted.
    fn accepted(&self) -> u64 {
        let text = fs::read_to_string(self.count.path()).expect("its count");
        text.trim().parse().expect("a number")
    }
}

/// Waits until the container has `connects` to `actual` through `service`, with their bytes.
fn settles(agent: &Agent, container: &str, service: &str, actual: &str, connects: u64) {
    let labels = [
        ("container_id", container),
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
    shares_of(&backends, agent, place, unit, service);
}

fn shares_of(backends: &[Backend; 3], agent: &Agent, place: Place<'_>, unit: &Unit, service: &str) {
    let addresses: Vec<SocketAddr> = backends.iter().map(Backend::address).collect();
    let service = VirtualService::new(service.parse().expect("an address"), &addresses);
    let before: Vec<u64> = backends.iter().map(Backend::accepted).collect();
    let to = service.address().to_string();
    let words = format!(
        "connect --to {to} --count {CONNECTS} --parallel 30 --upload {UPLOAD} --download {DOWNLOAD}"
    );
    assert_eq!(run_load(place, &words).established, CONNECTS);
    let mut sum = 0;
    for (backend, before) in backends.iter().zip(before) {
        let accepted = backend.accepted() - before;
        assert!(accepted > 0, "the rules choose each server");
        settles(
            agent,
            unit.path(),
            &to,
            &backend.address().to_string(),
            accepted,
        );
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
    let _others = beside_others();
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
    let _others = beside_others();
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
    let _others = beside_others();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("nathost"));
    shares(&agent, Place::in_unit(&unit), &unit, "10.96.7.2:80", false);
}

#[test]
fn the_server_is_the_host_itself() {
    require_root!();
    let _others = beside_others();
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
    settles(&agent, unit.path(), &to, &server.address().to_string(), 20);
}

#[test]
fn connects_that_fail_have_no_actual_destination() {
    require_root!();
    let _others = beside_others();
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
    let _others = beside_others();
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
    settles(&agent, unit.path(), to, &server.address().to_string(), 20);
}

#[test]
fn connections_older_than_the_agent() {
    require_root!();
    let _others = beside_others();
    let (unit, netns, own) = (
        Unit::service("natolder"),
        Netns::linked(),
        Unit::service("natolderhost"),
    );
    let backend = Backend::start(false);
    let address = backend.address();
    let service = VirtualService::new("10.96.7.6:80".parse().expect("an address"), &[address]);
    let to = service.address();
    let place = Place::in_unit(&unit).and_netns(&netns);
    let mut held = [
        (Hold::open(place, to, 5), &unit, 5),
        (Hold::open(Place::in_unit(&own), to, 3), &own, 3),
    ];
    let agent = Agent::start();
    for (hold, unit, count) in &mut held {
        let labels = [
            ("container_id", unit.path()),
            ("destination", &to.to_string()),
            ("actual_destination", &address.to_string()),
        ];
        agent.settles("container_net_tcp_active_connections", &labels, *count);
        let report = hold.tell("exchange 100 200");
        let families = [
            ("container_net_tcp_successful_connects_total", 0),
            ("container_net_tcp_active_connections", *count),
            ("container_net_tcp_bytes_sent_total", report.sent_bytes),
            (
                "container_net_tcp_bytes_received_total",
                report.received_bytes,
            ),
        ];
        agent.settle_together(&labels, &families);
        let all = [("container_id", unit.path())];
        agent.settles("container_net_tcp_active_connections", &all, *count);
    }
}

/// An agent that learns of translations from netlink, as where BPF programs cannot read connection tracking.
fn agent_with_events() -> Agent {
    Agent::start_with(AgentOptions {
        sensor: vec!["--conntrack-events".to_owned()],
        ..AgentOptions::default()
    })
}

/// Loses the first SYN of every connection, so that it is established a second later.
const LATE: &str = "table ip late {
    set seen { type ipv4_addr . inet_service; size 65535; flags dynamic; }
    chain in {
        type filter hook input priority 0;
        tcp flags & (syn | ack) == syn ip saddr . tcp sport @seen accept
        tcp flags & (syn | ack) == syn add @seen { ip saddr . tcp sport } drop
    }
}";

fn lost_events(agent: &Agent, reason: &str) -> f64 {
    let labels = [("stage", "conntrack_events"), ("reason", reason)];
    let lost = agent.scrape().sum("nodescope_records_lost_total", &labels);
    lost.expect("what may be lost is shown before it is")
}

#[test]
fn events_come_before_an_answer_from_far_away() {
    require_root!();
    let _alone = alone();
    let (agent, unit, netns) = (
        agent_with_events(),
        Unit::service("natevents"),
        Netns::linked(),
    );
    let backends = [(); 3].map(|()| Backend::start(false));
    for backend in &backends {
        backend.netns.nft(LATE);
    }
    let place = Place::in_unit(&unit).and_netns(&netns);
    shares_of(&backends, &agent, place, &unit, "10.96.7.7:80");
    for reason in ["late", "overrun", "failed"] {
        assert_eq!(lost_events(&agent, reason), 0.0, "{reason}");
    }
}

/// Servers on the same machine may answer before the event is read: such a connection counts for the service, and as lost.
/// So many of them that some are established in the very moment in which their event is read.
#[test]
fn events_that_come_too_late_are_counted() {
    const CONNECTS: u64 = 3000;
    require_root!();
    let _alone = alone();
    let (agent, unit, netns) = (
        agent_with_events(),
        Unit::service("natlate"),
        Netns::linked(),
    );
    let backend = Backend::start(false);
    let address = backend.address();
    let service = VirtualService::new("10.96.7.8:80".parse().expect("an address"), &[address]);
    let to = service.address().to_string();
    let before = lost_events(&agent, "late");
    let words = format!("connect --to {to} --count {CONNECTS} --upload {UPLOAD} --download 10");
    let place = Place::in_unit(&unit).and_netns(&netns);
    assert_eq!(run_load(place, &words).established, CONNECTS);
    let connects = |scrape: &Scrape, actual: &str| {
        let labels = [
            ("container_id", unit.path()),
            ("actual_destination", actual),
        ];
        let name = "container_net_tcp_successful_connects_total";
        scrape.sum(name, &labels).unwrap_or(0.0) as u64
    };
    let actual = address.to_string();
    agent.eventually("every connect, late ones as lost", unit.path(), |scrape| {
        let (known, unknown) = (connects(scrape, &actual), connects(scrape, &to));
        let late = (lost_events(&agent, "late") - before) as u64;
        (known + unknown == CONNECTS && late == unknown).then_some(())
    });
}

/// Docker's own host is a sandbox here, which the sensor looks into when it is told to.
#[test]
fn docker_publishes_a_port() {
    require_root!();
    let _others = beside_others();
    let docker = Docker::start();
    let (server, client) = (unique("published"), unique("client"));
    docker.run_load(
        &format!("--name {server} --publish 18080:8080"),
        "serve --listen 0.0.0.0:8080",
    );
    docker.run_load(&format!("--name {client}"), "serve --listen 127.0.0.1:1");
    let to = format!("{}:18080", docker.sandbox().address());
    let actual = docker.address_of(&server) + ":8080";
    let exec = |words: &str| {
        docker.command(&format!(
            "exec --interactive {client} /bin/nodescope-load {words}"
        ))
    };
    let hold = Hold::open_with(&mut exec(&format!("hold --count 2 --to {to}")), 2);
    let agent = Agent::start_with(AgentOptions {
        sensor: vec!["--nat-in-containers".to_owned()],
        mounts_of: Some(docker.sandbox().pid()),
        ..AgentOptions::default()
    });
    // Older than the agent.
    let id = Docker::container_id(&client);
    let labels = [
        ("container_id", id.as_str()),
        ("destination", to.as_str()),
        ("actual_destination", actual.as_str()),
    ];
    agent.settles("container_net_tcp_active_connections", &labels, 2);
    drop(hold);
    agent.settles("container_net_tcp_active_connections", &labels, 0);

    let words = format!("connect --to {to} --count 20 --upload {UPLOAD} --download {DOWNLOAD}");
    let report = LoadReport::parse(&run_output(&mut exec(&words)));
    assert_eq!(report.established, 20);
    let families = [
        ("container_net_tcp_successful_connects_total", 20),
        (
            "container_net_tcp_bytes_sent_total",
            20 * (UPLOAD + HEADER_BYTES),
        ),
    ];
    agent.settle_together(&labels, &families);

    // A process beside the daemon, whose connections are translated as they leave it.
    let unit = Unit::service("natdocker");
    let place = Place {
        unit: Some(&unit),
        sandbox: Some(docker.sandbox()),
        ..Place::default()
    };
    assert_eq!(run_load(place, &words).established, 20);
    settles(&agent, unit.path(), &to, &actual, 20);
    // The server listens where it did, published or not.
    let id = Docker::container_id(&server);
    let label = [
        ("container_id", id.as_str()),
        ("listen_addr", actual.as_str()),
    ];
    agent.settles("container_net_tcp_listen_info", &label, 1);
}
