//! Any bytes may come from a taskstats socket: reading them ends, and what is added up of them stays within its bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nodescope_ebpf::abi::WorkloadKey;
use nodescope_sensor::processes::Places;
use nodescope_sensor::taskstats::ledger::{Ledger, Limits};
use nodescope_sensor::taskstats::message::{Message, Messages};

const FAMILY: u16 = 23;
const LIMITS: Limits = Limits {
    processes: 4,
    cgroups: 4,
};

/// Every process is in a cgroup of its own, but for every seventh, which is gone.
struct Anywhere;

impl Places for Anywhere {
    fn of(&mut self, pid: u32) -> Option<WorkloadKey> {
        (pid % 7 != 0).then_some(WorkloadKey {
            cgroup_v2: pid.into(),
            cgroup_v1: 0,
        })
    }

    fn tasks(&mut self, pid: u32) -> Option<u64> {
        Some(u64::from(pid % 3))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut ledger = Ledger::new(LIMITS, 0);
    for now_ns in [1, u64::MAX / 2, u64::MAX] {
        ledger.begin_walk(now_ns);
        for message in Messages::new(bytes, FAMILY) {
            match message {
                Message::Living(pid, stats) => ledger.living(pid, &stats, now_ns, &mut Anywhere),
                Message::Ended(exit) => ledger.ended(&exit, now_ns, &mut Anywhere),
                _ => {}
            }
        }
        ledger.end_walk();
        assert!(ledger.followed() <= LIMITS.processes);
    }
    let mut cgroups = 0;
    ledger.accounts.tell_changed(|_, _| {
        cgroups += 1;
        true
    });
    assert!(cgroups <= LIMITS.cgroups);
});
