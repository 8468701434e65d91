//! Writes the containers' series.

use nodescope_schema::DelayTotals;

use super::Model;
use super::containers::Container;
use super::delays::ContainerDelays;
use super::destinations::Series;
use super::jvms;
use super::logs;
use crate::cgroupfs::Pressure;
use crate::metrics::catalogue::container as family;
use crate::metrics::{Descriptor, Exposition, SeriesLabels, Value};

/// What was left out for want of budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeriesLimits {
    /// Flows counted under `~other` because their container had too many destinations.
    pub destinations: u64,
    /// Listening addresses not shown.
    pub listens: u64,
    /// Volumes not shown.
    pub volumes: u64,
    /// Java virtual machines not read.
    pub jvms: u64,
    /// Java virtual machines not told apart from another one of their container.
    pub jvms_of_same_command: u64,
    /// Addresses at once that were too many to measure the round trip to.
    pub ping_targets: u64,
    /// Counts of log messages whose pattern was not shown.
    pub log_patterns: u64,
    /// Containers not shown.
    pub containers: u64,
    /// Cgroups refused.
    pub cgroups: u64,
}

/// How one family reads a destination; none leaves the series out.
type SeriesValue = fn(&Series) -> Option<Value>;

/// Families with both destination labels.
static DESTINATION_FAMILIES: &[(&Descriptor, SeriesValue)] = &[
    (&family::SUCCESSFUL_CONNECTS, |series| {
        Some(series)
            .filter(|s| s.has_connected())
            .map(|s| s.connects.into())
    }),
    (&family::ACTIVE_CONNECTIONS, |series| {
        nonzero(series.active.unsigned_abs())
    }),
    (&family::RETRANSMITS, |series| nonzero(series.retransmits)),
    (&family::CONNECTION_TIME, |series| {
        Some(series)
            .filter(|s| s.has_connected())
            .map(|s| Value::Nanoseconds(s.connect_time_ns))
    }),
    (&family::RTT, |series| series.rtt_ns.map(Value::Nanoseconds)),
    (&family::BYTES_SENT, |series| {
        Some(series)
            .filter(|s| s.has_connected())
            .map(|s| s.sent_bytes.into())
    }),
    (&family::BYTES_RECEIVED, |series| {
        Some(series)
            .filter(|s| s.has_connected())
            .map(|s| s.received_bytes.into())
    }),
];

/// How one family reads the waits of a container; none leaves the series out.
type DelayValue = fn(&ContainerDelays) -> Option<u64>;

/// How one wait for memory is read.
type MemoryDelay = fn(&DelayTotals) -> u64;

/// Values of the label `kind` of waits for memory, as the kernel's taskstats names them.
static MEMORY_DELAYS: [(&str, MemoryDelay); 5] = [
    ("compact", |totals| totals.compaction_ns),
    ("freepages", |totals| totals.reclaim_ns),
    ("swapin", |totals| totals.swap_in_ns),
    ("thrashing", |totals| totals.thrashing_ns),
    ("wpcopy", |totals| totals.write_copy_ns),
];

fn nonzero(value: u64) -> Option<Value> {
    (value > 0).then(|| value.into())
}

/// Values of the label `kind` of pressure families.
struct PressureLabels {
    some: SeriesLabels,
    full: SeriesLabels,
}

impl Model {
    /// Writes all series about containers.
    pub fn render(&self, page: &mut Exposition<'_>) {
        let shown: Vec<&Container> = self
            .containers
            .iter()
            .map(|(_, container)| container)
            .filter(|container| self.containers.is_shown(container, &self.cgroups))
            .collect();
        self.render_processes(page, &shown);
        render_resources(page, &shown);
        jvms::render(page, &shown);
        self.render_volumes(page, &shown);
        render_delays(page, &shown);
        render_network(page, &shown);
        self.render_latencies(page, &shown);
        logs::render(page, &shown);
    }

    fn render_processes(&self, page: &mut Exposition<'_>, shown: &[&Container]) {
        page.family(&family::INFO);
        for container in shown {
            if let Some(image) = &container.info_labels {
                page.sample_with(&container.labels, image, 1u64);
            }
        }
        let totals: Vec<_> = shown
            .iter()
            .map(|container| self.containers.process_totals(container, &self.cgroups))
            .collect();
        page.family(&family::APPLICATION_TYPE);
        for container in shown {
            for application in container.applications.labels() {
                page.sample_with(&container.labels, application, 1u64);
            }
        }
        page.family(&family::RESTARTS);
        for (container, totals) in shown.iter().zip(&totals) {
            page.sample(&container.labels, totals.restarts);
        }
        page.family(&family::OOM_KILLS);
        for (container, totals) in shown.iter().zip(&totals) {
            sample(page, container, nonzero(totals.oom_kills));
        }
    }

    /// What the budgets kept out.
    pub fn limits(&self) -> SeriesLimits {
        let sum = |value: fn(&Container) -> u64| -> u64 {
            let containers = self.containers.iter();
            containers.map(|(_, container)| value(container)).sum()
        };
        SeriesLimits {
            destinations: sum(|container| container.destinations.over_budget()),
            listens: self.listens_over_budget(),
            volumes: sum(|container| container.volumes_over_budget),
            jvms: sum(|container| container.jvms.over_budget),
            jvms_of_same_command: sum(|container| container.jvms.same_command),
            ping_targets: self.answers.over_limit(),
            log_patterns: sum(|container| container.logs.over_budget()),
            containers: self.containers.refused,
            cgroups: self.cgroups.refused,
        }
    }
}

fn sample(page: &mut Exposition<'_>, container: &Container, value: Option<Value>) {
    if let Some(value) = value {
        page.sample(&container.labels, value);
    }
}

fn render_resources(page: &mut Exposition<'_>, shown: &[&Container]) {
    type ResourceValue = fn(&Container) -> Option<Value>;
    let families: [(&'static Descriptor, ResourceValue); 6] = [
        (&family::CPU_LIMIT, |c| {
            c.resources.cpu_limit_cores.map(Into::into)
        }),
        (&family::CPU_USAGE, |c| {
            c.resources.cpu_usage_seconds.map(Into::into)
        }),
        (&family::CPU_THROTTLED, |c| {
            c.resources.cpu_throttled_seconds.map(Into::into)
        }),
        (&family::MEMORY_LIMIT, |c| {
            c.resources.memory_limit_bytes.map(Into::into)
        }),
        (&family::MEMORY_RSS, |c| {
            c.resources.memory_rss_bytes.map(Into::into)
        }),
        (&family::MEMORY_CACHE, |c| {
            c.resources.memory_cache_bytes.map(Into::into)
        }),
    ];
    for (descriptor, value) in families {
        page.family(descriptor);
        for container in shown {
            sample(page, container, value(container));
        }
    }
    render_pressure(page, shown);
}

/// Waits that the kernel may know nothing of are left out until the first.
fn render_delays(page: &mut Exposition<'_>, shown: &[&Container]) {
    let families: [(&'static Descriptor, DelayValue); 3] = [
        (&family::CPU_DELAY, |delays| Some(delays.totals().cpu_ns)),
        (&family::DISK_DELAY, |delays| {
            let ns = delays.totals().block_io_ns;
            (delays.accounted || ns > 0).then_some(ns)
        }),
        (&family::IRQ_DELAY, |delays| {
            Some(delays.totals().irq_ns).filter(|ns| *ns > 0)
        }),
    ];
    for (descriptor, value) in families {
        page.family(descriptor);
        for container in shown.iter().filter(|container| container.delays.known) {
            let waited = value(&container.delays).map(Value::Nanoseconds);
            sample(page, container, waited);
        }
    }
    page.family(&family::MEMORY_DELAY);
    let kinds = MEMORY_DELAYS.map(|(kind, value)| (SeriesLabels::new(&[("kind", kind)]), value));
    for container in shown {
        let totals = container.delays.totals();
        for (labels, value) in &kinds {
            let ns = value(&totals);
            if ns > 0 {
                page.sample_with(&container.labels, labels, Value::Nanoseconds(ns));
            }
        }
    }
}

fn render_pressure(page: &mut Exposition<'_>, shown: &[&Container]) {
    type PressureOf = fn(&Container) -> Option<Pressure>;
    let kinds = PressureLabels {
        some: SeriesLabels::new(&[("kind", "some")]),
        full: SeriesLabels::new(&[("kind", "full")]),
    };
    let families: [(&'static Descriptor, PressureOf); 3] = [
        (&family::CPU_PRESSURE, |c| c.resources.cpu_pressure),
        (&family::MEMORY_PRESSURE, |c| c.resources.memory_pressure),
        (&family::IO_PRESSURE, |c| c.resources.io_pressure),
    ];
    for (descriptor, pressure) in families {
        page.family(descriptor);
        for container in shown {
            let Some(pressure) = pressure(container) else {
                continue;
            };
            page.sample_with(&container.labels, &kinds.some, pressure.some_seconds);
            if let Some(full) = pressure.full_seconds {
                page.sample_with(&container.labels, &kinds.full, full);
            }
        }
    }
}

fn render_network(page: &mut Exposition<'_>, shown: &[&Container]) {
    page.family(&family::LISTEN_INFO);
    for container in shown {
        for listen in container.listens.values() {
            page.sample_with(&container.labels, &listen.labels, listen.open);
        }
    }
    page.family(&family::FAILED_CONNECTS);
    for container in shown {
        for series in container.destinations.iter() {
            if let Some(labels) = &series.failure_labels {
                page.sample_with(&container.labels, labels, series.failures);
            }
        }
    }
    for (descriptor, value) in DESTINATION_FAMILIES {
        page.family(descriptor);
        for container in shown {
            for series in container.destinations.iter() {
                if let Some(value) = value(series) {
                    page.sample_with(&container.labels, &series.labels, value);
                }
            }
        }
    }
}

impl Series {
    /// Whether a connection was ever established, in the sensor's time or before it.
    fn has_connected(&self) -> bool {
        self.connects > 0 || self.active > 0 || self.sent_bytes > 0 || self.received_bytes > 0
    }
}
