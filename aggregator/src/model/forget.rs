//! Forgetting cgroups: those a snapshot does not mention, and the oldest removed ones when there are many.
//!
//! On a node where containers come and go all day the sensor tells of ever new cgroups over one connection. What they
//! counted stays with their container, so that its counters do not go backwards; a class without a cgroup is forgotten
//! with its last one.

use std::collections::BTreeSet;

use nodescope_schema::CgroupKey;

use super::Model;
use super::owners::Owner;
use crate::containers::Class;

impl Model {
    /// Makes room for further cgroups.
    pub(super) fn forget_removed_cgroups(&mut self) {
        self.forget_cgroups(&self.cgroups.oldest_removed());
    }

    pub(super) fn forget_cgroups(&mut self, keys: &[CgroupKey]) {
        let containers: BTreeSet<usize> = keys
            .iter()
            .filter_map(
                |key| match self.owners.container(&self.cgroups.get(key)?.class) {
                    Owner::Container(index) => Some(index),
                    Owner::Nobody | Owner::NoRoom | Owner::NotYet => None,
                },
            )
            .collect();
        let totals: Vec<_> = containers
            .into_iter()
            .filter_map(|index| {
                let container = self.containers.get(index)?;
                Some((
                    index,
                    self.containers.process_totals(container, &self.cgroups),
                ))
            })
            .collect();
        for key in keys {
            if let Some(class) = self.cgroups.forget(key)
                && self.containers.remove_member(&class, *key)
            {
                self.forget_class(&class);
            }
        }
        for (index, before) in totals {
            self.containers
                .keep_lost_totals(index, before, &self.cgroups);
        }
    }

    /// Classes of no container or unit are few and stay.
    fn forget_class(&mut self, class: &Class) {
        if !matches!(class, Class::Container(_) | Class::Unit(_)) {
            return;
        }
        if let Owner::Container(index) = self.owners.container(class) {
            self.containers.untie(index, class);
        }
        self.owners.forget(class);
    }
}
