//! Containers of containerd itself, without Docker or Kubernetes: of `ctr`, and as nerdctl makes them.

use nodescope_tests::*;

/// A daemon and an agent that sees its files.
struct Node {
    // Stopped before the daemon whose files it reads.
    agent: Agent,
    containerd: Containerd,
}

impl Node {
    fn start() -> Self {
        let containerd = Containerd::start();
        Self {
            agent: Agent::start_beside(containerd.sandbox()),
            containerd,
        }
    }
}

static NODE: Shared<Node> = Shared::new();

fn listens(node: &Node, id: &str, port: u16) {
    let address = format!("{}:{port}", node.containerd.sandbox().address());
    let labels = [("container_id", id), ("listen_addr", address.as_str())];
    node.agent
        .settles("container_net_tcp_listen_info", &labels, 1);
}

#[test]
fn a_plain_container() {
    require_root!();
    let node = NODE.get(Node::start);
    let (name, port) = (unique("plain"), free_port());
    node.containerd.run_load(
        "default",
        &name,
        &[],
        &format!("serve --listen 0.0.0.0:{port}"),
    );
    listens(&node, &format!("/containerd/default/{name}"), port);
    node.containerd.remove("default", &name);
}

#[test]
fn a_container_of_nerdctl_in_a_namespace_of_its_own() {
    require_root!();
    let node = NODE.get(Node::start);
    let (id, name, port) = (container_id(1), unique("cart"), free_port());
    let namespace = unique("shop");
    // nerdctl's labels, which it also writes into the bundle.
    let labels = [
        format!("nerdctl/name={name}"),
        format!("nerdctl/namespace={namespace}"),
        format!("nerdctl/hostname={}", &id[..12]),
    ];
    let options = labels
        .iter()
        .flat_map(|label| ["--label", label, "--annotation", label]);
    let options: Vec<&str> = options.collect();
    node.containerd.run_load(
        &namespace,
        &id,
        &options,
        &format!("serve --listen 0.0.0.0:{port}"),
    );
    let container_id = format!("/containerd/{namespace}/{name}");
    listens(&node, &container_id, port);
    let address = format!("{}:{port}", node.containerd.sandbox().address());
    let words = format!("/bin/nodescope-load connect --to {address} --count 29");
    let mut exec = node.containerd.client(&namespace);
    exec.args(["task", "exec", "--exec-id", "load", &id]);
    run_output(exec.args(words.split_whitespace()));
    let expected = Expected {
        connects: 29,
        ..Expected::default()
    };
    expected.settles(&node.agent, &container_id, &address);
    node.containerd.remove(&namespace, &id);
}

/// 64 hexadecimal digits, as nerdctl makes them.
fn container_id(number: u32) -> String {
    format!("{:032x}{number:032x}", std::process::id())
}
