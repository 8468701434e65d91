//! A node of 1,000 services with 100 series each, as a sensor would tell it; the benches share it.

use std::net::{Ipv4Addr, Ipv6Addr};

use nodescope_schema::{
    Cgroup, CgroupKey, Flow, FlowKey, FlowKind, FlowTotals, Owner, Processes, Record, RecordWriter,
    Workload,
};

/// Services of the node.
pub(crate) const CONTAINERS: u64 = 1_000;
/// Each destination has six series; with the service's own that makes about a hundred a service.
pub(crate) const DESTINATIONS: u64 = 17;

/// A snapshot: everything about the node.
pub(crate) fn snapshot() -> Vec<Vec<u8>> {
    let paths: Vec<String> = (0..CONTAINERS).map(unit).collect();
    let mut records = vec![Record::SnapshotBegin];
    for (container, path) in (0..CONTAINERS).zip(&paths) {
        let key = CgroupKey {
            hierarchy: 0,
            id: 1_000 + container,
        };
        records.push(Record::Cgroup(Cgroup {
            key,
            path: path.as_bytes(),
            created_ns: 1,
            removed_ns: 0,
        }));
        records.push(Record::Processes(Processes {
            cgroup: key,
            live: 3,
            started: 5,
            ended: 2,
            ..Default::default()
        }));
    }
    records.extend(flows(0));
    records.push(Record::SnapshotEnd);
    encode(&records)
}

/// Every flow once more, with higher totals each round.
pub(crate) fn changes(round: u64) -> Vec<Vec<u8>> {
    encode(&flows(round).collect::<Vec<_>>())
}

fn unit(container: u64) -> String {
    format!("/system.slice/service-with-a-usual-name-{container}.service")
}

fn flows<'a>(round: u64) -> impl Iterator<Item = Record<'a>> {
    (0..CONTAINERS)
        .flat_map(move |container| (0..DESTINATIONS).map(move |port| flow(container, port, round)))
}

fn flow<'a>(container: u64, destination: u64, round: u64) -> Record<'a> {
    let count = round * 7 + destination + 1;
    Record::Flow(Flow {
        key: FlowKey {
            owner: Owner {
                workload: Workload {
                    cgroup_v2: 1_000 + container,
                    cgroup_v1: 0,
                },
                executable: b"some-server",
            },
            remote_ip: Ipv4Addr::new(10, 0, (container % 250) as u8, destination as u8)
                .to_ipv6_mapped(),
            remote_port: 5432,
            actual_ip: Ipv6Addr::UNSPECIFIED,
            actual_port: 0,
            host_netns: false,
            kind: FlowKind::Destination,
        },
        generation: 1,
        totals: FlowTotals {
            connects: count,
            failures: 0,
            active: 3,
            retransmits: count / 2,
            sent_bytes: count * 12_345,
            received_bytes: count * 67_890,
            connect_time_ns: count * 1_234_567,
            updated_ns: round,
            rtt_ns: 0,
        },
    })
}

fn encode(records: &[Record<'_>]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut writer = RecordWriter::new();
    for record in records {
        if !writer.push(record) {
            packets.push(writer.finish(packets.len() as u64).to_vec());
            assert!(writer.push(record), "one record fits into an empty packet");
        }
    }
    packets.push(writer.finish(packets.len() as u64).to_vec());
    packets
}
