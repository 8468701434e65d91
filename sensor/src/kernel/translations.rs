//! Connections of containers that are being established: what the programs left behind in `translations` goes.
//!
//! Each entry is deleted by its own connection as a rule. One stays when the hook that sees connections end missed it.

use std::time::Duration;

use nodescope_ebpf::abi;
use nodescope_schema::MapFill;

use super::SourceError;
use super::table::{Batch, Table};

/// Longer than Linux tries to connect with the most retries it allows to set by default (tcp_syn_retries 6: 127 s).
const FORGOTTEN: Duration = Duration::from_secs(300);

/// The connections.
#[derive(Debug)]
pub(super) struct Translations {
    table: Table<abi::Tuple, abi::Translation>,
    entries: u32,
}

impl Translations {
    pub(super) fn new(table: Table<abi::Tuple, abi::Translation>) -> Self {
        Self { table, entries: 0 }
    }

    pub(super) fn fill(&self) -> MapFill<'static> {
        self.table.fill()
    }

    /// How many there were at the last [`Translations::sweep`].
    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// Deletes what nobody will ask for any more.
    pub(super) fn sweep(&mut self, batch: &mut Batch, now_ns: u64) -> Result<(), SourceError> {
        let mut forgotten = Vec::new();
        self.entries = self.table.for_each(batch, |key, _, translation| {
            if is_forgotten(&translation, now_ns) {
                forgotten.push(key.to_vec());
            }
        })?;
        for key in forgotten {
            self.table
                .map()
                .delete(&key)
                .map_err(|source| SourceError::Map {
                    map: self.table.name(),
                    source,
                })?;
        }
        Ok(())
    }
}

fn is_forgotten(translation: &abi::Translation, now_ns: u64) -> bool {
    u128::from(now_ns.saturating_sub(translation.created_ns)) > FORGOTTEN.as_nanos()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};

    use super::*;

    #[test]
    fn only_old_ones_are_forgotten() {
        let translation = abi::Translation {
            created_ns: 1000,
            actual: SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0),
            settled: false,
        };
        let limit = u64::try_from(FORGOTTEN.as_nanos()).expect("fits");
        assert!(!is_forgotten(&translation, 0));
        assert!(!is_forgotten(&translation, 1000 + limit));
        assert!(is_forgotten(&translation, 1001 + limit));
    }
}
