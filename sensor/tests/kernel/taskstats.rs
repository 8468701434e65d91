//! Delays as taskstats tells them: the same load as for the programs that read tasks, and what is lost on the way.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use nodescope_sensor::taskstats::TaskstatsError;
use nodescope_sensor::taskstats::follow::{EXIT_BUFFER_BYTES, Follower, Options};
use nodescope_sensor::taskstats::ledger::{Ledger, Limits, Losses};

use super::delays::{assert_within_5_percent, four_cgroups, short_lives, starving_threads, storms};
use super::support::Node;

const SWITCH: &str = "/proc/sys/kernel/task_delayacct";
const LIMITS: Limits = Limits {
    processes: 10_000,
    cgroups: 1_000,
};
/// Two walks and more.
const PATIENCE: Duration = Duration::from_secs(10);

/// `kernel.task_delayacct` is on while this lives.
struct Accounting {
    before: Vec<u8>,
}

impl Accounting {
    fn on() -> Self {
        // Kernels before 5.14 account without being told to.
        let before = fs::read(SWITCH).unwrap_or_default();
        let _ = fs::write(SWITCH, "1");
        Self { before }
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, &self.before);
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    u64::try_from(Duration::from(now).as_nanos()).expect("it fits")
}

fn options(node: &Node) -> Options {
    Options {
        proc_root: PathBuf::from("/proc"),
        cgroup_v2_root: node.root().to_path_buf(),
        v1: None,
        limits: LIMITS,
        exit_buffer_bytes: EXIT_BUFFER_BYTES,
    }
}

/// A follower that has made its first walk.
fn follower(options: &Options) -> Follower {
    let mut follower = Follower::open(options, monotonic_ns).expect("taskstats");
    follower.step().expect("a walk");
    follower
}

/// Nanoseconds for a CPU, by cgroup of the v2 tree.
fn cpu_ns(ledger: &mut Ledger) -> HashMap<u64, u64> {
    let mut all = HashMap::new();
    ledger.accounts.tell_changed(|key, account| {
        all.insert(key.id, account.waits.0[0]);
        false
    });
    all
}

/// Steps in a thread of its own while there is load.
struct Running {
    thread: JoinHandle<Follower>,
    stop: Arc<AtomicBool>,
}

impl Running {
    fn start(mut follower: Follower) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                follower.step().expect("a step");
            }
            follower
        });
        Self { thread, stop }
    }

    /// After another walk.
    fn end(self) -> Follower {
        std::thread::sleep(Duration::from_millis(2500));
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the follower")
    }
}

/// Of waits that were under way when accounting was switched on the kernel says wrong lengths; and on a busy machine a
/// process may be gone before it is known where it was.
fn assert_nothing_is_missed(losses: Losses) {
    eprintln!("{losses:?}");
    let others = Losses {
        impossible: 0,
        unplaced: 0,
        ..losses
    };
    assert_eq!(others, Losses::default());
}

/// What a process waits for after its exit record is not told, and one that is gone may count where its parent is.
fn assert_in_full_and_once(told_ns: u64, said_ns: u64) {
    eprintln!("told {told_ns} ns, expected {said_ns} ns");
    assert!(
        told_ns >= said_ns / 100 * 95 && told_ns < said_ns + said_ns / 2,
        "{told_ns} and not {said_ns} ns"
    );
}

#[test]
fn what_lived_a_moment_counts_in_full_and_once() {
    let Some(node) = Node::new("taskstats-short") else {
        return;
    };
    let _accounting = Accounting::on();
    let cgroup = node.cgroup("taskstats-short-lived");
    let running = Running::start(follower(&options(&node)));
    let sum = short_lives(&cgroup);
    let mut follower = running.end();
    assert_in_full_and_once(cpu_ns(&mut follower.ledger)[&cgroup.id], sum);
    assert_nothing_is_missed(follower.ledger.losses());
}

#[test]
fn storms_of_forks_in_many_cgroups() {
    let Some(node) = Node::new("taskstats-storms") else {
        return;
    };
    let _accounting = Accounting::on();
    let cgroups = four_cgroups(&node);
    let running = Running::start(follower(&options(&node)));
    let sums = storms(&cgroups);
    let mut follower = running.end();
    let told = cpu_ns(&mut follower.ledger);
    for (cgroup, sum) in cgroups.iter().zip(sums) {
        assert_in_full_and_once(told[&cgroup.id], sum);
    }
    assert_nothing_is_missed(follower.ledger.losses());
}

#[test]
fn threads_count_one_by_one_also_after_their_end() {
    let Some(node) = Node::new("taskstats-threads") else {
        return;
    };
    let _accounting = Accounting::on();
    let running = Running::start(follower(&options(&node)));
    let expected = starving_threads();
    let mut follower = running.end();
    assert_within_5_percent(cpu_ns(&mut follower.ledger)[&node.own.id], expected);
}

fn end(mut children: Vec<Child>) {
    for child in &mut children {
        child.kill().expect("to end it");
        child.wait().expect("its end");
    }
}

/// Steps until this many are missed.
fn step_until_missed(follower: &mut Follower, missed: u64) {
    let deadline = Instant::now() + PATIENCE;
    while follower.ledger.losses().missed < missed && Instant::now() < deadline {
        follower.step().expect("a step");
    }
}

#[test]
fn records_that_find_no_room_are_counted() {
    let Some(node) = Node::new("taskstats-overrun") else {
        return;
    };
    const PROCESSES: usize = 100;
    let _accounting = Accounting::on();
    let cgroup = node.cgroup("taskstats-sleepers");
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| cgroup.spawn("exec sleep 60"))
        .collect();
    let mut follower = follower(&Options {
        exit_buffer_bytes: 4096,
        ..options(&node)
    });
    assert!(follower.ledger.followed() >= PROCESSES);
    // Nobody reads meanwhile.
    end(children);
    step_until_missed(&mut follower, 50);
    let losses = follower.ledger.losses();
    eprintln!("{losses:?}");
    assert!(losses.overruns >= 1, "{losses:?}");
    assert!(
        (50..=PROCESSES as u64 + 20).contains(&losses.missed),
        "{losses:?}"
    );
    // What comes then is read again.
    let running = Running::start(follower);
    let sum = short_lives(&cgroup);
    let mut follower = running.end();
    assert_in_full_and_once(cpu_ns(&mut follower.ledger)[&cgroup.id], sum);
}

#[test]
fn without_proc_it_says_so() {
    let Some(node) = Node::new("taskstats-proc") else {
        return;
    };
    let options = Options {
        proc_root: PathBuf::from("/nowhere"),
        ..options(&node)
    };
    let refused = Follower::open(&options, monotonic_ns).expect_err("no /proc");
    assert!(matches!(refused, TaskstatsError::Node(_)), "{refused}");
}
