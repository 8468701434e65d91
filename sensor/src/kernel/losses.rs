//! What the kernel side lost: the programs' own counters, and the runs of them that the kernel skipped.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nodescope_ebpf::{abi, maps};
use nodescope_schema::{Loss, Record};

use super::SourceError;
use super::bpf::MapHandle;
use super::skipped::Skippable;

/// All losses of the kernel side, and what was told of them.
#[derive(Debug)]
pub(super) struct KernelLosses {
    counters: MapHandle,
    skippable: Skippable,
    told: Vec<u64>,
}

impl KernelLosses {
    pub(super) fn new(
        counters: BorrowedFd<'_>,
        skippable: Vec<(&'static str, OwnedFd)>,
    ) -> io::Result<Self> {
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| source)?;
        Ok(Self {
            counters: MapHandle::new(counters, size_of::<u32>(), size_of::<u64>() * cpus)?,
            skippable: Skippable::new(skippable),
            told: Vec::new(),
        })
    }

    /// Emits the totals that differ from what was told, or with `all` every one; `more` are counted elsewhere.
    pub(super) fn poll(
        &mut self,
        more: &[Loss<'static>],
        all: bool,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), SourceError> {
        let mut losses = more.to_vec();
        for (index, (stage, reason)) in (0_u32..).zip(abi::losses()) {
            let total = self.counter(index)?;
            losses.push(Loss {
                stage,
                reason,
                total,
            });
        }
        for loss in self.skippable.losses() {
            losses.push(loss?);
        }
        for (index, loss) in losses.iter().enumerate() {
            if all || self.told.get(index) != Some(&loss.total) {
                emit(&Record::Loss(*loss));
            }
        }
        self.told = losses.iter().map(|loss| loss.total).collect();
        Ok(())
    }

    /// The sum over all CPUs.
    fn counter(&self, index: u32) -> Result<u64, SourceError> {
        let mut values = vec![0; self.counters.value_bytes()];
        self.counters
            .lookup(&index.to_ne_bytes(), &mut values)
            .map_err(|source| SourceError::Map {
                map: maps::LOSSES,
                source,
            })?;
        let (totals, _) = values.as_chunks::<8>();
        Ok(totals.iter().map(|bytes| u64::from_ne_bytes(*bytes)).sum())
    }
}
