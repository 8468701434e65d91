//! Time to write `/metrics` of 1,000 containers with 100 series each, and to get it over HTTP:
//! `cargo bench -p nodescope-aggregator --bench exposition`.
//!
//! Beside it, in the same run: `prometheus-client` writing as many series with the same labels, and gzip at level 1 in one
//! thread.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use nodescope_aggregator::http::{Listener, Pages, serve};
use nodescope_aggregator::metrics::catalogue::{all, container};
use nodescope_aggregator::metrics::{Descriptor, Exposition, Format, Scope, SeriesLabels, Sink};
use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustix::time::{ClockId, clock_gettime};

const CONTAINERS: u64 = 1_000;
const DESTINATIONS: u64 = 15;
const ROUNDS: usize = 30;

struct Container {
    labels: SeriesLabels,
    destinations: Vec<SeriesLabels>,
}

fn container_labels(number: u64) -> [(&'static str, String); 4] {
    [
        ("machine_id", "3d1219c7c4c5404aaa1f6d2a48adfda4".into()),
        ("system_uuid", "3d1219c7-c4c5-404a-aa1f-6d2a48adfda4".into()),
        (
            "container_id",
            format!(
                "/k8s/namespace-{}/deployment-6b7f9c6d5-{number:05}/main",
                number % 40
            ),
        ),
        (
            "app_id",
            format!("/k8s/namespace-{}/deployment", number % 40),
        ),
    ]
}

fn destination_labels(number: u64) -> [(&'static str, String); 2] {
    let address = |net: u64| {
        format!(
            "10.{net}.{}.{}:{}",
            number / 250 % 250,
            number % 250,
            8000 + number % 100
        )
    };
    [
        ("destination", address(96)),
        ("actual_destination", address(1)),
    ]
}

fn block<const N: usize>(labels: &[(&'static str, String); N]) -> SeriesLabels {
    SeriesLabels::new(
        &labels
            .each_ref()
            .map(|(name, value)| (*name, value.as_str())),
    )
}

fn containers() -> Vec<Container> {
    (0..CONTAINERS)
        .map(|number| Container {
            labels: block(&container_labels(number)),
            destinations: (0..DESTINATIONS)
                .map(|to| block(&destination_labels(number * 7 + to)))
                .collect(),
        })
        .collect()
}

/// Families without labels of their own, and those with both destination labels.
fn families() -> (Vec<&'static Descriptor>, Vec<&'static Descriptor>) {
    let with = |labels: &'static [&'static str]| {
        all()
            .filter(move |family| family.scope == Scope::Container && family.labels == labels)
            .collect()
    };
    (with(&[]), with(container::BYTES_SENT.labels))
}

fn write(containers: &[Container], format: Format, out: &mut dyn Sink) -> u64 {
    let (plain, by_destination) = families();
    let mut page = Exposition::new(format, out);
    for family in plain {
        page.family(family);
        for (number, container) in containers.iter().enumerate() {
            page.sample(&container.labels, number as f64 * 1.25 + 0.001);
        }
    }
    for family in by_destination {
        page.family(family);
        for (number, container) in containers.iter().enumerate() {
            for (to, destination) in container.destinations.iter().enumerate() {
                page.sample_with(
                    &container.labels,
                    destination,
                    (number * to * 1_000_003) as u64,
                );
            }
        }
    }
    let kinds = ["some", "full"].map(|kind| SeriesLabels::new(&[("kind", kind)]));
    page.family(&container::CPU_PRESSURE);
    for container in containers {
        for kind in &kinds {
            page.sample_with(&container.labels, kind, 12.5);
        }
    }
    page.finish().series.iter().map(|(_, series)| series).sum()
}

/// The same number of series in `prometheus-client`.
fn baseline() -> Registry {
    let mut registry = Registry::default();
    let (plain, by_destination) = families();
    for descriptor in plain.iter().chain(&by_destination) {
        let family = Family::<Vec<(&'static str, String)>, Gauge>::default();
        registry.register(descriptor.name, descriptor.help, family.clone());
        let destinations = if descriptor.labels.is_empty() {
            1
        } else {
            DESTINATIONS
        };
        for number in 0..CONTAINERS {
            for to in 0..destinations {
                let mut labels = container_labels(number).to_vec();
                if destinations > 1 {
                    labels.extend(destination_labels(number * 7 + to));
                }
                family
                    .get_or_create(&labels)
                    .set((number * to * 1_000_003) as i64);
            }
        }
    }
    registry
}

/// Runs `work` often and prints how long it took, how much CPU time that was and how many bytes it made. On a machine that
/// does other work the CPU time is what to look at.
fn measure(name: &str, mut work: impl FnMut() -> usize) {
    let mut elapsed: Vec<Duration> = Vec::with_capacity(ROUNDS);
    let mut cpu: Vec<Duration> = Vec::with_capacity(ROUNDS);
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let (started, cpu_started) = (Instant::now(), cpu_time());
        bytes = work();
        elapsed.push(started.elapsed());
        cpu.push(cpu_time().saturating_sub(cpu_started));
    }
    elapsed.sort_unstable();
    cpu.sort_unstable();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{name:<30} median {:>6.1} ms  worst {:>6.1} ms  median CPU {:>6.1} ms  {bytes:>9} bytes",
        milliseconds(elapsed[ROUNDS / 2]),
        milliseconds(elapsed[ROUNDS - 1]),
        milliseconds(cpu[ROUNDS / 2]),
    );
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The containers behind the HTTP server.
struct Served(Vec<Container>);

impl Pages for Served {
    fn metrics(&self, format: Format, sink: &mut dyn Sink) {
        write(&self.0, format, sink);
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Bytes of the answer to one request on a connection of its own.
fn get(address: SocketAddr, headers: &str) -> io::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)
}

fn measure_http(containers: Vec<Container>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = runtime
        .block_on(Listener::bind(([127, 0, 0, 1], 0).into()))
        .map_err(io::Error::other)?;
    let address = listener.address();
    let served = Arc::new(Served(containers));
    std::thread::spawn(move || runtime.block_on(serve(listener, served, std::future::pending())));
    let openmetrics = "accept: application/openmetrics-text; version=1.0.0\r\n";
    for (name, headers) in [("", ""), (", gzip", "accept-encoding: gzip\r\n")] {
        measure(&format!("over HTTP{name}"), || {
            get(address, &format!("{openmetrics}{headers}")).unwrap_or(0)
        });
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let containers = containers();
    let mut page = Vec::new();
    println!(
        "{} series of {CONTAINERS} containers, {ROUNDS} rounds",
        write(&containers, Format::Text, &mut page)
    );
    for format in [Format::Text, Format::OpenMetrics] {
        measure(&format!("nodescope {format:?}"), || {
            let mut out = Vec::new();
            write(&containers, format, &mut out);
            out.len()
        });
    }
    let registry = baseline();
    measure("prometheus-client OpenMetrics", || {
        let mut out = String::new();
        text::encode(&mut out, &registry).map_or(0, |()| out.len())
    });
    measure("gzip level 1 of the text page", || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
        encoder
            .write_all(&page)
            .and_then(|()| encoder.finish())
            .map_or(0, |out| out.len())
    });
    measure_http(containers)
}
