//! Where a command runs: cgroup, network namespace, sandbox.

use std::process::Command;

use crate::{Netns, Sandbox, Unit};

/// A combination of places; the default is where the test runs.
#[derive(Debug, Default, Clone, Copy)]
pub struct Place<'a> {
    /// Joined first.
    pub unit: Option<&'a Unit>,
    /// Entered after the cgroup.
    pub netns: Option<&'a Netns>,
    /// Entered last, with its mounts and its network.
    pub sandbox: Option<&'a Sandbox>,
}

impl<'a> Place<'a> {
    /// In a cgroup.
    pub fn in_unit(unit: &'a Unit) -> Self {
        Self {
            unit: Some(unit),
            ..Self::default()
        }
    }

    /// And in a network namespace.
    pub fn and_netns(self, netns: &'a Netns) -> Self {
        Self {
            netns: Some(netns),
            ..self
        }
    }

    /// `program` in this place. Its pid is the one that `spawn` returns: every wrapper ends in an exec.
    pub fn command(&self, program: &str) -> Command {
        let mut words: Vec<String> = Vec::new();
        if let Some(unit) = self.unit {
            words.extend([
                "sh".to_owned(),
                "-c".to_owned(),
                unit.join_script(),
                "sh".to_owned(),
            ]);
        }
        if let Some(netns) = self.netns {
            words.extend(["ip", "netns", "exec", netns.name()].map(str::to_owned));
        }
        if let Some(sandbox) = self.sandbox {
            words.extend(sandbox.enter_words());
        }
        words.push(program.to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }
}
