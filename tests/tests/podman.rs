//! Podman containers of the system and of a user.

use nodescope_tests::*;

/// Podman and an agent that sees its files.
struct Node {
    // Stopped before the storage it reads.
    agent: Agent,
    podman: Podman,
}

impl Node {
    fn start() -> Self {
        let podman = Podman::start();
        Self {
            agent: Agent::start_beside(podman.sandbox()),
            podman,
        }
    }
}

static NODE: Shared<Node> = Shared::new();

#[test]
fn name_image_and_listens() {
    require_root!();
    let node = NODE.get(Node::start);
    let (name, port) = (unique("web"), free_port());
    node.podman.run_load(
        &format!("--name {name}"),
        &format!("serve --listen 0.0.0.0:{port}"),
    );
    let id = format!("/podman/{name}");
    let address = format!("{}:{port}", node.podman.sandbox().address());
    let listen = [
        ("container_id", id.as_str()),
        ("listen_addr", address.as_str()),
    ];
    node.agent
        .settles("container_net_tcp_listen_info", &listen, 1);
    let image = [
        ("container_id", id.as_str()),
        ("image", "localhost/nodescope-test:1"),
    ];
    node.agent.settles("container_info", &image, 1);
}

#[test]
fn connects_of_one_that_ends_at_once() {
    require_root!();
    let node = NODE.get(Node::start);
    let (name, port) = (unique("brief"), free_port());
    let place = Place {
        sandbox: Some(node.podman.sandbox()),
        ..Place::default()
    };
    let to = format!("{}:{port}", node.podman.sandbox().address());
    let _server = Server::start(place, &to);
    node.podman.run_load(
        &format!("--name {name}"),
        &format!("connect --to {to} --count 11"),
    );
    let id = format!("/podman/{name}");
    Expected {
        connects: 11,
        ..Expected::default()
    }
    .settles(&node.agent, &id, &to);
}

#[test]
fn rootless() {
    require_root!();
    let podman = Podman::start_rootless();
    let (user, name, port) = (Podman::user_id(), unique("web"), free_port());
    let words = format!("serve --listen 0.0.0.0:{port}");
    let _scope = podman.run_load_in_scope(&format!("--name {name}"), &words);
    let agent = Agent::start_beside(podman.sandbox());
    let container_id = format!("/podman/user-{user}/{name}");
    let address = format!("{}:{port}", podman.sandbox().address());
    let labels = [
        ("container_id", container_id.as_str()),
        ("listen_addr", address.as_str()),
    ];
    agent.settles("container_net_tcp_listen_info", &labels, 1);
    // Before its cgroup goes.
    drop(podman);
}
