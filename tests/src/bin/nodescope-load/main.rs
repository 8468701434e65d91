//! A load generator that knows exactly what it did: the tests compare its counts with nodescope's metrics.
//!
//! Standard library only, in one crate root, so that `build.rs` can build it static for images with nothing but busybox.
//! Every command prints its counts as one JSON object a line on standard output.
#![forbid(unsafe_code)]

mod args;
mod client;
mod files;
mod log;
mod log_file;
mod report;
mod server;
mod storm;

use std::process::ExitCode;

use args::Args;

const USAGE: &str = "usage: nodescope-load COMMAND [OPTION VALUE]...
  serve    --listen ADDR:PORT... [--accept-only yes]          accept until killed; sink and source of bytes
           [--count-file FILE]                                with the number of those accepted
  serve    --stdin-listener yes                               the same on the listening socket passed as standard input
  serve-once --listen ADDR:PORT                               accept one connection, close the listener, keep the connection
  activate --listen ADDR:PORT [--join CGROUP_DIR]...          make a listening socket, let a child in CGROUP_DIR serve it
  connect  --to ADDR:PORT --count N [--parallel P] [--upload BYTES] [--download BYTES] [--timeout-ms MS]
  hold     --to ADDR:PORT --count N                           then by line: 'exchange UPLOAD DOWNLOAD', 'close N'
  round-trips --to ADDR:PORT --rounds N                       mean time of a small request and its answer
  storm    --to ADDR:PORT --count N [--parallel P]            N processes, each connects once and exits
  rate     --to ADDR:PORT... --per-second N --seconds S       paced connect and close
  log      --count N --per-second R [--after-ms MS] [--hold yes]  lines on standard output, a quarter of each of four levels
           [--file PATH [--rotate-lines N [--copy yes]]]      or to the end of a file, rotated by rename or by copy and truncate
  files    --directory DIR --rounds N                         time of open, read, write, pipe in ns
  memory   --bytes N [--rounds R]                             read and write every page of N bytes R times, then wait
  listen   --listen ADDR:PORT                                 listen without ever accepting";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(command) = arguments.next() else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    let result = Args::parse(arguments).and_then(|args| match command.as_str() {
        "serve" => server::serve(&args),
        "serve-once" => server::serve_once(&args),
        "activate" => server::activate(&args),
        "listen" => server::listen_only(&args),
        "connect" => client::connect(&args),
        "hold" => client::hold(&args),
        "round-trips" => client::round_trips(&args),
        "storm" => storm::storm(&args),
        "rate" => storm::rate(&args),
        "log" => log::write(&args),
        "files" => files::time_calls(&args),
        "memory" => files::touch_memory(&args),
        other => Err(format!("unknown command '{other}'\n{USAGE}")),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("nodescope-load: {message}");
            ExitCode::FAILURE
        }
    }
}
