//! Lines at a rate, on standard output or in a file: the level of line N is that of N modulo 4, so a test knows how many there are.

use std::io::{self, BufWriter, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::log_file::LogFile;

/// Lines are written in batches so far apart.
const BATCH: Duration = Duration::from_millis(10);

/// Writes the lines, then waits until somebody ends it if it is to `hold`.
pub(crate) fn write(args: &Args) -> Result<(), String> {
    let count: u64 = args.need("count")?;
    let per_second: u64 = args.need("per-second")?;
    thread::sleep(Duration::from_millis(args.get("after-ms")?.unwrap_or(0)));
    let lines = Lines { count, per_second };
    let mut file = LogFile::from_args(args)?;
    let written = match &mut file {
        Some(file) => lines.write(file),
        None => lines.write(&mut io::stdout().lock()),
    };
    written.map_err(|error| error.to_string())?;
    while args.has("hold") {
        thread::park();
    }
    Ok(())
}

struct Lines {
    count: u64,
    per_second: u64,
}

impl Lines {
    fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 16, out);
        let begin = Instant::now();
        let mut written = 0;
        while written < self.count {
            let due = begin.elapsed().as_micros() * u128::from(self.per_second.max(1)) / 1_000_000;
            let due = u64::try_from(due).unwrap_or(self.count).min(self.count);
            for number in written..due {
                write_line(&mut out, number)?;
            }
            written = due.max(written);
            out.flush()?;
            thread::sleep(BATCH);
        }
        Ok(())
    }
}

fn write_line(out: &mut impl io::Write, number: u64) -> io::Result<()> {
    let message = [
        "ERROR cannot write block",
        "WARN slow answer to request",
        "INFO served request",
        "DEBUG looked up key",
    ];
    let message = message[(number % 4) as usize];
    writeln!(
        out,
        "2026-01-05T10:00:00.{:06}Z {message} {number} of the shop",
        number % 1_000_000
    )
}
