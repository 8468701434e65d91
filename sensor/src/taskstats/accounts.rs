//! Totals by cgroup, and which of them changed. Pure.

use std::collections::{HashMap, HashSet};

use nodescope_ebpf::abi::{CgroupKey, WorkloadKey};

use super::stats::Waits;

/// One part in this many of the cgroups goes when there is no room for another.
const EVICTED_SHARE: usize = 16;

/// What the processes of a cgroup waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// When it was begun.
    pub generation_ns: u64,
    /// When it last changed.
    pub updated_ns: u64,
    /// The totals.
    pub waits: Waits,
}

/// All of them.
#[derive(Debug)]
pub struct Accounts {
    limit: usize,
    /// Number of the v1 hierarchy that is watched; 0 for none.
    v1_hierarchy: u32,
    by_cgroup: HashMap<CgroupKey, Account>,
    changed: HashSet<CgroupKey>,
    /// Those that made room before what they had last was told.
    pub forgotten: u64,
}

impl Accounts {
    /// None yet, and never more than `limit`.
    pub fn new(limit: usize, v1_hierarchy: u32) -> Self {
        Self {
            limit,
            v1_hierarchy,
            by_cgroup: HashMap::new(),
            changed: HashSet::new(),
            forgotten: 0,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_cgroup.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_cgroup.is_empty()
    }

    /// That of a cgroup.
    pub fn get(&self, key: &CgroupKey) -> Option<&Account> {
        self.by_cgroup.get(key)
    }

    /// Adds what processes waited for to the cgroups they are in, of both hierarchies.
    pub fn add(&mut self, place: WorkloadKey, waits: &Waits, now_ns: u64) {
        if waits.is_none() {
            return;
        }
        let [v2, v1] = [(0, place.cgroup_v2), (self.v1_hierarchy, place.cgroup_v1)]
            .map(|(hierarchy, id)| CgroupKey { id, hierarchy });
        if v2.id != 0 {
            self.add_to(v2, waits, now_ns);
        }
        if v1.hierarchy != 0 && v1.id != 0 {
            self.add_to(v1, waits, now_ns);
        }
    }

    fn add_to(&mut self, key: CgroupKey, waits: &Waits, now_ns: u64) {
        if !self.by_cgroup.contains_key(&key) {
            let removed = make_room(&mut self.by_cgroup, self.limit, |one| one.updated_ns);
            for key in removed {
                self.forgotten += u64::from(self.changed.remove(&key));
            }
        }
        let account = self.by_cgroup.entry(key).or_insert_with(|| Account {
            generation_ns: now_ns,
            ..Account::default()
        });
        account.waits = account.waits.plus(waits);
        account.updated_ns = now_ns;
        self.changed.insert(key);
    }

    /// Tells of the cgroups that changed; those for which `tell` is false will be told again.
    pub fn tell_changed(&mut self, mut tell: impl FnMut(&CgroupKey, &Account) -> bool) {
        let accounts = &self.by_cgroup;
        self.changed
            .retain(|key| accounts.get(key).is_some_and(|account| !tell(key, account)));
    }
}

/// Removes those that changed least recently from a map of cgroups that is full, and says which.
pub(super) fn make_room<V>(
    cgroups: &mut HashMap<CgroupKey, V>,
    limit: usize,
    updated_ns: impl Fn(&V) -> u64,
) -> Vec<CgroupKey> {
    if cgroups.len() < limit {
        return Vec::new();
    }
    let all = cgroups.iter();
    let mut all: Vec<_> = all.map(|(key, value)| (updated_ns(value), *key)).collect();
    all.sort_unstable();
    let oldest = all.into_iter().take(limit / EVICTED_SHARE + 1);
    let oldest: Vec<_> = oldest.map(|(_, key)| key).collect();
    for key in &oldest {
        cgroups.remove(key);
    }
    oldest
}
