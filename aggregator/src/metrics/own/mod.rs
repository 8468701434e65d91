//! nodescope's metrics about itself, kept with `prometheus-client`.
//!
//! [`Metrics`] is one struct of handles, made once and shared. The sensor's records carry totals since its start, so those
//! counters are set, not increased; a restart of the sensor shows as a counter reset, which is what happened.
//! Names and help come from [`catalogue::own`](super::catalogue::own).

mod labels;
mod logs;
mod page;
mod sensor;
mod usage;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use self::labels::{
    Build, Collector, FamilyName, Hook, Kind, Loss, Map, Queue, Reason, RequestResult,
};
use self::logs::LogMetrics;
pub use self::usage::Usage;
use super::Descriptor;
use super::catalogue::own as families;

type Seconds = Counter<f64, AtomicU64>;
type Level = Gauge<u64, AtomicU64>;

/// Upper bounds of the buckets of the scrape duration, in seconds; the target is 0.05.
const SCRAPE_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Handles of all own metrics. Methods take `&self` and may be called from any thread.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    records_received: Family<Kind, Counter>,
    records_lost: Family<Loss, Counter>,
    /// The one of those losses that outlives sensors.
    unseen_connects: Mutex<Option<u64>>,
    decode_errors: Counter,
    sequence_gaps: Counter,
    sensor_connected: Level,
    sensor_reconnects: Counter,
    hooks: Family<Hook, Level>,
    known_hooks: Mutex<Vec<(Hook, String)>>,
    sensor_label_sets: AtomicUsize,
    map_entries: Family<Map, Level>,
    map_capacity: Family<Map, Level>,
    sensor_records_sent: Counter,
    sensor_requests: Family<RequestResult, Counter>,
    sensor_memory: Level,
    sensor_cpu: Seconds,
    aggregator_memory: Level,
    aggregator_cpu: Seconds,
    series: Family<FamilyName, Level>,
    series_dropped: Family<Reason, Counter>,
    scrape_duration: Histogram,
    collector_errors: Family<Collector, Counter>,
    containers: Level,
    queues: Family<Queue, Level>,
    logs: LogMetrics,
}

impl Metrics {
    /// Makes and registers all metrics. `version` is the release of the aggregator.
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::default();
        let r = &mut registry;
        let build = register(r, &families::BUILD_INFO, Family::<Build, Level>::default());
        build.get_or_create(&Build::new(version)).set(1);
        Self {
            records_received: register(r, &families::RECORDS_RECEIVED, Family::default()),
            records_lost: register(r, &families::RECORDS_LOST, Family::default()),
            unseen_connects: Mutex::default(),
            decode_errors: register(r, &families::DECODE_ERRORS, Counter::default()),
            sequence_gaps: register(r, &families::SEQUENCE_GAPS, Counter::default()),
            sensor_connected: register(r, &families::SENSOR_CONNECTED, Level::default()),
            sensor_reconnects: register(r, &families::SENSOR_RECONNECTS, Counter::default()),
            hooks: register(r, &families::SENSOR_HOOK, Family::default()),
            known_hooks: Mutex::default(),
            sensor_label_sets: AtomicUsize::new(0),
            map_entries: register(r, &families::SENSOR_MAP_ENTRIES, Family::default()),
            map_capacity: register(r, &families::SENSOR_MAP_CAPACITY, Family::default()),
            sensor_records_sent: register(r, &families::SENSOR_RECORDS_SENT, Counter::default()),
            sensor_requests: register(r, &families::SENSOR_REQUESTS, Family::default()),
            sensor_memory: register(r, &families::SENSOR_MEMORY, Level::default()),
            sensor_cpu: register(r, &families::SENSOR_CPU, Seconds::default()),
            aggregator_memory: register(r, &families::AGGREGATOR_MEMORY, Level::default()),
            aggregator_cpu: register(r, &families::AGGREGATOR_CPU, Seconds::default()),
            series: register(r, &families::SERIES, Family::default()),
            series_dropped: register(r, &families::SERIES_DROPPED, Family::default()),
            scrape_duration: register(
                r,
                &families::SCRAPE_DURATION,
                Histogram::new(SCRAPE_BUCKETS),
            ),
            collector_errors: register(r, &families::COLLECTOR_ERRORS, Family::default()),
            containers: register(r, &families::CONTAINERS, Level::default()),
            queues: register(r, &families::QUEUE_LENGTH, Family::default()),
            logs: LogMetrics::new(r),
            registry,
        }
    }

    /// Counts series that a budget kept out, or that were dropped for another `reason`.
    pub fn add_series_dropped(&self, reason: &'static str, series: u64) {
        self.series_dropped
            .get_or_create(&Reason { reason })
            .inc_by(series);
    }

    /// Counts a failed run of a node collector.
    pub fn add_collector_error(&self, collector: &'static str) {
        self.collector_errors
            .get_or_create(&Collector { collector })
            .inc();
    }

    /// Sets how many containers are reported.
    pub fn set_containers(&self, containers: usize) {
        self.containers.set(containers as u64);
    }

    /// Sets how much waits in a queue.
    pub fn set_queue_length(&self, queue: &'static str, length: usize) {
        self.queues
            .get_or_create(&Queue { queue })
            .set(length as u64);
    }

    /// Sets what the aggregator itself uses.
    pub fn set_aggregator_usage(&self, usage: Usage) {
        self.aggregator_memory.set(usage.resident_bytes);
        set_seconds(&self.aggregator_cpu, usage.cpu_seconds);
    }
}

fn register<M: Metric + Clone>(registry: &mut Registry, family: &Descriptor, metric: M) -> M {
    let name = family.name.strip_suffix("_total").unwrap_or(family.name);
    registry.register(name, family.help, metric.clone());
    metric
}

/// Sets a counter to a total that somebody else counts.
fn set_total(counter: &Counter, total: u64) {
    counter.inner().store(total, Ordering::Relaxed);
}

fn set_seconds(counter: &Seconds, seconds: f64) {
    counter.inner().store(seconds.to_bits(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
