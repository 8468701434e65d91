//! Connections of containers that are being established, in the map `translations`: who tells where they go when the
//! programs do not, and what was left behind.
//!
//! Each entry is deleted by its own connection as a rule. One stays when the hook that sees connections end missed it, and
//! while events are followed also when its connection was established before: the event that comes too late finds it, and
//! is counted. (One that comes in the same microsecond may be counted neither here nor there.)

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nodescope_ebpf::abi::{self, Decode};
use nodescope_schema::{Loss, MapFill};

use super::SourceError;
use super::bpf::{MapHandle, monotonic_ns};
use super::probes::{CONNTRACK_EVENTS, TRANSLATIONS};
use super::table::{Batch, Table};
use super::verdict::{HookState, broke};
use crate::conntrack::child::Child;
use crate::conntrack::entry::Translated;
use crate::conntrack::follow::{Sink, Taken, Totals};

/// Longer than Linux tries to connect with its usual number of retries (tcp_syn_retries 6: 127 s).
const FORGOTTEN: Duration = Duration::from_secs(300);
/// An event that comes later than this after the SYN of an established connection is taken for none.
const LATEST: Duration = Duration::from_secs(5);

/// The connections.
#[derive(Debug)]
pub(super) struct Translations {
    table: Table<abi::Tuple, abi::Translation>,
    keep_settled: MapHandle,
    entries: u32,
    follower: Option<Child>,
    totals: Totals,
}

impl Translations {
    pub(super) fn new(table: Table<abi::Tuple, abi::Translation>, keep_settled: MapHandle) -> Self {
        Self {
            table,
            keep_settled,
            entries: 0,
            follower: None,
            totals: Totals::default(),
        }
    }

    pub(super) fn fill(&self) -> MapFill<'static> {
        MapFill {
            entries: self.entries,
            ..self.table.fill()
        }
    }

    /// Follows events if that is what the kernel or a setting left.
    pub(super) fn follow(&mut self, hooks: &mut [HookState]) {
        let is_wanted =
            |hook: &&mut HookState| hook.is(TRANSLATIONS) && hook.record().rung == CONNTRACK_EVENTS;
        let Some(hook) = hooks.iter_mut().find(is_wanted) else {
            return;
        };
        match self.start_follower() {
            Ok(child) => self.follower = Some(child),
            Err(error) => broke(hook, &format!("ctnetlink: {error}")),
        }
    }

    fn start_follower(&self) -> io::Result<Child> {
        let map = self.table.map();
        let map = MapHandle::new(map.as_fd(), map.key_bytes(), map.value_bytes())?;
        let child = Child::start(Waiting::new(map))?;
        self.set_keep_settled(1)?;
        Ok(child)
    }

    fn set_keep_settled(&self, keep: u32) -> io::Result<()> {
        self.keep_settled
            .set(&0_u32.to_ne_bytes(), &keep.to_ne_bytes())
    }

    /// Hears from the follower. True when it has ended, which is then in the verdict.
    pub(super) fn hear(&mut self, hooks: &mut [HookState]) -> bool {
        let Some(child) = &mut self.follower else {
            return false;
        };
        self.totals = child.totals();
        if !child.has_ended() {
            return false;
        }
        self.follower = None;
        // No event will come for them. Where this fails the map is swept less often, and what finds no room is counted.
        let _ = self.set_keep_settled(0);
        for hook in hooks.iter_mut().filter(|hook| hook.is(TRANSLATIONS)) {
            broke(hook, "the process that follows ctnetlink events has ended");
        }
        true
    }

    /// Whether it is worth sweeping at each poll.
    pub(super) fn is_following(&self) -> bool {
        self.follower.is_some()
    }

    pub(super) fn losses(&self) -> [Loss<'static>; 3] {
        let loss = |reason, total| Loss {
            stage: "conntrack_events",
            reason,
            total,
        };
        [
            loss("overrun", self.totals.overruns),
            loss("late", self.totals.late),
            loss("failed", self.totals.failures),
        ]
    }

    /// Deletes what nobody will ask for any more.
    pub(super) fn sweep(&mut self, batch: &mut Batch, now_ns: u64) -> Result<(), SourceError> {
        let mut forgotten = Vec::new();
        self.entries = self.table.for_each(batch, |key, _, translation| {
            if is_forgotten(&translation, now_ns) {
                forgotten.push(key.to_vec());
            }
        })?;
        self.table.delete(&forgotten)
    }
}

fn is_forgotten(translation: &abi::Translation, now_ns: u64) -> bool {
    let limit = if translation.settled {
        LATEST
    } else {
        FORGOTTEN
    };
    u128::from(now_ns.saturating_sub(translation.created_ns)) > limit.as_nanos()
}

/// Writes into the map, if a connection waits there.
#[derive(Debug)]
pub(super) struct Waiting {
    map: MapHandle,
    value: Vec<u8>,
}

impl Waiting {
    pub(super) fn new(map: MapHandle) -> Self {
        let value = vec![0; map.value_bytes()];
        Self { map, value }
    }
}

impl Sink for Waiting {
    fn take(&mut self, found: &Translated) -> io::Result<Taken> {
        let key = found.tuple.to_bytes();
        if !self.map.lookup(&key, &mut self.value)? {
            return Ok(Taken::Unknown);
        }
        if abi::Translation::from_bytes(&self.value).is_some_and(|entry| entry.settled) {
            self.map.delete(&key)?;
            return Ok(Taken::Late);
        }
        let translation = abi::Translation {
            created_ns: monotonic_ns(),
            actual: found.actual,
            settled: false,
        };
        // Gone in between: its connection failed or was established.
        let written = self.map.replace(&key, &translation.to_bytes())?;
        Ok(if written { Taken::Waiting } else { Taken::Late })
    }
}

impl AsFd for Waiting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};

    use super::*;

    #[test]
    fn only_old_ones_are_forgotten() {
        for (settled, limit) in [(false, FORGOTTEN), (true, LATEST)] {
            let translation = abi::Translation {
                created_ns: 1000,
                actual: SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0),
                settled,
            };
            let limit = u64::try_from(limit.as_nanos()).expect("fits");
            assert!(!is_forgotten(&translation, 0));
            assert!(!is_forgotten(&translation, 1000 + limit));
            assert!(is_forgotten(&translation, 1001 + limit));
        }
    }
}
