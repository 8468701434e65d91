//! Flows a second through `RecordWriter` and `decode_from_sensor`: `cargo bench -p nodescope-schema`.
//!
//! Prints, and never fails: the budget of the whole way from packet to metrics is checked where that way is.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark stops at the first surprise"
)]

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use nodescope_schema::{
    Flow, FlowKey, FlowKind, FlowTotals, FromSensorSink, Owner, Record, RecordWriter, Reply,
    SensorHello, Workload, decode_from_sensor,
};

const FLOWS: u32 = 100_000;
const ROUNDS: usize = 20;

fn flow(n: u32) -> Flow<'static> {
    Flow {
        key: FlowKey {
            owner: Owner {
                workload: Workload {
                    cgroup_v2: u64::from(n % 500),
                    cgroup_v1: 0,
                },
                executable: b"postgres: writer",
            },
            remote_ip: Ipv4Addr::from_bits(n).to_ipv6_mapped(),
            remote_port: 5432,
            actual_ip: Ipv6Addr::UNSPECIFIED,
            actual_port: 0,
            host_netns: false,
            kind: FlowKind::Destination,
        },
        generation: 1,
        totals: FlowTotals {
            connects: u64::from(n),
            active: n,
            sent_bytes: u64::from(n) << 20,
            received_bytes: u64::from(n) << 10,
            ..FlowTotals::default()
        },
    }
}

/// Looks at each flow, so that nothing of its decoding is left out.
#[derive(Default)]
struct Sum(u64);

impl FromSensorSink for Sum {
    fn hello(&mut self, _: SensorHello<'_>) {}

    fn record(&mut self, record: Record<'_>) {
        if let Record::Flow(flow) = black_box(record) {
            self.0 += flow.totals.connects;
        }
    }

    fn reply(&mut self, _: Reply) {}
}

fn encode(flows: &[Flow<'_>], writer: &mut RecordWriter, mut each: impl FnMut(&[u8])) {
    for flow in flows {
        let record = Record::Flow(*flow);
        if !writer.push(&record) {
            each(writer.finish(0));
            assert!(writer.push(&record));
        }
    }
    each(writer.finish(0));
}

/// The best of some rounds: the one that was disturbed least.
fn best(mut round: impl FnMut()) -> Duration {
    let one = |_| {
        let start = Instant::now();
        round();
        start.elapsed()
    };
    (0..ROUNDS).map(one).min().unwrap()
}

fn report(what: &str, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64() / f64::from(FLOWS);
    println!(
        "{what}: {:.0} ns a flow, {:.2} million a second",
        seconds * 1e9,
        1e-6 / seconds
    );
}

fn main() {
    let flows: Vec<_> = (0..FLOWS).map(flow).collect();
    let mut writer = RecordWriter::new();
    let mut packets = Vec::new();
    encode(&flows, &mut writer, |packet| packets.push(packet.to_vec()));
    let bytes: usize = packets.iter().map(Vec::len).sum();
    println!(
        "{} packets, {} bytes a flow",
        packets.len(),
        bytes / flows.len()
    );

    report(
        "encode",
        best(|| {
            encode(&flows, &mut writer, |packet| {
                black_box(packet);
            })
        }),
    );
    report(
        "decode",
        best(|| {
            let mut sum = Sum::default();
            for packet in &packets {
                decode_from_sensor(packet, &mut sum).unwrap();
            }
            assert_eq!(sum.0, (0..u64::from(FLOWS)).sum());
        }),
    );
}
