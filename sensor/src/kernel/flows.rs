//! Flows: what changed, and making room before the kernel's table is full.
//!
//! When the table is more than three quarters full, entries without a connection that were idle for
//! [`LoadOptions::evict_idle`](super::LoadOptions::evict_idle) go,
//! oldest first, until it is at most half full. Their totals are added up per owner in the process and told as the
//! owner's `Evicted` flow.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use nodescope_ebpf::abi;
use nodescope_schema as schema;
use nodescope_schema::{FlowKind, FlowTotals, Loss, MapFill, Record};

use super::SourceError;
use super::convert;
use super::table::{Batch, Table};

/// Owners with evicted flows; above, totals of further ones are lost and counted.
const EVICTED_OWNERS_MAX: usize = 16_384;

/// All flows.
#[derive(Debug)]
pub(super) struct Flows {
    table: Table<abi::FlowKey, abi::Flow>,
    others: Table<abi::FlowKey, abi::Flow>,
    other_entries: u32,
    evicted: HashMap<abi::Owner, FlowTotals>,
    /// An entry idle for less stays.
    idle_ns: u64,
    /// When loading ended: the generation of the `Evicted` flows, which live as long as the process.
    generation_ns: u64,
    lost: u64,
}

/// An entry that may go.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Idle {
    updated_ns: u64,
    key: [u8; <abi::FlowKey as abi::Decode>::BYTES],
}

impl Flows {
    pub(super) fn new(
        table: Table<abi::FlowKey, abi::Flow>,
        others: Table<abi::FlowKey, abi::Flow>,
        idle: Duration,
        generation_ns: u64,
    ) -> Self {
        Self {
            table,
            others,
            other_entries: 0,
            evicted: HashMap::new(),
            idle_ns: u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX),
            generation_ns,
            lost: 0,
        }
    }

    pub(super) fn table(&self) -> &Table<abi::FlowKey, abi::Flow> {
        &self.table
    }

    /// How full the table is of what found no room in the other, as of the last poll.
    pub(super) fn others_fill(&self) -> MapFill<'static> {
        MapFill {
            entries: self.other_entries,
            ..self.others.fill()
        }
    }

    /// Flows whose totals did not fit into the sums of what was evicted.
    pub(super) fn loss(&self) -> Loss<'static> {
        Loss {
            stage: "evicted_flows",
            reason: "full",
            total: self.lost,
        }
    }

    /// Emits what changed since `since_ns`. Returns how many flows there are.
    pub(super) fn poll(
        &mut self,
        batch: &mut Batch,
        since_ns: u64,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<u32, SourceError> {
        for (owner, totals) in &self.evicted {
            if totals.updated_ns >= since_ns {
                emit(&self.evicted_record(owner, *totals));
            }
        }
        let mut tell = |_: &[u8], key: abi::FlowKey, flow: abi::Flow| {
            if flow.updated_ns >= since_ns {
                emit(&Record::Flow(schema::Flow {
                    key: convert::flow_key(&key),
                    generation: flow.generation_ns,
                    totals: convert::totals(&flow),
                }));
            }
        };
        self.other_entries = self.others.for_each(batch, &mut tell)?;
        self.table.for_each(batch, tell)
    }

    /// Remote addresses to which there was a connection.
    pub(super) fn destinations(
        &self,
        batch: &mut Batch,
        visit: &mut dyn FnMut(IpAddr),
    ) -> Result<(), SourceError> {
        let visited = self.table.for_each(batch, |_, key, flow| {
            if flow.connects > 0 || flow.active > 0 {
                visit(IpAddr::V6(key.remote_ip).to_canonical());
            }
        });
        visited.map(drop)
    }

    fn evicted_record<'a>(&self, owner: &'a abi::Owner, totals: FlowTotals) -> Record<'a> {
        let key = schema::FlowKey {
            owner: convert::owner(owner),
            remote_ip: Ipv6Addr::UNSPECIFIED,
            remote_port: 0,
            actual_ip: Ipv6Addr::UNSPECIFIED,
            actual_port: 0,
            host_netns: false,
            kind: FlowKind::Evicted,
        };
        Record::Flow(schema::Flow {
            key,
            generation: self.generation_ns,
            totals,
        })
    }

    /// Makes room if `entries` are too many, and says which flows went.
    pub(super) fn evict(
        &mut self,
        batch: &mut Batch,
        entries: u32,
        now_ns: u64,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), SourceError> {
        let excess = excess(entries, self.table.capacity());
        if excess == 0 {
            return Ok(());
        }
        let mut idle = Vec::new();
        self.table.for_each(batch, |bytes, _, flow| {
            let idle_ns = now_ns.saturating_sub(flow.updated_ns);
            if flow.active <= 0 && idle_ns >= self.idle_ns {
                let Ok(key) = bytes.try_into() else { return };
                idle.push(Idle {
                    updated_ns: flow.updated_ns,
                    key,
                });
            }
        })?;
        idle.sort_unstable();
        for entry in idle.iter().take(excess) {
            let Some(key) = <abi::FlowKey as abi::Decode>::from_bytes(&entry.key) else {
                continue;
            };
            if let Some(flow) = self.table.take(&entry.key)? {
                self.fold(&key.owner, &flow, now_ns);
                emit(&Record::FlowEvicted(convert::flow_key(&key)));
                if let Some(totals) = self.evicted.get(&key.owner) {
                    emit(&self.evicted_record(&key.owner, *totals));
                }
            }
        }
        Ok(())
    }

    fn fold(&mut self, owner: &abi::Owner, flow: &abi::Flow, now_ns: u64) {
        if self.evicted.len() >= EVICTED_OWNERS_MAX && !self.evicted.contains_key(owner) {
            self.lost += 1;
            return;
        }
        let sum = self.evicted.entry(*owner).or_default();
        sum.connects += flow.connects;
        sum.failures += flow.failures;
        sum.retransmits += flow.retransmits;
        sum.sent_bytes += flow.sent_bytes;
        sum.received_bytes += flow.received_bytes;
        sum.connect_time_ns += flow.connect_time_ns;
        sum.updated_ns = now_ns;
    }
}

/// How many of `entries` should go: none up to three quarters of `capacity`, else all above half of it.
pub(super) fn excess(entries: u32, capacity: u32) -> usize {
    if u64::from(entries) * 4 <= u64::from(capacity) * 3 {
        return 0;
    }
    (entries - capacity / 2) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_above_three_quarters() {
        assert_eq!(excess(0, 0), 0);
        assert_eq!(excess(75, 100), 0);
        assert_eq!(excess(76, 100), 26);
        assert_eq!(excess(100, 100), 50);
        assert_eq!(
            excess(u32::MAX, u32::MAX),
            u32::MAX as usize - (u32::MAX / 2) as usize
        );
    }

    #[test]
    fn older_entries_go_first() {
        let mut idle = [
            Idle {
                updated_ns: 2,
                key: [0; 88],
            },
            Idle {
                updated_ns: 1,
                key: [9; 88],
            },
        ];
        idle.sort_unstable();
        assert_eq!(idle[0].updated_ns, 1);
    }
}
