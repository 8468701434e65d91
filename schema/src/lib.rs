//! The only thing nodescope's two processes share: what they say to each other.
//!
//! The sensor listens on a `SOCK_SEQPACKET` Unix socket. Each packet is one Cap'n Proto message of at most
//! [`MAX_MESSAGE_BYTES`]; descriptors travel beside a reply as `SCM_RIGHTS`.
//!
//! 1. Both sides send their hello. Without a version in common ([`common_version`]) the one that notices says so in its
//!    log and closes.
//! 2. The sensor sends a snapshot: [`Record::SnapshotBegin`], all it knows, [`Record::SnapshotEnd`].
//! 3. Then it sends what changes. It may send a new snapshot at any time, and does so after it had to drop something.
//! 4. The aggregator may send requests at any time; each gets one reply.
//!
//! A recording (`--record`, `--replay`) is the sensor's half of this, each message behind its length as a little-endian
//! `u32`. See `record` for why totals and not differences are sent.
//!
//! Rules for changing the schema: field numbers are never used twice; a new field must be right when absent (zero or
//! empty); a reader skips a record it does not know and counts it.
#![forbid(unsafe_code)]

mod codec;
mod message;
mod record;
mod recording;
mod request;

pub use codec::{
    BatchCounts, DecodeError, Decoded, MAX_EXECUTABLE_BYTES, MAX_NAME_BYTES, MAX_PATH_BYTES,
    RecordWriter, decode_from_aggregator, decode_from_sensor, encode_aggregator_hello,
    encode_executable_reply, encode_filesystem_reply, encode_reply, encode_request,
    encode_sensor_hello,
};
pub use message::{
    AggregatorHello, FromAggregator, FromSensorSink, MAX_MESSAGE_BYTES, OLDEST_PROTOCOL_VERSION,
    PROTOCOL_VERSION, SensorHello, common_version,
};
pub use record::{
    Cgroup, CgroupKey, DelayTotals, Delays, Flow, FlowKey, FlowKind, FlowTotals, HeldLog, Hook,
    Listen, Loss, MapFill, Owner, Ping, Processes, Record, SensorStatus, Verdict, Workload,
};
pub use recording::{RecordingError, RecordingReader, RecordingWriter};
pub use request::{
    DescribeExecutable, ExecutableReply, FileKind, FilesystemReply, FilesystemSpace, Language,
    MAX_PING_TARGETS, OpenFile, OpenJvmData, Refusal, Reply, Request, RequestKind, SetPingTargets,
    StatFilesystem,
};
