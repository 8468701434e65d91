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
    /// `destination` alone; none before the first failure.
    pub failure_labels: Option<SeriesLabels>,
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
    destination: Destination,
    /// Flows that add to it.
    flows: u32,
    /// When it last had a flow or a change.
    used_ns: u64,
}

/// Destinations of one container.
#[derive(Debug, Default)]
pub struct Destinations {
    /// One after the other, because a page walks over all of them once for each family.
    series: Vec<Series>,
    /// Where each is in `series`.
    places: HashMap<Destination, usize>,
    peers: Peers,
    /// Flows that were put to [`Destination::Other`] for want of budget.
    over_budget: u64,
}

impl Destinations {
    /// Finds the series for a destination, or makes it within the budget; over it, the one for the rest.
    /// Counts the flow as one of its users until [`Destinations::release`].
    pub fn assign(&mut self, wanted: Destination, budget: usize, now_ns: u64) -> Destination {
        let fits = wanted == Destination::Other
            || self.places.contains_key(&wanted)
            || self.series.len() < budget;
        let destination = if fits { wanted } else { Destination::Other };
        if !fits {
            self.over_budget += 1;
        }
        let place = *self.places.entry(destination).or_insert_with(|| {
            self.series.push(Series::new(destination));
            self.series.len() - 1
        });
        let series = &mut self.series[place];
        series.flows += 1;
        series.used_ns = now_ns;
        destination
    }

    /// Adds to a series that [`Destinations::assign`] gave.
    pub fn add(&mut self, destination: Destination, delta: &FlowDelta, now_ns: u64) {
        if let Some(series) = self.get_mut(destination) {
            series.add(delta);
            series.used_ns = now_ns;
            if let Some(ip) = destination.peer() {
                self.peers.add(ip, delta, now_ns);
            }
        }
    }

    /// A flow left; the series stays until [`Destinations::expire`].
    pub fn release(&mut self, destination: Destination) {
        if let Some(series) = self.get_mut(destination) {
            series.flows = series.flows.saturating_sub(1);
        }
    }

    /// Removes series that no flow adds to since `before_ns`.
    pub fn expire(&mut self, before_ns: u64) {
        let before = self.series.len();
        self.series
            .retain(|series| series.flows > 0 || series.used_ns >= before_ns);
        if self.series.len() < before {
            let destinations = self.series.iter().map(|series| series.destination);
            self.places = destinations.zip(0..).collect();
        }
        self.peers.expire(before_ns);
    }

    fn get_mut(&mut self, destination: Destination) -> Option<&mut Series> {
        self.series.get_mut(*self.places.get(&destination)?)
    }

    /// All series.
    pub fn iter(&self) -> impl Iterator<Item = &Series> {
        self.series.iter()
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
}

impl Series {
    fn new(destination: Destination) -> Self {
        let (asked, actual) = label_values(destination);
        Self {
            labels: SeriesLabels::new(&[("destination", &asked), ("actual_destination", &actual)]),
            failure_labels: None,
            connects: 0,
            failures: 0,
            active: 0,
            retransmits: 0,
            sent_bytes: 0,
            received_bytes: 0,
            connect_time_ns: 0,
            rtt_ns: None,
            destination,
            flows: 0,
            used_ns: 0,
        }
    }

    fn add(&mut self, delta: &FlowDelta) {
        self.connects += delta.connects;
        self.failures += delta.failures;
        if delta.failures > 0 {
            self.failure_labels.get_or_insert_with(|| {
                SeriesLabels::new(&[("destination", &label_values(self.destination).0)])
            });
        }
        self.active = (self.active + delta.active).max(0);
        self.retransmits += delta.retransmits;
        self.sent_bytes += delta.sent_bytes;
        self.received_bytes += delta.received_bytes;
        self.connect_time_ns += delta.connect_time_ns;
        if delta.rtt_ns > 0 && self.destination != Destination::Other {
            self.rtt_ns = Some(delta.rtt_ns);
        }
    }
}

/// The addresses asked for and gone to.
fn label_values(destination: Destination) -> (String, String) {
    match destination {
        Destination::Address { asked, actual } => (asked.to_string(), actual.to_string()),
        Destination::Other => (OTHER.to_owned(), OTHER.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    fn address(port: u16) -> Destination {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Destination::Address {
            asked: address,
            actual: address,
        }
    }

    fn connects(number: u64) -> FlowDelta {
        FlowDelta {
            connects: number,
            ..FlowDelta::default()
        }
    }

    #[test]
    fn what_stays_is_found_after_others_expired() {
        let mut destinations = Destinations::default();
        for port in 1..=4 {
            destinations.assign(address(port), 10, 100);
            if port % 2 == 1 {
                destinations.release(address(port));
            }
        }
        destinations.expire(101);
        destinations.add(address(1), &connects(1), 102);
        destinations.add(address(2), &connects(2), 102);
        destinations.add(address(4), &connects(4), 102);
        destinations.assign(address(5), 10, 102);
        destinations.add(address(5), &connects(5), 102);
        let left: Vec<_> = destinations
            .iter()
            .map(|series| (series.destination, series.connects))
            .collect();
        assert_eq!(left, [(address(2), 2), (address(4), 4), (address(5), 5)]);
    }
}
