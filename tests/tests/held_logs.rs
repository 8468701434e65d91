//! Files that services and containers write below their own `/var/log`: every line once, however they are rotated, and
//! whoever dies.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use nodescope_tests::*;
use serde_json::Value;

const MESSAGES: &str = "container_log_messages_total";

/// A directory below the node's `/var/log`.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = PathBuf::from("/var/log").join(unique("nodescope-test"));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    fn log(&self) -> String {
        self.0.join("shop.log").display().to_string()
    }

    /// Its rotated files, the oldest first.
    fn rotated(&self) -> Vec<PathBuf> {
        let paths = (1..).map(|number| self.0.join(format!("shop.log.{number}")));
        paths.take_while(|path| path.exists()).collect()
    }

    /// Lines that the aggregator noted to have counted.
    fn lines_before(&self, agent: &Agent) -> u64 {
        let file = agent.state_directory().join("log-positions");
        let text = fs::read_to_string(file).expect("the aggregator's places");
        let line = text.lines().find(|line| line.contains(&self.log()));
        let line: Value = serde_json::from_str(line.expect("the log's line")).expect("JSON");
        let position = &line["position"];
        let offset = position["offset"].as_u64().expect("a number") as usize;
        let mut lines = 0;
        for path in self.rotated().into_iter().chain([self.log().into()]) {
            let mut text = fs::read(&path).expect("a log");
            let is_it = fs::metadata(&path).expect("a log").ino() == position["file"]["inode"];
            text.truncate(if is_it { offset } else { text.len() });
            lines += text.iter().filter(|byte| **byte == b'\n').count() as u64;
            if is_it {
                break;
            }
        }
        lines
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A service that logs so many lines into a file.
fn service(log: &str, words: &str) -> (Unit, Process) {
    let unit = Unit::service("shop");
    let mut command = Place::in_unit(&unit).command(load_program());
    command.args(["log", "--hold", "yes", "--file", log]);
    command.args(words.split(' '));
    let output = tempfile::NamedTempFile::new().expect("a temporary file");
    let process = Process::start("nodescope-load", &mut command, output.path());
    (unit, process)
}

/// Every line of a service that logs so many, in this way, is counted once.
#[track_caller]
fn is_exact(lines: u64, words: &str) {
    let (directory, agent) = (Directory::new(), Agent::start());
    let (unit, _writer) = service(&directory.log(), &format!("--count {lines} {words}"));
    counts_levels(&agent, unit.path(), &directory.log(), lines);
}

#[test]
fn a_service_through_rotations() {
    require_root!();
    is_exact(400_000, "--per-second 20000 --rotate-lines 60000");
}

#[test]
fn copied_and_truncated() {
    require_root!();
    is_exact(100_000, "--per-second 4000 --rotate-lines 40000 --copy yes");
}

#[test]
fn containers_in_their_own_roots() {
    require_root!();
    const LOG: &str = "/var/log/shop/app.log";
    let docker = Docker::start();
    let agent = Agent::start_beside(docker.sandbox());
    let words = "log --count 100000 --per-second 10000 --rotate-lines 30000 --hold yes --file";
    let one_file = "log --count 100000 --per-second 10000 --hold yes --file";
    let (root, shipped, volume) = (unique("root"), unique("shipped"), unique("volume"));
    docker.run_load(&format!("--name {root}"), &format!("{words} {LOG}"));
    docker.run_load(
        &format!("--name {shipped}"),
        &format!("{one_file} {SHIPPED_LOG}"),
    );
    let options = format!("--name {volume} --volume /var/log/shop");
    docker.run_load(&options, &format!("{words} {LOG}"));
    for (name, log) in [(&root, LOG), (&shipped, SHIPPED_LOG), (&volume, LOG)] {
        counts_levels(&agent, &Docker::container_id(name), log, 100_000);
    }
    // Open files do not keep a container's root from being unmounted: they are below it.
    let open = open_logs(&agent);
    let any_in = |places: [&str; 2]| {
        let is_there = |path: &String| places.iter().any(|place| path.contains(place));
        open.iter().any(is_there)
    };
    // Docker's own storage and that of containerd.
    assert!(any_in(["/diff/", "/fs/"]), "{open:?}");
    assert!(!any_in(["/merged/", "/rootfs/"]), "{open:?}");
}

/// Paths of the logs that the aggregator has open.
fn open_logs(agent: &Agent) -> Vec<String> {
    let [_, aggregator] = agent.pids();
    let entries = fs::read_dir(format!("/proc/{aggregator}/fd")).expect("it runs");
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let paths = links.map(|path| path.display().to_string());
    paths.filter(|path| path.contains("app.log")).collect()
}

#[test]
fn a_killed_sensor_is_no_loss() {
    require_root!();
    let (directory, mut agent) = (Directory::new(), Agent::start());
    let words = "--count 300000 --per-second 10000 --rotate-lines 50000";
    let (unit, _writer) = service(&directory.log(), words);
    some_are_counted(&agent, &unit);
    agent.kill_sensor();
    agent.start_sensor();
    agent.wait_ready();
    counts_lines(&agent, unit.path(), 300_000);
}

#[test]
fn a_killed_aggregator_neither_skips_nor_repeats() {
    require_root!();
    const LINES: u64 = 400_000;
    let (directory, mut agent) = (Directory::new(), Agent::start());
    let words = format!("--count {LINES} --per-second 10000 --rotate-lines 50000");
    let (unit, _writer) = service(&directory.log(), &words);
    let shown = some_are_counted(&agent, &unit);
    agent.kill_aggregator();
    // What the dead one had noted, which is what it may have shown.
    let before = directory.lines_before(&agent);
    assert!(shown <= before && before < LINES, "{shown} {before}");
    // It is rotated meanwhile, and not only once.
    let rotations = directory.rotated().len();
    eventually("two rotations", || {
        (directory.rotated().len() >= rotations + 2).then_some(())
    });
    agent.start_aggregator();
    agent.wait_ready();
    counts_lines(&agent, unit.path(), LINES - before);
}

/// Waits for some messages of a service; how many there are.
fn some_are_counted(agent: &Agent, unit: &Unit) -> u64 {
    let labels = [("container_id", unit.path())];
    let some = agent.eventually("some messages", unit.path(), |scrape| {
        scrape.sum(MESSAGES, &labels).filter(|sum| *sum > 20_000.0)
    });
    some as u64
}
