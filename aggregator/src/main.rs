//! `nodescope-aggregator`: the unprivileged half of nodescope. See `--help`.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use nodescope_aggregator::app::{App, AppError};
use nodescope_aggregator::args::{self, Command};
use nodescope_aggregator::config::Config;
use tracing_subscriber::EnvFilter;

/// Wrong usage or configuration.
const EXIT_USAGE: u8 = 64;
/// Something that should not happen.
const EXIT_INTERNAL: u8 = 70;
/// The listen address cannot be used.
const EXIT_CANNOT_LISTEN: u8 = 73;

fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => print(&args::help()),
        Ok(Command::Version) => print(&format!(
            "nodescope-aggregator {}\n",
            nodescope_aggregator::RELEASE
        )),
        Ok(Command::Run(config)) => run(*config),
        Err(error) => fail(&format!("{error}; see --help"), EXIT_USAGE),
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_INTERNAL),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("nodescope-aggregator: {message}");
    ExitCode::from(code)
}

fn run(config: Config) -> ExitCode {
    let filter =
        EnvFilter::try_from_env("NODESCOPE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the runtime cannot start: {error}"), EXIT_INTERNAL),
    };
    match runtime.block_on(async { App::build(config).await?.run().await }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string(), exit_code(&error)),
    }
}

fn exit_code(error: &AppError) -> u8 {
    match error {
        AppError::Listen(_) => EXIT_CANNOT_LISTEN,
        AppError::Replay(_) => EXIT_USAGE,
        AppError::Signals(_) => EXIT_INTERNAL,
    }
}
