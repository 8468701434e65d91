//! The families the tests compare with exact counts.

use crate::Agent;

/// Counters of one container towards one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// Established connections.
    pub connects: u64,
    /// Connection attempts that failed.
    pub failures: u64,
    /// Connections open now.
    pub active: u64,
    /// Payload bytes sent.
    pub sent_bytes: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
}

impl Expected {
    /// Waits until all of them are as expected, and stay so. An empty destination means the sum over all.
    #[track_caller]
    pub fn settles(&self, agent: &Agent, container_id: &str, destination: &str) {
        let Self {
            connects,
            failures,
            active,
            sent_bytes,
            received_bytes,
        } = *self;
        let all = [("container_id", container_id), ("destination", destination)];
        let labels = if destination.is_empty() {
            &all[..1]
        } else {
            &all[..]
        };
        let families = [
            ("container_net_tcp_successful_connects_total", connects),
            ("container_net_tcp_failed_connects_total", failures),
            ("container_net_tcp_active_connections", active),
            ("container_net_tcp_bytes_sent_total", sent_bytes),
            ("container_net_tcp_bytes_received_total", received_bytes),
        ];
        agent.settle_together(labels, &families);
    }
}
