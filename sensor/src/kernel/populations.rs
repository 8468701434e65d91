//! Processes by cgroup, and making room in `populations` and `cgroups` before they are full.
//!
//! Removed cgroups and cgroups without processes are kept, because counters still refer to them. Only when a map is
//! more than three quarters full the oldest of them go: cgroups whose removal is the longest ago, and counters of empty
//! cgroups that changed least recently.

use nodescope_ebpf::abi::{self, Decode};
use nodescope_schema::Record;

use super::SourceError;
use super::convert;
use super::flows::excess;
use super::table::{Batch, Opaque, Table};

/// A thread group id, as a map's key.
pub(super) type ThreadGroup = Opaque<4>;

/// The processes of all cgroups.
#[derive(Debug)]
pub(super) struct Populations {
    table: Table<abi::CgroupKey, abi::Population>,
}

impl Populations {
    pub(super) fn new(table: Table<abi::CgroupKey, abi::Population>) -> Self {
        Self { table }
    }

    pub(super) fn table(&self) -> &Table<abi::CgroupKey, abi::Population> {
        &self.table
    }

    /// Emits what changed since `since_ns`. Returns how many cgroups there are.
    pub(super) fn poll(
        &self,
        batch: &mut Batch,
        since_ns: u64,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<u32, SourceError> {
        self.table.for_each(batch, |_, key, population| {
            if population.updated_ns >= since_ns {
                emit(&Record::Processes(convert::processes(key, &population)));
            }
        })
    }

    /// Deletes the oldest dead entries of both maps if they are too many.
    pub(super) fn make_room(
        &self,
        batch: &mut Batch,
        populations: u32,
        cgroups: &Table<abi::CgroupKey, abi::Cgroup>,
        cgroup_count: u32,
    ) -> Result<(), SourceError> {
        delete_oldest(&self.table, batch, populations, |population| {
            (population.live <= 0).then_some(population.updated_ns)
        })?;
        delete_oldest(cgroups, batch, cgroup_count, |cgroup| {
            (cgroup.removed_ns != 0).then_some(cgroup.removed_ns)
        })
    }
}

/// Deletes entries of a too full table, of those of which `dead` gives a time, the earliest first.
pub(super) fn delete_oldest<K: Decode, V: Decode>(
    table: &Table<K, V>,
    batch: &mut Batch,
    entries: u32,
    dead: impl Fn(&V) -> Option<u64>,
) -> Result<(), SourceError> {
    let excess = excess(entries, table.capacity());
    if excess == 0 {
        return Ok(());
    }
    let mut found = Vec::new();
    table.for_each(batch, |key, _, value| {
        if let Some(since_ns) = dead(&value) {
            found.push((since_ns, key.to_vec()));
        }
    })?;
    found.sort_unstable();
    for (_, key) in found.iter().take(excess) {
        table.map().delete(key).map_err(|source| SourceError::Map {
            map: table.name(),
            source,
        })?;
    }
    Ok(())
}
