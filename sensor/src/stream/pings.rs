//! Which addresses the pinger may ask: those of the client's set that a process has had a connection to.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Instant;

use nodescope_schema::Refusal;

use super::Stream;
use crate::kernel::{Source, SourceError};
use crate::ping::Asked;

impl<S: Source> Stream<S> {
    /// Asks what is due, and forgets targets that the kernel no longer counts.
    pub(super) fn ping(&mut self, now: Instant) {
        if self.target_checks.is_due(now) && !self.pinger.is_empty() {
            let seen = self.seen(&self.pinger.asked());
            if let Ok(seen) = &seen {
                self.pinger.retain(seen);
            }
            self.check_source(&seen.map(drop));
        }
        self.pinger.tick(now, &mut self.outlet.losses);
    }

    /// Takes the client's set and answers its request.
    pub(super) fn set_ping_targets(&mut self) {
        let Some((id, asked)) = self.requests.take_ping_targets() else {
            return;
        };
        let seen = self.seen(&asked);
        if let Ok(seen) = &seen {
            self.pinger.set(&asked, seen, &mut self.outlet.losses);
        }
        let seen = seen.map(drop);
        self.check_source(&seen);
        if let Some(client) = &self.outlet.client {
            let result = seen.map_err(|_| Refusal::Io);
            let turn = self.requests.answer_taken(id, result, client);
            self.take_turn(turn);
        }
    }

    fn seen(&mut self, asked: &Asked) -> Result<HashSet<IpAddr>, SourceError> {
        let mut seen = HashSet::new();
        self.source.destinations(&mut |ip| {
            if asked.addresses.contains(&ip) {
                seen.insert(ip);
            }
        })?;
        Ok(seen)
    }
}
