//! What taskstats says that processes waited for: `nodescope-taskstats PID...` prints the sums as one JSON object, in
//! nanoseconds.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use nodescope_tests::{TASKSTATS_WAITS, Taskstats};

fn main() -> ExitCode {
    let pids: Result<Vec<u32>, _> = std::env::args().skip(1).map(|pid| pid.parse()).collect();
    let Ok(pids) = pids else {
        eprintln!("usage: nodescope-taskstats PID...");
        return ExitCode::from(64);
    };
    let fields: Vec<String> = TASKSTATS_WAITS
        .iter()
        .zip(Taskstats::open().waits_ns(&pids))
        .map(|((name, _), ns)| format!("\"{name}\":{ns}"))
        .collect();
    println!("{{{}}}", fields.join(","));
    ExitCode::SUCCESS
}
