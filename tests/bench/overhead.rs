//! What nodescope costs a node, each figure beside a baseline of the same run:
//!
//! - calls that have nothing to do with the network (open, read, write, pipe), without and with the sensor;
//! - a small request and its answer over loopback, without and with, both ends on one CPU (waking up another one takes
//!   ten times as long and varies by more than what is measured), and how much of it the kernel says was spent in the BPF
//!   programs;
//! - 20,000 connects and closes a second over loopback: the rate reached (a busy machine reaches less), and CPU time of
//!   both processes, each in percent of one core;
//! - memory of both processes, and of the one that the sensor has forked, when idle.
//!
//! Run it with `make bench` (root). Rounds without and with the sensor alternate, and the best of each is shown: other
//! work on the machine only ever adds.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use nodescope_tests::*;
use serde_json::Value;

const ROUNDS: usize = 9;
const CALLS: u32 = 200_000;
const ROUND_TRIPS: u32 = 20_000;
const CONNECTS_PER_SECOND: u64 = 20_000;
const RATE_SECONDS: u64 = 10;
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    // `cargo test --benches` would run it as a test.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("overhead: needs root, not measured");
        return;
    }
    compare_calls();
    measure_programs();
    measure_connects();
    measure_idle();
}

/// Best times without and with a running agent.
fn compare_calls() {
    let server = on_one_cpu(|| Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port())));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let measure = || {
        let files = format!(
            "files --rounds {CALLS} --directory {}",
            directory.path().display()
        );
        let mut times = load_json(&files);
        let words = format!(
            "round-trips --rounds {ROUND_TRIPS} --to {}",
            server.address()
        );
        times.extend(on_one_cpu(|| load_json(&words)));
        times
    };
    measure();
    let mut times: [Vec<Vec<(String, f64)>>; 2] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(measure());
        let agent = Agent::start();
        times[1].push(measure());
        drop(agent);
    }
    println!(
        "\n{:<14} {:>12} {:>12} {:>12}",
        "call", "without", "with", "added"
    );
    let names: Vec<String> = times[0][0].iter().map(|(name, _)| name.clone()).collect();
    for (index, name) in names.iter().enumerate() {
        let [without, with] =
            [0, 1].map(|side| least(times[side].iter().map(|round| round[index].1)));
        println!(
            "{name:<14} {without:>9.1} ns {with:>9.1} ns {:>9.1} ns",
            with - without
        );
    }
}

/// What one program did.
struct Runs {
    name: String,
    count: u64,
    time: Duration,
}

/// Does something that starts processes, which then stay on the first CPU.
fn on_one_cpu<T>(work: impl FnOnce() -> T) -> T {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this).expect("its CPUs");
    let mut first = CpuSet::new();
    first.set(0).expect("a first CPU");
    sched_setaffinity(this, &first).expect("to be moved");
    let result = work();
    sched_setaffinity(this, &before).expect("to be moved back");
    result
}

/// Time in each of the agent's programs for one request and its answer.
fn measure_programs() {
    let server = on_one_cpu(|| Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port())));
    let others = runs_of_programs();
    let _agent = Agent::start();
    let _measuring = enable_stats(Stats::RunTime).expect("Linux 5.8");
    let before = runs_of_programs();
    let words = format!(
        "round-trips --rounds {ROUND_TRIPS} --to {}",
        server.address()
    );
    on_one_cpu(|| load_json(&words));
    let after = runs_of_programs();
    println!(
        "\n{:<16} {:>16} {:>12} {:>16}",
        "BPF program", "runs/round trip", "a run", "a round trip"
    );
    let mut sum_ns = 0.0;
    for (id, after) in after.iter().filter(|(id, _)| !others.contains_key(id)) {
        let Some(before) = before.get(id).filter(|before| before.count < after.count) else {
            continue;
        };
        let count = (after.count - before.count) as f64;
        let ns = (after.time - before.time).as_nanos() as f64;
        sum_ns += ns / f64::from(ROUND_TRIPS);
        println!(
            "{:<16} {:>16.2} {:>9.0} ns {:>13.1} ns",
            after.name,
            count / f64::from(ROUND_TRIPS),
            ns / count,
            ns / f64::from(ROUND_TRIPS)
        );
    }
    println!("{:<16} {:>16} {:>12} {sum_ns:>13.1} ns", "all", "", "");
}

/// By the kernel's number of the program.
fn runs_of_programs() -> BTreeMap<u32, Runs> {
    loaded_programs()
        .filter_map(|program| {
            let program = program.ok()?;
            let runs = Runs {
                name: program.name_as_str()?.to_owned(),
                count: program.run_count(),
                time: program.run_time(),
            };
            Some((program.id(), runs))
        })
        .collect()
}

fn measure_connects() {
    println!(
        "\n{:<10} {:>12} {:>12} {:>14} {:>14} {:>10}",
        "", "connects/s", "client", "sensor", "aggregator", "counted"
    );
    connect_at_rate(None);
    let agent = Agent::start_with(AgentOptions {
        // As it is shipped, not as the tests run it.
        sensor: vec!["--poll-interval-ms".to_owned(), "1000".to_owned()],
        ..AgentOptions::default()
    });
    connect_at_rate(Some(&agent));
}

fn connect_at_rate(agent: Option<&Agent>) {
    let unit = Unit::service("rate");
    let port = free_port();
    let words = format!("serve --accept-only yes --listen 0.0.0.0:{port}");
    let _server = Server::start_with(Agent::here(), &words);
    let targets: String = (1..=20)
        .map(|host| format!(" --to 127.0.0.{host}:{port}"))
        .collect();
    let words =
        format!("rate --per-second {CONNECTS_PER_SECOND} --seconds {RATE_SECONDS}{targets}");
    let cpu = || agent.map_or([0.0; 2], |agent| agent.pids().map(cpu_seconds));
    let (begin, before, children) = (Instant::now(), cpu(), children_cpu_seconds());
    let report = run_load(Place::in_unit(&unit), &words);
    let (seconds, after) = (begin.elapsed().as_secs_f64(), cpu());
    let client = (children_cpu_seconds() - children) / seconds * 100.0;
    let [sensor, aggregator] = [0, 1].map(|side| (after[side] - before[side]) / seconds * 100.0);
    let counted = agent.map_or("-".to_owned(), |agent| {
        let labels = [("container_id", unit.path())];
        agent.settles(
            "container_net_tcp_successful_connects_total",
            &labels,
            report.established,
        );
        "exact".to_owned()
    });
    let rate = report.established as f64 / (report.elapsed_ms as f64 / 1000.0);
    let name = if agent.is_some() { "with" } else { "without" };
    println!(
        "{name:<10} {rate:>12.0} {client:>10.1} % {sensor:>12.2} % {aggregator:>12.2} % {counted:>10}"
    );
}

fn measure_idle() {
    let agent = Agent::start_with(AgentOptions {
        sensor: vec!["--poll-interval-ms".to_owned(), "1000".to_owned()],
        ..AgentOptions::default()
    });
    let before = agent.pids().map(cpu_seconds);
    std::thread::sleep(IDLE);
    println!(
        "\n{:<12} {:>16} {:>16} {:>10}",
        "idle", "resident memory", "peak", "CPU"
    );
    for (index, name) in ["sensor", "aggregator"].into_iter().enumerate() {
        let pid = agent.pids()[index];
        let cpu = (cpu_seconds(pid) - before[index]) / IDLE.as_secs_f64() * 100.0;
        let [resident, peak] =
            ["VmRSS", "VmHWM"].map(|field| status_bytes(pid, field) / f64::from(1 << 20));
        println!("{name:<12} {resident:>12.1} MiB {peak:>12.1} MiB {cpu:>8.2} %");
    }
    for helper in children(agent.pids()[0]) {
        let share = field_bytes(&format!("/proc/{helper}/smaps_rollup"), "Pss");
        println!(
            "{:<12} {:>12.1} MiB, its share of what it has in common with the sensor",
            "helper",
            share / f64::from(1 << 20)
        );
    }
}

fn load_json(words: &str) -> Vec<(String, f64)> {
    let text = run_output(
        Agent::here()
            .command(load_program())
            .args(words.split_whitespace()),
    );
    let value: Value = serde_json::from_str(&text).expect("the load generator prints JSON");
    let object = value.as_object().expect("an object");
    object
        .iter()
        .map(|(name, value)| (name.clone(), value.as_f64().expect("a number")))
        .collect()
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

fn status_bytes(pid: u32, field: &str) -> f64 {
    field_bytes(&format!("/proc/{pid}/status"), field)
}

/// A field that is in KiB.
fn field_bytes(path: &str, field: &str) -> f64 {
    let text = fs::read_to_string(path).expect("the process lives");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .expect("the field");
    line.split_whitespace()
        .next()
        .and_then(|number| number.parse::<f64>().ok())
        .expect("a number")
        * 1024.0
}
