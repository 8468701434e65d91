//! The kernel side on this kernel: every hook attaches, and what a test does is what the maps say, exactly.
//!
//! Needs root; without it each test says that it is skipped, and fails where `CI=true`. Tests run one at a time, each
//! moves this process into a cgroup of its own, so that its flows and listens are its own.

mod bounds;
mod cilium;
mod delays;
mod held_logs;
mod lifecycle;
mod listens;
mod support;
mod taskstats;
mod tcp;

use nodescope_schema::Verdict;
use nodescope_sensor::kernel::{Rungs, Source as _};

use support::Node;

#[test]
fn every_hook_attaches() {
    let Some(node) = Node::new("hooks") else {
        return;
    };
    let kernel = node.load(Rungs::Best);
    for hook in kernel.hooks() {
        if hook.name == "delays" && !delays::are_accounted() {
            assert_eq!(hook.verdict, Verdict::Degraded);
            assert!(hook.detail.contains("kernel.task_delayacct"), "{hook:?}");
            continue;
        }
        assert_eq!(hook.verdict, Verdict::Ok, "{hook:?}");
        assert_eq!(hook.detail, "");
    }
}

#[test]
fn nothing_is_lost_when_little_happens() {
    let Some(node) = Node::new("losses") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    kernel.rescan().expect("a scan");
    let losses = node.snapshot(&mut kernel).losses;
    assert!(losses.len() > 20, "{losses:?}");
    // OOM kills of processes nobody knows cannot happen here, nor can a map fill up.
    assert!(losses.iter().all(|(_, total)| *total == 0), "{losses:?}");
}

#[test]
fn reading_needs_no_capability() {
    let Some(node) = Node::new("capabilities") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let all = caps::read(None, caps::CapSet::Effective).expect("own capabilities");
    caps::clear(None, caps::CapSet::Effective).expect("to drop them");
    let read = kernel
        .rescan()
        .and_then(|()| kernel.poll(&mut |_| {}))
        .and_then(|()| kernel.snapshot(&mut |_| {}));
    caps::set(None, caps::CapSet::Effective, &all).expect("to take them again");
    read.expect("maps and iterators are read through open descriptors (Linux 5.19)");
}
