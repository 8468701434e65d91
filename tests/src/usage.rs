//! CPU time of processes.

/// User and system time of a process, in seconds.
#[track_caller]
pub fn cpu_seconds(pid: u32) -> f64 {
    stat_ticks(pid, 11) + stat_ticks(pid, 12)
}

/// The same of this process's ended children.
#[track_caller]
pub fn children_cpu_seconds() -> f64 {
    let own = std::process::id();
    stat_ticks(own, 13) + stat_ticks(own, 14)
}

/// Processes that a process has forked, while it has one thread.
#[track_caller]
pub fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).expect("CONFIG_PROC_CHILDREN");
    let pids = text.split_whitespace().map(str::parse);
    pids.map(|pid| pid.expect("a number")).collect()
}

/// A field of `/proc/PID/stat` after the name, in seconds.
#[track_caller]
fn stat_ticks(pid: u32, index: usize) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let (_, fields) = text.rsplit_once(") ").expect("a name in parentheses");
    let ticks: f64 = fields
        .split(' ')
        .nth(index)
        .and_then(|field| field.parse().ok())
        .expect("a number");
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .expect("the tick rate");
    ticks / per_second as f64
}
