use std::collections::HashMap;

use nodescope_ebpf::abi::{CgroupKey, WorkloadKey};

use super::*;
use crate::taskstats::stats::{KINDS, Waits};

const SECOND: u64 = 1_000_000_000;
const LIMITS: Limits = Limits {
    processes: 100,
    cgroups: 32,
};
const V1: u32 = 4;

/// Processes by number: the inode of their v2 cgroup (that of v1 is 1000 more) and their tasks.
#[derive(Default)]
struct Fake {
    processes: HashMap<u32, (u64, u64)>,
    asked: usize,
}

impl Fake {
    fn with(processes: &[(u32, u64)]) -> Self {
        let processes = processes.iter().map(|(pid, cgroup)| (*pid, (*cgroup, 1)));
        Self {
            processes: processes.collect(),
            asked: 0,
        }
    }
}

impl Places for Fake {
    fn of(&mut self, pid: u32) -> Option<WorkloadKey> {
        self.asked += 1;
        let (cgroup, _) = *self.processes.get(&pid)?;
        Some(WorkloadKey {
            cgroup_v2: cgroup,
            cgroup_v1: cgroup + 1000,
        })
    }

    fn tasks(&mut self, pid: u32) -> Option<u64> {
        self.processes.get(&pid).map(|(_, tasks)| *tasks)
    }
}

/// Of a process that lives: it waited so long for a CPU and for a disk, and has run since.
fn waited(cpu_ns: u64, block_io_ns: u64) -> Stats {
    let mut waits = [0; KINDS];
    (waits[0], waits[1]) = (cpu_ns, block_io_ns);
    Stats {
        elapsed_ns: 1,
        switches: cpu_ns + block_io_ns,
        waits: Waits(waits),
        ..Stats::default()
    }
}

/// Of a process with one task, of a kernel since 5.19.
fn exit(pid: u32, parent: u32, elapsed_ns: u64, stats: Stats) -> Exit {
    let task = Stats {
        pid,
        parent,
        thread_group: Some(pid),
        was_last: true,
        elapsed_ns,
        ..stats
    };
    Exit {
        pid,
        task,
        process: None,
    }
}

/// Of the same before 5.19.
fn old_exit(pid: u32, only_forked: bool, stats: Stats) -> Exit {
    let mut exit = exit(pid, 1, SECOND, stats);
    exit.task.thread_group = None;
    exit.task.was_last = false;
    exit.task.only_forked = only_forked;
    exit
}

fn of_v2(ledger: &Ledger, id: u64) -> [u64; 2] {
    of(ledger, 0, id)
}

/// For CPU and disk.
fn of(ledger: &Ledger, hierarchy: u32, id: u64) -> [u64; 2] {
    let account = ledger.accounts.get(&CgroupKey { id, hierarchy });
    account.map_or([0; 2], |account| [account.waits.0[0], account.waits.0[1]])
}

/// A walk that meets these.
fn walk(ledger: &mut Ledger, seconds: u64, living: &[(u32, Stats)], places: &mut Fake) {
    ledger.begin_walk(seconds * SECOND);
    for (pid, stats) in living {
        ledger.living(*pid, stats, seconds * SECOND, places);
    }
    ledger.end_walk();
}

#[test]
fn only_what_is_new_counts_in_both_hierarchies() {
    let mut places = Fake::with(&[(10, 1), (11, 2)]);
    let mut ledger = Ledger::new(LIMITS, V1);
    // The first was there before: what it waited for until now is not ours.
    walk(&mut ledger, 100, &[(10, waited(500, 0))], &mut places);
    assert_eq!(of_v2(&ledger, 1), [0, 0]);
    let both = [(10, waited(700, 0)), (11, waited(30, 0))];
    walk(&mut ledger, 102, &both, &mut places);
    walk(&mut ledger, 104, &both, &mut places);
    assert_eq!(of_v2(&ledger, 1), [200, 0]);
    assert_eq!(of_v2(&ledger, 2), [30, 0]);
    assert_eq!(of(&ledger, V1, 1001), [200, 0]);
    assert_eq!(of(&ledger, V1, 1002), [30, 0]);
    assert_eq!(ledger.losses, Losses::default());
}

#[test]
fn an_exit_record_has_the_rest() {
    let mut places = Fake::with(&[(10, 1), (11, 2)]);
    let mut ledger = Ledger::new(LIMITS, 0);
    let older = exit(9, 1, SECOND, waited(99, 0));
    ledger.ended(&older, SECOND, &mut places);
    walk(&mut ledger, 100, &[(10, waited(500, 0))], &mut places);
    places.processes.remove(&10);
    let now = 101 * SECOND;
    ledger.ended(&exit(10, 1, 50 * SECOND, waited(540, 0)), now, &mut places);
    // Nobody had met this one.
    ledger.ended(&exit(11, 1, SECOND / 20, waited(30, 0)), now, &mut places);
    assert_eq!([of_v2(&ledger, 1), of_v2(&ledger, 2)], [[40, 0], [30, 0]]);
    walk(&mut ledger, 102, &[], &mut places);
    assert_eq!(ledger.losses, Losses::default());
    assert_eq!(ledger.followed(), 0);
}

#[test]
fn who_is_gone_was_where_its_parent_is() {
    let mut places = Fake::with(&[(10, 1)]);
    let mut ledger = Ledger::new(LIMITS, 0);
    walk(&mut ledger, 100, &[(10, waited(0, 0))], &mut places);
    let now = 101 * SECOND;
    ledger.ended(&exit(50, 10, 1000, waited(7, 0)), now, &mut places);
    assert_eq!(of_v2(&ledger, 1), [7, 0]);
    ledger.ended(&exit(51, 49, 1000, waited(7, 0)), now, &mut places);
    ledger.ended(&exit(52, 49, 1000, waited(0, 0)), now, &mut places);
    assert_eq!(ledger.losses.unplaced, 1);
    // Gone without a word.
    walk(&mut ledger, 102, &[], &mut places);
    assert_eq!(ledger.losses.missed, 1);
}

#[test]
fn who_has_had_a_child_is_known_from_then_on() {
    let mut places = Fake::with(&[(60, 1)]);
    let mut ledger = Ledger::new(LIMITS, 0);
    walk(&mut ledger, 100, &[], &mut places);
    let now = 101 * SECOND;
    ledger.ended(&exit(61, 60, 1000, waited(7, 0)), now, &mut places);
    // It ends with its last child, and both are gone before anybody looks.
    places.processes.remove(&60);
    ledger.ended(&exit(62, 60, 1000, waited(8, 0)), now, &mut places);
    ledger.ended(&exit(60, 1, SECOND / 2, waited(9, 0)), now, &mut places);
    assert_eq!(of_v2(&ledger, 1), [24, 0]);
    walk(&mut ledger, 102, &[], &mut places);
    assert_eq!(ledger.losses, Losses::default());
}

#[test]
fn who_found_no_room_at_first_is_older_all_the_same() {
    let limits = Limits {
        processes: 1,
        cgroups: 32,
    };
    let mut places = Fake::with(&[(10, 1), (11, 2), (12, 3)]);
    let mut ledger = Ledger::new(limits, 0);
    let age = |seconds: u64, cpu_ns| Stats {
        elapsed_ns: seconds * SECOND,
        ..waited(cpu_ns, 0)
    };
    let both = [(10, age(50, 500)), (11, age(50, 400))];
    walk(&mut ledger, 100, &both, &mut places);
    assert_eq!(ledger.losses.refused, 1);
    ledger.ended(
        &exit(10, 1, 51 * SECOND, waited(500, 0)),
        101 * SECOND,
        &mut places,
    );
    walk(&mut ledger, 102, &[(11, age(52, 410))], &mut places);
    assert_eq!(of_v2(&ledger, 2), [0, 0]);
    walk(&mut ledger, 104, &[(11, age(54, 415))], &mut places);
    assert_eq!(of_v2(&ledger, 2), [5, 0]);
    // One that was never followed, and one that began since.
    ledger.ended(
        &exit(12, 1, 55 * SECOND, waited(90, 0)),
        105 * SECOND,
        &mut places,
    );
    assert_eq!(of_v2(&ledger, 3), [0, 0]);
    ledger.ended(
        &exit(12, 1, SECOND, waited(90, 0)),
        105 * SECOND,
        &mut places,
    );
    assert_eq!(of_v2(&ledger, 3), [90, 0]);
}

#[test]
fn tasks_of_a_process_count_once() {
    let mut places = Fake::with(&[(10, 1)]);
    let mut ledger = Ledger::new(LIMITS, 0);
    walk(&mut ledger, 100, &[], &mut places);
    walk(&mut ledger, 102, &[(10, waited(100, 0))], &mut places);
    // One of its tasks, and the first, while others go on.
    for task in [12, 10] {
        let mut ended = exit(task, 1, SECOND, waited(60, 0));
        ended.task.thread_group = Some(10);
        ended.task.was_last = false;
        ledger.ended(&ended, 103 * SECOND, &mut places);
    }
    assert_eq!(of_v2(&ledger, 1), [100, 0]);
    // For a moment the kernel has that of an ended task twice.
    walk(&mut ledger, 104, &[(10, waited(160, 0))], &mut places);
    walk(&mut ledger, 106, &[(10, waited(120, 0))], &mut places);
    let mut last = exit(13, 1, SECOND, waited(60, 0));
    last.task.thread_group = Some(10);
    last.process = Some((10, waited(190, 0)));
    ledger.ended(&last, 107 * SECOND, &mut places);
    assert_eq!(of_v2(&ledger, 1), [190, 0]);
    assert_eq!(ledger.followed(), 0);
    // What waits to be removed says nothing, and its exit record is not read yet.
    walk(&mut ledger, 108, &[(20, Stats::default())], &mut places);
    assert_eq!(ledger.followed(), 0);
}

#[test]
fn before_5_19_a_record_without_a_process_may_be_of_a_task() {
    let mut places = Fake::with(&[(10, 1), (12, 1), (13, 1)]);
    let mut ledger = Ledger::new(LIMITS, 0);
    walk(&mut ledger, 100, &[], &mut places);
    walk(&mut ledger, 102, &[(10, waited(100, 0))], &mut places);
    let now = 103 * SECOND;
    // A task of a process, or a process that never executed anything: nobody can say.
    ledger.ended(&old_exit(12, true, waited(60, 0)), now, &mut places);
    assert_eq!(ledger.losses.unknown, 1);
    ledger.ended(&old_exit(13, false, waited(5, 0)), now, &mut places);
    assert_eq!(of_v2(&ledger, 1), [105, 0]);
    // The first task of a process of which others go on.
    ledger.ended(&old_exit(10, false, waited(40, 0)), now, &mut places);
    walk(&mut ledger, 104, &[(10, waited(130, 0))], &mut places);
    assert_eq!(of_v2(&ledger, 1), [135, 0]);
    // And its end.
    ledger.ended(&old_exit(10, false, waited(40, 0)), now, &mut places);
    walk(&mut ledger, 106, &[], &mut places);
    assert_eq!((ledger.losses.missed, ledger.followed()), (0, 0));
}

#[test]
fn impossible_waits_are_left_out_and_nothing_else() {
    let mut places = Fake::with(&[(10, 1)]);
    let mut ledger = Ledger::new(LIMITS, 0);
    let mut look = |seconds: u64, stats: Stats, places: &mut Fake| {
        walk(&mut ledger, seconds, &[(10, stats)], places);
        (of_v2(&ledger, 1), ledger.losses.impossible)
    };
    look(100, waited(0, 0), &mut places);
    // From the start of the machine: longer than there was time for.
    let (told, lost) = look(102, waited(5, 101 * SECOND), &mut places);
    assert_eq!((told, lost), ([5, 0], 1));
    // A wait of ten seconds, in which it does not run, is right: it began after the look at 102.
    for seconds in [104, 106, 108, 110, 112] {
        look(seconds, waited(5, 101 * SECOND), &mut places);
    }
    let (told, lost) = look(114, waited(5, 112 * SECOND), &mut places);
    assert_eq!((told, lost), ([5, 11 * SECOND], 1));
    // Twice as long as there was time for, but there are two tasks.
    places.processes.insert(10, (1, 2));
    let (told, lost) = look(116, waited(5, 119 * SECOND), &mut places);
    assert_eq!((told, lost), ([5, 18 * SECOND], 1));
    let (_, lost) = look(118, waited(5, 900 * SECOND), &mut places);
    assert_eq!(lost, 2);
}

#[test]
fn places_are_asked_for_no_more_often_than_needed() {
    let mut places = Fake::with(&[(10, 1)]);
    let mut ledger = Ledger::new(LIMITS, 0);
    walk(&mut ledger, 100, &[(10, waited(0, 0))], &mut places);
    assert_eq!(places.asked, 1);
    // It sleeps.
    walk(&mut ledger, 102, &[(10, waited(0, 0))], &mut places);
    assert_eq!(places.asked, 1);
    // A runtime moves it.
    places.processes.insert(10, (2, 1));
    walk(&mut ledger, 104, &[(10, waited(3, 0))], &mut places);
    assert_eq!([of_v2(&ledger, 1), of_v2(&ledger, 2)], [[0, 0], [3, 0]]);
    assert_eq!(places.asked, 2);
    for (seconds, asked) in [(109, 3), (111, 3), (119, 3), (120, 4)] {
        walk(
            &mut ledger,
            seconds,
            &[(10, waited(seconds, 0))],
            &mut places,
        );
        assert_eq!(places.asked, asked, "{seconds}");
    }
}

#[test]
fn nothing_grows_without_a_bound() {
    let limits = Limits {
        processes: 3,
        cgroups: 32,
    };
    let all: Vec<_> = (1..=40).map(|pid| (pid, u64::from(pid))).collect();
    let mut places = Fake::with(&all);
    let mut ledger = Ledger::new(limits, 0);
    let living: Vec<_> = all.iter().map(|(pid, _)| (*pid, waited(0, 0))).collect();
    walk(&mut ledger, 100, &living, &mut places);
    assert_eq!((ledger.followed(), ledger.losses.refused), (3, 37));
    // Who was not followed counts at its end.
    for (pid, cgroup) in &all {
        let now = 101 * SECOND + cgroup;
        ledger.ended(&exit(*pid, 1, SECOND, waited(9, 0)), now, &mut places);
        assert!(ledger.accounts.len() <= limits.cgroups);
    }
    assert_eq!(of_v2(&ledger, 40), [9, 0]);
    assert_eq!(of_v2(&ledger, 4), [0, 0]);
    // What was told is not told again, and what could not be told is.
    let mut told = 0;
    ledger.accounts.tell_changed(|_, _| {
        told += 1;
        told % 2 == 0
    });
    assert_eq!(told, ledger.accounts.len());
    let mut again = 0;
    ledger.accounts.tell_changed(|_, _| {
        again += 1;
        true
    });
    assert_eq!(again, told / 2 + told % 2);
    ledger
        .accounts
        .tell_changed(|_, _| panic!("nothing is left to tell"));
}
