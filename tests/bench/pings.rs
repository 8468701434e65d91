//! What echo requests cost: CPU time of both processes with 1,000 addresses that a service has talked to, with the pinger
//! switched off and with it asking each every ten seconds (the default) and every four (all that the node's rate allows).
//!
//! Run it with `cargo bench -p nodescope-tests --bench pings` (root). The addresses are all of one network namespace.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use nodescope_tests::*;

const ADDRESSES: u32 = 1000;
const MEASURED: Duration = Duration::from_secs(40);
const PORT: u16 = 8080;
const CONNECTS: &str = "container_net_tcp_successful_connects_total";

fn main() {
    // `cargo test --benches` would run it as a test.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("pings: needs root, not measured");
        return;
    }
    println!(
        "\n{:<10} {:>10} {:>12} {:>12} {:>14}",
        "interval", "addresses", "answers/s", "sensor", "aggregator"
    );
    for interval_seconds in [0, 10, 4] {
        measure(interval_seconds);
    }
}

/// A namespace that has this many addresses beside its own.
struct Many {
    netns: Netns,
    first: u32,
}

impl Many {
    fn new() -> Self {
        let netns = Netns::linked();
        // All of the network is local inside.
        let inside = Place::default().and_netns(&netns);
        run(inside
            .command("ip")
            .args(["route", "add", "local", "10.216.0.0/20", "dev", "lo"]));
        run(Command::new("ip").args(["route", "add", "10.216.0.0/20", "via", &netns.inner()]));
        let first = u32::from(Ipv4Addr::new(10, 216, 0, 1));
        Self { netns, first }
    }

    fn targets(&self) -> String {
        (self.first..self.first + ADDRESSES)
            .map(|ip| format!(" --to {}:{PORT}", Ipv4Addr::from(ip)))
            .collect()
    }
}

fn measure(interval_seconds: u32) {
    let options = [
        "--poll-interval-ms".to_owned(),
        "1000".to_owned(),
        "--ping-interval-s".to_owned(),
        interval_seconds.to_string(),
    ];
    let budget = settings("max_destinations_per_container = 2000\n");
    let agent = Agent::start_with(AgentOptions {
        sensor: options.to_vec(),
        ..AgentOptions::configured(&budget)
    });
    let (unit, many) = (Unit::service("pings"), Many::new());
    let inside = Place::default().and_netns(&many.netns);
    let words = format!("serve --accept-only yes --listen 0.0.0.0:{PORT}");
    let _server = Server::start_with(inside, &words);
    // Lives as long as the unit is to have latencies.
    let near = Server::start(inside, &format!("{}:8081", many.netns.inner()));
    let _hold = Hold::open(Place::in_unit(&unit), near.address(), 1);
    // Each of its threads goes through all addresses.
    let words = format!(
        "rate --per-second 2000 --seconds 5 --parallel 4{}",
        many.targets()
    );
    run_load(Place::in_unit(&unit), &words);
    agent.eventually("connects to all addresses", unit.path(), |scrape| {
        let labels = [("container_id", unit.path())];
        let shown = scrape.matching(CONNECTS, &labels).count();
        (shown > ADDRESSES as usize).then_some(())
    });
    // Until each has been asked.
    std::thread::sleep(Duration::from_secs(20));
    let requests = || many.netns.snmp("Icmp", "InEchos");
    let (before, asked, start) = (agent.pids().map(cpu_seconds), requests(), Instant::now());
    std::thread::sleep(MEASURED);
    let seconds = start.elapsed().as_secs_f64();
    let [sensor, aggregator] = [0, 1].map(|side| {
        let used = cpu_seconds(agent.pids()[side]) - before[side];
        used / seconds * 100.0
    });
    let rate = (requests() - asked) as f64 / seconds;
    let name = match interval_seconds {
        0 => "off".to_owned(),
        seconds => format!("{seconds} s"),
    };
    println!("{name:<10} {ADDRESSES:>10} {rate:>12.1} {sensor:>10.2} % {aggregator:>12.2} %");
}
