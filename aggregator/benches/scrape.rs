//! What a client of `/metrics` waits for, and what the process needs: the real aggregator serves a replayed node of 1,000
//! services and 100,000 series. `cargo bench -p nodescope-aggregator --bench scrape`
//!
//! A scrape is timed from the connect to the last byte of the answer, which is thrown away. Load averages stand beside:
//! server, kernel and client share the cores with whatever else runs.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use nodescope_schema::{PROTOCOL_VERSION, RecordingWriter, SensorHello, encode_sensor_hello};

#[path = "node/mod.rs"]
mod node;

/// Rounds of changes after the snapshot.
const ROUNDS: u64 = 5;
const SCRAPES: usize = 300;
/// Series of the destinations; those of the services and of the node come on top.
const DESTINATION_SERIES: usize = (node::CONTAINERS * node::DESTINATIONS * 6) as usize;
const TICKS_A_SECOND: f64 = 100.0;

const OPENMETRICS: &str = "accept: application/openmetrics-text; version=1.0.0\r\n";
const GZIP: &str = "accept-encoding: gzip\r\n";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let recording = folder.path().join("recording");
    record(File::create(&recording)?)?;
    let server = Server::start(recording.as_os_str())?;
    let series = server.wait_until_complete()?;
    println!("{series} series of {} services", node::CONTAINERS);
    println!("memory after the replay   {}", server.memory()?);
    for (name, headers) in [
        ("text", String::new()),
        ("OpenMetrics", OPENMETRICS.to_owned()),
        ("text, gzip", GZIP.to_owned()),
        ("OpenMetrics, gzip", format!("{OPENMETRICS}{GZIP}")),
    ] {
        server.measure(name, &headers)?;
    }
    println!("memory after the scrapes  {}", server.memory()?);
    Ok(())
}

/// Writes packet after packet, so that none is kept.
fn record(file: File) -> Result<(), Box<dyn Error>> {
    let mut recording = RecordingWriter::new(BufWriter::new(file))?;
    recording.write(&encode_sensor_hello(&SensorHello {
        version: PROTOCOL_VERSION,
        oldest_version: PROTOCOL_VERSION,
        release: "bench",
        run_id: 1,
        v1_hierarchy: 0,
        v1_controllers: "",
        host_netns: 1,
        hostname: "bench",
        kernel_release: "6.1.0",
    }))?;
    for packet in node::snapshot() {
        recording.write(&packet)?;
    }
    for packet in (1..=ROUNDS).flat_map(node::changes) {
        recording.write(&packet)?;
    }
    recording.flush()?;
    Ok(())
}

/// The aggregator's process; it ends with this value.
struct Server {
    process: Child,
    address: String,
    /// Kept open, so that a late message does not fail.
    _messages: BufReader<ChildStderr>,
}

impl Server {
    fn start(recording: &std::ffi::OsStr) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_nodescope-aggregator"))
            .args(["--listen", "127.0.0.1:0", "--replay"])
            .arg(recording)
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()?;
        let mut messages = BufReader::new(process.stderr.take().ok_or("no stderr")?);
        let mut line = String::new();
        let address = loop {
            line.clear();
            if messages.read_line(&mut line)? == 0 {
                return Err("the aggregator ended before it served".into());
            }
            if let Some((_, address)) = line.split_once("address=") {
                break address.trim().to_owned();
            }
        };
        Ok(Self {
            process,
            address,
            _messages: messages,
        })
    }

    fn wait_until_complete(&self) -> Result<usize, Box<dyn Error>> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let series = self.count_series()?;
            if series >= DESTINATION_SERIES {
                return Ok(series);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err("the replayed series did not appear".into())
    }

    /// HTTP/1.0 knows no chunks, so that all lines are the page's.
    fn count_series(&self) -> io::Result<usize> {
        let mut answer = Vec::new();
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        stream.read_to_end(&mut answer)?;
        Ok(answer
            .split(|byte| *byte == b'\n')
            .filter(|line| line.starts_with(b"container_"))
            .count())
    }

    fn measure(&self, name: &str, headers: &str) -> Result<(), Box<dyn Error>> {
        let mut buffer = vec![0; 256 << 10];
        let mut bytes = 0;
        let mut times = Vec::with_capacity(SCRAPES);
        let cpu_before = self.cpu_seconds()?;
        for _ in 0..SCRAPES {
            let started = Instant::now();
            bytes = self.scrape(headers, &mut buffer)?;
            times.push(started.elapsed());
        }
        let cpu = self.cpu_seconds()? - cpu_before;
        times.sort_unstable();
        let milliseconds = |at: usize| times[at].as_secs_f64() * 1e3;
        println!(
            "{name:<18} median {:>5.1} ms  p99 {:>5.1} ms  CPU of the server {:>5.1} ms  {bytes:>9} bytes  load {}",
            milliseconds(SCRAPES / 2),
            milliseconds(SCRAPES * 99 / 100),
            cpu * 1e3 / SCRAPES as f64,
            load_average()?
        );
        Ok(())
    }

    /// Bytes of one answer.
    fn scrape(&self, headers: &str, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n{headers}\r\n"
        )?;
        let mut bytes = 0;
        loop {
            match stream.read(buffer)? {
                0 => return Ok(bytes),
                more => bytes += more,
            }
        }
    }

    fn memory(&self) -> io::Result<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let mib = |field: &str| {
            let kib = status
                .lines()
                .find_map(|line| line.strip_prefix(field)?.strip_suffix(" kB"));
            kib.and_then(|kib| kib.trim().parse::<f64>().ok())
                .map_or(f64::NAN, |kib| kib / 1024.0)
        };
        Ok(format!(
            "{:.1} MiB resident, {:.1} MiB at the most",
            mib("VmRSS:"),
            mib("VmHWM:")
        ))
    }

    fn cpu_seconds(&self) -> Result<f64, Box<dyn Error>> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("stat without a name")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<_, _>>()?;
        Ok(ticks as f64 / TICKS_A_SECOND)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn load_average() -> io::Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}
