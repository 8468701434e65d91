//! Round trips to the addresses that containers talk to.
//!
//! The sensor sends echo requests to the addresses of [`Model::ping_targets`] and tells what came of them. An address
//! that does not answer them, or that the sensor does not ask, is shown with the round trip of the last TCP connection
//! to it that measured one.
//!
//! Differences to coroot-node-agent, which pings within the scrape and from the container's own namespace: requests come
//! from the node's namespace; addresses to which all attempts failed are not asked, because the sensor could be made to
//! scan a network so; and an address that does not answer has the round trip of TCP, where the reference has nothing.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use nodescope_schema::{MAX_PING_TARGETS, Ping};

use super::Model;
use super::containers::Container;
use super::peers::Peer;
use crate::metrics::Exposition;
use crate::metrics::catalogue::container as family;

/// How long an answer is shown: several of the sensor's usual rounds.
const ANSWER_TTL_NS: u64 = 60_000_000_000;

/// An answer.
#[derive(Debug, Clone, Copy)]
struct Answer {
    rtt_ns: u64,
    answered_ns: u64,
}

/// The last answer of each address.
#[derive(Debug, Default)]
pub(super) struct Answers {
    by_ip: HashMap<IpAddr, Answer>,
    /// Most addresses at once that were too many to be asked.
    over_limit: u64,
}

impl Answers {
    /// Takes what the sensor tells. There are no more targets than this has room for, unless the sensor errs.
    fn update(&mut self, ping: &Ping, now_ns: u64) {
        let ip = IpAddr::V6(ping.ip).to_canonical();
        let answer = Answer {
            rtt_ns: ping.rtt_ns,
            answered_ns: ping.answered_ns,
        };
        let has_room = self.by_ip.len() < MAX_PING_TARGETS || self.by_ip.contains_key(&ip);
        if answer.is_fresh(now_ns) && has_room {
            self.by_ip.insert(ip, answer);
        }
    }

    /// Forgets old answers.
    pub(super) fn expire(&mut self, now_ns: u64) {
        self.by_ip.retain(|_, answer| answer.is_fresh(now_ns));
    }

    pub(super) fn over_limit(&self) -> u64 {
        self.over_limit
    }

    /// The round trip to a peer: by echo if it answers, else by TCP.
    fn latency_ns(&self, ip: IpAddr, peer: &Peer) -> Option<u64> {
        let echo = self.by_ip.get(&ip).map(|answer| answer.rtt_ns);
        echo.or(peer.tcp_rtt_ns)
    }
}

impl Answer {
    fn is_fresh(&self, now_ns: u64) -> bool {
        self.answered_ns > 0 && now_ns.saturating_sub(self.answered_ns) < ANSWER_TTL_NS
    }
}

impl Model {
    pub(super) fn apply_ping(&mut self, ping: &Ping, now_ns: u64) {
        self.answers.update(ping, now_ns);
    }

    /// Addresses whose round trip should be measured, in order: those to which containers that live have talked lately.
    /// Of too many, those with open connections come first.
    pub fn ping_targets(&mut self) -> Vec<IpAddr> {
        let mut wanted = BTreeMap::new();
        for (_, container) in self
            .containers
            .iter()
            .filter(|(_, c)| self.has_latencies(c))
        {
            for (ip, peer) in container.destinations.peers().connected() {
                *wanted.entry(ip).or_insert(false) |= peer.is_open();
            }
        }
        wanted.retain(|ip, _| is_elsewhere(*ip));
        let over = wanted.len().saturating_sub(MAX_PING_TARGETS);
        self.answers.over_limit = self.answers.over_limit.max(over as u64);
        let mut targets: Vec<(IpAddr, bool)> = wanted.into_iter().collect();
        targets.sort_by_key(|(_, open)| !open);
        let mut targets: Vec<IpAddr> = targets
            .into_iter()
            .take(MAX_PING_TARGETS)
            .map(|(ip, _)| ip)
            .collect();
        targets.sort_unstable();
        targets
    }

    /// A container that has ended waits for nothing. One that stands for all processes of a program has no end.
    fn has_latencies(&self, container: &Container) -> bool {
        !container.has_classes() || self.containers.is_alive(container, &self.cgroups)
    }

    /// Writes the round trips.
    pub(super) fn render_latencies(&self, page: &mut Exposition<'_>, shown: &[&Container]) {
        page.family(&family::LATENCY);
        for container in shown
            .iter()
            .filter(|container| self.has_latencies(container))
        {
            for (ip, peer) in container.destinations.peers().connected() {
                let latency_ns = self.answers.latency_ns(ip, peer);
                if let Some(ns) = latency_ns.filter(|_| is_elsewhere(ip)) {
                    page.sample_with(&container.labels, &peer.labels, ns as f64 / 1e9);
                }
            }
        }
    }
}

/// A round trip to oneself says nothing.
fn is_elsewhere(ip: IpAddr) -> bool {
    !ip.is_loopback() && !ip.is_unspecified()
}
