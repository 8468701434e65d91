//! `node_cloud_info`: what the cloud says about this machine.
//!
//! The series is there on every machine, so that joins with it find one. No cloud is asked: all labels are empty.

use super::{Collector, NodeFacts, Readings};
use crate::host::{HostError, HostRoot};
use crate::metrics::catalogue::node::CLOUD_INFO;

#[derive(Debug)]
pub(super) struct Cloud;

impl Collector for Cloud {
    fn name(&self) -> &'static str {
        "cloud"
    }

    fn collect(
        &mut self,
        _: &HostRoot,
        _: &NodeFacts,
        readings: &mut Readings,
    ) -> Result<(), HostError> {
        let labels: Vec<_> = CLOUD_INFO.labels.iter().map(|label| (*label, "")).collect();
        readings.push(&CLOUD_INFO, &labels, true);
        Ok(())
    }
}
