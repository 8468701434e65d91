//! The destinations of one container, within a budget.

use std::collections::HashMap;

use super::flows::{Destination, FlowDelta};
use super::peers::Peers;
use crate::metrics::SeriesLabels;

/// Label value of everything over the budget.
pub const OTHER: &str = "~other";

/// Counters of one destination.
#[derive(Debug)]
pub struct Series {
    /// `destination` and `actual_destination`.
    pub labels: SeriesLabels,
    /// `destination` alone, for failures.
    pub failure_labels: SeriesLabels,
    /// Successful connects.
    pub connects: u64,
    /// Failed connects.
    pub failures: u64,
    /// Connections open now.
    pub active: i64,
    /// Retransmitted segments.
    pub retransmits: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Time spent connecting.
    pub connect_time_ns: u64,
    /// The last round trip; none for many destinations together.
    pub rtt_ns: Option<u64>,
    /// Whether it is the one for the rest.
    is_other: bool,
    /// Flows that add to it.
    flows: u32,
    /// When it last had a flow or a change.
    used_ns: u64,
}

/// Destinations of one container.
#[derive(Debug, Default)]
pub struct Destinations {
    series: HashMap<Destination, Series>,
    peers: Peers,
    /// Flows that were put to [`Destination::Other`] for want of budget.
    over_budget: u64,
}

impl Destinations {
    /// Finds the series for a destination, or makes it within the budget; over it, the one for the rest.
    /// Counts the flow as one of its users until [`Destinations::release`].
    pub fn assign(&mut self, wanted: Destination, budget: usize, now_ns: u64) -> Destination {
        let fits = wanted == Destination::Other
            || self.series.contains_key(&wanted)
            || self.len() < budget;
        let destination = if fits { wanted } else { Destination::Other };
        if !fits {
            self.over_budget += 1;
        }
        let series = self
            .series
            .entry(destination)
            .or_insert_with(|| Series::new(destination));
        series.flows += 1;
        series.used_ns = now_ns;
        destination
    }

    /// Adds to a series that [`Destinations::assign`] gave.
    pub fn add(&mut self, destination: Destination, delta: &FlowDelta, now_ns: u64) {
        if let Some(series) = self.series.get_mut(&destination) {
            series.add(delta);
            series.used_ns = now_ns;
            if let Some(ip) = destination.peer() {
                self.peers.add(ip, delta, now_ns);
            }
        }
    }

    /// A flow left; the series stays until [`Destinations::expire`].
    pub fn release(&mut self, destination: Destination) {
        if let Some(series) = self.series.get_mut(&destination) {
            series.flows = series.flows.saturating_sub(1);
        }
    }

    /// Removes series that no flow adds to since `before_ns`.
    pub fn expire(&mut self, before_ns: u64) {
        self.series
            .retain(|_, series| series.flows > 0 || series.used_ns >= before_ns);
        self.peers.expire(before_ns);
    }

    /// All series.
    pub fn iter(&self) -> impl Iterator<Item = &Series> {
        self.series.values()
    }

    /// Their addresses.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Flows that were not given a series of their own for want of budget.
    pub fn over_budget(&self) -> u64 {
        self.over_budget
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    fn len(&self) -> usize {
        self.series.len()
    }
}

impl Series {
    fn new(destination: Destination) -> Self {
        let (asked, actual) = match destination {
            Destination::Address { asked, actual } => (asked.to_string(), actual.to_string()),
            Destination::Other => (OTHER.to_owned(), OTHER.to_owned()),
        };
        Self {
            labels: SeriesLabels::new(&[("destination", &asked), ("actual_destination", &actual)]),
            failure_labels: SeriesLabels::new(&[("destination", &asked)]),
            connects: 0,
            failures: 0,
            active: 0,
            retransmits: 0,
            sent_bytes: 0,
            received_bytes: 0,
            connect_time_ns: 0,
            rtt_ns: None,
            is_other: destination == Destination::Other,
            flows: 0,
            used_ns: 0,
        }
    }

    fn add(&mut self, delta: &FlowDelta) {
        self.connects += delta.connects;
        self.failures += delta.failures;
        self.active = (self.active + delta.active).max(0);
        self.retransmits += delta.retransmits;
        self.sent_bytes += delta.sent_bytes;
        self.received_bytes += delta.received_bytes;
        self.connect_time_ns += delta.connect_time_ns;
        if delta.rtt_ns > 0 && !self.is_other {
            self.rtt_ns = Some(delta.rtt_ns);
        }
    }
}
