//! Delays that are asked of taskstats, as records: the sensor's side of [`crate::taskstats`].

use nodescope_ebpf::maps;
use nodescope_schema::{Loss, Record};

use super::bpf::monotonic_ns;
use super::convert;
use super::table::fill_of;
use super::verdict::{HookState, broke, cannot, missing};
use crate::taskstats::child::Child;
use crate::taskstats::follow::Options;
use crate::taskstats::ledger::{Limits, Losses};

/// taskstats has no delays then, not even those for a CPU.
const REMEDY: &str = "all delays while kernel.task_delayacct is 0; set it to 1 with sysctl";

/// The process that asks, and what it told.
#[derive(Debug)]
pub(super) struct Asked {
    child: Child,
    limits: Limits,
    /// What this way to the delays leaves out, whatever the setting is.
    missing: String,
}

impl Asked {
    /// Starts it for a hook, whose verdict says so when it cannot be had.
    pub(super) fn start(hook: &mut HookState, options: &Options) -> Option<Self> {
        match Child::start(options, monotonic_ns) {
            Ok(child) => {
                return Some(Self {
                    child,
                    limits: options.limits,
                    missing: missing(hook).to_owned(),
                });
            }
            Err(error) if error.is_unsupported() => cannot(hook, &error.to_string()),
            Err(error) => broke(hook, &error.to_string()),
        }
        None
    }

    /// What is missing of the delays.
    pub(super) fn missing(&self, accounted: bool) -> &str {
        if accounted { &self.missing } else { REMEDY }
    }

    /// Hears from it. True when it has ended, which is then in the verdict.
    pub(super) fn hear(&mut self, hook: Option<&mut HookState>, now_ns: u64) -> bool {
        if self.child.has_ended() {
            return false;
        }
        self.child.hear(now_ns);
        let has_ended = self.child.has_ended();
        if let Some(hook) = hook.filter(|_| has_ended) {
            broke(hook, "the process that asks taskstats has ended");
        }
        has_ended
    }

    /// What it lost.
    pub(super) fn losses(&self) -> Losses {
        self.child.losses()
    }

    /// Emits what changed since `since_ns`. It keeps as many cgroups and processes as the maps have room for.
    pub(super) fn poll(&self, accounted: bool, since_ns: u64, emit: &mut dyn FnMut(&Record<'_>)) {
        for (key, account) in self.child.cgroups() {
            if account.updated_ns >= since_ns {
                emit(&Record::Delays(convert::account(*key, account, accounted)));
            }
        }
        let cgroups = self.child.cgroups().len();
        let followed = usize::try_from(self.child.followed()).unwrap_or(usize::MAX);
        for fill in [
            fill_of(maps::DELAYS, cgroups, self.limits.cgroups),
            fill_of(maps::THREADS, followed, self.limits.processes),
        ] {
            emit(&Record::MapFill(fill));
        }
    }
}

/// What taskstats could not tell, by reason; zeros where it is not asked.
pub(super) fn losses(asked: Option<&Asked>) -> [Loss<'static>; 7] {
    let totals = asked.map(Asked::losses).unwrap_or_default().totals();
    std::array::from_fn(|index| Loss {
        stage: "taskstats",
        reason: Losses::REASONS[index],
        total: totals[index],
    })
}
