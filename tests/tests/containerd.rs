//! Containers of containerd itself, without Docker: plain ones and those with Kubernetes' facts.

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
fn a_container_of_a_pod() {
    require_root!();
    let node = NODE.get(Node::start);
    let (id, pod, port) = (kubernetes_id(1), unique("pod"), free_port());
    // As the CRI plugin writes them into the bundle.
    let facts = [
        "io.kubernetes.cri.container-type=container".to_owned(),
        "io.kubernetes.cri.sandbox-namespace=shop".to_owned(),
        format!("io.kubernetes.cri.sandbox-name={pod}"),
        "io.kubernetes.cri.container-name=cart".to_owned(),
        "io.kubernetes.cri.image-name=registry.example/cart:1".to_owned(),
    ];
    let _pod = run_in_pod(&node, &id, &facts, port);
    let container_id = format!("/k8s/shop/{pod}/cart");
    listens(&node, &container_id, port);
    let image = [
        ("container_id", container_id.as_str()),
        ("image", "registry.example/cart:1"),
    ];
    node.agent.settles("container_info", &image, 1);
    node.containerd.remove("k8s.io", &id);
}

#[test]
fn the_pause_container_is_not_reported() {
    require_root!();
    let node = NODE.get(Node::start);
    let (id, pod, port) = (kubernetes_id(2), unique("pod"), free_port());
    let facts = [
        "io.kubernetes.cri.container-type=sandbox".to_owned(),
        "io.kubernetes.cri.sandbox-namespace=shop".to_owned(),
        format!("io.kubernetes.cri.sandbox-name={pod}"),
    ];
    let _pod = run_in_pod(&node, &id, &facts, port);
    let other = unique("visible");
    let other_port = free_port();
    node.containerd.run_load(
        "default",
        &other,
        &[],
        &format!("serve --listen 0.0.0.0:{other_port}"),
    );
    // Once the later one is there, the earlier one has had its chance.
    listens(&node, &format!("/containerd/default/{other}"), other_port);
    let scrape = node.agent.scrape();
    let of_pod: Vec<_> = scrape
        .container_ids()
        .into_iter()
        .filter(|id| id.contains(&pod))
        .collect();
    assert_eq!(of_pod, Vec::<String>::new());
    node.containerd.remove("default", &other);
    node.containerd.remove("k8s.io", &id);
}

/// Returns the pod's cgroup, which goes when the caller has removed the container.
fn run_in_pod(node: &Node, id: &str, facts: &[String], port: u16) -> Unit {
    let pod = Unit::at(&format!("/kubepods/burstable/pod{}", unique("uid")));
    let cgroup = format!("{}/{id}", pod.path());
    let mut options = vec!["--cgroup", cgroup.as_str()];
    for fact in facts {
        options.extend(["--annotation", fact.as_str()]);
    }
    node.containerd.run_load(
        "k8s.io",
        id,
        &options,
        &format!("serve --listen 0.0.0.0:{port}"),
    );
    pod
}

/// 64 hexadecimal digits, as the CRI plugin makes them.
fn kubernetes_id(number: u32) -> String {
    format!("{:032x}{number:032x}", std::process::id())
}
