//! Flows as the sensor tells them, and what is new in each.
//!
//! The sensor sends totals; a container's series add up several flows (one for each program and cgroup) and outlive
//! runs of the sensor. So each flow remembers the totals it has already handed on, and [`FlowState::advance`] gives the
//! difference. A repeated or lost record therefore changes nothing in the end.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use nodescope_schema::{FlowKey, FlowKind, FlowTotals, Workload};

/// Longest executable name the kernel side gives.
const EXECUTABLE_BYTES: usize = 31;

/// The name of an executable, without allocation: one is part of every flow's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Executable {
    bytes: [u8; EXECUTABLE_BYTES],
    len: u8,
}

impl Executable {
    /// Takes the first 31 bytes.
    pub fn new(name: &[u8]) -> Self {
        let mut bytes = [0; EXECUTABLE_BYTES];
        let len = name.len().min(EXECUTABLE_BYTES);
        bytes[..len].copy_from_slice(&name[..len]);
        Self {
            bytes,
            len: len as u8,
        }
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Hash for Executable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// Identity of a flow, owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowId {
    /// Cgroups of the process that connects.
    pub workload: Workload,
    /// Its program.
    pub executable: Executable,
    /// Remote address.
    pub remote_ip: std::net::Ipv6Addr,
    /// Remote port.
    pub remote_port: u16,
    /// Where it really goes when that is another address; unspecified when it is not.
    pub actual_ip: std::net::Ipv6Addr,
    /// Port of `actual_ip`.
    pub actual_port: u16,
    /// Whether the process was in the host's network namespace.
    pub host_netns: bool,
    /// One destination, or the rest.
    pub kind: FlowKind,
}

impl From<&FlowKey<'_>> for FlowId {
    fn from(key: &FlowKey<'_>) -> Self {
        Self {
            workload: key.owner.workload,
            executable: Executable::new(key.owner.executable),
            remote_ip: key.remote_ip,
            remote_port: key.remote_port,
            actual_ip: key.actual_ip,
            actual_port: key.actual_port,
            host_netns: key.host_netns,
            kind: key.kind,
        }
    }
}

impl FlowId {
    /// The destination, an IPv4 address as such; none for what the kernel could not keep apart.
    pub fn destination(&self) -> Destination {
        let address = |ip, port| SocketAddr::new(IpAddr::V6(ip).to_canonical(), port);
        let asked = address(self.remote_ip, self.remote_port);
        match self.kind {
            FlowKind::Destination => Destination::Address {
                asked,
                actual: match self.actual_port {
                    0 => asked,
                    port => address(self.actual_ip, port),
                },
            },
            FlowKind::Other => Destination::Other,
        }
    }
}

/// What a series of a container is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// One address and port.
    Address {
        /// What the program connected to, for example the address of a service.
        asked: SocketAddr,
        /// Where the connections go, for example one of the servers behind that service; as a rule the same.
        actual: SocketAddr,
    },
    /// Everything over a budget.
    Other,
}

impl Destination {
    /// The address that packets go to; none for many together.
    pub fn peer(self) -> Option<IpAddr> {
        match self {
            Self::Address { actual, .. } => Some(actual.ip()),
            Self::Other => None,
        }
    }
}

/// Where a flow's totals go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlowTarget {
    /// Not known yet: its workload's container is not resolved.
    #[default]
    Pending,
    /// Nowhere: filtered, or of nobody.
    Dropped,
    /// Nowhere until the budget of containers has room for its own.
    NoRoom,
    /// To this series of this container.
    Series {
        /// Index of the container.
        container: usize,
        /// Series in it.
        destination: Destination,
    },
}

/// One flow.
#[derive(Debug, Clone, Copy, Default)]
pub struct FlowState {
    generation: u64,
    /// Newest totals from the sensor.
    latest: FlowTotals,
    /// Totals already handed on.
    counted: FlowTotals,
    /// Where they go.
    pub target: FlowTarget,
}

/// What to add to a series; `active` may shrink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowDelta {
    /// Successful connects.
    pub connects: u64,
    /// Failed connects.
    pub failures: u64,
    /// Change of the connections open now.
    pub active: i64,
    /// Retransmitted segments.
    pub retransmits: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Time spent connecting.
    pub connect_time_ns: u64,
    /// A gauge, not a difference: the round trip if it is another one than before; 0 when it is not.
    pub rtt_ns: u64,
}

impl FlowState {
    /// Takes newer totals. Returns whether anything changed.
    pub fn update(&mut self, generation: u64, totals: &FlowTotals) -> bool {
        if generation != self.generation {
            self.generation = generation;
            let active = self.counted.active;
            self.counted = FlowTotals {
                active,
                ..FlowTotals::default()
            };
        } else if *totals == self.latest {
            return false;
        }
        self.latest = *totals;
        true
    }

    /// Connects that succeeded or failed, as of the newest totals of this generation.
    pub fn attempts(&self, generation: u64) -> u64 {
        if generation != self.generation {
            return 0;
        }
        self.latest.connects.saturating_add(self.latest.failures)
    }

    /// What was not handed on yet. Totals never shrink within a generation; if a sensor sent such, nothing is added.
    pub fn advance(&mut self) -> FlowDelta {
        let (new, old) = (&self.latest, &self.counted);
        let delta = FlowDelta {
            connects: new.connects.saturating_sub(old.connects),
            failures: new.failures.saturating_sub(old.failures),
            active: i64::from(new.active) - i64::from(old.active),
            retransmits: new.retransmits.saturating_sub(old.retransmits),
            sent_bytes: new.sent_bytes.saturating_sub(old.sent_bytes),
            received_bytes: new.received_bytes.saturating_sub(old.received_bytes),
            connect_time_ns: new.connect_time_ns.saturating_sub(old.connect_time_ns),
            rtt_ns: if new.rtt_ns == old.rtt_ns {
                0
            } else {
                new.rtt_ns
            },
        };
        self.counted = self.latest;
        delta
    }

    /// Its container is another one from now on: the connections that are open move there, what was counted stays.
    pub fn leave(&mut self) {
        self.target = FlowTarget::Pending;
        self.counted.active = 0;
    }

    /// The flow is over: what its series still shows as open is taken back.
    pub fn close(&self) -> FlowDelta {
        FlowDelta {
            active: -i64::from(self.counted.active),
            ..FlowDelta::default()
        }
    }

    /// Monotonic time the kernel began to count it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Monotonic time of the last change the kernel saw.
    pub fn updated_ns(&self) -> u64 {
        self.latest.updated_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(connects: u64, active: u32) -> FlowTotals {
        FlowTotals {
            connects,
            active,
            sent_bytes: connects * 10,
            ..FlowTotals::default()
        }
    }

    #[test]
    fn repeated_and_lost_records_change_nothing() {
        let mut flow = FlowState::default();
        assert!(flow.update(1, &totals(3, 2)));
        assert_eq!(flow.advance().connects, 3);
        assert!(!flow.update(1, &totals(3, 2)));
        assert_eq!(flow.advance(), FlowDelta::default());
        flow.update(1, &totals(9, 1));
        let delta = flow.advance();
        assert_eq!(
            (delta.connects, delta.active, delta.sent_bytes),
            (6, -1, 60)
        );
    }

    #[test]
    fn a_new_generation_starts_from_zero_and_replaces_the_gauge() {
        let mut flow = FlowState::default();
        flow.update(1, &totals(5, 2));
        flow.advance();
        flow.update(2, &totals(1, 1));
        let delta = flow.advance();
        assert_eq!((delta.connects, delta.active), (1, -1));
        assert_eq!(flow.close().active, -1);
    }

    #[test]
    fn totals_that_shrink_add_nothing() {
        let mut flow = FlowState::default();
        flow.update(1, &totals(5, 0));
        flow.advance();
        flow.update(1, &totals(4, 0));
        assert_eq!(flow.advance().connects, 0);
    }

    #[test]
    fn executables_keep_their_bytes() {
        assert_eq!(Executable::new(b"nginx").as_bytes(), b"nginx");
        assert_eq!(Executable::new(&[0xff; 40]).as_bytes(), &[0xff; 31]);
        assert_ne!(Executable::new(b"a"), Executable::new(b"a\0"));
    }
}
