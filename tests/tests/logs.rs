//! Logs of real containers: every line once, through rotations and restarts, whatever the runtime makes of them.

use std::fs;

use nodescope_tests::*;
use serde_json::Value;

/// A daemon and an agent that sees its files.
struct Node {
    // Stopped before the daemon whose files it reads.
    agent: Agent,
    docker: Docker,
}

impl Node {
    fn start() -> Self {
        let docker = Docker::start();
        Self {
            agent: Agent::start_beside(docker.sandbox()),
            docker,
        }
    }

    /// A container that logs so many lines; its name.
    fn log(&self, options: &str, count: u64, per_second: u64) -> String {
        let name = unique("logs");
        let words = format!("log --count {count} --per-second {per_second} --hold yes");
        self.docker
            .run_load(&format!("--name {name} {options}"), &words);
        name
    }
}

static NODE: Shared<Node> = Shared::new();

const MESSAGES: &str = "container_log_messages_total";
const STANDARD_STREAMS: &str = "stdout/stderr";

#[test]
fn patterns_samples_and_levels() {
    require_root!();
    let node = NODE.get(Node::start);
    let name = node.log("", 400, 1_000);
    let id = Docker::container_id(&name);
    counts_levels(&node.agent, &id, STANDARD_STREAMS, 400);
    let scrape = node.agent.scrape();
    let labels = [("container_id", id.as_str())];
    let series: Vec<&Sample> = scrape.matching(MESSAGES, &labels).collect();
    assert_eq!(series.len(), 4, "one series for each level and pattern");
    for sample in series {
        let is_plain = matches!(sample.label("level"), "info" | "debug");
        assert_eq!(sample.label("sample").is_empty(), is_plain, "{sample:?}");
        assert_eq!(sample.label("pattern_hash").is_empty(), is_plain);
    }
    let error = [labels[0], ("level", "error")];
    let error = scrape.matching(MESSAGES, &error).next().expect("errors");
    assert!(
        error
            .label("sample")
            .contains("cannot write block 0 of the shop")
    );
    assert_eq!(error.label("pattern_hash").len(), 32);
}

#[test]
fn docker_json_at_50_000_lines_a_second_through_rotations() {
    require_root!();
    let node = NODE.get(Node::start);
    let options = "--log-driver json-file --log-opt max-size=8m --log-opt max-file=10";
    let name = node.log(options, 500_000, 50_000);
    counts_levels(
        &node.agent,
        &Docker::container_id(&name),
        STANDARD_STREAMS,
        500_000,
    );
    assert!(directory_of(&node, &name, "").len() > 1, "it was rotated");
}

#[test]
fn docker_local_through_rotations() {
    require_root!();
    let node = NODE.get(Node::start);
    // The driver compresses a file as soon as it is rotated, which must not be before it was seen: each lasts seconds here.
    let options = "--log-driver local --log-opt max-size=2m --log-opt max-file=10";
    let name = node.log(options, 100_000, 5_000);
    counts_levels(
        &node.agent,
        &Docker::container_id(&name),
        STANDARD_STREAMS,
        100_000,
    );
    let files = directory_of(&node, &name, "local-logs");
    let compressed = files.iter().filter(|name| name.ends_with(".gz")).count();
    assert!(compressed >= 3, "{files:?}");
}

/// Names of log files in docker's directory of a container, or in one below it.
fn directory_of(node: &Node, name: &str, below: &str) -> Vec<String> {
    let id = node
        .docker
        .run(&format!("inspect --format {{{{.Id}}}} {name}"));
    let directory = format!("/var/lib/docker/containers/{id}/{below}");
    let entries = fs::read_dir(node.docker.outside(&directory)).expect("docker's directory");
    let names = entries.map(|entry| entry.expect("a name").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.contains(".log")).collect()
}

#[test]
fn pods_through_rotations_and_a_restart() {
    require_root!();
    let cri = Cri::start();
    let agent = Agent::start_beside(cri.sandbox());
    let pod = cri.run_pod(&PodSpec::new("shop", "web"));
    let words = "log --count 200000 --per-second 50000 --hold yes";
    let container = pod.run_load("app", words);
    let id = format!("/k8s/shop/{}/app", pod.name());
    let log = pod.log("app", 0);
    for time in ["20261122-100000", "20261122-100010", "20261122-100020"] {
        eventually("there is something to rotate", || {
            let bytes = fs::metadata(&log).map_or(0, |file| file.len());
            (bytes > 2 << 20).then_some(())
        });
        pod.rotate_log(&container, &log, time);
    }
    counts_levels(&agent, &id, STANDARD_STREAMS, 200_000);
    pod.run_load_again("app", 1, "log --count 4000 --per-second 1000 --hold yes");
    counts_levels(&agent, &id, STANDARD_STREAMS, 204_000);
}

#[test]
fn podman_k8s_file() {
    require_root!();
    let podman = Podman::start();
    let agent = Agent::start_beside(podman.sandbox());
    let name = unique("logs");
    podman.run_load(
        // A rotated file is gone at once. Each lasts seconds here, so that it is seen.
        &format!("--name {name} --log-driver k8s-file --log-opt max-size=16mb"),
        "log --count 500000 --per-second 50000 --hold yes",
    );
    counts_levels(
        &agent,
        &format!("/podman/{name}"),
        STANDARD_STREAMS,
        500_000,
    );
}

#[test]
fn a_killed_aggregator_neither_skips_nor_repeats() {
    require_root!();
    const LINES: u64 = 200_000;
    let docker = Docker::start();
    let mut agent = Agent::start_beside(docker.sandbox());
    let name = unique("killed");
    let words = format!("log --count {LINES} --per-second 20000 --hold yes");
    docker.run_load(&format!("--name {name}"), &words);
    let id = Docker::container_id(&name);
    let label = [("container_id", id.as_str())];
    let shown = agent.eventually("some messages", &id, |scrape| {
        scrape.sum(MESSAGES, &label).filter(|sum| *sum > 20_000.0)
    });
    agent.kill_aggregator();
    // What the dead one had noted, which is what it may have shown.
    let docker_id = docker.run(&format!("inspect --format {{{{.Id}}}} {name}"));
    let path = format!("/var/lib/docker/containers/{docker_id}/{docker_id}-json.log");
    let offset = noted_offset(&agent, &docker_id);
    let before = lines_before(&docker.outside(&path), offset);
    assert!(shown as u64 <= before && before < LINES, "{shown} {before}");
    agent.start_aggregator();
    agent.wait_ready();
    counts_lines(&agent, &id, LINES - before);
}

/// Place in a container's log up to which it was counted.
fn noted_offset(agent: &Agent, container: &str) -> usize {
    let file = agent.state_directory().join("log-positions");
    let text = fs::read_to_string(file).expect("the aggregator's places");
    let line = text.lines().find(|line| line.contains(container));
    let line: Value = serde_json::from_str(line.expect("the log's line")).expect("JSON");
    let position = &line["position"];
    // Of the two streams only the first is used; its lines are counted up to the place itself.
    assert_eq!(position["pass_by"][0], 0);
    position["offset"].as_u64().expect("a number") as usize
}

fn lines_before(log: &std::path::Path, offset: usize) -> u64 {
    let text = fs::read(log).expect("docker's log");
    text[..offset].iter().filter(|byte| **byte == b'\n').count() as u64
}

#[test]
fn docker_json_copied_and_truncated_by_others() {
    require_root!();
    let node = NODE.get(Node::start);
    let name = node.log("", 100_000, 10_000);
    let id = node
        .docker
        .run(&format!("inspect --format {{{{.Id}}}} {name}"));
    let log = format!("/var/lib/docker/containers/{id}/{id}-json.log");
    let log = node.docker.outside(&log);
    // As logrotate does it, but while nothing is written: what is written between copy and truncation is nobody's.
    for number in 1..=3 {
        eventually("there is something to rotate", || {
            let bytes = fs::metadata(&log).map_or(0, |file| file.len());
            (bytes > 1 << 20).then_some(())
        });
        node.docker.run(&format!("pause {name}"));
        wait_until_still(&log);
        let older = |number: u32| log.with_extension(format!("log.{number}"));
        for older_number in (1..number).rev() {
            fs::rename(older(older_number), older(older_number + 1)).expect("an older log");
        }
        fs::copy(&log, older(1)).expect("docker's log");
        let file = fs::File::options().write(true).open(&log);
        file.and_then(|file| file.set_len(0)).expect("docker's log");
        node.docker.run(&format!("unpause {name}"));
    }
    let id = Docker::container_id(&name);
    counts_levels(&node.agent, &id, STANDARD_STREAMS, 100_000);
}

/// What a paused container had written may still be on its way through the daemon.
fn wait_until_still(log: &std::path::Path) {
    let bytes = || fs::metadata(log).expect("docker's log").len();
    let mut before = 0;
    eventually("the log stands still", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = bytes();
        let stands_still = now == before;
        before = now;
        stands_still.then_some(())
    });
}

#[test]
fn rootless_podman() {
    require_root!();
    let podman = Podman::start_rootless();
    let agent = Agent::start_beside(podman.sandbox());
    let name = unique("logs");
    let words = "log --count 20000 --per-second 5000 --hold yes";
    let options = format!("--name {name} --log-driver k8s-file");
    let scope = podman.run_load_in_scope(&options, words);
    let id = format!("/podman/user-{}/{name}", Podman::user_id());
    counts_levels(&agent, &id, STANDARD_STREAMS, 20_000);
    // Before its cgroup goes.
    drop((podman, scope));
}

#[test]
fn rootless_docker() {
    require_root!();
    let docker = RootlessDocker::start();
    let agent = Agent::start_beside(docker.sandbox());
    let name = unique("logs");
    let words = "log --count 20000 --per-second 5000 --hold yes";
    let scope = docker.run_load(&name, words);
    let id = RootlessDocker::container_id(&name);
    counts_levels(&agent, &id, STANDARD_STREAMS, 20_000);
    // Before its cgroup goes.
    drop((docker, scope));
}
