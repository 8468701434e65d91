//! For all records: what is pushed comes back. For all bytes: decoding returns.

use std::net::Ipv6Addr;

use nodescope_schema::{
    Cgroup, CgroupKey, Decoded, DelayTotals, Delays, Flow, FlowKey, FlowKind, FlowTotals,
    FromAggregator, HeldLog, Hook, Listen, Loss, MAX_EXECUTABLE_BYTES, MAX_MESSAGE_BYTES,
    MAX_PING_TARGETS, MapFill, Owner, Ping, Processes, Record, RecordWriter, RecordingReader,
    Request, RequestKind, SensorStatus, SetPingTargets, Verdict, Workload, decode_from_aggregator,
    decode_from_sensor, encode_request,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::{RECORDS, Spoken, assert_holds, packet};

/// Borrowed for ever: records borrow, and strategies must own what they make.
fn bytes(max: usize) -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..=max).prop_map(|bytes| &*bytes.leak())
}

fn text() -> impl Strategy<Value = &'static str> {
    ".{0,64}".prop_map(|text| &*text.leak())
}

fn workload() -> impl Strategy<Value = Workload> {
    any::<[u64; 2]>().prop_map(|[cgroup_v2, cgroup_v1]| Workload {
        cgroup_v2,
        cgroup_v1,
    })
}

fn cgroup_key() -> impl Strategy<Value = CgroupKey> {
    any::<(u32, u64)>().prop_map(|(hierarchy, id)| CgroupKey { hierarchy, id })
}

fn owner() -> impl Strategy<Value = Owner<'static>> {
    (workload(), bytes(MAX_EXECUTABLE_BYTES)).prop_map(|(workload, executable)| Owner {
        workload,
        executable,
    })
}

fn flow_key() -> impl Strategy<Value = FlowKey<'static>> {
    let kinds = select(vec![FlowKind::Destination, FlowKind::Other]);
    let address = || (any::<u128>(), any::<u16>());
    (owner(), address(), address(), any::<bool>(), kinds).prop_map(
        |(owner, remote, actual, host_netns, kind)| FlowKey {
            owner,
            remote_ip: Ipv6Addr::from(remote.0),
            remote_port: remote.1,
            actual_ip: Ipv6Addr::from(actual.0),
            actual_port: actual.1,
            host_netns,
            kind,
        },
    )
}

fn flow() -> impl Strategy<Value = Record<'static>> {
    (flow_key(), any::<u64>(), any::<u32>(), any::<[u64; 8]>()).prop_map(
        |(key, generation, active, n)| {
            let totals = FlowTotals {
                connects: n[0],
                failures: n[1],
                active,
                retransmits: n[2],
                sent_bytes: n[3],
                received_bytes: n[4],
                connect_time_ns: n[5],
                updated_ns: n[6],
                rtt_ns: n[7],
            };
            Record::Flow(Flow {
                key,
                generation,
                totals,
            })
        },
    )
}

fn listen() -> impl Strategy<Value = Record<'static>> {
    (
        owner(),
        any::<u64>(),
        any::<[u32; 2]>(),
        any::<u128>(),
        any::<u16>(),
        any::<[bool; 2]>(),
    )
        .prop_map(
            |(owner, cookie, [pid, netns], ip, port, [ipv6_only, open])| {
                let ip = Ipv6Addr::from(ip);
                Record::Listen(Listen {
                    cookie,
                    owner,
                    pid,
                    netns,
                    ip,
                    port,
                    ipv6_only,
                    open,
                })
            },
        )
}

fn processes() -> impl Strategy<Value = Record<'static>> {
    (cgroup_key(), any::<u32>(), any::<[u64; 5]>()).prop_map(|(cgroup, live, n)| {
        let [generation, started, ended, restarts, oom_kills] = n;
        Record::Processes(Processes {
            cgroup,
            generation,
            live,
            started,
            ended,
            restarts,
            oom_kills,
        })
    })
}

fn delays() -> impl Strategy<Value = Record<'static>> {
    (cgroup_key(), any::<bool>(), any::<[u64; 9]>()).prop_map(|(cgroup, accounted, n)| {
        Record::Delays(Delays {
            cgroup,
            generation: n[0],
            accounted,
            totals: DelayTotals {
                cpu_ns: n[1],
                block_io_ns: n[2],
                swap_in_ns: n[3],
                reclaim_ns: n[4],
                thrashing_ns: n[5],
                compaction_ns: n[6],
                write_copy_ns: n[7],
                irq_ns: n[8],
            },
        })
    })
}

fn ping() -> impl Strategy<Value = Record<'static>> {
    any::<(u128, [u64; 6])>().prop_map(|(ip, n)| {
        let [generation, sent, answered, lost, rtt_ns, answered_ns] = n;
        Record::Ping(Ping {
            ip: Ipv6Addr::from(ip),
            generation,
            sent,
            answered,
            lost,
            rtt_ns,
            answered_ns,
        })
    })
}

fn held_log() -> impl Strategy<Value = Record<'static>> {
    (any::<[u64; 4]>(), bytes(300), any::<bool>()).prop_map(
        |([number, cgroup_v2, cgroup_v1, inode], path, open)| {
            Record::HeldLog(HeldLog {
                number,
                workload: Workload {
                    cgroup_v2,
                    cgroup_v1,
                },
                path,
                inode,
                open,
            })
        },
    )
}

fn cgroup() -> impl Strategy<Value = Record<'static>> {
    (cgroup_key(), bytes(300), any::<[u64; 2]>()).prop_map(
        |(key, path, [created_ns, removed_ns])| {
            Record::Cgroup(Cgroup {
                key,
                path,
                created_ns,
                removed_ns,
            })
        },
    )
}

fn hook() -> impl Strategy<Value = Record<'static>> {
    (text(), text(), select(Verdict::ALL.to_vec()), text()).prop_map(
        |(name, rung, verdict, detail)| {
            Record::Hook(Hook {
                name,
                rung,
                verdict,
                detail,
            })
        },
    )
}

fn record() -> impl Strategy<Value = Record<'static>> {
    prop_oneof![
        Just(Record::SnapshotBegin),
        Just(Record::SnapshotEnd),
        cgroup(),
        processes(),
        delays(),
        ping(),
        held_log(),
        flow(),
        flow_key().prop_map(Record::FlowEvicted),
        listen(),
        (text(), text(), any::<u64>()).prop_map(|(stage, reason, total)| Record::Loss(Loss {
            stage,
            reason,
            total
        })),
        hook(),
        (text(), any::<[u32; 2]>()).prop_map(|(name, [entries, capacity])| {
            Record::MapFill(MapFill {
                name,
                entries,
                capacity,
            })
        }),
        any::<([u64; 5], u32)>().prop_map(|(n, requests_waiting)| {
            let [
                resident_bytes,
                cpu_ns,
                records_sent,
                requests_granted,
                requests_refused,
            ] = n;
            Record::Status(SensorStatus {
                resident_bytes,
                cpu_ns,
                records_sent,
                requests_granted,
                requests_refused,
                requests_waiting,
            })
        }),
    ]
}

/// All three readers return, whatever they say.
fn read_all_ways(bytes: &[u8]) {
    let mut sink = Spoken::default();
    if let Ok(Decoded::Records(counts)) = decode_from_sensor(bytes, &mut sink) {
        assert_eq!(counts.records as usize, sink.0.len());
    }
    let _ = decode_from_aggregator(bytes, |message| format!("{message:?}"));
    if let Ok(mut reader) = RecordingReader::new(bytes) {
        while let Ok(Some(message)) = reader.next_message() {
            assert!(message.len() <= MAX_MESSAGE_BYTES);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_come_back_over_as_many_packets_as_they_need(
        records in vec(record(), 0..600),
        first in any::<u32>(),
    ) {
        let mut writer = RecordWriter::new();
        let mut rest = &records[..];
        let mut sequence = u64::from(first);
        while !rest.is_empty() {
            let count = rest.iter().take_while(|record| writer.push(record)).count();
            prop_assert!(count > 0 && count == writer.len());
            let packet = writer.finish(sequence);
            prop_assert!(packet.len() <= MAX_MESSAGE_BYTES);
            assert_holds(packet, &rest[..count], sequence);
            rest = &rest[count..];
            sequence += 1;
        }
    }
}

proptest! {
    #[test]
    fn ping_targets_come_back(addresses in vec(any::<[u8; 16]>(), 0..=MAX_PING_TARGETS), id in any::<u64>()) {
        let targets = SetPingTargets { addresses: &addresses };
        let request = Request { id, kind: RequestKind::SetPingTargets(targets) };
        let packet = encode_request(&request);
        prop_assert!(packet.len() <= MAX_MESSAGE_BYTES);
        let same = decode_from_aggregator(&packet, |message| message == FromAggregator::Request(request));
        prop_assert!(same.unwrap());
    }
}

proptest! {
    #[test]
    fn alignment_does_not_matter(records in vec(record(), 0..20), shift in 0..8_usize) {
        let packet = packet(&records, 1);
        let shifted = [&[0; 8][..shift], &packet].concat();
        assert_holds(&shifted[shift..], &records, 1);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..2000)) {
        read_all_ways(&bytes);
    }

    /// Random bytes seldom get past the table of segments: this gives them a valid one.
    #[test]
    fn any_words_are_read_without_panic(words in vec(any::<u64>(), 1..300)) {
        let table = (u64::try_from(words.len()).unwrap()) << 32;
        let bytes: Vec<u8> = [table].iter().chain(&words).flat_map(|word| word.to_le_bytes()).collect();
        read_all_ways(&bytes);
    }

    #[test]
    fn changed_bytes_are_read_without_panic(
        changes in vec((any::<Index>(), any::<u8>()), 1..12),
    ) {
        let mut packet = packet(&RECORDS.map(|(_, record)| record), 1);
        for (at, byte) in changes {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        read_all_ways(&packet);
    }
}
