//! Real Docker containers: names, images, life cycle, traffic over the bridge.

use nodescope_tests::*;

/// A daemon and an agent that sees its files.
struct Node {
    // Stopped before the daemon whose files it reads.
    agent: Agent,
    docker: Docker,
}

impl Node {
    fn start_with(daemon_json: &str) -> Self {
        let docker = Docker::start_with(daemon_json);
        Self {
            agent: Agent::start_beside(docker.sandbox()),
            docker,
        }
    }

    fn start() -> Self {
        Self::start_with("{}")
    }
}

static NODE: Shared<Node> = Shared::new();

fn one(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> Option<()> {
    (scrape.sum(name, labels)? == 1.0).then_some(())
}

#[test]
fn name_image_and_listens() {
    require_root!();
    let node = NODE.get(Node::start);
    let name = unique("listens");
    node.docker
        .run_load(&format!("--name {name}"), "serve --listen 0.0.0.0:8080");
    let (id, listen) = (
        Docker::container_id(&name),
        node.docker.address_of(&name) + ":8080",
    );
    let label = [
        ("container_id", id.as_str()),
        ("image", node.docker.image()),
    ];
    node.agent.eventually("the image", &id, |scrape| {
        one(scrape, "container_info", &label)
    });
    let label = [
        ("container_id", id.as_str()),
        ("listen_addr", listen.as_str()),
    ];
    node.agent
        .settles("container_net_tcp_listen_info", &label, 1);
    // Its loopback is nobody else's business.
    let loopback = [
        ("container_id", id.as_str()),
        ("listen_addr", "127.0.0.1:8080"),
    ];
    node.agent
        .settles("container_net_tcp_listen_info", &loopback, 0);
}

#[test]
fn two_containers_over_the_bridge() {
    require_root!();
    let node = NODE.get(Node::start);
    let (server, client) = (unique("server"), unique("client"));
    node.docker
        .run_load(&format!("--name {server}"), "serve --listen 0.0.0.0:8080");
    let to = node.docker.address_of(&server) + ":8080";
    node.docker
        .run_load(&format!("--name {client}"), "serve --listen 127.0.0.1:1");
    let words = format!(
        "exec {client} /bin/nodescope-load connect --to {to} --count 31 --upload 5000 --download 9"
    );
    let report = LoadReport::parse(&node.docker.run(&words));
    let expected = Expected {
        connects: 31,
        sent_bytes: report.sent_bytes,
        received_bytes: 31 * 9,
        ..Expected::default()
    };
    expected.settles(&node.agent, &Docker::container_id(&client), &to);
    Expected::default().settles(&node.agent, &Docker::container_id(&server), "");
}

#[test]
fn a_container_that_lives_for_milliseconds() {
    require_root!();
    let node = NODE.get(Node::start);
    let (server, client) = (unique("server"), unique("brief"));
    node.docker
        .run_load(&format!("--name {server}"), "serve --listen 0.0.0.0:8080");
    let to = node.docker.address_of(&server) + ":8080";
    let image = node.docker.image();
    node.docker.run(&format!(
        "run --rm --name {client} {image} /bin/nodescope-load connect --to {to} --count 3"
    ));
    let expected = Expected {
        connects: 3,
        ..Expected::default()
    };
    expected.settles(&node.agent, &Docker::container_id(&client), &to);
}

#[test]
fn renamed() {
    require_root!();
    let node = NODE.get(Node::start);
    let (old, new) = (unique("old"), unique("new"));
    node.docker
        .run_load(&format!("--name {old}"), "serve --listen 0.0.0.0:8080");
    let label = |id: &str| [("container_id".to_owned(), Docker::container_id(id))];
    let listens = |scrape: &Scrape, name: &str| {
        let [(key, value)] = &label(name);
        scrape.sum(
            "container_net_tcp_listen_info",
            &[(key.as_str(), value.as_str())],
        )
    };
    let old_id = Docker::container_id(&old);
    node.agent.eventually("the first name", &old_id, |scrape| {
        listens(scrape, &old).filter(|sum| *sum > 0.0)
    });
    node.docker.run(&format!("rename {old} {new}"));
    node.agent
        .eventually("the second name instead of the first", &old_id, |scrape| {
            let has_moved =
                listens(scrape, &new)? > 0.0 && listens(scrape, &old).unwrap_or(0.0) == 0.0;
            has_moved.then_some(())
        });
}

#[test]
fn removed_and_made_again_with_the_same_name() {
    require_root!();
    let node = NODE.get(Node::start);
    let (server, name) = (unique("server"), unique("again"));
    node.docker
        .run_load(&format!("--name {server}"), "serve --listen 0.0.0.0:8080");
    let to = node.docker.address_of(&server) + ":8080";
    let id = Docker::container_id(&name);
    let words = format!("connect --to {to} --count 5");
    let run = || {
        node.docker.run(&format!(
            "run --name {name} {} /bin/nodescope-load {words}",
            node.docker.image()
        ))
    };
    run();
    Expected {
        connects: 5,
        ..Expected::default()
    }
    .settles(&node.agent, &id, &to);
    node.docker.run(&format!("rm {name}"));
    run();
    // One name, one series: it goes on counting.
    Expected {
        connects: 10,
        ..Expected::default()
    }
    .settles(&node.agent, &id, &to);
}

#[test]
fn restarts() {
    require_root!();
    let node = NODE.get(Node::start);
    let name = unique("restarts");
    node.docker
        .run_load(&format!("--name {name}"), "serve --listen 0.0.0.0:8080");
    let id = Docker::container_id(&name);
    let label = [("container_id", id.as_str())];
    node.agent.settles("container_restarts_total", &label, 0);
    for expected in 1..=2 {
        node.docker.run(&format!("restart --time 0 {name}"));
        node.agent
            .settles("container_restarts_total", &label, expected);
    }
}

#[test]
fn killed_for_its_memory() {
    require_root!();
    let node = NODE.get(Node::start);
    let name = unique("oom");
    let limit: u64 = 16 << 20;
    node.docker.run_load(
        &format!("--name {name} --memory {limit}"),
        "serve --listen 0.0.0.0:8080",
    );
    let id = Docker::container_id(&name);
    let label = [("container_id", id.as_str())];
    let has_limit = |scrape: &Scrape| {
        (scrape.sum("container_resources_memory_limit_bytes", &label)? == limit as f64)
            .then_some(())
    };
    node.agent.eventually("the limit", &id, has_limit);
    for expected in 1..=2 {
        let words = format!("exec {name} /bin/nodescope-load memory --bytes 100000000");
        let output = try_run(&mut node.docker.command(&words));
        assert_eq!(
            output.status.code(),
            Some(137),
            "the kernel kills it: {output:?}"
        );
        node.agent
            .settles("container_oom_kills_total", &label, expected);
    }
    // The server lives: what was killed came in by exec.
    node.agent.settles("container_restarts_total", &label, 0);
}

#[test]
fn cpu_limit() {
    require_root!();
    let node = NODE.get(Node::start);
    let name = unique("cpu");
    node.docker.run_load(
        &format!("--name {name} --cpus 0.5"),
        "serve --listen 0.0.0.0:8080",
    );
    let id = Docker::container_id(&name);
    node.agent.eventually("the limit", &id, |scrape| {
        let cores = scrape.sum(
            "container_resources_cpu_limit_cores",
            &[("container_id", &id)],
        )?;
        (cores == 0.5).then_some(())
    });
}

#[test]
fn names_come_from_another_data_root_too() {
    require_root!();
    let node = Node::start_with("{\"data-root\": \"/var/lib/elsewhere/docker\"}");
    let name = unique("elsewhere");
    node.docker
        .run_load(&format!("--name {name}"), "serve --listen 0.0.0.0:8080");
    assert!(
        node.docker
            .outside("/var/lib/elsewhere/docker/containers")
            .exists()
    );
    let (id, listen) = (
        Docker::container_id(&name),
        node.docker.address_of(&name) + ":8080",
    );
    let label = [
        ("container_id", id.as_str()),
        ("listen_addr", listen.as_str()),
    ];
    node.agent
        .settles("container_net_tcp_listen_info", &label, 1);
}

#[test]
fn labels_of_orchestrators_win_over_the_name() {
    require_root!();
    let node = NODE.get(Node::start);
    let pod = unique("pod");
    let labels = format!(
        "--label io.kubernetes.pod.name={pod} --label io.kubernetes.pod.namespace=shop \
         --label io.kubernetes.container.name=cart"
    );
    node.docker.run_load(&labels, "serve --listen 0.0.0.0:8080");
    let id = format!("/k8s/shop/{pod}/cart");
    node.agent.eventually("the pod's container", &id, |scrape| {
        one(
            scrape,
            "container_net_tcp_listen_info",
            &[("container_id", &id)],
        )
    });
}

#[test]
fn containers_older_than_the_agent() {
    require_root!();
    let docker = Docker::start();
    let name = unique("older");
    docker.run_load(&format!("--name {name}"), "serve --listen 0.0.0.0:8080");
    let to = docker.address_of(&name) + ":8080";
    let client = unique("client");
    docker.run_load(&format!("--name {client}"), "serve --listen 127.0.0.1:1");
    let words = format!("exec --interactive {client} /bin/nodescope-load hold --count 2 --to {to}");
    let mut hold = Hold::open_with(&mut docker.command(&words), 2);
    let agent = Agent::start_beside(docker.sandbox());
    let expected = Expected {
        active: 2,
        ..Expected::default()
    };
    expected.settles(&agent, &Docker::container_id(&client), &to);
    hold.tell("exchange 50 60");
    let expected = Expected {
        sent_bytes: 2 * 66,
        received_bytes: 2 * 60,
        ..expected
    };
    expected.settles(&agent, &Docker::container_id(&client), &to);
    Expected::default().settles(&agent, &Docker::container_id(&name), "");
}

#[test]
fn names_come_from_the_api_too() {
    require_root!();
    let docker = Docker::start();
    let socket = docker.api_socket().display().to_string();
    // Its sensor cannot see docker's files.
    let agent = Agent::start_with(AgentOptions {
        aggregator: vec!["--docker-socket".to_owned(), socket],
        ..AgentOptions::default()
    });
    let (name, new) = (unique("asked"), unique("renamed"));
    docker.run_load(&format!("--name {name}"), "serve --listen 0.0.0.0:8080");
    let to = docker.address_of(&name) + ":8080";
    let id = Docker::container_id(&name);
    let words = format!("exec {name} /bin/nodescope-load connect --to {to} --count 17");
    docker.run(&words);
    let expected = Expected {
        connects: 17,
        ..Expected::default()
    };
    expected.settles(&agent, &id, &to);
    let image = [("container_id", id.as_str()), ("image", docker.image())];
    agent.settles("container_info", &image, 1);
    docker.run(&format!("rename {name} {new}"));
    let id = Docker::container_id(&new);
    let listen = [("container_id", id.as_str()), ("listen_addr", to.as_str())];
    agent.eventually("the new name", &id, |scrape| {
        one(scrape, "container_net_tcp_listen_info", &listen)
    });
}

#[test]
fn rootless() {
    require_root!();
    let docker = RootlessDocker::start();
    let agent = Agent::start_beside(docker.sandbox());
    let (server, client) = (unique("server"), unique("client"));
    let server_scope = docker.run_load(&server, "serve --listen 0.0.0.0:8080");
    let to = docker.address_of(&server) + ":8080";
    let words = format!("connect --to {to} --count 31 --upload 500 --download 9");
    let client_scope = docker.run_load(&client, &words);
    let id = RootlessDocker::container_id(&client);
    assert_eq!(docker.run(&format!("wait {client}")), "0");
    let report = LoadReport::parse(&docker.run(&format!("logs {client}")));
    let expected = Expected {
        connects: 31,
        sent_bytes: report.sent_bytes,
        received_bytes: 31 * 9,
        ..Expected::default()
    };
    expected.settles(&agent, &id, &to);
    let image = [("container_id", id.as_str()), ("image", docker.image())];
    agent.settles("container_info", &image, 1);
    let id = RootlessDocker::container_id(&server);
    let listen = [("container_id", id.as_str()), ("listen_addr", to.as_str())];
    agent.settles("container_net_tcp_listen_info", &listen, 1);
    Expected::default().settles(&agent, &id, "");
    // Before its containers' cgroups go.
    drop((docker, server_scope, client_scope));
}
