//! What the tasks of a service waited for, compared with what the kernel says of the same tasks in `/proc` and by
//! taskstats.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nodescope_tests::*;

const CPU: &str = "container_resources_cpu_delay_seconds_total";
const DISK: &str = "container_resources_disk_delay_seconds_total";
const MEMORY: &str = "container_resources_memory_delay_seconds_total";

fn in_proc(process: &Process, file: &str) -> String {
    let path = format!("/proc/{}/{file}", process.pid());
    std::fs::read_to_string(path).expect("it lives")
}

/// Stopped, a process waits for nothing.
fn stop(processes: &[Process]) {
    for process in processes {
        process.signal(Signal::SIGSTOP);
    }
    std::thread::sleep(Duration::from_millis(100));
}

/// A sensor that asks taskstats.
fn taskstats() -> AgentOptions {
    AgentOptions {
        sensor: vec!["--taskstats".to_owned()],
        ..AgentOptions::default()
    }
}

#[test]
fn starved_processes_wait_as_long_as_the_kernel_says() {
    require_root!();
    starved_processes_wait_as_long_as_the_kernel_says_to(AgentOptions::default());
}

#[test]
fn starved_processes_by_taskstats() {
    require_root!();
    let Some(_accounting) = Accounting::on() else {
        return;
    };
    starved_processes_wait_as_long_as_the_kernel_says_to(taskstats());
}

/// A process in whose mounts there is no BTF.
fn without_btf() -> Process {
    let script = "mount -t tmpfs none /sys/kernel/btf && exec sleep infinity";
    let mut command = Agent::here().command("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    let keeper = Process::start("keeper", &mut command, Path::new("/dev/null"));
    let btf = format!("/proc/{}/root/sys/kernel/btf/vmlinux", keeper.pid());
    eventually("BTF is hidden", || {
        let own = std::fs::metadata("/sys/kernel/btf/vmlinux").is_ok();
        (own && std::fs::metadata(&btf).is_err()).then_some(())
    });
    keeper
}

#[test]
fn starved_processes_without_btf() {
    require_root!();
    let Some(_accounting) = Accounting::on() else {
        return;
    };
    let keeper = without_btf();
    starved_processes_wait_as_long_as_the_kernel_says_to(AgentOptions {
        mounts_of: Some(keeper.pid()),
        ..AgentOptions::default()
    });
}

fn starved_processes_wait_as_long_as_the_kernel_says_to(options: AgentOptions) {
    let (mut agent, unit) = (Agent::start_with(options), Unit::service("starved"));
    let labels = [("container_id", unit.path())];
    let busy = || {
        let mut command = Place::in_unit(&unit).command("taskset");
        command.args(["-c", "0", "sh", "-c", "while :; do :; done"]);
        Process::start("busy", &mut command, Path::new("/dev/null"))
    };
    let mut processes = [busy(), busy()];
    std::thread::sleep(Duration::from_secs(4));
    stop(&processes);
    let expected: f64 = processes
        .iter()
        .map(|process| waited_for_cpu(process.pid()))
        .sum();
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
    let expected: f64 = processes
        .iter()
        .map(|process| waited_for_cpu(process.pid()))
        .sum();
    agent.eventually("the wait of both runs", unit.path(), |scrape| {
        near(scrape, expected)
    });
    // Stopped, they take no other signal.
    processes.iter_mut().for_each(Process::kill);
}

#[test]
fn throttled_writes_wait_as_long_as_the_kernel_says() {
    require_root!();
    throttled_writes_wait_as_long_as_the_kernel_says_to(AgentOptions::default());
}

#[test]
fn throttled_writes_by_taskstats() {
    require_root!();
    throttled_writes_wait_as_long_as_the_kernel_says_to(taskstats());
}

fn throttled_writes_wait_as_long_as_the_kernel_says_to(options: AgentOptions) {
    let Some(accounting) = Accounting::on() else {
        return;
    };
    let agent = Agent::start_with(options);
    // Without the limit it would be full long before the second of waiting.
    let device = LoopDevice::new(64 << 20);
    let (v1, v2) = device.limits("write", 16_000_000);
    let write = || {
        let unit = Unit::service("writer");
        unit.limit(&v1, &v2);
        let mut command = Place::in_unit(&unit).command("dd");
        command.args(["if=/dev/zero", "bs=1M", "oflag=direct"]);
        command.arg(format!("of={}", device.path()));
        let (begun, null) = (Instant::now(), Path::new("/dev/null"));
        let writer = [Process::start("writer", &mut command, null)];
        let waited = eventually("a wait", || {
            Some(waited_for_disk(writer[0].pid())).filter(|seconds| *seconds > 1.0)
        });
        (!is_impossible(waited, begun)).then_some((unit, writer))
    };
    let (unit, mut writer) = poll(DEADLINE, write).expect("a kernel that counts its waits");
    stop(&writer);
    let expected = waited_for_disk(writer[0].pid());
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
    accounting.turn("0");
    let remedies = || agent.logs().matches("set it to 1 with sysctl").count();
    eventually("the remedy", || (remedies() > 0).then_some(()));
    let hook = [("hook", "delays"), ("verdict", "degraded")];
    let hooks = agent.scrape().sum("nodescope_sensor_hook", &hook);
    assert_eq!((hooks, remedies()), (Some(1.0), 1), "{}", agent.logs());
}

fn waits_for_disk_now(process: &Process) -> bool {
    in_proc(process, "stat").contains(") D ")
}

/// Of any process of the machine.
fn left_out(scrape: &Scrape, stage: &str) -> f64 {
    let labels = [("stage", stage), ("reason", "impossible")];
    scrape
        .sum("nodescope_records_lost_total", &labels)
        .unwrap_or(0.0)
}

/// Times the process gave up its CPU to wait.
fn waits_begun(process: &Process) -> String {
    let status = in_proc(process, "status");
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("a count").trim().to_owned()
}

/// A process that reads from a disk of which each read takes a second, and its unit.
struct SlowReader {
    processes: [Process; 1],
    unit: Unit,
    begun: Instant,
}

impl SlowReader {
    /// Accounting is off when its first long wait begins, and on when that ends. None when there was no time for this.
    fn with_a_wrong_wait(accounting: &Accounting, device: &LoopDevice) -> Option<Self> {
        let unit = Unit::service("reader");
        let (v1, v2) = device.limits("read", 64 << 10);
        unit.limit(&v1, &v2);
        let directory = tempfile::tempdir().expect("a directory");
        let gate = directory.path().join("gate");
        nix::unistd::mkfifo(&gate, Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO");
        let script = "read line <$0; exec dd if=$1 of=/dev/null bs=64k iflag=direct";
        let mut read = Place::in_unit(&unit).command("sh");
        read.args(["-c", script]).arg(&gate).arg(device.path());
        let reader = Process::start("reader", &mut read, Path::new("/dev/null"));
        let begun = Instant::now();
        accounting.turn("0");
        std::fs::write(&gate, "\n").expect("it reads");
        // Before the long ones there may be some that end at once.
        let long_wait = eventually("a long wait", || {
            let wait = waits_begun(&reader);
            std::thread::sleep(Duration::from_millis(100));
            (waits_for_disk_now(&reader) && waits_begun(&reader) == wait).then_some(wait)
        });
        accounting.turn("1");
        let in_time = waits_begun(&reader) == long_wait;
        let wrong = eventually("its end", || {
            let seconds = waited_for_disk(reader.pid());
            (seconds > 0.0).then_some(seconds)
        });
        let is_wrong = in_time && is_impossible(wrong, begun);
        let processes = [reader];
        is_wrong.then_some(Self {
            processes,
            unit,
            begun,
        })
    }
}

/// The kernel counts from the start of the machine when it did not take the time at which a first wait began.
#[test]
fn a_wait_longer_than_there_was_time_for_is_left_out() {
    require_root!();
    a_wait_too_long_is_left_out_by(AgentOptions::default(), "kernel_delays");
}

#[test]
fn a_wait_too_long_is_left_out_by_taskstats() {
    require_root!();
    a_wait_too_long_is_left_out_by(taskstats(), "taskstats");
}

fn a_wait_too_long_is_left_out_by(options: AgentOptions, stage: &str) {
    let Some(accounting) = Accounting::on() else {
        return;
    };
    let agent = Agent::start_with(options);
    let device = LoopDevice::new(8 << 20);
    let before = left_out(&agent.scrape(), stage);
    let reader = poll(DEADLINE, || {
        SlowReader::with_a_wrong_wait(&accounting, &device)
    });
    let SlowReader {
        processes: mut reader,
        unit,
        begun,
    } = reader.expect("a wait of which the kernel did not take the begin");
    let stopped = |reader: &[Process]| {
        stop(reader);
        eventually("a last wait is over", || {
            in_proc(&reader[0], "stat").contains(") T ").then_some(())
        });
    };
    stopped(&reader);
    agent.eventually("a loss", "", |scrape| {
        (left_out(scrape, stage) > before).then_some(())
    });
    // What was waited for between the same two looks is left out with it; what comes later is not.
    let labels = [("container_id", unit.path())];
    let shown = agent.scrape().sum(DISK, &labels).unwrap_or(0.0);
    assert!(!is_impossible(shown, begun), "{shown}");
    let so_far = waited_for_disk(reader[0].pid());
    reader[0].signal(Signal::SIGCONT);
    eventually("more of them", || {
        (waited_for_disk(reader[0].pid()) > so_far + 2.5).then_some(())
    });
    stopped(&reader);
    let more = waited_for_disk(reader[0].pid()) - so_far;
    let value = agent.eventually("the others", unit.path(), |scrape| {
        let value = scrape.sum(DISK, &labels)? - shown;
        is_near(value, more).then_some(value)
    });
    eprintln!("{DISK} {value} more, expected {more}");
    reader[0].kill();
}

/// A wait of taskstats and the series that has it.
fn series_of(kind: &'static str) -> (&'static str, Option<(&'static str, &'static str)>) {
    match kind {
        "cpu" => (CPU, None),
        "blkio" => (DISK, None),
        "irq" => ("container_resources_irq_delay_seconds_total", None),
        _ => (MEMORY, Some(("kind", kind))),
    }
}

/// Both files are worth keeping, and there is no room for both: what comes back is thrashing. Waits for a writer of the
/// last one in the end.
fn read_too_much(unit: &Unit, directory: &Path) -> Process {
    let [one, other, end] = ["one", "other", "end"].map(|name| directory.join(name));
    for file in [&one, &other] {
        let mut write = Agent::here().command("dd");
        write.args(["if=/dev/zero", "bs=1M", "count=14", "oflag=direct"]);
        run(write.arg(format!("of={}", file.display())));
    }
    nix::unistd::mkfifo(&end, Mode::S_IRUSR).expect("a FIFO");
    let mut read = Place::in_unit(unit).command("taskset");
    read.args(["-c", "0", "cat"]);
    for _ in 0..100 {
        read.args([&one, &one, &other, &other]);
    }
    Process::start("reader", read.arg(&end), Path::new("/dev/null"))
}

/// On the same CPU, for longer than anybody waits.
fn touch_pages(unit: &Unit) -> Process {
    let mut touch = Place::in_unit(unit).command("taskset");
    touch.args(["-c", "0", load_program(), "memory"]);
    touch.args(["--bytes", "4000000", "--rounds", "1000000000"]);
    Process::start("toucher", &mut touch, Path::new("/dev/null"))
}

#[test]
fn every_wait_is_as_long_as_taskstats_says() {
    require_root!();
    every_wait_is_as_long_as_taskstats_says_to(AgentOptions::default());
}

#[test]
fn every_wait_by_taskstats() {
    require_root!();
    every_wait_is_as_long_as_taskstats_says_to(taskstats());
}

fn every_wait_is_as_long_as_taskstats_says_to(options: AgentOptions) {
    let Some(_accounting) = Accounting::on() else {
        return;
    };
    let (agent, unit) = (Agent::start_with(options), Unit::service("waits"));
    unit.limit("memory.limit_in_bytes 28M", "memory.max 28M");
    let directory = tempfile::tempdir_in("/var/tmp").expect("a directory on a disk");
    let begun = Instant::now();
    let mut processes = [read_too_much(&unit, directory.path()), touch_pages(&unit)];
    let pids = [processes[0].pid(), processes[1].pid()];
    let taskstats = Taskstats::open();
    let waits = || TASKSTATS_WAITS.iter().zip(taskstats.waits_ns(&pids));
    // What they waited for before they came into the unit is nothing beside this.
    let long_enough_ns = |kind| match kind {
        "cpu" => 300_000_000,
        // No swap, no need for large pages, and few kernels that account interrupts.
        "swapin" | "compact" | "irq" => 0,
        _ => 1,
    };
    eventually("waits of all other kinds", || {
        waits()
            .all(|((kind, _), ns)| ns >= long_enough_ns(kind))
            .then_some(())
    });
    stop(&processes);
    for ((kind, _), ns) in waits() {
        let (name, label) = series_of(kind);
        let mut labels = vec![("container_id", unit.path())];
        labels.extend(label);
        let expected = ns as f64 / 1e9;
        if *kind == "blkio" && is_impossible(expected, begun) {
            let value = agent.scrape().sum(name, &labels).unwrap_or(0.0);
            assert!(!is_impossible(value, begun), "{kind} {value}");
            eprintln!("{kind} {value}, the kernel says {expected}");
            continue;
        }
        let value = agent.eventually(kind, unit.path(), |scrape| {
            let value = scrape.sum(name, &labels).unwrap_or(0.0);
            is_near(value, expected).then_some(value)
        });
        eprintln!("{kind} {value}, expected {expected}");
    }
    processes.iter_mut().for_each(Process::kill);
}
