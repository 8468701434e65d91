//! The load generator as seen from a test.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;

use crate::process::Watchdog;
use crate::{Place, run_output};

/// Path of the static load generator.
pub fn load_program() -> &'static str {
    env!("NODESCOPE_LOAD")
}

/// What a run of the load generator counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// Connects that succeeded.
    pub established: u64,
    /// Connects answered by a reset.
    pub refused: u64,
    /// Connects given up.
    pub timed_out: u64,
    /// Anything else that went wrong.
    pub failed_otherwise: u64,
    /// Payload bytes written.
    pub sent_bytes: u64,
    /// Payload bytes read.
    pub received_bytes: u64,
    /// How long it took.
    pub elapsed_ms: u64,
}

impl LoadReport {
    /// From its JSON line.
    #[track_caller]
    pub fn parse(line: &str) -> Self {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let number = |name: &str| {
            value[name]
                .as_u64()
                .unwrap_or_else(|| panic!("no {name} in {line}"))
        };
        Self {
            established: number("established"),
            refused: number("refused"),
            timed_out: number("timed_out"),
            failed_otherwise: number("failed_otherwise"),
            sent_bytes: number("sent_bytes"),
            received_bytes: number("received_bytes"),
            elapsed_ms: number("elapsed_ms"),
        }
    }
}

/// Runs the load generator to its end; `words` are split at spaces.
#[track_caller]
pub fn run_load(place: Place<'_>, words: &str) -> LoadReport {
    LoadReport::parse(&run_output(
        place.command(load_program()).args(words.split_whitespace()),
    ))
}

/// A port outside the range of ephemeral ports (destinations in there are not reported) that nobody uses now.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("::", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    talk: Talk,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Serves at `address`.
    #[track_caller]
    pub fn start(place: Place<'_>, address: &str) -> Self {
        Self::start_with(place, &format!("serve --listen {address}"))
    }

    /// Any command that announces where it listens.
    #[track_caller]
    pub fn start_with(place: Place<'_>, words: &str) -> Self {
        let mut talk = Talk::start(place.command(load_program()).args(words.split_whitespace()));
        let line = talk.line();
        let value: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let texts = value["listening"].as_array().cloned().unwrap_or_default();
        let addresses = texts
            .iter()
            .filter_map(Value::as_str)
            .map(|text| text.parse().expect("an address"))
            .collect();
        Self { talk, addresses }
    }

    /// The first address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.talk.child.id()
    }

    /// The next line it prints.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.talk.line()
    }
}

/// Connections held open. Dropping it closes them.
#[derive(Debug)]
pub struct Hold(Talk);

impl Hold {
    /// Opens `count` connections.
    #[track_caller]
    pub fn open(place: Place<'_>, to: SocketAddr, count: u64) -> Self {
        let words = format!("hold --to {to} --count {count}");
        Self::open_with(
            place.command(load_program()).args(words.split_whitespace()),
            count,
        )
    }

    /// Any command that becomes `nodescope-load hold`.
    #[track_caller]
    pub fn open_with(command: &mut Command, count: u64) -> Self {
        let mut hold = Self(Talk::start(command));
        let report = LoadReport::parse(&hold.0.line());
        assert_eq!(report.established, count, "{report:?}");
        hold
    }

    /// Tells it something: `exchange UPLOAD DOWNLOAD` or `close N`. Returns its totals.
    #[track_caller]
    pub fn tell(&mut self, order: &str) -> LoadReport {
        self.0.say(order);
        LoadReport::parse(&self.0.line())
    }
}

/// A child that is spoken to by lines.
#[derive(Debug)]
struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Talk {
    #[track_caller]
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self {
            child,
            input,
            output,
        }
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let _watchdog = Watchdog::new(self.child.id());
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("a pipe can be read");
        assert!(
            !line.is_empty(),
            "the load generator ended: {:?}",
            self.child.wait()
        );
        line
    }

    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it is piped");
        writeln!(input, "{line}").expect("the load generator reads its orders");
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // Closing its input is how a client learns that it is over; a server needs to be killed.
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
