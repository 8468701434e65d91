//! Gives decoded messages to the parts that want them.

use std::os::fd::OwnedFd;
use std::sync::{MutexGuard, PoisonError};

use nodescope_schema::{
    Decoded, ExecutableReply, FilesystemReply, FromSensorSink, Hook, Record, Reply, SensorHello,
    Verdict, common_version, decode_from_sensor,
};

use super::{ConnectionError, Ingest};
use crate::model::Model;
use crate::monotonic_ns;

/// Kinds of records in the order of [`kind_index`].
const KINDS: [&str; 14] = [
    "snapshot_begin",
    "snapshot_end",
    "cgroup",
    "processes",
    "flow",
    "flow_evicted",
    "listen",
    "loss",
    "hook",
    "map_fill",
    "status",
    "delays",
    "ping",
    "held_log",
];

/// State of one connection's decoding.
pub(super) struct Sink<'a> {
    ingest: &'a Ingest,
    next_sequence: u64,
    /// Records since the counts were last handed on, by kind.
    received: [u64; KINDS.len()],
    version: Option<Result<u16, (u16, u16)>>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(ingest: &'a Ingest) -> Self {
        Self {
            ingest,
            next_sequence: 0,
            received: [0; KINDS.len()],
            version: None,
        }
    }

    /// Takes one packet. A packet that cannot be read costs itself; sides without a common version part.
    pub(super) fn take(
        &mut self,
        packet: &[u8],
        descriptor: Option<OwnedFd>,
    ) -> Result<(), ConnectionError> {
        let model = self
            .ingest
            .model
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut message = Message {
            sink: self,
            model,
            descriptor,
            now_ns: monotonic_ns(),
            new_cgroups: false,
        };
        let decoded = decode_from_sensor(packet, &mut message);
        let new_cgroups = message.new_cgroups;
        drop(message);
        if new_cgroups {
            self.ingest.wake_resolver.notify_one();
        }
        match decoded {
            Ok(Decoded::Records(counts)) => {
                self.check_sequence(counts.sequence);
                self.count_skipped(counts.unknown, counts.malformed);
            }
            Ok(Decoded::Hello | Decoded::Reply) => {}
            Ok(Decoded::Unknown) | Err(_) => self.ingest.metrics.add_decode_error(),
        }
        match self.version {
            Some(Err((newest, oldest))) => Err(ConnectionError::Version { newest, oldest }),
            _ => Ok(()),
        }
    }

    fn check_sequence(&mut self, sequence: u64) {
        if sequence > self.next_sequence {
            self.ingest
                .metrics
                .add_sequence_gap(sequence - self.next_sequence);
        }
        self.next_sequence = sequence.saturating_add(1);
    }

    fn count_skipped(&self, unknown: u32, malformed: u32) {
        for (kind, records) in [("unknown", unknown), ("malformed", malformed)] {
            if records > 0 {
                self.ingest
                    .metrics
                    .add_records_received(kind, records.into());
            }
        }
    }

    /// Records since the counts were last handed on.
    pub(super) fn received_records(&self) -> u64 {
        self.received.iter().sum()
    }

    /// Hands the counts of received records to the own metrics.
    pub(super) fn flush_counts(&mut self) {
        for (kind, count) in KINDS.iter().zip(&mut self.received) {
            if *count > 0 {
                self.ingest
                    .metrics
                    .add_records_received(kind, std::mem::take(count));
            }
        }
    }
}

/// One packet being decoded.
struct Message<'a, 'b> {
    sink: &'a mut Sink<'b>,
    model: MutexGuard<'b, Model>,
    descriptor: Option<OwnedFd>,
    now_ns: u64,
    new_cgroups: bool,
}

impl FromSensorSink for Message<'_, '_> {
    fn hello(&mut self, hello: SensorHello<'_>) {
        let version = common_version(hello.version, hello.oldest_version);
        self.sink.version = Some(version.ok_or((hello.version, hello.oldest_version)));
        if version.is_none() {
            return;
        }
        if self.model.connected(&hello) {
            self.sink.ingest.metrics.clear_sensor();
        }
    }

    fn record(&mut self, record: Record<'_>) {
        self.sink.received[kind_index(&record)] += 1;
        let metrics = &self.sink.ingest.metrics;
        match &record {
            Record::Loss(loss) => metrics.set_loss(loss),
            Record::MapFill(fill) => metrics.set_map_fill(fill),
            Record::Status(status) => metrics.set_sensor_status(status),
            Record::Hook(hook) => {
                if metrics.set_hook(hook) {
                    tell_of(hook);
                }
            }
            Record::Cgroup(_) => {
                self.new_cgroups = true;
                self.model.apply(&record, self.now_ns);
            }
            _ => self.model.apply(&record, self.now_ns),
        }
    }

    fn reply(&mut self, reply: Reply) {
        self.sink
            .ingest
            .broker
            .answer(reply, self.descriptor.take());
    }

    fn filesystem_reply(&mut self, reply: FilesystemReply) {
        self.sink.ingest.broker.answer_space(reply);
    }

    fn executable_reply(&mut self, reply: ExecutableReply<'_>) {
        self.sink.ingest.broker.answer_program(reply);
    }
}

/// Says once what does not work in full, and what to do about it; the metrics go on saying it.
fn tell_of(hook: &Hook<'_>) {
    let (name, detail) = (hook.name, hook.detail);
    match hook.verdict {
        Verdict::Ok => tracing::debug!(hook = name, "A hook of the sensor works."),
        Verdict::Degraded => {
            tracing::warn!(hook = name, detail, "A hook of the sensor works in part.")
        }
        Verdict::Unsupported => {
            tracing::info!(hook = name, detail, "This kernel has no such hook.")
        }
        Verdict::Failed => tracing::warn!(hook = name, detail, "A hook of the sensor failed."),
    }
}

fn kind_index(record: &Record<'_>) -> usize {
    match record {
        Record::SnapshotBegin => 0,
        Record::SnapshotEnd => 1,
        Record::Cgroup(_) => 2,
        Record::Processes(_) => 3,
        Record::Flow(_) => 4,
        Record::FlowEvicted(_) => 5,
        Record::Listen(_) => 6,
        Record::Loss(_) => 7,
        Record::Hook(_) => 8,
        Record::MapFill(_) => 9,
        Record::Status(_) => 10,
        Record::Delays(_) => 11,
        Record::Ping(_) => 12,
        Record::HeldLog(_) => 13,
    }
}
