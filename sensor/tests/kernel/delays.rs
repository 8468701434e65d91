//! What tasks waited for, beside what `/proc/PID/schedstat` says of the same tasks.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodescope_schema::DelayTotals;
use nodescope_sensor::kernel::{Kernel, Rungs, Source as _};

use super::support::{Cgroup, Node, Told};

const BUSY: &str = "exec taskset -c 0 sh -c 'while :; do :; done'";
/// A process that runs for about 25 ms and says how long it waited, as its last act.
const SHORT: &str = "i=0; while [ $i -lt 12000 ]; do i=$((i+1)); done; \
                     read ran waited times < /proc/self/schedstat; echo $waited";
/// Its end.
const SAY_WAIT: &str = "read ran waited times < /proc/self/schedstat; echo $waited";
/// A walk comes every two seconds.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn are_accounted() -> bool {
    fs::read_to_string("/proc/sys/kernel/task_delayacct").map_or(true, |text| text.trim() != "0")
}

fn waited_ns(schedstat: &Path) -> u64 {
    let text = fs::read_to_string(schedstat).expect("schedstat");
    let waited = text.split(' ').nth(1).expect("its second number");
    waited.parse().expect("a number")
}

fn waited_by(child: &Child) -> u64 {
    waited_ns(
        &Path::new("/proc")
            .join(child.id().to_string())
            .join("schedstat"),
    )
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id"))
}

fn totals(told: &Told, cgroup: u64) -> DelayTotals {
    told.delays
        .get(&cgroup)
        .map(|delays| delays.totals)
        .unwrap_or_default()
}

/// Polls, which walks the tasks when it is time, until the wait of a cgroup is at least this.
fn poll_until(node: &Node, kernel: &mut Kernel, cgroup: u64, cpu_ns: u64) -> Told {
    let deadline = Instant::now() + PATIENCE;
    loop {
        kernel.poll(&mut |_| {}).expect("a poll");
        let told = node.snapshot(kernel);
        if totals(&told, cgroup).cpu_ns >= cpu_ns || Instant::now() > deadline {
            return told;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn assert_within_5_percent(told_ns: u64, expected_ns: u64) {
    eprintln!("told {told_ns} ns, expected {expected_ns} ns");
    assert!(
        told_ns.abs_diff(expected_ns) * 20 <= expected_ns,
        "{told_ns} and not {expected_ns} ns"
    );
}

#[test]
fn two_that_share_a_cpu_wait_for_each_other() {
    let Some(node) = Node::new("starved") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let cgroup = node.cgroup("busy");
    let mut busy = [cgroup.spawn(BUSY), cgroup.spawn(BUSY)];
    std::thread::sleep(Duration::from_secs(3));
    for child in &busy {
        kill(pid(child), Signal::SIGSTOP).expect("to stop it");
    }
    std::thread::sleep(Duration::from_millis(50));
    let expected = busy.iter().map(waited_by).sum::<u64>();
    assert!(
        expected > 1_000_000_000,
        "they did not starve: {expected} ns"
    );
    let told = poll_until(&node, &mut kernel, cgroup.id, expected * 95 / 100);
    assert_within_5_percent(totals(&told, cgroup.id).cpu_ns, expected);
    assert_eq!(told.delays[&cgroup.id].accounted, are_accounted());

    // A sensor that begins now has seen nothing of it.
    drop(kernel);
    let mut kernel = node.load(Rungs::Best);
    let again = poll_until(&node, &mut kernel, cgroup.id, 0);
    for child in &mut busy {
        child.kill().expect("to end it");
        child.wait().expect("its end");
    }
    assert_eq!(totals(&again, cgroup.id), DelayTotals::default());
    // What is left is the way out, where they wait for each other once more.
    let ended = poll_until(&node, &mut kernel, cgroup.id, 1);
    assert!(totals(&ended, cgroup.id).cpu_ns < expected / 20);
}

/// Runs a script on one CPU; each of the tasks that count prints how long it waited. Gives the waits.
pub(crate) fn waits_of(cgroup: &Cgroup, script: &str) -> Vec<u64> {
    let waits = tempfile::NamedTempFile::new().expect("a temporary file");
    let script = format!(
        "taskset -cp 0 $$ > /dev/null; exec > '{}'; {script}",
        waits.path().display()
    );
    assert!(cgroup.spawn(&script).wait().expect("its end").success());
    let text = fs::read_to_string(waits.path()).expect("the waits");
    text.lines()
        .map(|line| line.parse().expect("a number"))
        .collect()
}

/// What is told of a cgroup all of whose tasks have ended, at least `expected_ns`.
fn told_of_ended(node: &Node, kernel: &mut Kernel, cgroup: u64, expected_ns: u64) -> DelayTotals {
    poll_until(node, kernel, cgroup, expected_ns);
    // The kernel frees the last of them when it has the time.
    std::thread::sleep(Duration::from_millis(500));
    totals(&poll_until(node, kernel, cgroup, 0), cgroup)
}

/// They said it before their way out, on which they wait again, for each other and for a busy machine; counted twice it
/// would be twice as much.
fn assert_in_full_and_once(told_ns: u64, said_ns: u64) {
    eprintln!("told {told_ns} ns, expected {said_ns} ns");
    assert!(
        told_ns >= said_ns && told_ns < said_ns + said_ns / 2,
        "{told_ns} and not {said_ns} ns"
    );
}

/// Sixty processes of 25 ms, and the shell that starts them.
pub(crate) fn short_lives(cgroup: &Cgroup) -> u64 {
    let waits = waits_of(
        cgroup,
        &format!(
            "for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
             ({SHORT}) & ({SHORT}) & ({SHORT}) & wait; done; \
             {SAY_WAIT}"
        ),
    );
    assert_eq!(waits.len(), 61);
    let sum = waits.iter().sum();
    assert!(sum > 500_000_000, "they did not starve: {sum} ns");
    sum
}

/// Five thousand forks in each of these cgroups, a hundred at once. Gives what those of each waited.
pub(crate) fn storms(cgroups: &[Cgroup]) -> Vec<u64> {
    const FORKS: usize = 5000;
    let script = format!(
        "i=0; while [ $i -lt {FORKS} ]; do i=$((i+1)); \
         ({SAY_WAIT}) & \
         [ $((i % 100)) -ne 0 ] || wait; done; {SAY_WAIT}"
    );
    std::thread::scope(|scope| {
        let storms = cgroups
            .iter()
            .map(|cgroup| scope.spawn(|| waits_of(cgroup, &script)));
        let storms: Vec<_> = storms.collect();
        let waits = storms
            .into_iter()
            .map(|storm| storm.join().expect("a storm"));
        waits
            .map(|waits| {
                assert_eq!(waits.len(), FORKS + 1);
                waits.iter().sum()
            })
            .collect()
    })
}

/// Four threads of this process that share a CPU for a while and end. Gives how long they waited.
pub(crate) fn starving_threads() -> u64 {
    let busy = || {
        let mut first = CpuSet::new();
        first.set(0).expect("a CPU");
        sched_setaffinity(Pid::from_raw(0), &first).expect("to pin it");
        let end = Instant::now() + Duration::from_millis(800);
        let mut sum = 0_u64;
        while Instant::now() < end {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        waited_ns(Path::new("/proc/thread-self/schedstat"))
    };
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(busy)).collect();
    let waits = threads
        .into_iter()
        .map(|thread| thread.join().expect("its wait"));
    let waited = waits.sum();
    assert!(waited > 1_000_000_000, "they did not starve: {waited} ns");
    waited
}

#[test]
fn what_lived_a_moment_counts_in_full_and_once() {
    let Some(node) = Node::new("storm") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let cgroup = node.cgroup("short-lived");
    let sum = short_lives(&cgroup);
    let told = told_of_ended(&node, &mut kernel, cgroup.id, sum);
    assert_in_full_and_once(told.cpu_ns, sum);
    // Walks do not count again what has ended.
    std::thread::sleep(Duration::from_millis(2100));
    let later = poll_until(&node, &mut kernel, cgroup.id, 0);
    assert_eq!(totals(&later, cgroup.id), told);
}

#[test]
fn storms_of_forks_in_many_cgroups() {
    let Some(node) = Node::new("forks-wait") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let cgroups = four_cgroups(&node);
    for (cgroup, sum) in cgroups.iter().zip(storms(&cgroups)) {
        let told = told_of_ended(&node, &mut kernel, cgroup.id, sum);
        assert_in_full_and_once(told.cpu_ns, sum);
    }
}

pub(crate) fn four_cgroups(node: &Node) -> Vec<Cgroup> {
    let names = (0..4).map(|index| format!("storm-{index}"));
    names.map(|name| node.cgroup(&name)).collect()
}

#[test]
fn threads_count_one_by_one_also_after_their_end() {
    let Some(node) = Node::new("threads") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let expected = starving_threads();
    let told = poll_until(&node, &mut kernel, node.own.id, expected);
    assert_within_5_percent(totals(&told, node.own.id).cpu_ns, expected);
}
