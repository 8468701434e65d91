//! The active side: connections one after the other, or held open and used on command.

use std::io::{self, BufRead, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::report::{Report, say};
use crate::server::{CHUNK_BYTES, read_bytes, write_bytes};

#[derive(Clone, Copy)]
struct Plan {
    to: SocketAddr,
    timeout: Option<Duration>,
    upload: u64,
    download: u64,
}

impl Plan {
    fn from_args(args: &Args) -> Result<Self, String> {
        Ok(Self {
            to: args.need("to")?,
            timeout: args.get("timeout-ms")?.map(Duration::from_millis),
            upload: args.get("upload")?.unwrap_or(0),
            download: args.get("download")?.unwrap_or(0),
        })
    }

    fn open(&self) -> io::Result<TcpStream> {
        match self.timeout {
            Some(timeout) => TcpStream::connect_timeout(&self.to, timeout),
            None => TcpStream::connect(self.to),
        }
    }
}

pub(crate) fn connect(args: &Args) -> Result<(), String> {
    let plan = Plan::from_args(args)?;
    let count: u64 = args.need("count")?;
    let parallel: u64 = args.get("parallel")?.unwrap_or(1).max(1);
    let begin = Instant::now();
    let threads: Vec<_> = (0..parallel)
        .map(|index| count / parallel + u64::from(index < count % parallel))
        .map(|share| thread::spawn(move || connect_times(plan, share)))
        .collect();
    let mut report = Report::default();
    for thread in threads {
        report += thread
            .join()
            .map_err(|_| "a client's thread panicked".to_owned())?;
    }
    report.elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    say(report)
}

fn connect_times(plan: Plan, count: u64) -> Report {
    let mut report = Report::default();
    for _ in 0..count {
        match plan.open() {
            Ok(mut stream) => {
                report.established += 1;
                if plan.upload + plan.download > 0
                    && let Err(error) =
                        exchange(&mut stream, plan.upload, plan.download, &mut report)
                {
                    eprintln!("nodescope-load: exchange: {error}");
                    report.failed_otherwise += 1;
                }
            }
            Err(error) => report.failed(&error),
        }
    }
    report
}

fn exchange(
    stream: &mut TcpStream,
    upload: u64,
    download: u64,
    report: &mut Report,
) -> io::Result<()> {
    let mut chunk = vec![0x5a_u8; CHUNK_BYTES];
    let mut header = upload.to_be_bytes().to_vec();
    header.extend_from_slice(&download.to_be_bytes());
    stream.write_all(&header)?;
    write_bytes(stream, upload, &chunk)?;
    report.sent_bytes += header.len() as u64 + upload;
    read_bytes(stream, download, &mut chunk)?;
    report.received_bytes += download;
    Ok(())
}

/// Mean time of a small request and its answer on one connection, in nanoseconds.
pub(crate) fn round_trips(args: &Args) -> Result<(), String> {
    let plan = Plan::from_args(args)?;
    let rounds: u32 = args.need("rounds")?;
    let mut report = Report::default();
    let mut stream = plan.open().map_err(|error| error.to_string())?;
    stream
        .set_nodelay(true)
        .map_err(|error| error.to_string())?;
    let begin = Instant::now();
    for _ in 0..rounds {
        exchange(&mut stream, 0, 16, &mut report).map_err(|error| error.to_string())?;
    }
    let mean_ns = begin.elapsed().as_secs_f64() * 1e9 / f64::from(rounds.max(1));
    say(format_args!("{{\"round_trip_ns\":{mean_ns:.1}}}"))
}

/// Opens connections, then obeys its standard input until it ends: `exchange UPLOAD DOWNLOAD` on each of them, `close N`.
pub(crate) fn hold(args: &Args) -> Result<(), String> {
    let plan = Plan::from_args(args)?;
    let count: u64 = args.need("count")?;
    let mut report = Report::default();
    let mut streams = Vec::new();
    for _ in 0..count {
        match plan.open() {
            Ok(stream) => {
                report.established += 1;
                streams.push(stream);
            }
            Err(error) => report.failed(&error),
        }
    }
    say(report)?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        obey(&line, &mut streams, &mut report).map_err(|error| format!("{line}: {error}"))?;
        say(report)?;
    }
    Ok(())
}

fn obey(line: &str, streams: &mut Vec<TcpStream>, report: &mut Report) -> io::Result<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| {
        word.parse::<u64>()
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
    };
    match words.as_slice() {
        ["exchange", upload, download] => {
            let (upload, download) = (number(upload)?, number(download)?);
            streams
                .iter_mut()
                .try_for_each(|stream| exchange(stream, upload, download, report))
        }
        ["close", count] => {
            let keep = streams
                .len()
                .saturating_sub(usize::try_from(number(count)?).unwrap_or(usize::MAX));
            streams.truncate(keep);
            Ok(())
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}
