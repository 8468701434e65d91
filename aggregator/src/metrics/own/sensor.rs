//! What the sensor tells about itself, and how the connection to it fares.

use std::hash::Hash as StdHash;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use nodescope_schema::{Hook, Loss, MapFill, SensorStatus};
use prometheus_client::metrics::family::Family;

use super::{Metrics, labels, set_seconds, set_total};

/// Most label sets that are kept of losses and maps together, and as many of hooks. Beyond it new ones are ignored: a
/// sensor has some dozens, so whoever reaches this is not a sane sensor.
const MAX_SENSOR_LABEL_SETS: usize = 256;

impl Metrics {
    /// Counts received records of one kind.
    pub fn add_records_received(&self, kind: &'static str, records: u64) {
        self.records_received
            .get_or_create(&labels::Kind { kind })
            .inc_by(records);
    }

    /// Counts a message that could not be decoded.
    pub fn add_decode_error(&self) {
        self.decode_errors.inc();
    }

    /// Counts messages that are missing between two that arrived.
    pub fn add_sequence_gap(&self, missing: u64) {
        self.sequence_gaps.inc_by(missing);
    }

    /// Sets whether the sensor is connected.
    pub fn set_sensor_connected(&self, connected: bool) {
        self.sensor_connected.set(connected.into());
    }

    /// Counts a connection after the first.
    pub fn add_sensor_reconnect(&self) {
        self.sensor_reconnects.inc();
    }

    /// Forgets hooks, maps and losses of an earlier run of the sensor. To be called when its run id changes.
    pub fn clear_sensor(&self) {
        self.known_hooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.hooks.clear();
        self.map_entries.clear();
        self.map_capacity.clear();
        self.records_lost.clear();
        self.sensor_label_sets.store(0, Ordering::Relaxed);
        self.show_unseen_connects();
    }

    /// Sets how many connects no sensor counted. They are no sensor's own: a new one changes nothing about them.
    pub fn set_unseen_connects(&self, total: u64) {
        self.unseen_connects().replace(total);
        self.show_unseen_connects();
    }

    /// Nothing until there is a count: 0 would say that none was lost.
    fn show_unseen_connects(&self) {
        let Some(total) = *self.unseen_connects() else {
            return;
        };
        let labels = labels::Loss {
            stage: "connects".to_owned(),
            reason: "no_sensor".to_owned(),
        };
        set_total(&self.records_lost.get_or_create(&labels), total);
    }

    fn unseen_connects(&self) -> MutexGuard<'_, Option<u64>> {
        self.unseen_connects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the sensor's total of a loss.
    pub fn set_loss(&self, loss: &Loss<'_>) {
        let labels = labels::Loss {
            stage: loss.stage.to_owned(),
            reason: loss.reason.to_owned(),
        };
        if self.has_room(&self.records_lost, &labels) {
            set_total(&self.records_lost.get_or_create(&labels), loss.total);
        }
    }

    /// Sets the state of a hook; its former state disappears. Returns whether it was another one, or for other reasons.
    pub fn set_hook(&self, hook: &Hook<'_>) -> bool {
        let labels = labels::Hook {
            hook: hook.name.to_owned(),
            rung: hook.rung.to_owned(),
            verdict: hook.verdict.as_str(),
        };
        let mut known = self
            .known_hooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = known
            .iter()
            .position(|(other, _)| other.hook == labels.hook)
        {
            let (former, detail) = known.swap_remove(at);
            if former == labels && detail == hook.detail {
                known.push((former, detail));
                return false;
            }
            self.hooks.remove(&former);
        }
        let has_room = known.len() < MAX_SENSOR_LABEL_SETS;
        if has_room {
            self.hooks.get_or_create(&labels).set(1);
            known.push((labels, hook.detail.to_owned()));
        }
        has_room
    }

    /// Sets how full a kernel map is.
    pub fn set_map_fill(&self, fill: &MapFill<'_>) {
        let labels = labels::Map {
            map: fill.name.to_owned(),
        };
        if self.has_room(&self.map_entries, &labels) {
            self.map_entries
                .get_or_create(&labels)
                .set(fill.entries.into());
            self.map_capacity
                .get_or_create(&labels)
                .set(fill.capacity.into());
        }
    }

    /// Sets what the sensor uses and did.
    pub fn set_sensor_status(&self, status: &SensorStatus) {
        self.sensor_memory.set(status.resident_bytes);
        set_seconds(&self.sensor_cpu, status.cpu_ns as f64 / 1e9);
        set_total(&self.sensor_records_sent, status.records_sent);
        self.set_queue_length("sensor_requests", status.requests_waiting as usize);
        for (result, total) in [
            ("granted", status.requests_granted),
            ("refused", status.requests_refused),
        ] {
            set_total(
                &self
                    .sensor_requests
                    .get_or_create(&labels::RequestResult { result }),
                total,
            );
        }
    }

    fn has_room<S: Clone + StdHash + Eq, M>(&self, family: &Family<S, M>, labels: &S) -> bool {
        family.get(labels).is_some()
            || self.sensor_label_sets.fetch_add(1, Ordering::Relaxed) < MAX_SENSOR_LABEL_SETS
    }
}
