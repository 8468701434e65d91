//! What accounting for the delays of tasks costs, each figure beside a baseline of the same run:
//!
//! - CPU time of the sensor and its helpers, in percent of one core, with the tasks of the machine alone, with 2,000
//!   processes more that sleep, and with 2,000 that all run and wait for a CPU once a second; at the default interval; with
//!   delays that programs read from the tasks, and that taskstats is asked for;
//! - time of a fork and the end of the child, without and with the sensor, which counts what is left at the end.
//!
//! Run it with `make bench` (root). The aim is 1 % of a core.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use nodescope_tests::*;

const PROCESSES: u32 = 2_000;
/// Ten walks at least.
const MEASURED: Duration = Duration::from_secs(20);
const FORKS: u32 = 3_000;
const ROUNDS: usize = 5;

fn main() {
    // `cargo test --benches` would run it as a test.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("delays: needs root, not measured");
        return;
    }
    // Without it taskstats has nothing to tell.
    let _accounting = Accounting::on();
    compare_walks("by programs", &[]);
    compare_walks("by taskstats", &["--taskstats"]);
    compare_forks();
}

fn start_agent(flags: &[&str]) -> Agent {
    // As it is shipped, not as the tests run it.
    let flags = [&["--poll-interval-ms", "1000"], flags].concat();
    Agent::start_with(AgentOptions {
        sensor: flags.into_iter().map(str::to_owned).collect(),
        ..AgentOptions::default()
    })
}

fn compare_walks(name: &str, flags: &[&str]) {
    let agent = start_agent(flags);
    println!("{:<24} {:>8} {name:>14}", "tasks of the machine", "");
    let show = |what: &str, each_second: &dyn Fn()| {
        let tasks = tasks_of_machine();
        let percent = sensor_percent(&agent, each_second);
        println!("{what:<24} {tasks:>8} {percent:>12.3} %");
    };
    show("alone", &|| {});
    let unit = Unit::service("many");
    let group = Group::start(&unit);
    show("and 2,000 asleep", &|| {});
    show("and 2,000 that wait", &|| group.wake());
}

/// Processes and threads.
fn tasks_of_machine() -> u64 {
    let text = std::fs::read_to_string("/proc/loadavg").expect("/proc is mounted");
    let all = text
        .split(['/', ' '])
        .nth(4)
        .and_then(|all| all.parse().ok());
    all.expect("RUNNING/ALL in the fourth field")
}

fn sensor_percent(agent: &Agent, each_second: &dyn Fn()) -> f64 {
    let sensor = agent.pids()[0];
    let mut processes = children(sensor);
    processes.push(sensor);
    let cpu = || processes.iter().map(|pid| cpu_seconds(*pid)).sum::<f64>();
    // What has just begun is not what is measured.
    std::thread::sleep(Duration::from_secs(5));
    let (begin, before) = (Instant::now(), cpu());
    while begin.elapsed() < MEASURED {
        each_second();
        std::thread::sleep(Duration::from_secs(1));
    }
    (cpu() - before) / begin.elapsed().as_secs_f64() * 100.0
}

/// Many processes in a process group of their own.
struct Group {
    leader: Process,
}

impl Group {
    fn start(unit: &Unit) -> Self {
        let script = format!(
            "i=0; while [ $i -lt {PROCESSES} ]; do sleep infinity & i=$((i + 1)); done; \
             echo all; wait"
        );
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut command = Place::in_unit(unit).command("setsid");
        command.args(["sh", "-c", &script]);
        let leader = Process::start("many", &mut command, log.path());
        eventually("they have begun", || {
            let said = std::fs::read_to_string(log.path()).ok()?;
            said.contains("all").then_some(())
        });
        Self { leader }
    }

    /// Stops and continues all: each runs for a moment, and waits for a CPU before.
    fn wake(&self) {
        let group = i32::try_from(self.leader.pid()).expect("a process id");
        for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
            killpg(Pid::from_raw(group), signal).expect("the group lives");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = i32::try_from(self.leader.pid()).expect("a process id");
        // It may have ended.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        let few = || (tasks_of_machine() < u64::from(PROCESSES)).then_some(());
        let _ = poll(DEADLINE, few);
    }
}

/// Best times without and with a running agent, which take turns: other work on the machine only ever adds.
fn compare_forks() {
    fork_ns();
    let mut least = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        least[0] = fork_ns().min(least[0]);
        let agent = start_agent(&[]);
        least[1] = fork_ns().min(least[1]);
        drop(agent);
    }
    let [without, with] = least.map(|ns| ns / 1000.0);
    println!(
        "\n{:<24} {:>12} {:>12} {:>12}",
        "", "without", "with", "added"
    );
    println!(
        "{:<24} {without:>9.1} us {with:>9.1} us {:>9.1} us",
        "fork, end and wait",
        with - without
    );
}

/// CPU time of a shell and its children for each child, which does nothing.
fn fork_ns() -> f64 {
    let script = format!("i=0; while [ $i -lt {FORKS} ]; do (:); i=$((i + 1)); done");
    let before = children_cpu_seconds();
    let status = Command::new("dash").args(["-c", &script]).status();
    assert!(status.is_ok_and(|status| status.success()));
    (children_cpu_seconds() - before) * 1e9 / f64::from(FORKS)
}
