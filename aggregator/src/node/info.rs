//! `node_agent_info` and `node_info`.
//!
//! Host name and kernel release are those the sensor read in the UTS namespace of process 1. Until it is connected they
//! come from `/proc/sys/kernel`, which shows the aggregator's own UTS namespace: the same on a host.

use super::{Collector, NodeFacts, Readings};
use crate::host::{HostError, HostRoot};
use crate::metrics::catalogue::node::{AGENT_INFO, INFO};

#[derive(Debug)]
pub(super) struct Info;

impl Collector for Info {
    fn name(&self) -> &'static str {
        "info"
    }

    fn collect(
        &mut self,
        host: &HostRoot,
        facts: &NodeFacts,
        readings: &mut Readings,
    ) -> Result<(), HostError> {
        let hostname = known_or_read(&facts.hostname, host, "sys/kernel/hostname")?;
        let kernel = known_or_read(&facts.kernel_release, host, "sys/kernel/osrelease")?;
        readings.push(&AGENT_INFO, &[("version", &facts.version)], true);
        readings.push(
            &INFO,
            &[("hostname", &hostname), ("kernel_version", &kernel)],
            true,
        );
        Ok(())
    }
}

fn known_or_read(known: &Option<String>, host: &HostRoot, path: &str) -> Result<String, HostError> {
    match known {
        Some(known) => Ok(known.clone()),
        None => Ok(host.proc(path).text()?.trim_end().to_owned()),
    }
}
