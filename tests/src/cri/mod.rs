//! A containerd in a sandbox whose CRI plugin runs pods, spoken to as a kubelet does.
//!
//! Pods have a network of their own from the CNI plugins `bridge` and `host-local`, or the sandbox's. Nothing is pulled:
//! the pause image and the containers' image are imported under the names that the configuration and the requests say.

mod client;
mod messages;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tonic::Status;

use self::client::Client;
use self::messages::*;
use crate::{
    Containerd, LoadReport, Sandbox, UNPRIVILEGED_GROUP_ID, Unit, eventually, image, poll,
    run_output, unique,
};

/// The image of every container, and of the pods' own.
const IMAGE: &str = "registry.example/nodescope-test:1";

/// The runtime. Dropping it removes what it runs.
#[derive(Debug)]
pub struct Cri {
    client: Client,
    containerd: Containerd,
}

/// A pod to make.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// Kubernetes' namespace.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// In the sandbox's network, as `hostNetwork` means.
    pub host_network: bool,
}

impl PodSpec {
    /// A pod with a unique name that begins with `prefix`, in a network of its own.
    pub fn new(namespace: &str, prefix: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: unique(prefix),
            host_network: false,
        }
    }
}

/// A running pod. Dropping it stops and removes it with its containers.
#[derive(Debug)]
pub struct Pod<'a> {
    cri: &'a Cri,
    id: String,
    config: PodSandboxConfig,
    // Its cgroup, removed last.
    _unit: Unit,
}

impl Cri {
    /// Starts containerd and waits until its CRI plugin is ready.
    #[track_caller]
    pub fn start() -> Self {
        let sandbox = Sandbox::new();
        // The aggregator's user must reach the socket in it.
        sandbox.let_others_in();
        let socket = sandbox.directory().join("containerd.sock");
        sandbox.write("/etc/cni/net.d/10-test.conflist", NETWORK);
        let config = format!(
            r#"version = 2
            [grpc]
            address = "{}"
            gid = {UNPRIVILEGED_GROUP_ID}
            [plugins."io.containerd.grpc.v1.cri"]
            sandbox_image = "{IMAGE}"
            # Test machines have no CAP_SYS_RESOURCE.
            restrict_oom_score_adj = true
            [plugins."io.containerd.grpc.v1.cri".cni]
            bin_dir = "/usr/lib/cni"
            conf_dir = "/etc/cni/net.d""#,
            socket.display()
        );
        let containerd = Containerd::start_in(sandbox, &config, &socket.display().to_string());
        let cri = Self {
            client: Client::new(socket),
            containerd,
        };
        cri.import_image();
        cri
    }

    fn import_image(&self) {
        let archive = self.sandbox().directory().join("image.tar");
        image::docker_archive(&archive, IMAGE);
        let mut import = self.containerd.client("k8s.io");
        run_output(import.args(["images", "import"]).arg(&archive));
        let _ = std::fs::remove_file(&archive);
        eventually("the CRI plugin knows the image", || {
            let mut list = self.containerd.client("k8s.io");
            list.args(["images", "list", &format!("name=={IMAGE}")]);
            run_output(&mut list)
                .contains("cri-containerd.image=managed")
                .then_some(())
        });
    }

    /// Where it runs.
    pub fn sandbox(&self) -> &Sandbox {
        self.containerd.sandbox()
    }

    /// Its socket, which the aggregator's group may use: what an administrator does who configures that source.
    pub fn socket(&self) -> PathBuf {
        self.sandbox().directory().join("containerd.sock")
    }

    /// The image reference as the metrics show it.
    pub fn image(&self) -> &'static str {
        IMAGE
    }

    /// Makes and starts a pod.
    #[track_caller]
    pub fn run_pod(&self, spec: &PodSpec) -> Pod<'_> {
        let uid = unique("uid");
        let unit = Unit::at(&format!("/kubepods/burstable/pod{uid}"));
        let log_directory = format!("/var/log/pods/{}_{}_{uid}", spec.namespace, spec.name);
        let config = PodSandboxConfig {
            log_directory,
            metadata: Some(PodSandboxMetadata {
                name: spec.name.clone(),
                uid,
                namespace: spec.namespace.clone(),
            }),
            // The host's network comes with the host's name.
            hostname: if spec.host_network {
                String::new()
            } else {
                spec.name.clone()
            },
            // As a kubelet labels it.
            labels: labels(&[
                ("io.kubernetes.pod.name", &spec.name),
                ("io.kubernetes.pod.namespace", &spec.namespace),
            ]),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: unit.path().to_owned(),
                security_context: Some(SandboxSecurityContext {
                    namespace_options: network(spec.host_network),
                }),
            }),
        };
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
        };
        // The plugin reads the network's configuration a little later.
        let made = poll(crate::DEADLINE, || {
            match self.client.call("RunPodSandbox", request.clone()) {
                Err(status) if is_not_ready(&status) => None,
                result => Some(result),
            }
        });
        let result: Result<Id, Status> = made.expect("the CRI plugin becomes ready");
        let id = result.unwrap_or_else(|status| {
            panic!("RunPodSandbox: {status}\n{}", self.containerd.log_tail())
        });
        Pod {
            cri: self,
            id: id.id,
            config,
            _unit: unit,
        }
    }

    #[track_caller]
    fn call<Q, A>(&self, method: &str, request: Q) -> A
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let answer = self.client.call(method, request);
        answer.unwrap_or_else(|status| panic!("{method}: {status}\n{}", self.containerd.log_tail()))
    }
}

impl Pod<'_> {
    /// Name of the pod.
    pub fn name(&self) -> &str {
        let metadata = self.config.metadata.as_ref();
        &metadata.expect("every pod has it").name
    }

    /// Its address in the pods' network.
    #[track_caller]
    pub fn address(&self) -> String {
        let id = Id {
            id: self.id.clone(),
        };
        let answer: PodSandboxStatusResponse = self.cri.call("PodSandboxStatus", id);
        let network = answer.status.and_then(|status| status.network);
        network.expect("a pod with a network").ip
    }

    /// A container in it that runs the load generator with these words; its id.
    #[track_caller]
    pub fn run_load(&self, name: &str, words: &str) -> String {
        self.run_load_again(name, 0, words)
    }

    /// The same as its so many-th restart.
    #[track_caller]
    pub fn run_load_again(&self, name: &str, restarts: u32, words: &str) -> String {
        let log = self.log(name, restarts);
        // As a kubelet does it.
        let directory = log.parent().expect("a file has a directory");
        std::fs::create_dir_all(directory).expect("the sandbox's directory");
        let pod = self.config.metadata.as_ref().expect("every pod has it");
        let linux = self.config.linux.as_ref();
        let security = linux.and_then(|linux| linux.security_context.as_ref());
        let namespace_options = security.and_then(|security| security.namespace_options.clone());
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: name.to_owned(),
                attempt: restarts,
            }),
            log_path: format!("{name}/{restarts}.log"),
            image: Some(ImageSpec {
                image: IMAGE.to_owned(),
            }),
            command: load_command(words),
            labels: labels(&[
                ("io.kubernetes.container.name", name),
                ("io.kubernetes.pod.name", &pod.name),
                ("io.kubernetes.pod.namespace", &pod.namespace),
            ]),
            linux: Some(LinuxContainerConfig {
                security_context: Some(ContainerSecurityContext { namespace_options }),
            }),
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let container: Id = self.cri.call("CreateContainer", request);
        let _: Empty = self.cri.call("StartContainer", container.clone());
        container.id
    }

    /// The log of a container, as it is reached from outside.
    pub fn log(&self, name: &str, restarts: u32) -> PathBuf {
        let directory = &self.config.log_directory;
        let path = format!("{directory}/{name}/{restarts}.log");
        self.cri.sandbox().outside(&path)
    }

    /// Rotates a container's log as a kubelet does: under the name of another time each.
    #[track_caller]
    pub fn rotate_log(&self, container: &str, log: &Path, time: &str) {
        let mut old = log.to_owned().into_os_string();
        old.push(format!(".{time}"));
        std::fs::rename(log, old).expect("the container has logged");
        let id = Id {
            id: container.to_owned(),
        };
        let _: Empty = self.cri.call("ReopenContainerLog", id);
    }

    /// Runs the load generator to its end in a container that runs.
    #[track_caller]
    pub fn exec_load(&self, container: &str, words: &str) -> LoadReport {
        let request = ExecSyncRequest {
            container_id: container.to_owned(),
            command: load_command(words),
            timeout_s: 50,
        };
        let answer: ExecSyncResponse = self.cri.call("ExecSync", request);
        let errors = String::from_utf8_lossy(&answer.stderr);
        assert_eq!(answer.exit_code, 0, "{words}: {errors}");
        LoadReport::parse(String::from_utf8_lossy(&answer.stdout).trim())
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let id = Id {
                id: self.id.clone(),
            };
            let result: Result<Empty, Status> = self.cri.client.call(method, id);
            if let Err(status) = result {
                eprintln!("{method}: {status}");
            }
        }
    }
}

fn load_command(words: &str) -> Vec<String> {
    let words = words.split_whitespace().map(str::to_owned);
    std::iter::once("/bin/nodescope-load".to_owned())
        .chain(words)
        .collect()
}

fn labels(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn network(is_host: bool) -> Option<NamespaceOption> {
    is_host.then_some(NamespaceOption { network: NODE })
}

/// The plugin itself, or its network's configuration, is not there yet.
fn is_not_ready(status: &Status) -> bool {
    status.message().contains("not initialized")
}

/// A bridge in the sandbox with addresses for the pods.
const NETWORK: &str = r#"{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false,
     "ipam": {"type": "host-local", "subnet": "10.215.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}
  ]
}"#;
