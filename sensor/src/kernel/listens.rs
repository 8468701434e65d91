//! Listening sockets: which owner to show for each, and what changed since they were last told.
//!
//! The kernel deletes an entry when the socket stops; so that this can be told, the last record of each socket is
//! remembered, as many as the map holds.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use nodescope_ebpf::abi;
use nodescope_schema as schema;
use nodescope_schema::Record;

use super::SourceError;
use super::convert;
use super::table::{Batch, Table};

/// What a record says about a listening socket, but its cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    owner: abi::Owner,
    pid: u32,
    netns: u32,
    ip: Ipv6Addr,
    port: u16,
    ipv6_only: bool,
}

impl Shown {
    /// `scan` is the last whole scan of holders; what an earlier one found is no more.
    fn new(listen: &abi::Listen, scan: u32) -> Self {
        let held = listen.holder_scan != 0 && listen.holder_scan >= scan;
        let (owner, pid) = if held {
            (listen.holder, listen.holder_pid)
        } else {
            (listen.maker, listen.maker_pid)
        };
        let ipv6_only = listen.ipv6_only != 0 && listen.ip.is_unspecified();
        Self {
            owner,
            pid,
            netns: listen.netns,
            ip: listen.ip,
            port: listen.port,
            ipv6_only,
        }
    }

    fn record(&self, cookie: u64, open: bool) -> Record<'_> {
        Record::Listen(schema::Listen {
            cookie,
            owner: convert::owner(&self.owner),
            pid: self.pid,
            netns: self.netns,
            ip: self.ip,
            port: self.port,
            ipv6_only: self.ipv6_only,
            open,
        })
    }
}

#[derive(Debug)]
struct Told {
    shown: Shown,
    /// The round that saw it last.
    round: u64,
}

/// The cookie, as a map's key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cookie(u64);

impl abi::Decode for Cookie {
    const BYTES: usize = 8;

    fn read(reader: &mut abi::Reader<'_>) -> Self {
        Self(reader.u64())
    }
}

/// All listening sockets.
#[derive(Debug)]
pub(super) struct Listens {
    table: Table<Cookie, abi::Listen>,
    told: HashMap<u64, Told>,
    round: u64,
}

impl Listens {
    pub(super) fn new(table: Table<Cookie, abi::Listen>) -> Self {
        Self {
            table,
            told: HashMap::new(),
            round: 0,
        }
    }

    pub(super) fn table(&self) -> &Table<Cookie, abi::Listen> {
        &self.table
    }

    /// Emits what differs from what was told, or with `all` everything, and what stopped. Returns how many there are.
    pub(super) fn poll(
        &mut self,
        batch: &mut Batch,
        scan: u32,
        all: bool,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<u32, SourceError> {
        self.round += 1;
        let Self { table, told, round } = self;
        let entries = table.for_each(batch, |_, Cookie(cookie), listen| {
            let shown = Shown::new(&listen, scan);
            // Without a port there is nothing to show yet.
            if shown.port == 0 {
                return;
            }
            let before = told.insert(
                cookie,
                Told {
                    shown,
                    round: *round,
                },
            );
            if all || before.is_none_or(|before| before.shown != shown) {
                emit(&shown.record(cookie, true));
            }
        })?;
        told.retain(|cookie, told| {
            let open = told.round == *round;
            if !open {
                emit(&told.shown.record(*cookie, false));
            }
            open
        });
        Ok(entries)
    }

    /// Something happened to one socket.
    pub(super) fn hint(
        &mut self,
        cookie: u64,
        scan: u32,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), SourceError> {
        match self.table.get(&cookie.to_ne_bytes())? {
            Some(listen) if listen.port != 0 => {
                let shown = Shown::new(&listen, scan);
                self.told.insert(
                    cookie,
                    Told {
                        shown,
                        round: self.round,
                    },
                );
                emit(&shown.record(cookie, true));
            }
            Some(_) => {}
            None => {
                if let Some(told) = self.told.remove(&cookie) {
                    emit(&told.shown.record(cookie, false));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(cgroup_v2: u64) -> abi::Owner {
        abi::Owner {
            workload: abi::WorkloadKey {
                cgroup_v2,
                cgroup_v1: 0,
            },
            ..Default::default()
        }
    }

    fn listen(holder_scan: u32) -> abi::Listen {
        abi::Listen {
            maker: owner(1),
            holder: owner(2),
            maker_pid: 10,
            holder_pid: 20,
            holder_scan,
            holder_rank: 2,
            netns: 5,
            port: 80,
            ipv6_only: 1,
            ip: Ipv6Addr::UNSPECIFIED,
        }
    }

    #[test]
    fn the_holder_of_the_last_scan_is_the_owner() {
        let shown = Shown::new(&listen(3), 3);
        assert_eq!((shown.owner, shown.pid), (owner(2), 20));
    }

    #[test]
    fn without_a_holder_the_maker_is() {
        assert_eq!(Shown::new(&listen(0), 0).pid, 10);
        assert_eq!(Shown::new(&listen(2), 3).pid, 10, "the holder let go of it");
    }

    #[test]
    fn a_scan_under_way_counts() {
        assert_eq!(Shown::new(&listen(4), 3).pid, 20);
    }

    #[test]
    fn ipv6_only_matters_for_the_unspecified_address_only() {
        assert!(Shown::new(&listen(0), 0).ipv6_only);
        let bound = abi::Listen {
            ip: Ipv6Addr::LOCALHOST,
            ..listen(0)
        };
        assert!(!Shown::new(&bound, 0).ipv6_only);
    }
}
