//! The sensor's start and end. The order matters: what needs rights first, then no rights, then no system calls, and
//! only then the first byte of a client.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;
use nodescope_schema::Record;
use nodescope_sensor::args::{self, Args, Mode as Task};
use nodescope_sensor::broker::{Broker, Files, Sources};
use nodescope_sensor::check::Report;
use nodescope_sensor::examiner::Examiner;
use nodescope_sensor::exit::{Exit, Failure, at, because, say};
use nodescope_sensor::kernel::Source as _;
use nodescope_sensor::ping::Pinger;
use nodescope_sensor::setup::load;
use nodescope_sensor::socket::{ClientUser, Listener, activation};
use nodescope_sensor::stream::recording::Recording;
use nodescope_sensor::stream::requests::Requests;
use nodescope_sensor::stream::{Parts, Stream};
use nodescope_sensor::{privilege, seccomp};

fn main() -> ExitCode {
    let ended = run().unwrap_or_else(|failure| {
        say(format_args!("{failure}"));
        failure.exit
    });
    ended.into()
}

fn run() -> Result<Exit, Failure> {
    let passed = activation::start_clean().map_err(because(Exit::Usage))?;
    umask(Mode::from_bits_truncate(0o077));
    let args = args::parse(lexopt::Parser::from_env())
        .map_err(|error| Failure::new(Exit::Usage, format!("{error}; see --help")))?;
    match args.mode {
        Task::Help => print(&args::help()),
        Task::Version => print(concat!(
            "nodescope-sensor ",
            env!("CARGO_PKG_VERSION"),
            "\n"
        )),
        Task::Check => check(&args),
        Task::Run => serve(&args, passed),
    }
}

fn print(text: &str) -> Result<Exit, Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(because(Exit::Internal))?;
    Ok(Exit::Ok)
}

fn check(args: &Args) -> Result<Exit, Failure> {
    privilege::check().map_err(because(Exit::NotPermitted))?;
    let mut loaded = load(args)?;
    let pinger = Pinger::open(args.ping_interval);
    let mut report = Report::new(&loaded.node, &loaded.tree.path);
    let told = loaded.source.report(&mut |record| report.add(record));
    told.map_err(because(Exit::Internal))?;
    pinger
        .hooks()
        .for_each(|hook| report.add(&Record::Hook(hook)));
    print(&if args.json {
        report.json()
    } else {
        report.table()
    })?;
    Ok(if report.is_good() {
        Exit::Ok
    } else {
        Exit::Unavailable
    })
}

fn serve(args: &Args, passed: Option<OwnedFd>) -> Result<Exit, Failure> {
    privilege::check().map_err(because(Exit::NotPermitted))?;
    let client = ClientUser::find(&args.client_user).map_err(because(Exit::Usage))?;
    let root = File::open(&args.host_root).map_err(at(Exit::Usage, &args.host_root))?;
    let listener = match passed {
        Some(socket) => Listener::passed(socket, client),
        None => Listener::bind(&args.socket, client),
    };
    let listener = listener.map_err(because(Exit::CannotCreate))?;
    let recording = args.record.as_ref().map(|path| {
        Recording::create(path, args.record_limit_bytes).map_err(at(Exit::CannotCreate, path))
    });
    let recording = recording.transpose()?;
    let stop = stop_signals().map_err(because(Exit::Internal))?;
    let loaded = load(args)?;
    let pinger = Pinger::open(args.ping_interval);

    privilege::drop_rights().map_err(because(Exit::NotPermitted))?;
    let sources = Sources {
        held_logs: loaded.held_logs,
        executables: loaded.executables,
        examiner: examiner(),
    };
    let files = Files::new(root.into(), geteuid().as_raw());
    let broker = Broker::start(files, sources).map_err(because(Exit::Internal))?;
    let mut stream = Stream::new(Parts {
        hello: loaded.hello,
        source: loaded.source,
        listener,
        requests: Requests::new(broker),
        pinger,
        stop: stop.into(),
        recording,
        poll_interval: args.poll_interval,
    });
    seccomp::restrict().map_err(because(Exit::Unavailable))?;
    if let Some(reason) = loaded.without_bpf {
        say(format_args!(
            "{reason}: containers and what can be found out without BPF are served, connections are not seen"
        ));
    }
    say(format_args!("ready"));
    stream.run().map_err(because(Exit::Internal))?;
    Ok(Exit::Ok)
}

/// Without it the sensor goes on: only the languages of programs are not known.
fn examiner() -> Option<Examiner> {
    let started = Examiner::start();
    if let Err(error) = &started {
        say(format_args!(
            "cannot start the process that looks at programs, their languages will not be known: {error}"
        ));
    }
    started.ok()
}

/// A descriptor that is readable when the process is told to end.
fn stop_signals() -> nix::Result<SignalFd> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
