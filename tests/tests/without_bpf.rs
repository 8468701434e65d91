//! A node whose kernel has no BTF, so that no program can be loaded: what can be found out without programs is served.

use std::time::Duration;

use nodescope_tests::*;

/// A daemon and an agent that sees its files, but no BTF.
struct Node {
    // Stopped before the daemon whose files it reads.
    agent: Agent,
    docker: Docker,
    older: String,
}

impl Node {
    fn start() -> Self {
        let docker = Docker::start();
        let mut hide = docker.sandbox().command("mount");
        run(hide.args(["-t", "tmpfs", "none", "/sys/kernel/btf"]));
        let older = unique("older");
        docker.run_load(&format!("--name {older}"), "serve --listen 0.0.0.0:8080");
        Self {
            agent: Agent::start_beside(docker.sandbox()),
            docker,
            older,
        }
    }
}

static NODE: Shared<Node> = Shared::new();

#[test]
fn it_says_what_is_missing() {
    require_root!();
    let node = NODE.get(Node::start);
    let scrape = node.agent.scrape();
    for (hook, verdict) in [
        ("tcp_state", "unsupported"),
        ("oom_kill", "unsupported"),
        ("process_fork", "degraded"),
        ("cgroup_mkdir", "degraded"),
        ("delays", "degraded"),
    ] {
        let labels = [("hook", hook), ("verdict", verdict)];
        let shown = scrape.sum("nodescope_sensor_hook", &labels);
        assert_eq!(shown, Some(1.0), "{hook}");
    }
    let logs = node.agent.logs();
    assert_eq!(
        logs.matches("connections are not seen").count(),
        1,
        "{logs}"
    );
}

#[test]
fn containers_and_their_resources() {
    require_root!();
    let node = NODE.get(Node::start);
    let name = unique("limited");
    let limit: u64 = 64 << 20;
    node.docker.run_load(
        &format!("--name {name} --memory {limit}"),
        "serve --listen 0.0.0.0:8080",
    );
    for name in [&node.older, &name] {
        let id = Docker::container_id(name);
        let labels = [("container_id", id.as_str())];
        node.agent.eventually("its resources", &id, |scrape| {
            let image = [labels[0], ("image", node.docker.image())];
            scrape.sum("container_info", &image)?;
            let memory = scrape.sum("container_resources_memory_rss_bytes", &labels)?;
            scrape.sum("container_resources_cpu_usage_seconds_total", &labels)?;
            (memory > 0.0).then_some(())
        });
    }
    let id = Docker::container_id(&name);
    let labels = [("container_id", id.as_str())];
    let shown = |scrape: &Scrape| scrape.sum("container_resources_memory_limit_bytes", &labels);
    assert_eq!(shown(&node.agent.scrape()), Some(limit as f64));
    node.agent
        .eventually("the space of its root", &id, |scrape| {
            let root = [labels[0], ("mount_point", "/")];
            let size = scrape.sum("container_resources_disk_size_bytes", &root)?;
            (size > 0.0).then_some(())
        });
}

#[test]
fn restarts() {
    require_root!();
    let node = NODE.get(Node::start);
    let name = unique("restarts");
    node.docker
        .run_load(&format!("--name {name}"), "serve --listen 0.0.0.0:8080");
    let id = Docker::container_id(&name);
    let labels = [("container_id", id.as_str())];
    node.agent.settles("container_restarts_total", &labels, 0);
    for expected in 1..=2 {
        // One that is not met is as if it had not been.
        std::thread::sleep(Duration::from_secs(5));
        node.docker.run(&format!("restart --time 0 {name}"));
        node.agent
            .settles("container_restarts_total", &labels, expected);
    }
}

#[test]
fn logs_of_runtimes() {
    require_root!();
    let node = NODE.get(Node::start);
    let name = unique("logs");
    node.docker.run_load(
        &format!("--name {name}"),
        "log --count 400 --per-second 1000 --hold yes",
    );
    let id = Docker::container_id(&name);
    counts_levels(&node.agent, &id, "stdout/stderr", 400);
}
