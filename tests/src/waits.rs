//! What the kernel says in `/proc` that a process waited for.

use std::time::Instant;

/// Of `/proc/PID/stat` (`proc_pid_stat(5)`), behind the name: delayacct_blkio_ticks.
const BLOCK_IO_TICKS: usize = 39;
/// `sysconf(_SC_CLK_TCK)` of every Linux that nodescope runs on.
const TICKS_PER_SECOND: f64 = 100.0;

#[track_caller]
fn in_proc(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it lives")
}

/// Seconds in the queue of a CPU.
#[track_caller]
pub fn waited_for_cpu(pid: u32) -> f64 {
    let text = in_proc(pid, "schedstat");
    let nanos: f64 = text
        .split(' ')
        .nth(1)
        .and_then(|ns| ns.parse().ok())
        .expect("a number");
    nanos / 1e9
}

/// Seconds of waiting for block I/O; of processes that began while `kernel.task_delayacct` was on.
#[track_caller]
pub fn waited_for_disk(pid: u32) -> f64 {
    let text = in_proc(pid, "stat");
    let (_, fields) = text.rsplit_once(')').expect("a name");
    let ticks: f64 = fields
        .split_whitespace()
        .nth(BLOCK_IO_TICKS)
        .and_then(|ticks| ticks.parse().ok())
        .expect("a number");
    ticks / TICKS_PER_SECOND
}

/// Within 5 %.
pub fn is_near(value: f64, expected: f64) -> bool {
    (value - expected).abs() <= expected * 0.05
}

/// Whether two processes cannot have waited that long. Since Linux 6.12 the kernel says so of disks now and then.
pub fn is_impossible(seconds: f64, begun: Instant) -> bool {
    seconds > 2.0 * begun.elapsed().as_secs_f64()
}
