//! The round trip to addresses, by real echo requests into a network namespace, and what there is without an answer.

use std::net::SocketAddr;
use std::time::Duration;

use nodescope_tests::*;

const LATENCY: &str = "container_net_latency_seconds";
const RTT: &str = "container_net_tcp_rtt_seconds";

/// Nothing leaves the machine; the rest is the scheduler's.
const NEAR: std::ops::Range<f64> = 1e-7..0.05;

fn agent(interval_seconds: u32) -> Agent {
    let words = ["--ping-interval-s".to_owned(), interval_seconds.to_string()];
    Agent::start_with(AgentOptions {
        sensor: words.to_vec(),
        ..AgentOptions::default()
    })
}

/// A server inside and a unit outside that holds a connection to it.
struct Talk {
    server: Server,
    _hold: Hold,
}

impl Talk {
    fn with(unit: &Unit, netns: &Netns, ip: &str) -> Self {
        let there = Place::default().and_netns(netns);
        let server = Server::start(there, &format!("{ip}:8080"));
        let mut hold = Hold::open(Place::in_unit(unit), server.address(), 1);
        hold.tell("exchange 3000 3000");
        Self {
            server,
            _hold: hold,
        }
    }

    fn ip(&self) -> String {
        self.server.address().ip().to_string()
    }
}

fn latency(scrape: &Scrape, unit: &Unit, ip: &str) -> Option<f64> {
    let labels = [("container_id", unit.path()), ("destination_ip", ip)];
    scrape.sum(LATENCY, &labels)
}

fn tcp_rtt(scrape: &Scrape, unit: &Unit, talk: &Talk) -> Option<f64> {
    let to = talk.server.address().to_string();
    let labels = [("container_id", unit.path()), ("destination", &to)];
    scrape.sum(RTT, &labels)
}

/// Waits until what is shown is not of TCP, and returns it.
fn by_echo(agent: &Agent, unit: &Unit, talk: &Talk) -> f64 {
    agent.eventually("a latency of its own", unit.path(), |scrape| {
        let seconds = latency(scrape, unit, &talk.ip())?;
        (tcp_rtt(scrape, unit, talk) != Some(seconds)).then_some(seconds)
    })
}

/// ICMPv6 echo requests that came in.
fn requests6(netns: &Netns) -> u64 {
    let place = Place::default().and_netns(netns);
    let text = run_output(place.command("cat").arg("/proc/net/snmp6"));
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Icmp6InEchos"));
    line.and_then(|count| count.trim().parse().ok())
        .expect("a number")
}

#[test]
fn of_both_protocols_by_echo() {
    require_root!();
    let (agent, unit, netns) = (agent(1), Unit::service("latency"), Netns::linked());
    let v4 = Talk::with(&unit, &netns, &netns.inner());
    let v6 = Talk::with(&unit, &netns, &format!("[{}]", netns.inner6()));
    for talk in [&v4, &v6] {
        let seconds = by_echo(&agent, &unit, talk);
        eprintln!("{}: {seconds} s", talk.ip());
        assert!(NEAR.contains(&seconds), "{}: {seconds} s", talk.ip());
    }
    assert!(netns.snmp("Icmp", "InEchos") > 0 && requests6(&netns) > 0);
    let sent = agent.scrape().sum(
        "nodescope_records_lost_total",
        &[("stage", "pings"), ("reason", "not_sent")],
    );
    assert_eq!(sent, Some(0.0));
}

#[test]
fn without_an_answer_it_is_that_of_tcp() {
    require_root!();
    let (agent, unit, netns) = (agent(1), Unit::service("silent"), Netns::linked());
    netns.nft(
        "table inet silent { chain input { type filter hook input priority 0; \
         icmp type echo-request counter drop; icmpv6 type echo-request counter drop; }; }",
    );
    for ip in [netns.inner(), format!("[{}]", netns.inner6())] {
        let talk = Talk::with(&unit, &netns, &ip);
        let shown = |scrape: &Scrape| {
            let seconds = latency(scrape, &unit, &talk.ip())?;
            (tcp_rtt(scrape, &unit, &talk) == Some(seconds)).then_some(seconds)
        };
        let seconds = agent.eventually("the round trip of TCP", unit.path(), shown);
        assert!(NEAR.contains(&seconds), "{seconds} s");
        // Asked in vain, it still is.
        let asked = |_: &Scrape| (dropped(&netns) >= 3).then_some(());
        agent.eventually("requests that are dropped", unit.path(), asked);
        assert!(shown(&agent.scrape()).is_some());
        netns.nft("reset counters");
    }
}

/// Echo requests that the rules of the test have dropped.
fn dropped(netns: &Netns) -> u64 {
    let place = Place::default().and_netns(netns);
    let rules = run_output(place.command("nft").args(["list", "ruleset"]));
    let counts = rules
        .lines()
        .filter_map(|line| line.split_once("packets ")?.1.split(' ').next());
    counts.filter_map(|count| count.parse::<u64>().ok()).sum()
}

#[test]
fn behind_a_service_it_is_that_to_the_server() {
    require_root!();
    let (agent, unit, netns) = (agent(1), Unit::service("served"), Netns::linked());
    let there = Place::default().and_netns(&netns);
    let server = Server::start(there, &format!("{}:8080", netns.inner()));
    let address: SocketAddr = "10.97.214.1:80".parse().expect("an address");
    let service = VirtualService::new(address, &[server.address()]);
    let _hold = Hold::open(Place::in_unit(&unit), service.address(), 1);
    agent.eventually("a latency by echo", unit.path(), |scrape| {
        let seconds = latency(scrape, &unit, &netns.inner())?;
        let by_tcp = scrape.sum(RTT, &[("container_id", unit.path())]);
        (by_tcp != Some(seconds) && NEAR.contains(&seconds)).then_some(())
    });
    let to_service = latency(&agent.scrape(), &unit, &address.ip().to_string());
    assert_eq!(to_service, None, "nothing but a rule has this address");
}

#[test]
fn switched_off_it_is_that_of_tcp() {
    require_root!();
    let (agent, unit, netns) = (agent(0), Unit::service("off"), Netns::linked());
    let talk = Talk::with(&unit, &netns, &netns.inner());
    agent.eventually("the round trip of TCP", unit.path(), |scrape| {
        let seconds = latency(scrape, &unit, &talk.ip())?;
        (tcp_rtt(scrape, &unit, &talk) == Some(seconds)).then_some(())
    });
    let hook = [("hook", "ping_ipv4"), ("verdict", "unsupported")];
    let is_off = agent.scrape().sum("nodescope_sensor_hook", &hook);
    assert_eq!(is_off, Some(1.0));
    assert_eq!(netns.snmp("Icmp", "InEchos"), 0);
}

#[test]
fn a_container_that_has_ended_has_none() {
    require_root!();
    let (agent, unit, netns) = (agent(1), Unit::service("ended"), Netns::linked());
    let talk = Talk::with(&unit, &netns, &netns.inner());
    by_echo(&agent, &unit, &talk);
    let ip = talk.ip();
    drop(talk);
    agent.eventually("no latency", unit.path(), |scrape| {
        latency(scrape, &unit, &ip).is_none().then_some(())
    });
    // And it is asked no more.
    let quiet = poll(DEADLINE, || {
        let before = netns.snmp("Icmp", "InEchos");
        std::thread::sleep(Duration::from_secs(4));
        (netns.snmp("Icmp", "InEchos") == before).then_some(())
    });
    assert!(quiet.is_some(), "still asked\n{}", agent.logs());
}
