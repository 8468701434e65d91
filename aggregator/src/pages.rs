//! What the HTTP server shows.

use std::sync::{Arc, Mutex};

use crate::app::lock;
use crate::collect::Collect;
use crate::http::Pages;
use crate::metrics::own::Metrics;
use crate::metrics::{Format, Sink};
use crate::model::{Model, SeriesLimits};

/// The node's pages.
#[derive(Debug)]
pub struct NodePages {
    model: Arc<Mutex<Model>>,
    metrics: Arc<Metrics>,
    collect: Arc<Collect>,
    /// A recording is complete by itself: there is no sensor to wait for.
    replayed: bool,
    counted: Mutex<SeriesLimits>,
}

impl NodePages {
    /// Pages of this model.
    pub fn new(
        model: &Arc<Mutex<Model>>,
        metrics: &Arc<Metrics>,
        collect: Arc<Collect>,
        replayed: bool,
    ) -> Self {
        Self {
            model: Arc::clone(model),
            metrics: Arc::clone(metrics),
            collect,
            replayed,
            counted: Mutex::default(),
        }
    }

    /// Adds to the own metrics what the budgets kept out since the last page. Of two pages at once one counts after the
    /// other: an older state compared with a newer one would count the difference again.
    fn count_limits(&self) {
        let mut counted = self
            .counted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = lock(&self.model).limits();
        for (reason, now, before) in [
            ("destination_budget", now.destinations, counted.destinations),
            ("listen_budget", now.listens, counted.listens),
            ("volume_budget", now.volumes, counted.volumes),
            ("jvm_budget", now.jvms, counted.jvms),
            (
                "jvm_same_command",
                now.jvms_of_same_command,
                counted.jvms_of_same_command,
            ),
            ("ping_target_limit", now.ping_targets, counted.ping_targets),
            ("log_pattern_budget", now.log_patterns, counted.log_patterns),
            ("container_budget", now.containers, counted.containers),
            ("cgroup_limit", now.cgroups, counted.cgroups),
        ] {
            self.metrics
                .add_series_dropped(reason, now.saturating_sub(before));
        }
        *counted = now;
    }
}

impl Pages for NodePages {
    fn metrics(&self, format: Format, sink: &mut dyn Sink) {
        let readings = self.collect.readings();
        self.count_limits();
        self.metrics.write_page(format, sink, |page| {
            let model = lock(&self.model);
            readings.render(&model.global_labels().node(), page);
            model.render(page);
        });
    }

    fn ready(&self) -> Result<(), String> {
        let model = lock(&self.model);
        match (self.replayed, model.sensor.connected, model.sensor.complete) {
            (true, _, _) | (_, _, true) => Ok(()),
            (_, false, _) => Err("the sensor is not connected".to_owned()),
            (_, true, false) => Err("the sensor's snapshot is not complete".to_owned()),
        }
    }
}
