//! What several test files need: one record of each kind, and sinks.

use std::net::{Ipv4Addr, Ipv6Addr};

use nodescope_schema::{
    BatchCounts, Cgroup, CgroupKey, DecodeError, Decoded, DelayTotals, Delays, DescribeExecutable,
    ExecutableReply, FileKind, FilesystemReply, Flow, FlowKey, FlowKind, FlowTotals,
    FromSensorSink, HeldLog, Hook, Listen, Loss, MapFill, OpenFile, OpenJvmData, Owner, Ping,
    Processes, Record, RecordWriter, Reply, RequestKind, SensorHello, SensorStatus, SetPingTargets,
    StatFilesystem, Verdict, Workload, decode_from_sensor,
};

const OWNER: Owner<'static> = Owner {
    workload: Workload {
        cgroup_v2: 4242,
        cgroup_v1: 77,
    },
    executable: b"postgres",
};

const FLOW_KEY: FlowKey<'static> = FlowKey {
    owner: OWNER,
    remote_ip: Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped(),
    remote_port: 5432,
    actual_ip: Ipv4Addr::new(10, 4, 5, 6).to_ipv6_mapped(),
    actual_port: 15432,
    host_netns: true,
    kind: FlowKind::Destination,
};

pub(crate) const HELLO: SensorHello<'static> = SensorHello {
    version: 1,
    oldest_version: 1,
    release: "0.1.0",
    run_id: 0x0123_4567_89ab_cdef,
    v1_hierarchy: 3,
    v1_controllers: "cpu,cpuacct",
    host_netns: 4_026_531_840,
    hostname: "node-1",
    kernel_release: "6.12.0-1-amd64",
};

pub(crate) const OPEN_FILE: OpenFile<'static> = OpenFile {
    kind: FileKind::ContainerdBundle,
    container: b"0123abcd",
    namespace: b"k8s.io",
    root: b"/data/docker",
    uid: 1000,
    generation: 7,
};

pub(crate) const STAT_FILESYSTEM: RequestKind<'static> =
    RequestKind::StatFilesystem(StatFilesystem {
        major: 259,
        minor: 0x000f_ffff,
    });

pub(crate) const PING_TARGETS: RequestKind<'static> = RequestKind::SetPingTargets(SetPingTargets {
    addresses: &[
        Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped().octets(),
        Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6).octets(),
    ],
});

pub(crate) const OPEN_JVM_DATA: RequestKind<'static> =
    RequestKind::OpenJvmData(OpenJvmData { pid: 4_194_303 });

pub(crate) const DESCRIBE_EXECUTABLE: RequestKind<'static> =
    RequestKind::DescribeExecutable(DescribeExecutable { pid: 4_194_302 });

pub(crate) const WORD: usize = 8;
/// Words before the first record: table, root pointer, message (2), batch (2), tag of the list.
pub(crate) const FIRST_RECORD: usize = 7 * WORD;
/// A record: its kind, then a pointer to the rest.
pub(crate) const RECORD_BYTES: usize = 2 * WORD;
/// Union member of a `Record` that holds a flow.
pub(crate) const FLOW: u16 = 5;

/// One of each kind, with its name, no field empty and no two fields alike where that would hide a mix-up.
pub(crate) const RECORDS: [(&str, Record<'static>); 14] = [
    ("snapshot_begin", Record::SnapshotBegin),
    ("snapshot_end", Record::SnapshotEnd),
    (
        "cgroup",
        Record::Cgroup(Cgroup {
            key: CgroupKey {
                hierarchy: 5,
                id: 1234,
            },
            path: b"/system.slice/docker-\xff.scope",
            created_ns: 1_000_000_001,
            removed_ns: 2_000_000_002,
        }),
    ),
    (
        "processes",
        Record::Processes(Processes {
            cgroup: CgroupKey {
                hierarchy: 6,
                id: 4321,
            },
            generation: 1,
            live: 2,
            started: 3,
            ended: 4,
            restarts: 5,
            oom_kills: 6,
        }),
    ),
    (
        "flow",
        Record::Flow(Flow {
            key: FLOW_KEY,
            generation: 10,
            totals: FlowTotals {
                connects: 11,
                failures: 12,
                active: 13,
                retransmits: 14,
                sent_bytes: 15,
                received_bytes: 16,
                connect_time_ns: 17,
                updated_ns: 18,
                rtt_ns: 19,
            },
        }),
    ),
    (
        "flow_evicted",
        Record::FlowEvicted(FlowKey {
            remote_ip: Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6),
            host_netns: false,
            kind: FlowKind::Other,
            ..FLOW_KEY
        }),
    ),
    (
        "listen",
        Record::Listen(Listen {
            cookie: 20,
            owner: OWNER,
            pid: 21,
            netns: 22,
            ip: Ipv6Addr::UNSPECIFIED,
            port: 443,
            ipv6_only: true,
            open: false,
        }),
    ),
    (
        "loss",
        Record::Loss(Loss {
            stage: "kernel_flows",
            reason: "map_full",
            total: 30,
        }),
    ),
    (
        "hook",
        Record::Hook(Hook {
            name: "tcp_state",
            rung: "tp_btf/inet_sock_set_state",
            verdict: Verdict::Degraded,
            detail: "kein BTF für vfs",
        }),
    ),
    (
        "map_fill",
        Record::MapFill(MapFill {
            name: "flows",
            entries: 40,
            capacity: 41,
        }),
    ),
    (
        "status",
        Record::Status(SensorStatus {
            resident_bytes: 50,
            cpu_ns: 51,
            records_sent: 52,
            requests_granted: 53,
            requests_refused: 54,
            requests_waiting: 55,
        }),
    ),
    (
        "delays",
        Record::Delays(Delays {
            cgroup: CgroupKey {
                hierarchy: 60,
                id: 61,
            },
            generation: 62,
            accounted: true,
            totals: DelayTotals {
                cpu_ns: 63,
                block_io_ns: 64,
                swap_in_ns: 65,
                reclaim_ns: 66,
                thrashing_ns: 67,
                compaction_ns: 68,
                write_copy_ns: 69,
                irq_ns: 70,
            },
        }),
    ),
    (
        "ping",
        Record::Ping(Ping {
            ip: Ipv6Addr::new(0x2001, 0xdb8, 8, 7, 6, 5, 4, 3),
            generation: 80,
            sent: 81,
            answered: 82,
            lost: 83,
            rtt_ns: 84,
            answered_ns: 85,
        }),
    ),
    (
        "held_log",
        Record::HeldLog(HeldLog {
            number: 90,
            workload: Workload {
                cgroup_v2: 91,
                cgroup_v1: 92,
            },
            path: b"/var/log/shop/\xff.log",
            inode: 93,
            open: true,
        }),
    ),
];

/// A packet of exactly these records, which must fit.
pub(crate) fn packet(records: &[Record<'_>], sequence: u64) -> Vec<u8> {
    let mut writer = RecordWriter::new();
    for record in records {
        assert!(writer.push(record), "does not fit: {record:?}");
    }
    writer.finish(sequence).to_vec()
}

/// Decodes a packet that must hold exactly these records.
pub(crate) fn assert_holds(packet: &[u8], records: &[Record<'_>], sequence: u64) {
    let mut sink = Expect {
        records: records.iter(),
    };
    let counts = BatchCounts {
        sequence,
        records: u32::try_from(records.len()).unwrap(),
        ..BatchCounts::default()
    };
    assert_eq!(
        decode_from_sensor(packet, &mut sink).unwrap(),
        Decoded::Records(counts)
    );
    assert_eq!(sink.records.next(), None, "record not decoded");
}

struct Expect<'a, 'b> {
    records: std::slice::Iter<'a, Record<'b>>,
}

impl FromSensorSink for Expect<'_, '_> {
    fn hello(&mut self, hello: SensorHello<'_>) {
        panic!("unexpected {hello:?}");
    }

    fn record(&mut self, record: Record<'_>) {
        assert_eq!(Some(&record), self.records.next());
    }

    fn reply(&mut self, reply: Reply) {
        panic!("unexpected {reply:?}");
    }
}

/// Says what it was given, as text, so that it need not keep what it may only borrow.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Spoken(pub(crate) Vec<String>);

impl FromSensorSink for Spoken {
    fn hello(&mut self, hello: SensorHello<'_>) {
        self.0.push(format!("{hello:?}"));
    }

    fn record(&mut self, record: Record<'_>) {
        self.0.push(format!("{record:?}"));
    }

    fn reply(&mut self, reply: Reply) {
        self.0.push(format!("{reply:?}"));
    }

    fn filesystem_reply(&mut self, reply: FilesystemReply) {
        self.0.push(format!("{reply:?}"));
    }

    fn executable_reply(&mut self, reply: ExecutableReply<'_>) {
        self.0.push(format!("{reply:?}"));
    }
}

/// What a packet is, and what it said.
pub(crate) fn decode(packet: &[u8]) -> (Result<Decoded, DecodeError>, Vec<String>) {
    let mut sink = Spoken::default();
    (decode_from_sensor(packet, &mut sink), sink.0)
}

/// The counts of a packet that must be a batch.
pub(crate) fn counts(packet: &[u8]) -> BatchCounts {
    let (decoded, said) = decode(packet);
    match decoded.unwrap() {
        Decoded::Records(counts) => {
            assert_eq!(counts.records as usize, said.len());
            counts
        }
        other => panic!("{other:?}"),
    }
}

/// Overwrites a number in a packet.
pub(crate) fn put_u16(packet: &mut [u8], at: usize, value: u16) {
    packet[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// One of the records.
pub(crate) fn flow() -> Record<'static> {
    let (name, flow) = RECORDS[4];
    assert_eq!(name, "flow");
    flow
}

/// Three flows, and where the kind of the second stands.
pub(crate) fn three_flows() -> (Vec<u8>, usize) {
    let packet = packet(&[flow(); 3], 5);
    let second = FIRST_RECORD + RECORD_BYTES;
    assert_eq!(packet[second..second + 2], FLOW.to_le_bytes());
    (packet, second)
}
