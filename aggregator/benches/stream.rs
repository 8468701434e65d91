//! Records a second into the model. `cargo bench -p nodescope-aggregator --bench stream`
//!
//! The baseline of the same run is decoding alone, without a model. What a client of `/metrics` waits for and how much
//! memory the process needs is measured by the bench `scrape`.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use nodescope_aggregator::containers::{Class, Identity, Resolution};
use nodescope_aggregator::model::{GlobalLabels, Model, Settings};
use nodescope_schema::{FromSensorSink, Record, Reply, SensorHello, decode_from_sensor};

#[path = "node/mod.rs"]
mod node;

const ROUNDS: u64 = 40;
const RUNS: usize = 5;

fn main() {
    let first = node::snapshot();
    let rounds: Vec<Vec<Vec<u8>>> = (1..=ROUNDS).map(node::changes).collect();
    let records = rounds.len() as f64 * (node::CONTAINERS * node::DESTINATIONS) as f64;
    let decode = median((0..RUNS).map(|_| {
        time(|| {
            rounds
                .iter()
                .flatten()
                .for_each(|packet| decode_only(packet))
        })
    }));
    let apply = median((0..RUNS).map(|_| {
        let filled = Mutex::new(model_of(&first));
        time(|| {
            rounds
                .iter()
                .flatten()
                .for_each(|packet| apply(&filled, packet))
        })
    }));
    println!(
        "decode only        {:>12.0} records/s",
        records / decode.as_secs_f64()
    );
    println!(
        "decode and apply   {:>12.0} records/s",
        records / apply.as_secs_f64()
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

fn lock(model: &Mutex<Model>) -> std::sync::MutexGuard<'_, Model> {
    model
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
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
