//! Flows: what changed, and making room before the kernel's table is full.
//!
//! When the table is more than three quarters full, entries without a connection that were idle for
//! [`LoadOptions::evict_idle`](super::LoadOptions::evict_idle) go, oldest first, until it is at most half full. Who
//! listens is told their last totals; one who comes later cannot know them, so they count as lost.

use std::net::IpAddr;
use std::time::Duration;

use nodescope_ebpf::abi::{self, Decode as _};
use nodescope_schema as schema;
use nodescope_schema::{Loss, MapFill, Record};

use super::SourceError;
use super::convert;
use super::table::{Batch, Table};

/// All flows.
#[derive(Debug)]
pub(super) struct Flows {
    table: Table<abi::FlowKey, abi::Flow>,
    others: Table<abi::FlowKey, abi::Flow>,
    other_entries: u32,
    /// An entry idle for less stays.
    idle_ns: u64,
    evicted: u64,
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
    ) -> Self {
        Self {
            table,
            others,
            other_entries: 0,
            idle_ns: u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX),
            evicted: 0,
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

    /// Flows that had to go.
    pub(super) fn loss(&self) -> Loss<'static> {
        Loss {
            stage: "kernel_flows",
            reason: "evicted",
            total: self.evicted,
        }
    }

    /// Emits what changed since `since_ns`. Returns how many flows there are.
    pub(super) fn poll(
        &mut self,
        batch: &mut Batch,
        since_ns: u64,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<u32, SourceError> {
        let mut tell = |_: &[u8], key: abi::FlowKey, flow: abi::Flow| {
            if flow.updated_ns >= since_ns {
                emit(&record(&key, &flow));
            }
        };
        self.other_entries = self.others.for_each(batch, &mut tell)?;
        self.table.for_each(batch, tell)
    }

    /// Remote addresses to which there was a connection; the actual ones where a translation is known.
    pub(super) fn destinations(
        &self,
        batch: &mut Batch,
        visit: &mut dyn FnMut(IpAddr),
    ) -> Result<(), SourceError> {
        let visited = self.table.for_each(batch, |_, key, flow| {
            // One older than the sensor has no connect.
            if flow.connects > 0 || flow.active > 0 || flow.received_bytes > 0 {
                let (asked, actual) = (key.remote_ip, key.actual_ip);
                let peer = if key.actual_port == 0 { asked } else { actual };
                visit(IpAddr::V6(peer).to_canonical());
            }
        });
        visited.map(drop)
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
            let Some(key) = abi::FlowKey::from_bytes(&entry.key) else {
                continue;
            };
            if let Some(flow) = self.table.take(&entry.key)? {
                self.evicted += 1;
                emit(&record(&key, &flow));
                emit(&Record::FlowEvicted(convert::flow_key(&key)));
            }
        }
        Ok(())
    }
}

fn record<'a>(key: &'a abi::FlowKey, flow: &abi::Flow) -> Record<'a> {
    Record::Flow(schema::Flow {
        key: convert::flow_key(key),
        generation: flow.generation_ns,
        totals: convert::totals(flow),
    })
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
