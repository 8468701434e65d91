//! Lines a second on one core, from the bytes of a log file to counted patterns, and memory after a million distinct
//! lines: `cargo bench -p nodescope-logs [-- FILE]`. FILE has one message a line and is repeated to a million lines;
//! without it, messages are made up.
//!
//! Time is that of the CPU, so that other load on the machine does not count.
//!
//! The baseline of the same run only cuts the same bytes into lines and counts each line in a hash map.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark stops at the first surprise"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use nodescope_logs::decode::Format;
use nodescope_logs::{Source, SourceLimits};

const LINES: usize = 1_000_000;
const PIECE_BYTES: usize = 64 << 10;
const ROUNDS: usize = 3;

fn main() {
    let file = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let messages = match &file {
        Some(path) => std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect(),
        None => made_up(20_000),
    };
    println!(
        "{} distinct lines of {}",
        messages.len(),
        file.as_deref().unwrap_or("made-up messages")
    );

    for (name, format) in [
        ("plain", Format::Plain),
        ("cri", Format::Cri),
        ("docker json-file", Format::DockerJson),
    ] {
        let bytes = file_of(format, messages.iter().cycle().take(LINES));
        let baseline = best(|| count_lines(&bytes));
        let mut patterns = 0;
        let whole = best(|| patterns = mine(format, &bytes).patterns().len());
        println!(
            "{name}: {:.0} lines/s ({:.0} MB/s), {patterns} patterns; baseline {:.0} lines/s",
            rate(whole),
            bytes.len() as f64 / whole.as_secs_f64() / 1e6,
            rate(baseline),
        );
    }

    let junk = junk(LINES);
    let bytes = file_of(Format::Plain, junk.iter());
    let start = cpu_time();
    let source = mine(Format::Plain, &bytes);
    println!(
        "a million distinct junk lines: {:.0} lines/s, {} patterns, {} KiB",
        rate(cpu_time() - start),
        source.patterns().len(),
        source.bytes() / 1024
    );
}

fn mine(format: Format, bytes: &[u8]) -> Source {
    let mut source = Source::new(format, SourceLimits::default());
    for piece in bytes.chunks(PIECE_BYTES) {
        source.feed(piece, 0);
    }
    source.flush(true);
    assert!(
        source
            .patterns()
            .iter()
            .map(|pattern| pattern.messages)
            .sum::<u64>()
            > 0
    );
    source
}

fn count_lines(bytes: &[u8]) {
    let mut lines: HashMap<&[u8], u64> = HashMap::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        *lines.entry(line).or_default() += 1;
    }
    black_box(lines.len());
}

fn best(mut run: impl FnMut()) -> Duration {
    let once = |run: &mut dyn FnMut()| {
        let start = cpu_time();
        run();
        cpu_time() - start
    };
    (0..ROUNDS).map(|_| once(&mut run)).min().unwrap()
}

/// Time that this thread ran: the first field of `schedstat`, in nanoseconds.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ran = text.split_whitespace().next().unwrap();
    Duration::from_nanos(ran.parse().unwrap())
}

fn rate(time: Duration) -> f64 {
    LINES as f64 / time.as_secs_f64()
}

fn file_of<'a>(format: Format, messages: impl Iterator<Item = &'a String>) -> Vec<u8> {
    let mut file = Vec::new();
    for message in messages {
        let line = match format {
            Format::Cri => format!("2024-01-05T10:00:00.123456789Z stdout F {message}\n"),
            Format::DockerJson => {
                let escaped = message.replace('\\', "\\\\").replace('"', "\\\"");
                format!(
                    r#"{{"log":"{escaped}\n","stream":"stdout","time":"2024-01-05T10:00:00.123456789Z"}}"#
                ) + "\n"
            }
            Format::Plain | Format::DockerLocal => format!("{message}\n"),
        };
        file.extend_from_slice(line.as_bytes());
    }
    file
}

/// A generator of numbers, the same ones in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn made_up(count: usize) -> Vec<String> {
    let mut numbers = Numbers(1);
    let mut message = || {
        let (a, b) = (numbers.next() % 100_000, numbers.next() % 256);
        match numbers.next() % 6 {
            0 => format!(
                "2024-01-05 10:00:00.{a:05} INFO [worker-{b}] o.e.Shop - order {a} of user bob took {b} ms"
            ),
            1 => format!("connection from 192.0.2.{b}:{a} closed after {b} requests"),
            2 => format!(
                "time=2024-01-05T10:00:00Z level=warn msg=\"retrying\" attempt={b} id={a:x}"
            ),
            3 => format!(
                r#"{{"level":"error","ts":1704448800.{a},"msg":"can't read block {a}","shard":{b}}}"#
            ),
            4 => format!(
                r#"192.0.2.{b} - - [05/Jan/2024:10:00:00 +0000] "GET /orders/{a} HTTP/1.1" 200 {a}"#
            ),
            _ => format!(
                "E0105 10:00:00.{a:06} 1 cache.go:{b}] evicted key /orders/{a}: no space left"
            ),
        }
    };
    (0..count).map(|_| message()).collect()
}

fn junk(count: usize) -> Vec<String> {
    let mut numbers = Numbers(2);
    let mut word = || {
        let mut number = numbers.next();
        let letters = 3 + number % 8;
        let mut word = String::new();
        for _ in 0..letters {
            number /= 26;
            word.push(char::from(b'a' + (number % 26) as u8));
        }
        word
    };
    (0..count)
        .map(|_| [(); 8].map(|()| word()).join(" "))
        .collect()
}
