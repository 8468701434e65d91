//! Where connections older than the sensor go, from ctnetlink dumps into the map `older_translations`, for
//! `adopt_connections` to read and to be emptied after it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nodescope_ebpf::abi;
use nodescope_schema::Loss;

use super::SourceError;
use super::bpf::monotonic_ns;
use super::probes::EXISTING_TRANSLATIONS;
use super::table::{Batch, Table};
use super::verdict::{HookState, broke, cannot, lacks};
use crate::conntrack::dump::dump;
use crate::conntrack::entry::Translated;
use crate::conntrack::namespaces::dump_all;
use crate::conntrack::{ConntrackError, namespaces, socket};

/// The connections.
#[derive(Debug)]
pub(super) struct Older {
    table: Table<abi::Tuple, abi::Translation>,
    lost: u64,
}

impl Older {
    pub(super) fn new(table: Table<abi::Tuple, abi::Translation>) -> Self {
        Self { table, lost: 0 }
    }

    /// Those that found no room.
    pub(super) fn loss(&self) -> Loss<'static> {
        Loss {
            stage: "existing_translations",
            reason: "refused",
            total: self.lost,
        }
    }

    /// Asks the host's namespace and, with `every_netns`, all others. What cannot be had is the hook's verdict.
    pub(super) fn find(
        &mut self,
        hooks: &mut [HookState],
        proc_root: &Path,
        host_netns: u32,
        every_netns: bool,
    ) {
        let works = |hook: &&mut HookState| {
            hook.is(EXISTING_TRANSLATIONS) && !hook.record().rung.is_empty()
        };
        let Some(hook) = hooks.iter_mut().find(works) else {
            return;
        };
        if own_netns(proc_root) != Some(u64::from(host_netns)) {
            cannot(
                hook,
                "the sensor is not in the network namespace of the host",
            );
            return;
        }
        if let Err(error) = self.find_in_own() {
            let judge = if error.is_unsupported() {
                cannot
            } else {
                broke
            };
            judge(hook, &error.to_string());
            return;
        }
        if every_netns {
            self.find_in_others(hook, proc_root, host_netns);
        }
    }

    /// Without connection tracking there is nothing to ask for, and asking would load it.
    fn find_in_own(&mut self) -> Result<(), ConntrackError> {
        if !Path::new("/proc/sys/net/netfilter/nf_conntrack_count").exists() {
            return Ok(());
        }
        let dumped = dump(&socket::open()?, &mut |found| self.take(found))?;
        self.lost += u64::from(dumped.interrupted);
        Ok(())
    }

    fn find_in_others(&mut self, hook: &mut HookState, proc_root: &Path, host_netns: u32) {
        let found = dump_all(proc_root, u64::from(host_netns));
        let found = found.unwrap_or_else(|error| namespaces::Found {
            failed: 1,
            reason: error.to_string(),
            ..namespaces::Found::default()
        });
        found.translated.iter().for_each(|found| self.take(found));
        if found.failed > 0 {
            let (failed, reason) = (found.failed, found.reason);
            lacks(
                hook,
                &format!("{failed} namespaces of containers: {reason}"),
            );
        }
    }

    fn take(&mut self, found: &Translated) {
        if found.ended {
            return;
        }
        let translation = abi::Translation {
            created_ns: monotonic_ns(),
            actual: found.actual,
        };
        let key = found.tuple.to_bytes();
        if self
            .table
            .map()
            .insert(&key, &translation.to_bytes())
            .is_err()
        {
            self.lost += 1;
        }
    }

    /// Empties the map.
    pub(super) fn forget(&self, batch: &mut Batch) -> Result<(), SourceError> {
        let mut keys = Vec::new();
        self.table
            .for_each(batch, |key, _, _| keys.push(key.to_vec()))?;
        self.table.delete(&keys)
    }
}

fn own_netns(proc_root: &Path) -> Option<u64> {
    let metadata = fs::metadata(proc_root.join("self/ns/net")).ok()?;
    Some(metadata.ino())
}
