//! What can be told of a node without BPF: for kernels that have no BTF or no BPF, or do not let programs read the kernel
//! (`lockdown=confidentiality`).
//!
//! Cgroups and processes come from looking at all of them ([`super::survey`]), delays from taskstats. So containers and
//! services are known, and with them what the aggregator and the broker find out by themselves: resources, logs that runtimes
//! write, space of file systems. Connections are not seen, nor victims of the OOM killer, nor files that processes hold open.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use nodescope_schema::{Record, Verdict};

use super::asked::{self, Asked};
use super::bpf::{monotonic_ns, release_memory};
use super::delays::taskstats_options;
use super::hierarchy::Hierarchy;
use super::probes::{DELAYS, PROBES, Probe, TASKSTATS, WITHOUT_DELAYS_OF_TASKS};
use super::survey::Survey;
use super::switch::Switch;
use super::verdict::{HookState, lacks};
use super::{LoadOptions, SLACK_NS, Source, SourceError};
use crate::processes::Processes;
use crate::walks::next_walk_ns;

/// Hooks whose work looking does in part.
const SURVEYED: [&str; 8] = [
    "process_fork",
    "process_exec",
    "process_exit",
    "process_move",
    "cgroup_mkdir",
    "cgroup_rename",
    "cgroup_rmdir",
    "existing_processes",
];
const SURVEY: &str = "looks at /proc and cgroups";
const BETWEEN_LOOKS: &str = "what comes and goes between two looks";

/// The source of a node without BPF.
#[derive(Debug)]
pub struct Plain {
    hooks: Vec<HookState>,
    hooks_told: bool,
    hierarchy: Option<Hierarchy>,
    survey: Survey,
    look_after_ns: u64,
    polled_ns: u64,
    switch: Switch,
    asked: Option<Asked>,
}

impl Plain {
    /// Looks for the first time. `reason` says why there is no BPF. To be called while there is one thread.
    ///
    /// # Errors
    /// `/proc` or a cgroup tree cannot be read.
    pub fn start(options: &LoadOptions, reason: &str) -> io::Result<Self> {
        let hierarchy = Hierarchy::watched(&options.proc_root);
        let v1 = hierarchy
            .as_ref()
            .and_then(|hierarchy| Some((hierarchy.number, hierarchy.root(&options.proc_root)?)));
        let root = &options.cgroup_v2_root;
        let processes = Processes::open(&options.proc_root, root, v1.as_ref())?;
        let taskstats = taskstats_options(options, v1.clone());
        // What the loader may have taken; a process that is forked keeps what the sensor has then.
        release_memory();
        let mut hooks: Vec<_> = PROBES.iter().map(|probe| hook_of(probe, reason)).collect();
        let delays = hooks.iter_mut().find(|hook| hook.is(DELAYS));
        let asked = delays.and_then(|hook| Asked::start(hook, &taskstats));
        let mut plain = Self {
            hooks,
            hooks_told: false,
            hierarchy,
            survey: Survey::new(root, v1.as_ref(), processes, taskstats.limits),
            look_after_ns: 0,
            polled_ns: 0,
            switch: Switch::new(&options.proc_root),
            asked,
        };
        let begun_ns = monotonic_ns();
        plain.survey.look(begun_ns)?;
        plain.look_after_ns = next_walk_ns(begun_ns, monotonic_ns());
        plain.judge();
        Ok(plain)
    }

    /// Number of the watched cgroup v1 hierarchy, and its controllers as in `/proc/PID/cgroup`; 0 and nothing when there
    /// is none.
    pub fn v1_hierarchy(&self) -> (u32, &str) {
        let hierarchy = self.hierarchy.as_ref();
        hierarchy.map_or((0, ""), |hierarchy| {
            (hierarchy.number, &hierarchy.controllers)
        })
    }

    fn judge(&mut self) {
        let hook = self.hooks.iter_mut().find(|hook| hook.is(DELAYS));
        // Without taskstats the verdict says so already.
        if let (Some(asked), Some(hook)) = (&self.asked, hook) {
            lacks(hook, asked.missing(self.switch.is_on()));
        }
    }

    fn emit(&mut self, since_ns: u64, emit: &mut dyn FnMut(&Record<'_>)) {
        self.survey.emit(since_ns, emit);
        if let Some(asked) = &self.asked {
            asked.poll(self.switch.is_on(), since_ns, emit);
        }
        self.emit_losses(emit);
    }

    fn emit_hooks(&mut self, emit: &mut dyn FnMut(&Record<'_>)) {
        for hook in &self.hooks {
            emit(&Record::Hook(hook.record()));
        }
        self.hooks_told = true;
    }

    fn emit_losses(&self, emit: &mut dyn FnMut(&Record<'_>)) {
        for loss in [self.survey.loss()]
            .into_iter()
            .chain(asked::losses(self.asked.as_ref()))
        {
            emit(&Record::Loss(loss));
        }
    }
}

fn hook_of(probe: &Probe, reason: &str) -> HookState {
    let in_part = |rung, missing| {
        let mut hook = HookState::new(probe.name, rung, Verdict::Degraded);
        lacks(&mut hook, &format!("{missing} ({reason})"));
        hook
    };
    if SURVEYED.contains(&probe.name) {
        return in_part(SURVEY, BETWEEN_LOOKS);
    }
    if probe.name == DELAYS {
        return in_part(TASKSTATS, WITHOUT_DELAYS_OF_TASKS);
    }
    let mut hook = HookState::new(probe.name, "", Verdict::Unsupported);
    hook.detail = reason.to_owned();
    hook
}

impl Source for Plain {
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn urgent(&mut self, _: &mut dyn FnMut(&Record<'_>)) {}

    fn poll(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        let now_ns = monotonic_ns();
        if !self.hooks_told {
            self.emit_hooks(emit);
        }
        let mut looked = Ok(());
        if now_ns >= self.look_after_ns {
            looked = self.survey.look(now_ns);
            self.look_after_ns = next_walk_ns(now_ns, monotonic_ns());
        }
        if let Some(asked) = &mut self.asked {
            let hook = self.hooks.iter_mut().find(|hook| hook.is(DELAYS));
            self.hooks_told &= !asked.hear(hook, now_ns);
        }
        self.emit(self.polled_ns.saturating_sub(SLACK_NS).max(1), emit);
        self.polled_ns = now_ns;
        looked.map_err(|source| SourceError::Processes { source })
    }

    fn snapshot(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        self.emit_hooks(emit);
        self.emit(0, emit);
        Ok(())
    }

    /// Without connections there is none.
    fn destinations(&mut self, _: &mut dyn FnMut(IpAddr)) -> Result<(), SourceError> {
        Ok(())
    }

    fn report(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        self.emit_hooks(emit);
        self.emit_losses(emit);
        Ok(())
    }

    fn rescan(&mut self) -> Result<(), SourceError> {
        if self.switch.look() {
            self.judge();
            self.hooks_told = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_surveyed_hook_is_one_of_the_table() {
        for name in SURVEYED {
            assert!(PROBES.iter().any(|probe| probe.name == name), "{name}");
        }
    }

    #[test]
    fn every_hook_says_why() {
        for probe in PROBES {
            let hook = hook_of(probe, "this kernel has no BTF");
            assert!(hook.detail.contains("no BTF"), "{hook:?}");
            let works = !hook.record().rung.is_empty();
            assert_eq!(works, hook.verdict == Verdict::Degraded, "{hook:?}");
        }
    }
}
