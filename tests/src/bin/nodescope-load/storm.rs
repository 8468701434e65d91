//! Many short processes, and many short connections at a steady rate.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::report::{Report, say};

/// Each child is this program again: it connects once and exits, all within a few milliseconds.
pub(crate) fn storm(args: &Args) -> Result<(), String> {
    let to: String = args.need("to")?;
    let count: u64 = args.need("count")?;
    let parallel: u64 = args.get("parallel")?.unwrap_or(4).max(1);
    let begin = Instant::now();
    let threads: Vec<_> = (0..parallel)
        .map(|index| {
            (
                to.clone(),
                count / parallel + u64::from(index < count % parallel),
            )
        })
        .map(|(to, share)| thread::spawn(move || run_children(&to, share)))
        .collect();
    let mut report = Report::default();
    for thread in threads {
        report += thread
            .join()
            .map_err(|_| "a thread panicked".to_owned())??;
    }
    report.elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    say(report)
}

fn run_children(to: &str, count: u64) -> Result<Report, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut report = Report::default();
    for _ in 0..count {
        let output = Command::new(&program)
            .args(["connect", "--count", "1", "--to", to])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("child: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if text.contains("\"established\":1") {
            report.established += 1;
        } else if text.contains("\"refused\":1") {
            report.refused += 1;
        } else {
            report.failed_otherwise += 1;
        }
    }
    Ok(report)
}

/// Connects and closes at a steady rate, to one address after the other: each has its own set of ephemeral ports. Each
/// connection waits for the server's end, so that no more are open than there are threads and no backlog overflows.
pub(crate) fn rate(args: &Args) -> Result<(), String> {
    let targets = args.addresses("to")?;
    let per_second: u64 = args.need("per-second")?;
    let seconds: u64 = args.need("seconds")?;
    let parallel: u64 = args.get("parallel")?.unwrap_or(8).max(1);
    if targets.is_empty() || per_second == 0 {
        return Err("--to and --per-second are needed".to_owned());
    }
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..parallel)
        .map(|first| {
            (
                targets.clone(),
                (first..per_second * seconds).step_by(parallel as usize),
            )
        })
        .map(|(targets, indexes)| {
            thread::spawn(move || {
                let mut report = Report::default();
                for (index, target) in indexes.zip(targets.iter().cycle()) {
                    wait_until(begin + Duration::from_nanos(index * 1_000_000_000 / per_second));
                    // A machine that is too slow reaches a lower rate, not a longer run.
                    if Instant::now() >= end {
                        break;
                    }
                    connect_once(target, &mut report);
                }
                report
            })
        })
        .collect();
    let mut report = Report::default();
    for thread in threads {
        report += thread.join().map_err(|_| "a thread panicked".to_owned())?;
    }
    report.elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    say(report)
}

fn connect_once(target: &SocketAddr, report: &mut Report) {
    match TcpStream::connect(target) {
        Ok(mut stream) => {
            report.established += 1;
            // The server sends nothing: this returns at its end.
            let _ = stream.read(&mut [0]);
        }
        Err(error) => report.failed(&error),
    }
}

/// Sleeps only when it is worth it; a late start is made up for without sleeping.
fn wait_until(instant: Instant) {
    let left = instant.saturating_duration_since(Instant::now());
    if left > Duration::from_micros(200) {
        thread::sleep(left);
    }
}
