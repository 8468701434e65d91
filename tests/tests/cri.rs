//! Pods that containerd's CRI plugin runs, asked for as a kubelet does.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nodescope_tests::*;

/// A runtime and an agent that sees its files.
struct Node {
    // Stopped before the runtime whose files it reads.
    agent: Agent,
    cri: Cri,
}

impl Node {
    fn start() -> Self {
        let cri = Cri::start();
        Self {
            agent: Agent::start_beside(cri.sandbox()),
            cri,
        }
    }
}

static NODE: Shared<Node> = Shared::new();

fn id_of(pod: &Pod<'_>, container: &str) -> String {
    format!("/k8s/shop/{}/{container}", pod.name())
}

fn listens(agent: &Agent, id: &str, address: &str) {
    let labels = [("container_id", id), ("listen_addr", address)];
    agent.settles("container_net_tcp_listen_info", &labels, 1);
}

/// Waits until exactly these of the pod's containers are reported: not the one that only holds its network.
fn are_reported(agent: &Agent, pod: &Pod<'_>, containers: &[&str]) {
    let expected: Vec<String> = containers.iter().map(|name| id_of(pod, name)).collect();
    agent.eventually("the pod's containers", &expected[0], |scrape| {
        let ids = scrape.container_ids().into_iter();
        let of_pod: Vec<_> = ids.filter(|id| id.contains(pod.name())).collect();
        (of_pod == expected).then_some(())
    });
}

#[test]
fn pods_with_networks_of_their_own() {
    require_root!();
    let node = NODE.get(Node::start);
    let server = node.cri.run_pod(&PodSpec::new("shop", "db"));
    let client = node.cri.run_pod(&PodSpec::new("shop", "web"));
    server.run_load("postgres", "serve --listen 0.0.0.0:8080");
    let container = client.run_load("nginx", "serve --listen 127.0.0.1:1");
    let to = server.address() + ":8080";
    listens(&node.agent, &id_of(&server, "postgres"), &to);
    let report = client.exec_load(
        &container,
        &format!("connect --to {to} --count 37 --upload 5000 --download 9"),
    );
    assert_eq!(report.established, 37);
    let closed = server.address() + ":8081";
    let refused = client.exec_load(&container, &format!("connect --to {closed} --count 11"));
    assert_eq!(refused.refused, 11);
    let id = id_of(&client, "nginx");
    let expected = Expected {
        connects: 37,
        sent_bytes: report.sent_bytes,
        received_bytes: report.received_bytes,
        ..Expected::default()
    };
    expected.settles(&node.agent, &id, &to);
    let expected = Expected {
        failures: 11,
        ..Expected::default()
    };
    expected.settles(&node.agent, &id, &closed);
    Expected::default().settles(&node.agent, &id_of(&server, "postgres"), "");
    let image = [("container_id", id.as_str()), ("image", node.cri.image())];
    node.agent.settles("container_info", &image, 1);
    are_reported(&node.agent, &server, &["postgres"]);
    are_reported(&node.agent, &client, &["nginx"]);
}

#[test]
fn containers_of_one_pod_are_counted_apart() {
    require_root!();
    let node = NODE.get(Node::start);
    let pod = node.cri.run_pod(&PodSpec::new("shop", "cart"));
    let app = pod.run_load("app", "serve --listen 0.0.0.0:8080");
    let proxy = pod.run_load("proxy", "serve --listen 0.0.0.0:9090");
    let address = pod.address();
    let (to_app, to_proxy) = (format!("{address}:8080"), format!("{address}:9090"));
    listens(&node.agent, &id_of(&pod, "app"), &to_app);
    listens(&node.agent, &id_of(&pod, "proxy"), &to_proxy);
    pod.exec_load(&proxy, &format!("connect --to {to_app} --count 13"));
    pod.exec_load(&app, &format!("connect --to {to_proxy} --count 7"));
    for (name, to, connects) in [("proxy", &to_app, 13), ("app", &to_proxy, 7)] {
        let expected = Expected {
            connects,
            ..Expected::default()
        };
        expected.settles(&node.agent, &id_of(&pod, name), to);
        expected.settles(&node.agent, &id_of(&pod, name), "");
    }
    are_reported(&node.agent, &pod, &["app", "proxy"]);
}

#[test]
fn a_pod_in_the_hosts_network() {
    require_root!();
    let node = NODE.get(Node::start);
    let spec = PodSpec {
        host_network: true,
        ..PodSpec::new("shop", "exporter")
    };
    let (pod, port) = (node.cri.run_pod(&spec), free_port());
    let container = pod.run_load("node", &format!("serve --listen 0.0.0.0:{port}"));
    let to = format!("{}:{port}", node.cri.sandbox().address());
    let id = id_of(&pod, "node");
    listens(&node.agent, &id, &to);
    pod.exec_load(&container, &format!("connect --to {to} --count 5"));
    let expected = Expected {
        connects: 5,
        ..Expected::default()
    };
    expected.settles(&node.agent, &id, &to);
    are_reported(&node.agent, &pod, &["node"]);
}

#[test]
fn a_pod_of_a_cron_job_older_than_the_agent() {
    require_root!();
    let cri = Cri::start();
    // The job's name ends in its time in minutes since 1970, the pod's in five characters.
    let minutes = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs()
        / 60;
    let job = unique("backup");
    let spec = PodSpec {
        name: format!("{job}-{minutes}-x2vlq"),
        ..PodSpec::new("shop", "")
    };
    let pod = cri.run_pod(&spec);
    pod.run_load("dump", "serve --listen 0.0.0.0:8080");
    let agent = Agent::start_beside(cri.sandbox());
    let id = format!("/k8s-cronjob/shop/{job}/dump");
    listens(&agent, &id, &(pod.address() + ":8080"));
}

/// An agent whose sensor cannot see the runtime's files, but that may ask at `socket`.
fn agent_with_socket(socket: &Path, mounts_of: Option<u32>) -> Agent {
    Agent::start_with(AgentOptions {
        aggregator: vec!["--cri-socket".to_owned(), socket.display().to_string()],
        mounts_of,
        ..AgentOptions::default()
    })
}

#[test]
fn names_come_from_the_socket_too() {
    require_root!();
    let cri = Cri::start();
    let agent = agent_with_socket(&cri.socket(), None);
    let pod = cri.run_pod(&PodSpec::new("shop", "asked"));
    let container = pod.run_load("web", "serve --listen 0.0.0.0:8080");
    let to = pod.address() + ":8080";
    let id = id_of(&pod, "web");
    listens(&agent, &id, &to);
    pod.exec_load(&container, &format!("connect --to {to} --count 23"));
    let expected = Expected {
        connects: 23,
        ..Expected::default()
    };
    expected.settles(&agent, &id, &to);
    let image = [("container_id", id.as_str()), ("image", cri.image())];
    agent.settles("container_info", &image, 1);
    are_reported(&agent, &pod, &["web"]);
}

/// What is wrong with a socket.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Missing,
    Forbidden,
    Hangs,
    Garbage,
}

impl Fault {
    /// Puts such a socket there.
    fn make(self, socket: &Path) {
        if matches!(self, Self::Missing) {
            return;
        }
        let listener = UnixListener::bind(socket).expect("our own directory");
        let mode = match self {
            Self::Forbidden => 0o600,
            _ => 0o666,
        };
        std::fs::set_permissions(socket, Permissions::from_mode(mode)).expect("our own socket");
        let is_garbage = matches!(self, Self::Garbage);
        // Until the test process ends: it hangs in accept, or keeps what it accepted.
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in listener.incoming().flatten() {
                if is_garbage {
                    let _ = stream.write_all(&[0x5a; 4096]);
                }
                open.push(stream);
            }
        });
    }

    /// What the one message says about it.
    fn cause(self) -> &'static str {
        match self {
            Self::Missing => "No such file or directory",
            Self::Forbidden => "Permission denied",
            Self::Hangs => "did not answer in time",
            Self::Garbage => "transport error",
        }
    }
}

/// Pods that only a broken socket would name, beside a container that has nothing to do with it.
fn with_broken_socket(fault: Fault, cri: &Cri, docker: &Docker) {
    let socket = cri.sandbox().directory().join(unique("broken.sock"));
    fault.make(&socket);
    let pod = cri.run_pod(&PodSpec::new("shop", "lost"));
    for (port, name) in ["a", "b", "c"].into_iter().enumerate() {
        pod.run_load(name, &format!("serve --listen 127.0.0.1:{}", port + 1));
    }
    let agent = agent_with_socket(&socket, Some(docker.sandbox().pid()));
    let silent = "The source of names does not answer";
    agent.eventually("the message", "", |_| {
        (!agent.aggregator_said(silent).is_empty()).then_some(())
    });
    let name = unique("unaffected");
    docker.run_load(&format!("--name {name}"), "serve --listen 0.0.0.0:8080");
    let to = docker.address_of(&name) + ":8080";
    let words = format!("exec {name} /bin/nodescope-load connect --to {to} --count 19");
    docker.run(&words);
    let expected = Expected {
        connects: 19,
        ..Expected::default()
    };
    expected.settles(&agent, &Docker::container_id(&name), &to);
    let ids = agent.scrape().container_ids();
    assert!(!ids.iter().any(|id| id.contains(pod.name())), "{ids:?}");
    let said = agent.aggregator_said(silent);
    assert_eq!(said.len(), 1, "{fault:?}: {said:?}");
    let path = socket.display().to_string();
    assert!(
        said[0].contains(fault.cause()) && said[0].contains(&path),
        "{said:?}"
    );
    // Once it works the pod gets its names, and that is said too.
    let _ = std::fs::remove_file(&socket);
    symlink(cri.socket(), &socket).expect("our own directory");
    are_reported(&agent, &pod, &["a", "b", "c"]);
    assert!(
        !agent.aggregator_said("answers again").is_empty(),
        "{fault:?}"
    );
}

#[test]
fn a_broken_socket_costs_only_what_it_would_tell() {
    require_root!();
    let (cri, docker) = (Cri::start(), Docker::start());
    for fault in [
        Fault::Missing,
        Fault::Forbidden,
        Fault::Hangs,
        Fault::Garbage,
    ] {
        with_broken_socket(fault, &cri, &docker);
    }
}
