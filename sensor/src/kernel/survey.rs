//! Cgroups and processes of the node, found by looking at all of them now and then: for kernels on which no program can
//! tell when they come and go.
//!
//! What comes and goes between two looks is not seen. A process that is in another cgroup than before counts as one that
//! ended and one that began. A cgroup whose processes are all others at the next look counts as begun again, also when one
//! only handed on to its child. Nothing is known of victims of the OOM killer.
//!
//! Why the aggregator does not do it, who may read all of this too: these are the ids by which taskstats' totals come, also
//! where the v2 tree is a mount of the sensor's own; and the counts must outlive an aggregator that is away, as those of
//! programs do. It takes no right and no system call that the sensor did not have.
//!
//! Budget: a look takes a bounded share of a core ([`crate::walks`]), because the next one waits that much longer.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nodescope_ebpf::abi::{CGROUP_PATH_BYTES, CgroupKey, Population, WorkloadKey};
use nodescope_ebpf::maps;
use nodescope_schema::{self as schema, Loss, Record};

use super::convert;
use super::flows::excess;
use super::seed::{path_below, visit};
use super::table::fill_of;
use crate::processes::{Places as _, Processes};
use crate::taskstats::ledger::Limits;

/// Who started a process may move it while it is younger than this, in nanoseconds.
const YOUNG_NS: u64 = 10_000_000_000;
/// And it is looked for again after this time.
const PLACE_NS: u64 = 60_000_000_000;
/// Removed cgroups are kept for so long, because counters still refer to them, and less where there is no room.
const REMOVED_NS: u64 = 600_000_000_000;

/// A cgroup.
#[derive(Debug)]
struct Seen {
    path: Vec<u8>,
    /// 0: it was there at the first look.
    created_ns: u64,
    /// 0: it is there.
    removed_ns: u64,
    updated_ns: u64,
    look: u64,
}

/// A process.
#[derive(Debug, Clone, Copy)]
struct Member {
    place: WorkloadKey,
    met_ns: u64,
    placed_ns: u64,
    look: u64,
}

/// What the looks found.
#[derive(Debug)]
pub(super) struct Survey {
    /// Number and root of each hierarchy.
    trees: Vec<(u32, PathBuf)>,
    processes: Processes,
    limits: Limits,
    cgroups: HashMap<CgroupKey, Seen>,
    populations: HashMap<CgroupKey, Population>,
    members: HashMap<u32, Member>,
    /// Number of the last look.
    look: u64,
    /// Cgroups and processes that found no room or could not be read, once a look.
    refused: u64,
}

impl Survey {
    /// Of the v2 tree and, with its number, a v1 hierarchy.
    pub(super) fn new(
        v2_root: &Path,
        v1: Option<&(u32, PathBuf)>,
        processes: Processes,
        limits: Limits,
    ) -> Self {
        let trees = [(0, v2_root.to_path_buf())].into_iter().chain(v1.cloned());
        Self {
            trees: trees.collect(),
            processes,
            limits,
            cgroups: HashMap::new(),
            populations: HashMap::new(),
            members: HashMap::new(),
            look: 0,
            refused: 0,
        }
    }

    /// Looks at everything.
    ///
    /// # Errors
    /// `/proc` cannot be read; the processes stay as they were.
    pub(super) fn look(&mut self, now_ns: u64) -> io::Result<()> {
        self.look += 1;
        for (hierarchy, root) in self.trees.clone() {
            let seen = visit(&root, &mut |directory| {
                self.see(hierarchy, &root, directory, now_ns)
            });
            self.refused += u64::from(seen.lost);
        }
        self.forget_removed(now_ns);
        let pids = self.processes.list()?;
        self.count(&pids, now_ns);
        Ok(())
    }

    /// False when there is no room, or the path is too long.
    fn see(
        &mut self,
        hierarchy: u32,
        root: &Path,
        directory: &Path,
        now_ns: u64,
    ) -> io::Result<bool> {
        let id = fs::symlink_metadata(directory)?.ino();
        let key = CgroupKey { id, hierarchy };
        let path = path_below(root, directory).into_os_string();
        let path = path.as_bytes();
        if let Some(seen) = self
            .cgroups
            .get_mut(&key)
            .filter(|seen| seen.removed_ns == 0)
        {
            seen.look = self.look;
            if seen.path != path {
                seen.path = path.to_vec();
                seen.updated_ns = now_ns;
            }
            return Ok(true);
        }
        if path.len() >= CGROUP_PATH_BYTES || self.cgroups.len() >= self.limits.cgroups {
            return Ok(false);
        }
        let is_first = self.look == 1;
        let seen = Seen {
            path: path.to_vec(),
            created_ns: if is_first { 0 } else { now_ns },
            removed_ns: 0,
            updated_ns: now_ns,
            look: self.look,
        };
        self.cgroups.insert(key, seen);
        Ok(true)
    }

    fn forget_removed(&mut self, now_ns: u64) {
        for seen in self.cgroups.values_mut() {
            if seen.look != self.look && seen.removed_ns == 0 {
                seen.removed_ns = now_ns;
                seen.updated_ns = now_ns;
            }
        }
        let too_old_ns = now_ns.saturating_sub(REMOVED_NS).max(self.oldest_kept_ns());
        self.cgroups
            .retain(|_, seen| seen.removed_ns == 0 || seen.removed_ns >= too_old_ns);
        // Those of cgroups that found no room go when they are empty.
        let cgroups = &self.cgroups;
        self.populations
            .retain(|key, population| population.live > 0 || cgroups.contains_key(key));
    }

    /// What was removed before has to go, as in the programs' map when that is nearly full.
    fn oldest_kept_ns(&self) -> u64 {
        let entries = u32::try_from(self.cgroups.len()).unwrap_or(u32::MAX);
        let capacity = u32::try_from(self.limits.cgroups).unwrap_or(u32::MAX);
        let removed = self.cgroups.values().map(|seen| seen.removed_ns);
        let mut removed: Vec<_> = removed.filter(|ns| *ns != 0).collect();
        removed.sort_unstable();
        match excess(entries, capacity) {
            0 => 0,
            excess => removed.get(excess).copied().unwrap_or(u64::MAX),
        }
    }

    /// Counts the ends first: a process that took the place of another one began after it.
    fn count(&mut self, pids: &[u32], now_ns: u64) {
        let (mut ends, mut begins) = (Vec::new(), Vec::new());
        for pid in pids {
            let before = self.members.get(pid).copied();
            if before.is_none() && self.members.len() >= self.limits.processes {
                self.refused += 1;
                continue;
            }
            // One that is nowhere has just ended.
            let Some(now) = self.find(*pid, before, now_ns) else {
                continue;
            };
            self.members.insert(*pid, now);
            let before = before
                .map(|member| self.keys(member.place))
                .unwrap_or_default();
            for (before, now) in before.into_iter().zip(self.keys(now.place)) {
                if before != now {
                    ends.extend(before);
                    begins.extend(now);
                }
            }
        }
        let gone = self
            .members
            .extract_if(|_, member| member.look != self.look);
        let gone: Vec<_> = gone.map(|(_, member)| member.place).collect();
        ends.extend(
            gone.into_iter()
                .flat_map(|place| self.keys(place))
                .flatten(),
        );
        for key in ends {
            self.count_end(key, now_ns);
        }
        for key in begins {
            self.count_begin(key, now_ns);
        }
    }

    fn find(&mut self, pid: u32, before: Option<Member>, now_ns: u64) -> Option<Member> {
        let look = self.look;
        let is_fresh = |member: &Member| {
            now_ns.saturating_sub(member.met_ns) > YOUNG_NS
                && now_ns.saturating_sub(member.placed_ns) < PLACE_NS
        };
        if let Some(member) = before.filter(is_fresh) {
            return Some(Member { look, ..member });
        }
        Some(Member {
            place: self.processes.of(pid)?,
            met_ns: before.map_or(now_ns, |member| member.met_ns),
            placed_ns: now_ns,
            look,
        })
    }

    /// The cgroups of a process in each hierarchy.
    fn keys(&self, place: WorkloadKey) -> [Option<CgroupKey>; 2] {
        let v1 = self.trees.get(1).map(|(hierarchy, _)| *hierarchy);
        let key = |hierarchy: Option<u32>, id| {
            let hierarchy = hierarchy.filter(|_| id != 0)?;
            Some(CgroupKey { id, hierarchy })
        };
        [key(Some(0), place.cgroup_v2), key(v1, place.cgroup_v1)]
    }

    /// As `count_begin` of `ebpf/programs/process.bpf.h`.
    fn count_begin(&mut self, key: CgroupKey, now_ns: u64) {
        let population = self.population(key, now_ns);
        population.restarts += u64::from(population.live <= 0 && population.started > 0);
        population.started += 1;
        population.live += 1;
    }

    fn count_end(&mut self, key: CgroupKey, now_ns: u64) {
        let population = self.population(key, now_ns);
        population.ended += 1;
        population.live -= 1;
    }

    fn population(&mut self, key: CgroupKey, now_ns: u64) -> &mut Population {
        let population = self.populations.entry(key).or_insert_with(|| Population {
            generation_ns: now_ns,
            ..Population::default()
        });
        population.updated_ns = now_ns;
        population
    }

    /// Emits what changed since `since_ns`.
    pub(super) fn emit(&self, since_ns: u64, emit: &mut dyn FnMut(&Record<'_>)) {
        for (key, seen) in self
            .cgroups
            .iter()
            .filter(|(_, seen)| seen.updated_ns >= since_ns)
        {
            emit(&Record::Cgroup(schema::Cgroup {
                key: convert::cgroup_key(*key),
                path: &seen.path,
                created_ns: seen.created_ns,
                removed_ns: seen.removed_ns,
            }));
        }
        for (key, population) in &self.populations {
            if population.updated_ns >= since_ns {
                emit(&Record::Processes(convert::processes(*key, population)));
            }
        }
        for fill in [
            fill_of(maps::CGROUPS, self.cgroups.len(), self.limits.cgroups),
            fill_of(maps::PROCESSES, self.members.len(), self.limits.processes),
        ] {
            emit(&Record::MapFill(fill));
        }
    }

    pub(super) fn loss(&self) -> Loss<'static> {
        Loss {
            stage: "survey",
            reason: "refused",
            total: self.refused,
        }
    }
}

#[cfg(test)]
mod tests;
