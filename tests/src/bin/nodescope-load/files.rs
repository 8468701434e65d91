//! Time of calls that have nothing to do with the network, and memory for the OOM killer.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use crate::args::Args;
use crate::report::say;

const BLOCK_BYTES: usize = 64;
const PAGE_BYTES: usize = 4096;

/// Prints the mean time of a call, in nanoseconds.
pub(crate) fn time_calls(args: &Args) -> Result<(), String> {
    let path = args
        .need::<PathBuf>("directory")?
        .join("nodescope-load.bench");
    let rounds: u32 = args.need("rounds")?;
    let result = measure(&path, rounds.max(1));
    let _ = fs::remove_file(&path);
    let [open, read, write, pipe] =
        result.map_err(|error| format!("{}: {error}", path.display()))?;
    say(format_args!(
        "{{\"open_ns\":{open:.1},\"read_ns\":{read:.1},\"write_ns\":{write:.1},\"pipe_ns\":{pipe:.1}}}"
    ))
}

fn measure(path: &PathBuf, rounds: u32) -> io::Result<[f64; 4]> {
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)?;
    let mut block = [0_u8; BLOCK_BYTES];
    file.write_all(&block)?;
    let open = timed(rounds, || File::open(path).map(drop))?;
    let read = timed(rounds, || {
        file.seek(SeekFrom::Start(0))?;
        file.read_exact(&mut block)
    })?;
    let write = timed(rounds, || {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&block)
    })?;
    let (mut reader, mut writer) = io::pipe()?;
    let pipe = timed(rounds, || {
        writer.write_all(&block)?;
        reader.read_exact(&mut block)
    })?;
    Ok([open, read, write, pipe])
}

fn timed(rounds: u32, mut call: impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let begin = Instant::now();
    for _ in 0..rounds {
        call()?;
    }
    Ok(begin.elapsed().as_secs_f64() * 1e9 / f64::from(rounds))
}

/// Uses memory until somebody ends it. Each page is read before it is written, so that the kernel copies it (from the page
/// of zeros that it shows to readers).
pub(crate) fn touch_memory(args: &Args) -> Result<(), String> {
    let bytes: usize = args.need("bytes")?;
    let rounds: usize = args.get("rounds")?.unwrap_or(1);
    let mut memory = vec![0_u8; bytes];
    for _ in 0..rounds {
        for offset in (0..bytes).step_by(PAGE_BYTES) {
            let read = std::hint::black_box(memory[offset]);
            memory[offset] = read.wrapping_add(1);
        }
    }
    say(format_args!(
        "{{\"touched_bytes\":{}}}",
        std::hint::black_box(&memory).len()
    ))?;
    loop {
        thread::park();
    }
}
