//! What the sensor's own stages had to drop or refuse, by stage and reason. The kernel side counts its own.

use nodescope_schema::{Loss, Record};

/// Something dropped or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Records for a client that did not read in time; it gets a snapshot later.
    ClientSlow,
    /// Records that came after the recording reached its limit or could not be written.
    RecordingFull,
    /// Connections of somebody who is neither root nor the client's user.
    PeerRefused,
    /// Connections that sent something that is not the protocol.
    ClientBroken,
    /// Snapshots and polls that could not be read whole from the kernel.
    SourceFailed,
    /// Requests refused because there were too many.
    RequestsRateLimited,
    /// Ping targets that are no address of one other machine.
    PingTargetsNotAllowed,
    /// Ping targets to which no process has had a connection, or none that is still counted.
    PingTargetsNotSeen,
    /// Echo requests that the kernel did not take, for example for want of a route.
    PingsNotSent,
    /// Echo replies that answer no request that waits: late, twice, or forged.
    PingAnswersForeign,
}

/// Stage and reason as shown to users, in the order of the enum.
const NAMES: [(Lost, &str, &str); 10] = [
    (Lost::ClientSlow, "stream", "client_slow"),
    (Lost::RecordingFull, "recording", "full"),
    (Lost::PeerRefused, "connections", "peer_refused"),
    (Lost::ClientBroken, "connections", "protocol_error"),
    (Lost::SourceFailed, "stream", "map_unreadable"),
    (Lost::RequestsRateLimited, "requests", "rate_limited"),
    (Lost::PingTargetsNotAllowed, "ping_targets", "not_allowed"),
    (Lost::PingTargetsNotSeen, "ping_targets", "not_seen"),
    (Lost::PingsNotSent, "pings", "not_sent"),
    (Lost::PingAnswersForeign, "pings", "foreign_answer"),
];

/// Totals since the start.
#[derive(Debug, Default)]
pub struct Losses {
    totals: [u64; NAMES.len()],
}

impl Losses {
    /// Counts `lost`.
    pub fn add(&mut self, lost: Lost, count: u64) {
        self.totals[lost as usize] += count;
    }

    /// The total of `lost`.
    pub fn total(&self, lost: Lost) -> u64 {
        self.totals[lost as usize]
    }

    /// One record a row, zeros included: a reader sees what could be lost before it is.
    pub fn records(&self) -> impl Iterator<Item = Record<'static>> + use<> {
        let totals = self.totals;
        NAMES.iter().zip(totals).map(|((_, stage, reason), total)| {
            Record::Loss(Loss {
                stage,
                reason,
                total,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_the_enum_and_differ() {
        for (index, (lost, stage, reason)) in NAMES.iter().enumerate() {
            assert_eq!(*lost as usize, index);
            let same = NAMES
                .iter()
                .filter(|row| (row.1, row.2) == (*stage, *reason))
                .count();
            assert_eq!(same, 1, "{stage} {reason}");
        }
    }

    #[test]
    fn counts() {
        let mut losses = Losses::default();
        losses.add(Lost::RequestsRateLimited, 2);
        losses.add(Lost::RequestsRateLimited, 3);
        assert_eq!(losses.total(Lost::RequestsRateLimited), 5);
        let wanted = Record::Loss(Loss {
            stage: "requests",
            reason: "rate_limited",
            total: 5,
        });
        assert!(losses.records().any(|record| record == wanted));
    }
}
