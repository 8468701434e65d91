//! Runs of programs that the kernel skipped: `recursion_misses` of every tracing program, by hook.
//!
//! A tracing program does not run while another run of it is under way on the same CPU: in a softirq inside a system
//! call and, since Linux 7.x, in another task. What it would have told is told again by a second program or found by a
//! later scan where that is possible (`ebpf/programs/tcp.bpf.h`, `process.bpf.h`, `existing.bpf.h`); the kernel does not
//! say which it was, so every skipped run counts as lost. Linux before 5.12 does not count them.

use std::os::fd::{AsFd, OwnedFd};

use nodescope_schema::Loss;

use super::SourceError;
use super::bpf::recursion_misses;

/// The programs that can be skipped.
#[derive(Debug)]
pub(super) struct Skippable {
    /// By the name of their hook, those of one hook beside each other.
    programs: Vec<(&'static str, OwnedFd)>,
}

impl Skippable {
    pub(super) fn new(programs: Vec<(&'static str, OwnedFd)>) -> Self {
        Self { programs }
    }

    /// One loss a hook, zeros included.
    pub(super) fn losses(&self) -> impl Iterator<Item = Result<Loss<'static>, SourceError>> {
        self.programs
            .chunk_by(|(one, _), (other, _)| one == other)
            .filter_map(|programs| {
                let (hook, _) = programs.first()?;
                let total = programs.iter().map(|(_, program)| {
                    recursion_misses(program.as_fd()).map(Option::unwrap_or_default)
                });
                let loss = |total| Loss {
                    stage: hook,
                    reason: "run_skipped",
                    total,
                };
                Some(
                    total
                        .sum::<std::io::Result<u64>>()
                        .map(loss)
                        .map_err(|source| SourceError::Program { hook, source }),
                )
            })
    }
}
