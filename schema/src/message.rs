//! Messages: one is one packet on the socket, at most [`MAX_MESSAGE_BYTES`].

use crate::{ExecutableReply, FilesystemReply, Record, Reply, Request};

/// Version this library speaks. A change that an older reader would misread raises it; a new record or field does not.
pub const PROTOCOL_VERSION: u16 = 1;
/// Oldest version this library still understands. Sides that share no version part with a clear message.
pub const OLDEST_PROTOCOL_VERSION: u16 = 1;
/// Longest message, in bytes; a longer packet is refused unread.
pub const MAX_MESSAGE_BYTES: usize = 65_536;

/// First message of the sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SensorHello<'a> {
    /// Newest version it speaks.
    pub version: u16,
    /// Oldest version it speaks.
    pub oldest_version: u16,
    /// Its release.
    pub release: &'a str,
    /// Random number of this run of the sensor: a new one means that all kernel counters began again.
    pub run_id: u64,
    /// Hierarchy number of the watched cgroup v1 hierarchy; 0 when there is none.
    pub v1_hierarchy: u32,
    /// Its controllers as in `/proc/PID/cgroup`, for example `memory` or `cpu,cpuacct`; empty when there is none.
    pub v1_controllers: &'a str,
    /// Inode of the network namespace of process 1.
    pub host_netns: u32,
    /// Node name in the UTS namespace of process 1.
    pub hostname: &'a str,
    /// Kernel release.
    pub kernel_release: &'a str,
}

/// First message of the aggregator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AggregatorHello<'a> {
    /// Newest version it speaks.
    pub version: u16,
    /// Oldest version it speaks.
    pub oldest_version: u16,
    /// Its release.
    pub release: &'a str,
}

/// Takes the parts of a decoded message of the sensor. Borrowed data lives as long as the call.
pub trait FromSensorSink {
    /// The sensor's first message.
    fn hello(&mut self, hello: SensorHello<'_>);
    /// One fact.
    fn record(&mut self, record: Record<'_>);
    /// Answer to a request.
    fn reply(&mut self, reply: Reply);
    /// Granting answer to a request for the space of a file system. Who never asks gets none.
    fn filesystem_reply(&mut self, reply: FilesystemReply) {
        let _ = reply;
    }
    /// Granting answer to a request for the kind of a program. Who never asks gets none.
    fn executable_reply(&mut self, reply: ExecutableReply<'_>) {
        let _ = reply;
    }
}

/// A message of the aggregator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromAggregator<'a> {
    /// Sent first.
    Hello(AggregatorHello<'a>),
    /// Asks for something.
    Request(Request<'a>),
}

/// The version two sides use: the newest both understand, or none.
pub fn common_version(newest: u16, oldest: u16) -> Option<u16> {
    let version = newest.min(PROTOCOL_VERSION);
    (version >= oldest && version >= OLDEST_PROTOCOL_VERSION).then_some(version)
}
