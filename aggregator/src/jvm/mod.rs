//! What a Java virtual machine says about itself in its performance data, the file `/tmp/hsperfdata_USER/PID` that
//! `jstat` reads too. HotSpot writes it unless `-XX:-UsePerfData` or `-XX:+PerfDisableSharedMem` is set.
//!
//! [`perf_data`] reads the format, here is which of its values mean what. Names are those of coroot-node-agent, and so are
//! the sums, with one difference: the largest heap is the sum over the generations and not over their spaces, each of
//! which may grow at the cost of others; with G1, where each generation may take the whole heap, it is the old one's.

pub mod perf_data;

use nodescope_logs::sample::{SampleOptions, sample};

use perf_data::PerfData;
pub use perf_data::PerfDataError;

/// Longest file that is read; the sensor opens no longer one.
pub const MAX_BYTES: u64 = 1 << 20;
/// Longest value of the label `jvm`.
const MAX_COMMAND_BYTES: usize = 512;
/// Longest version and name of a collector; real ones have some 30 bytes.
const MAX_NAME_BYTES: usize = 64;
/// HotSpot has three at most, of young, old and concurrent collections.
const COLLECTORS: u32 = 3;
const GENERATIONS: u32 = 2;
/// Spaces of a generation: eden and two survivors.
const MAX_SPACES: u64 = 8;
/// `sun.gc.policy.name` of G1.
const GARBAGE_FIRST: &[u8] = b"GarbageFirst";

/// Whether a process is a Java virtual machine, by its command line as in `/proc/PID/cmdline`.
pub fn is_jvm(cmdline: &[u8]) -> bool {
    let mut arguments = cmdline.split(|byte| *byte == 0);
    let is_java = arguments.next().is_some_and(|name| name.ends_with(b"java"));
    is_java && arguments.next().is_some_and(|next| !next.is_empty())
}

/// What a machine says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct JvmStatistics {
    /// Main class or archive and its arguments, without secrets.
    pub command: String,
    /// Version of Java.
    pub java_version: String,
    /// Memory of the heap that is committed.
    pub heap_size_bytes: u64,
    /// Memory of the heap with objects, as of the last collection or later.
    pub heap_used_bytes: u64,
    /// What the heap may grow to.
    pub heap_max_bytes: Option<u64>,
    /// Time spent by each collector, in seconds.
    pub collectors: Vec<(String, f64)>,
    /// Time at safepoints, in seconds.
    pub safepoint_seconds: Option<f64>,
    /// Time until all threads were at the safepoint, in seconds.
    pub safepoint_sync_seconds: Option<f64>,
}

impl JvmStatistics {
    /// Reads a file. A machine that has not yet written its command is not ready.
    pub fn parse(bytes: &[u8]) -> Result<Self, PerfDataError> {
        let data = PerfData::parse(bytes)?;
        let command = data
            .text("sun.rt.javaCommand")
            .ok_or(PerfDataError::NotReady)?;
        let seconds = |name: &str| seconds(&data, name);
        Ok(Self {
            // Arguments can hold passwords, so they are treated like a log message.
            command: printable(command, MAX_COMMAND_BYTES, true),
            java_version: name(data.text("java.property.java.version").unwrap_or_default()),
            heap_size_bytes: spaces(&data, "capacity"),
            heap_used_bytes: spaces(&data, "used"),
            heap_max_bytes: heap_max(&data),
            collectors: (0..COLLECTORS)
                .filter_map(|number| collector(&data, number))
                .collect(),
            safepoint_seconds: seconds("sun.rt.safepointTime"),
            safepoint_sync_seconds: seconds("sun.rt.safepointSyncTime"),
        })
    }
}

/// The sum of one value of all spaces.
fn spaces(data: &PerfData<'_>, value: &str) -> u64 {
    let mut sum = 0u64;
    for generation in 0..GENERATIONS {
        let prefix = format!("sun.gc.generation.{generation}");
        let spaces = data.number(&format!("{prefix}.spaces")).unwrap_or(0);
        for space in 0..spaces.min(MAX_SPACES) {
            let bytes = data.number(&format!("{prefix}.space.{space}.{value}"));
            sum = sum.saturating_add(bytes.unwrap_or(0));
        }
    }
    sum
}

fn heap_max(data: &PerfData<'_>) -> Option<u64> {
    let of = |generation| data.number(&format!("sun.gc.generation.{generation}.maxCapacity"));
    let young = match data.text("sun.gc.policy.name") {
        Some(GARBAGE_FIRST) => None,
        _ => of(0),
    };
    let sum = young.unwrap_or(0).saturating_add(of(1).unwrap_or(0));
    (sum > 0).then_some(sum)
}

/// Name and time of a collector, if there is one with this number.
fn collector(data: &PerfData<'_>, number: u32) -> Option<(String, f64)> {
    let prefix = format!("sun.gc.collector.{number}");
    let text = data.text(&format!("{prefix}.name"))?;
    let seconds = seconds(data, &format!("{prefix}.time"))?;
    (!text.is_empty()).then(|| (name(text), seconds))
}

/// A value in ticks of the machine's clock.
fn seconds(data: &PerfData<'_>, name: &str) -> Option<f64> {
    let frequency = data.number("sun.os.hrt.frequency").filter(|hz| *hz > 0)?;
    Some(data.number(name)? as f64 / frequency as f64)
}

/// What the machine itself has put there. Four numbers are a version and no address.
fn name(text: &[u8]) -> String {
    printable(text, MAX_NAME_BYTES, false)
}

fn printable(text: &[u8], max_bytes: usize, mask: bool) -> String {
    sample(text, &SampleOptions { max_bytes, mask })
}

#[cfg(test)]
mod tests;
