//! Real Java virtual machines, as services and in containers, compared with what they report of themselves.

use std::path::PathBuf;

use nodescope_tests::*;
use tempfile::{NamedTempFile, TempDir};

/// With a password, which must not be seen.
const ARGUMENTS: &str = "--token hunter2 plain";
const LABEL: &str = "Steady --token *** plain";

struct Node {
    agent: Agent,
    _settings: NamedTempFile,
}

impl Node {
    fn start(mounts_of: Option<u32>) -> Self {
        let settings = quick_settings();
        let agent = Agent::start_with(AgentOptions {
            mounts_of,
            ..AgentOptions::configured(&settings)
        });
        Self {
            agent,
            _settings: settings,
        }
    }

    /// Waits until the container shows what its machine has reported.
    fn shows(&self, id: &str, java: &Java, report: &JvmReport) {
        let labels = [("container_id", id), ("jvm", LABEL)];
        self.agent.eventually("the machine", id, |scrape| {
            let value = |name: &str| scrape.sum(&format!("container_jvm_{name}"), &labels);
            let version = [labels[0], labels[1], ("java_version", &report.version)];
            let is_shown = scrape.sum("container_jvm_info", &version) == Some(1.0)
                && value("heap_size_bytes") == Some(report.committed as f64)
                && value("heap_max_size_bytes") == Some(java.heap_max() as f64)
                && is_near(value("heap_used_bytes")?, report.used as f64, 1e6)
                // The report counts whole milliseconds of each of some dozen collections.
                && is_near(value("gc_time_seconds")?, report.collection_ms as f64 / 1e3, 0.05)
                && value("safepoint_time_seconds")? >= value("gc_time_seconds")? * 0.5
                && value("safepoint_sync_time_seconds")? > 0.0;
            is_shown.then_some(())
        });
        let application = [("container_id", id), ("application_type", "java")];
        let scrape = self.agent.scrape();
        assert_eq!(
            scrape.sum("container_application_type", &application),
            Some(1.0)
        );
        assert!(!scrape.of_container(id).contains("hunter2"));
    }
}

fn is_near(value: f64, expected: f64, tolerance: f64) -> bool {
    (value - expected).abs() <= tolerance
}

/// A machine that runs as a service.
struct Service {
    process: Process,
    log: PathBuf,
    _directory: TempDir,
}

impl Service {
    /// After `prepare`, a shell line in a mount namespace of its own, if there is one.
    fn start(unit: &Unit, java: &Java, prepare: Option<&str>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = directory.path().join("log");
        let words = java.words(ARGUMENTS);
        let mut command = match prepare {
            None => Place::in_unit(unit).command(&words[0]),
            Some(line) => {
                let mut command = Place::in_unit(unit).command("unshare");
                let script = format!("{line} && exec \"$@\"");
                command.args(["--mount", "sh", "-c", &script, "sh", &words[0]]);
                command
            }
        };
        let process = Process::start("java", command.args(&words[1..]), &log);
        Self {
            process,
            log,
            _directory: directory,
        }
    }

    fn report(&self) -> JvmReport {
        JvmReport::wait(|| std::fs::read_to_string(&self.log).unwrap_or_default())
    }
}

#[test]
fn a_service_before_and_after_a_restart() {
    require_root!();
    let (java, node) = (Java::compiled(), Node::start(None));
    let unit = Unit::service("jvm");
    let mut service = Service::start(&unit, &java, None);
    node.shows(unit.path(), &java, &service.report());

    // Killed, it leaves its file behind.
    service.process.kill();
    let gone = [("container_id", unit.path())];
    let service = Service::start(&unit, &java, None);
    node.shows(unit.path(), &java, &service.report());
    drop(service);
    let other = Unit::service("other");
    let other_service = Service::start(&other, &java, None);
    node.shows(other.path(), &java, &other_service.report());
    node.agent.eventually("its end", unit.path(), |scrape| {
        let info = scrape.sum("container_jvm_info", &gone);
        info.is_none().then_some(())
    });
}

#[test]
fn services_with_a_tmp_of_their_own() {
    require_root!();
    let (java, node) = (Java::compiled(), Node::start(None));
    // In memory, and nobody else's: there is no way to it.
    let hidden = Unit::service("hidden");
    let hidden_service = Service::start(&hidden, &java, Some("mount -t tmpfs own /tmp"));
    hidden_service.report();
    let application = [
        ("container_id", hidden.path()),
        ("application_type", "java"),
    ];
    node.agent.eventually("its type", hidden.path(), |scrape| {
        (scrape.sum("container_application_type", &application)? == 1.0).then_some(())
    });
    // As systemd's PrivateTmp= makes it: a directory of the node's disk.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let line = format!("mount --bind {} /tmp", directory.path().display());
    let private = Unit::service("private");
    let service = Service::start(&private, &java, Some(&line));
    node.shows(private.path(), &java, &service.report());
    let scrape = node.agent.scrape();
    let info = scrape.sum("container_jvm_info", &[("container_id", hidden.path())]);
    assert_eq!(info, None);
}

#[test]
fn a_container() {
    require_root!();
    let java = Java::compiled();
    let docker = Docker::start();
    let node = Node::start(Some(docker.sandbox().pid()));
    let name = unique("jvm");
    let volumes: Vec<String> = java
        .directories()
        .iter()
        .map(|path| format!("--volume {0}:{0}:ro", path.display()))
        .collect();
    let (volumes, words) = (volumes.join(" "), java.words(ARGUMENTS).join(" "));
    let image = docker.image();
    docker.run(&format!(
        "run --detach --name {name} {volumes} {image} {words}"
    ));
    let report = JvmReport::wait(|| docker.run(&format!("logs {name}")));
    node.shows(&Docker::container_id(&name), &java, &report);
    // Nothing of it is kept open: its root file system can be unmounted at once.
    docker.run(&format!("rm --force {name}"));
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", docker.sandbox().pid()));
    let merged = mounts
        .expect("the sandbox lives")
        .matches("/merged ")
        .count();
    assert_eq!(merged, 0);
}
