//! What reading logs costs: CPU time of both processes, in percent of one core, while a docker container logs 10,000
//! lines a second, beside the same with an aggregator that reads no logs.
//!
//! Run it with `make bench` (root). The share of the lines that was counted is shown too: a cost says nothing without it.

use std::time::{Duration, Instant};

use nodescope_tests::*;

const LINES_PER_SECOND: u64 = 10_000;
const MEASURED: Duration = Duration::from_secs(20);
/// Lines enough for the measurement and what is before it.
const LINES: u64 = 60 * LINES_PER_SECOND;

fn main() {
    // `cargo test --benches` would run it as a test.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("logs: needs root, not measured");
        return;
    }
    println!(
        "{:<28} {:>10} {:>12} {:>16}",
        "10,000 lines a second", "sensor", "aggregator", "lines counted/s"
    );
    show("logs are not read", &["--no-logs"]);
    show("logs are read", &[]);
}

fn show(what: &str, arguments: &[&str]) {
    let docker = Docker::start();
    let agent = Agent::start_with(AgentOptions {
        // As it is shipped, not as the tests run it.
        sensor: vec!["--poll-interval-ms".to_owned(), "1000".to_owned()],
        aggregator: arguments.iter().map(|&word| word.to_owned()).collect(),
        mounts_of: Some(docker.sandbox().pid()),
    });
    let name = unique("logs");
    let options =
        format!("--name {name} --log-driver json-file --log-opt max-size=64m --log-opt max-file=4");
    let words = format!("log --count {LINES} --per-second {LINES_PER_SECOND} --hold yes");
    docker.run_load(&options, &words);
    // What has just begun is not what is measured.
    std::thread::sleep(Duration::from_secs(5));
    let id = format!("/docker/{name}");
    let counted = || {
        let scrape = agent.scrape();
        let sum = scrape.sum("container_log_messages_total", &[("container_id", &id)]);
        sum.unwrap_or(0.0)
    };
    let cpu = || agent.pids().map(cpu_seconds);
    let (begin, lines, before) = (Instant::now(), counted(), cpu());
    std::thread::sleep(MEASURED);
    let after = cpu();
    let seconds = begin.elapsed().as_secs_f64();
    let [sensor, aggregator] = [0, 1].map(|which| (after[which] - before[which]) / seconds * 100.0);
    let per_second = (counted() - lines) / begin.elapsed().as_secs_f64();
    println!("{what:<28} {sensor:>8.2} % {aggregator:>10.2} % {per_second:>16.0}");
}
