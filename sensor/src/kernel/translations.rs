//! Connections of containers that are being established, in the map `translations`: who tells where they go when the
//! programs do not, and what was left behind.
//!
//! Each entry is deleted by its own connection as a rule. One stays when the hook that sees connections end missed it.
//! While events are followed each connection that is established before its event leaves one in `settlements`, for the
//! event that comes too late to find it, see [`super::settlements`].

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nodescope_ebpf::abi;
use nodescope_schema::{Loss, MapFill};

use super::SourceError;
use super::bpf::MapHandle;
use super::probes::{CONNTRACK_EVENTS, TRANSLATIONS};
use super::settlements::Settlements;
use super::table::{Batch, Table};
use super::verdict::{HookState, broke};
use crate::conntrack::child::Child;
use crate::conntrack::follow::Totals;

/// Longer than Linux tries to connect with its usual number of retries (tcp_syn_retries 6: 127 s).
const FORGOTTEN: Duration = Duration::from_secs(300);
/// An event that comes later than this after its connection was established is taken for none.
const LATEST: Duration = Duration::from_secs(5);

type Connections = Table<abi::Tuple, abi::Translation>;

/// The connections.
#[derive(Debug)]
pub(super) struct Translations {
    waiting: Connections,
    waiting_entries: u32,
    settled: Connections,
    settled_entries: u32,
    follows_events: MapHandle,
    follower: Option<Child>,
    totals: Totals,
}

impl Translations {
    pub(super) fn new(
        waiting: Connections,
        settled: Connections,
        follows_events: MapHandle,
    ) -> Self {
        Self {
            waiting,
            waiting_entries: 0,
            settled,
            settled_entries: 0,
            follows_events,
            follower: None,
            totals: Totals::default(),
        }
    }

    pub(super) fn fills(&self) -> [MapFill<'static>; 2] {
        [
            MapFill {
                entries: self.waiting_entries,
                ..self.waiting.fill()
            },
            MapFill {
                entries: self.settled_entries,
                ..self.settled.fill()
            },
        ]
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
        let [waiting, settled] = [&self.waiting, &self.settled].map(|table| {
            let map = table.map();
            MapHandle::new(map.as_fd(), map.key_bytes(), map.value_bytes())
        });
        let settlements = Settlements::new(waiting?, settled?);
        // First, so that what the child writes is read.
        self.set_follows_events(1)?;
        let child = Child::start(settlements);
        if child.is_err() {
            self.set_follows_events(0)?;
        }
        child
    }

    fn set_follows_events(&self, follows: u32) -> io::Result<()> {
        self.follows_events
            .set(&0_u32.to_ne_bytes(), &follows.to_ne_bytes())
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
        let _ = self.set_follows_events(0);
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
        self.waiting_entries = sweep(&self.waiting, batch, now_ns, |_| FORGOTTEN)?;
        self.settled_entries = sweep(&self.settled, batch, now_ns, settled_limit)?;
        Ok(())
    }
}

/// Deletes what is older than its limit. Returns how many there were.
fn sweep(
    table: &Connections,
    batch: &mut Batch,
    now_ns: u64,
    limit: impl Fn(&abi::Translation) -> Duration,
) -> Result<u32, SourceError> {
    let mut forgotten = Vec::new();
    let entries = table.for_each(batch, |key, _, entry| {
        if is_older(&entry, limit(&entry), now_ns) {
            forgotten.push(key.to_vec());
        }
    })?;
    table.delete(&forgotten)?;
    Ok(entries)
}

/// An established connection only waits for a late event, one that was told of may still be under way.
fn settled_limit(entry: &abi::Translation) -> Duration {
    match entry.actual.port() {
        0 => LATEST,
        _ => FORGOTTEN,
    }
}

fn is_older(entry: &abi::Translation, limit: Duration, now_ns: u64) -> bool {
    u128::from(now_ns.saturating_sub(entry.created_ns)) > limit.as_nanos()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};

    use super::*;

    #[test]
    fn only_old_ones_are_forgotten() {
        for (port, limit) in [(80, FORGOTTEN), (0, LATEST)] {
            let entry = abi::Translation {
                created_ns: 1000,
                actual: SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0),
            };
            assert_eq!(settled_limit(&entry), limit);
            let limit_ns = u64::try_from(limit.as_nanos()).expect("fits");
            assert!(!is_older(&entry, limit, 0));
            assert!(!is_older(&entry, limit, 1000 + limit_ns));
            assert!(is_older(&entry, limit, 1001 + limit_ns));
        }
    }
}
