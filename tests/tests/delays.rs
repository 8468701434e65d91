//! What the tasks of a service waited for, compared with what the kernel says of the same tasks in `/proc`.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use nodescope_tests::*;

const CPU: &str = "container_resources_cpu_delay_seconds_total";
const DISK: &str = "container_resources_disk_delay_seconds_total";
const SWITCH: &str = "/proc/sys/kernel/task_delayacct";
/// Of `/proc/PID/stat` (`proc_pid_stat(5)`), behind the name: delayacct_blkio_ticks.
const BLOCK_IO_TICKS: usize = 39;
/// `sysconf(_SC_CLK_TCK)` of every Linux that nodescope runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// `kernel.task_delayacct` while this lives.
struct Accounting {
    before: String,
}

impl Accounting {
    fn set(value: &str) -> Self {
        let before = std::fs::read_to_string(SWITCH).expect("Linux 5.14");
        std::fs::write(SWITCH, value).expect("to set it");
        Self { before }
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        let _ = std::fs::write(SWITCH, &self.before);
    }
}

fn in_proc(process: &Process, file: &str) -> String {
    let path = format!("/proc/{}/{file}", process.pid());
    std::fs::read_to_string(path).expect("it lives")
}

/// Seconds in the queue of a CPU.
fn waited_for_cpu(process: &Process) -> f64 {
    let text = in_proc(process, "schedstat");
    let nanos: f64 = text
        .split(' ')
        .nth(1)
        .and_then(|ns| ns.parse().ok())
        .expect("a number");
    nanos / 1e9
}

fn waited_for_disk(process: &Process) -> f64 {
    let text = in_proc(process, "stat");
    let (_, fields) = text.rsplit_once(')').expect("a name");
    let ticks: f64 = fields
        .split_whitespace()
        .nth(BLOCK_IO_TICKS)
        .and_then(|ticks| ticks.parse().ok())
        .expect("a number");
    ticks / TICKS_PER_SECOND
}

/// Stopped, a process waits for nothing.
fn stop(processes: &[Process]) {
    for process in processes {
        process.signal(Signal::SIGSTOP);
    }
    std::thread::sleep(Duration::from_millis(100));
}

fn is_near(value: f64, expected: f64) -> bool {
    (value - expected).abs() <= expected * 0.05
}

#[test]
fn starved_processes_wait_as_long_as_the_kernel_says() {
    require_root!();
    let (mut agent, unit) = (Agent::start(), Unit::service("starved"));
    let labels = [("container_id", unit.path())];
    let busy = || {
        let mut command = Place::in_unit(&unit).command("taskset");
        command.args(["-c", "0", "sh", "-c", "while :; do :; done"]);
        Process::start("busy", &mut command, Path::new("/dev/null"))
    };
    let mut processes = [busy(), busy()];
    std::thread::sleep(Duration::from_secs(4));
    stop(&processes);
    let expected: f64 = processes.iter().map(waited_for_cpu).sum();
    assert!(expected > 2.0, "they did not starve: {expected} s");
    let near = |scrape: &Scrape, expected| {
        let value = scrape
            .sum(CPU, &labels)
            .filter(|value| is_near(*value, expected))?;
        eprintln!("{CPU} {value}, expected {expected}");
        Some(value)
    };
    let before = agent.eventually("the wait", unit.path(), |scrape| near(scrape, expected));

    // A new sensor begins from zero, what it does not know of stays.
    agent.replace_sensor(Duration::ZERO);
    assert!(agent.scrape().sum(CPU, &labels) >= Some(before));
    for process in &processes {
        process.signal(Signal::SIGCONT);
    }
    std::thread::sleep(Duration::from_secs(3));
    stop(&processes);
    let expected: f64 = processes.iter().map(waited_for_cpu).sum();
    agent.eventually("the wait of both runs", unit.path(), |scrape| {
        near(scrape, expected)
    });
    // Stopped, they take no other signal.
    processes.iter_mut().for_each(Process::kill);
}

#[test]
fn writes_to_a_disk_wait_as_long_as_the_kernel_says() {
    require_root!();
    if !Path::new(SWITCH).exists() {
        eprintln!("skipped: this kernel has no kernel.task_delayacct");
        return;
    }
    let accounting = Accounting::set("1");
    let (agent, unit) = (Agent::start(), Unit::service("writer"));
    let file = format!("/var/tmp/nodescope-{}", std::process::id());
    let mut command = Place::in_unit(&unit).command("dd");
    command.args(["if=/dev/zero", "bs=1M", "count=8000", "oflag=direct"]);
    command.arg(format!("of={file}"));
    let mut writer = [Process::start(
        "writer",
        &mut command,
        Path::new("/dev/null"),
    )];
    eventually("a wait", || {
        (waited_for_disk(&writer[0]) > 0.6).then_some(())
    });
    stop(&writer);
    let expected = waited_for_disk(&writer[0]);
    std::fs::remove_file(&file).expect("what it wrote");
    let labels = [("container_id", unit.path())];
    agent.eventually("the wait", unit.path(), |scrape| {
        let value = scrape
            .sum(DISK, &labels)
            .filter(|value| is_near(*value, expected))?;
        eprintln!("{DISK} {value}, expected {expected}");
        Some(())
    });
    writer[0].kill();
    // The setting is looked at now and then, and said as long as it is off.
    drop(accounting);
    let _off = Accounting::set("0");
    let hook = [("hook", "delays"), ("verdict", "degraded")];
    agent.eventually("the verdict", "", |scrape| {
        (scrape.sum("nodescope_sensor_hook", &hook) == Some(1.0)).then_some(())
    });
    let remedies = agent.logs().matches("set it to 1 with sysctl").count();
    assert_eq!(remedies, 1, "{}", agent.logs());
}
