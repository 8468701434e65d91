//! Collectors of the `node_*` families: one file and one line in [`COLLECTORS`] each.
//!
//! They read procfs, sysfs and the interfaces' addresses on a schedule of their own ([`Collectors::collect`], which blocks);
//! a scrape renders the latest [`Readings`]. A collector that fails costs its own families until it works again. The
//! aggregator must be in the host's network and UTS namespaces for the network families to be the host's.

mod cloud;
mod cpu;
mod disk;
mod info;
mod memory;
mod net;
mod readings;
mod uptime;

pub use self::readings::Readings;
use crate::host::{HostError, HostRoot};

/// What somebody else knows about the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Release of the aggregator.
    pub version: String,
    /// Host name in the UTS namespace of process 1, once the sensor told it.
    pub hostname: Option<String>,
    /// Kernel release, once the sensor told it.
    pub kernel_release: Option<String>,
}

/// Reads one group of families.
trait Collector: Send + std::fmt::Debug {
    /// Name for the error counter: that of the file.
    fn name(&self) -> &'static str;

    /// Adds this moment's readings. With an error what was added before it is dropped.
    fn collect(
        &mut self,
        host: &HostRoot,
        facts: &NodeFacts,
        readings: &mut Readings,
    ) -> Result<(), HostError>;
}

/// All collectors.
const COLLECTORS: &[fn() -> Box<dyn Collector>] = &[
    || Box::new(info::Info),
    || Box::new(cloud::Cloud),
    || Box::new(uptime::Uptime),
    || Box::new(cpu::Cpu::default()),
    || Box::new(memory::Memory),
    || Box::new(disk::Disk),
    || Box::new(net::Net),
];

/// A collector's failure in one run.
#[derive(Debug)]
pub struct Failure {
    /// Its name.
    pub collector: &'static str,
    /// What went wrong.
    pub error: HostError,
}

/// All collectors with what they remember between runs.
#[derive(Debug)]
pub struct Collectors {
    host: HostRoot,
    collectors: Vec<Box<dyn Collector>>,
}

impl Collectors {
    /// Collectors that read below `host`.
    pub fn new(host: HostRoot) -> Self {
        Self {
            host,
            collectors: COLLECTORS.iter().map(|make| make()).collect(),
        }
    }

    /// Runs all collectors. It reads files and blocks.
    pub fn collect(&mut self, facts: &NodeFacts) -> (Readings, Vec<Failure>) {
        let mut readings = Readings::default();
        let mut failures = Vec::new();
        for collector in &mut self.collectors {
            let complete = readings.len();
            if let Err(error) = collector.collect(&self.host, facts, &mut readings) {
                readings.truncate(complete);
                failures.push(Failure {
                    collector: collector.name(),
                    error,
                });
            }
        }
        (readings, failures)
    }
}

#[cfg(test)]
mod tests;
