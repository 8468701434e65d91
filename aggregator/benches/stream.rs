//! Records a second into the model, and what a scrape of a large node costs. `cargo bench -p nodescope-aggregator --bench stream`
//!
//! A node of 1,000 containers with 100 series each is made as the sensor would send it. The baseline of the same run is
//! decoding alone, without a model.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use nodescope_aggregator::containers::{Class, Identity, Resolution};
use nodescope_aggregator::metrics::Format;
use nodescope_aggregator::metrics::own::Metrics;
use nodescope_aggregator::model::{GlobalLabels, Model, Settings};
use nodescope_schema::{
    Cgroup, CgroupKey, Flow, FlowKey, FlowKind, FlowTotals, FromSensorSink, Owner, Processes,
    Record, RecordWriter, Reply, SensorHello, Workload, decode_from_sensor,
};

const CONTAINERS: u64 = 1_000;
/// Each destination has six series; with the container's own that makes about a hundred a container.
const DESTINATIONS: u64 = 17;
const ROUNDS: u64 = 40;
const RUNS: usize = 5;
const SCRAPES: usize = 100;

fn main() {
    let first = packets(0);
    let rounds: Vec<Vec<Vec<u8>>> = (1..=ROUNDS).map(packets_of_flows).collect();
    let records = rounds.len() as f64 * (CONTAINERS * DESTINATIONS) as f64;
    let decode = median((0..RUNS).map(|_| {
        time(|| {
            rounds
                .iter()
                .flatten()
                .for_each(|packet| decode_only(packet))
        })
    }));
    let mut model = None;
    let apply = median((0..RUNS).map(|_| {
        let filled = Mutex::new(model_of(&first));
        let elapsed = time(|| {
            rounds
                .iter()
                .flatten()
                .for_each(|packet| apply(&filled, packet))
        });
        model = Some(filled);
        elapsed
    }));
    println!(
        "decode only        {:>12.0} records/s",
        records / decode.as_secs_f64()
    );
    println!(
        "decode and apply   {:>12.0} records/s",
        records / apply.as_secs_f64()
    );
    let Some(model) = model else { return };
    scrapes(&model, Format::Text, "text 0.0.4");
    scrapes(&model, Format::OpenMetrics, "OpenMetrics");
    println!(
        "resident memory    {:>12.1} MiB, packets of the bench included",
        resident_mib()
    );
}

fn time(run: impl FnOnce()) -> Duration {
    let started = Instant::now();
    run();
    started.elapsed()
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2]
}

fn scrapes(model: &Mutex<Model>, format: Format, name: &str) {
    let metrics = Metrics::new("bench");
    let mut bytes = 0;
    let mut series = 0;
    let mut times: Vec<Duration> = (0..SCRAPES)
        .map(|_| {
            time(|| {
                let page = metrics.page(format, |page| lock(model).render(page));
                bytes = page.len();
                series = page
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.starts_with(b"#"))
                    .count();
            })
        })
        .collect();
    times.sort();
    println!(
        "{name:<12} {series} series, {:.1} MB: median {:.1} ms, p99 {:.1} ms",
        bytes as f64 / 1e6,
        times[SCRAPES / 2].as_secs_f64() * 1e3,
        times[SCRAPES * 99 / 100].as_secs_f64() * 1e3
    );
}

fn lock(model: &Mutex<Model>) -> std::sync::MutexGuard<'_, Model> {
    model
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn unit(container: u64) -> String {
    format!("/system.slice/service-with-a-usual-name-{container}.service")
}

/// Everything about the node.
fn packets(round: u64) -> Vec<Vec<u8>> {
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
    for flow in flows(round) {
        records.push(flow);
    }
    records.push(Record::SnapshotEnd);
    encode(&records)
}

fn packets_of_flows(round: u64) -> Vec<Vec<u8>> {
    encode(&flows(round).collect::<Vec<_>>())
}

fn flows(round: u64) -> impl Iterator<Item = Record<'static>> {
    (0..CONTAINERS)
        .flat_map(move |container| (0..DESTINATIONS).map(move |port| flow(container, port, round)))
}

fn flow(container: u64, destination: u64, round: u64) -> Record<'static> {
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
            remote_ip: std::net::Ipv4Addr::new(10, 0, (container % 250) as u8, destination as u8)
                .to_ipv6_mapped(),
            remote_port: 5432,
            actual_ip: std::net::Ipv6Addr::UNSPECIFIED,
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

fn model_of(packets: &[Vec<u8>]) -> Model {
    let global = GlobalLabels {
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        system_uuid: "01234567-89ab-cdef-0123-456789abcdef".into(),
    };
    let model = Mutex::new(Model::new(Settings::default(), global));
    for packet in packets {
        apply(&model, packet);
    }
    let mut model = model
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for job in model.next_to_resolve(1, usize::MAX) {
        let Class::Unit(id) = &job.class else {
            continue;
        };
        let identity = Identity {
            id: id.clone(),
            app_id: String::new(),
            image: Some("registry/image:1".into()),
            runtime: "systemd",
            ..Identity::default()
        };
        model.resolved(&job.class, Resolution::Container(identity.into()), 1);
    }
    model.settle(1);
    model
}

fn decode_only(packet: &[u8]) {
    struct Ignore;
    impl FromSensorSink for Ignore {
        fn hello(&mut self, _: SensorHello<'_>) {}
        fn record(&mut self, record: Record<'_>) {
            std::hint::black_box(record);
        }
        fn reply(&mut self, _: Reply) {}
    }
    assert!(decode_from_sensor(packet, &mut Ignore).is_ok());
}

fn apply(model: &Mutex<Model>, packet: &[u8]) {
    struct Apply<'a>(std::sync::MutexGuard<'a, Model>);
    impl FromSensorSink for Apply<'_> {
        fn hello(&mut self, _: SensorHello<'_>) {}
        fn record(&mut self, record: Record<'_>) {
            self.0.apply(&record, 1);
        }
        fn reply(&mut self, _: Reply) {}
    }
    assert!(decode_from_sensor(packet, &mut Apply(lock(model))).is_ok());
}

fn resident_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0.0);
    pages * 4096.0 / f64::from(1 << 20)
}
