use std::collections::BTreeSet;
use std::path::Path;

use nodescope_schema::FileKind;
use proptest::prelude::*;

use super::super::metadata::{Fact, MAX_VOLUMES};
use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/containers/fixtures/",
            $name
        ))
    };
}

const PODMAN_WEB: &[u8] = b"3d17faa88fe7261fb8c1cdf66d7c63bc611e988de9fa811e2592de90b8c9e370";
const PODMAN_INFRA: &[u8] = b"9aca622eacffd0b7090aa1e8368aafa7fcc0c515e4711e0a5c37734557501cad";

/// A parser of one kind of file, and a file of that kind.
type Case = (
    &'static str,
    fn(&[u8]) -> Result<Metadata, ParseError>,
    &'static [u8],
);

const CASES: &[Case] = &[
    ("docker", docker::parse, fixture!("docker_web.json")),
    (
        "docker_swarm",
        docker::parse,
        fixture!("docker_swarm_stack.json"),
    ),
    ("docker_nomad", docker::parse, fixture!("docker_nomad.json")),
    (
        "docker_inspect",
        docker::parse,
        fixture!("docker_inspect.json"),
    ),
    (
        "containerd_cri",
        containerd::parse,
        fixture!("containerd_cri_container.json"),
    ),
    (
        "containerd_nerdctl",
        containerd::parse,
        fixture!("containerd_nerdctl_labels.json"),
    ),
    ("crio", crio::parse, fixture!("crio_userdata.json")),
    (
        "podman",
        |bytes| podman::parse(PODMAN_WEB, bytes),
        fixture!("podman_containers.json"),
    ),
    (
        "lxc",
        |bytes| Ok(lxc::parse(bytes)),
        fixture!("lxc_download.conf"),
    ),
];

/// How many things a file told.
fn told(metadata: &Metadata) -> usize {
    let texts = [&metadata.name, &metadata.namespace, &metadata.image];
    texts.into_iter().flatten().count() + metadata.facts.len() + metadata.published.len()
}

#[test]
fn every_file_of_the_folder_is_in_the_table() {
    /// Shared by several runtimes, and this file.
    const NO_RUNTIMES: [&str; 3] = ["mod", "oci", "tests"];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/containers/runtimes");
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !NO_RUNTIMES.contains(&stem.as_str()) {
            files.insert(stem);
        }
    }
    let names: BTreeSet<String> = RUNTIMES
        .iter()
        .map(|runtime| runtime.name().to_owned())
        .collect();
    assert_eq!(names, files);
    assert_eq!(names.len(), RUNTIMES.len(), "a name repeats");
}

#[test]
fn no_word_has_two_meanings() {
    let words: Vec<&str> = RUNTIMES
        .iter()
        .flat_map(|runtime| runtime.words())
        .map(|(word, _)| *word)
        .collect();
    assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
}

#[test]
fn docker_tells_name_image_and_ports() {
    for bytes in [
        &fixture!("docker_web.json")[..],
        fixture!("docker_inspect.json"),
    ] {
        let metadata = docker::parse(bytes).unwrap();
        assert_eq!(metadata.name.as_deref(), Some("web"));
        assert_eq!(metadata.image.as_deref(), Some("bb:1"));
        assert_eq!(
            metadata.published,
            [
                "127.0.0.1:18080".parse().unwrap(),
                "[::1]:18081".parse().unwrap()
            ]
        );
        assert!(metadata.facts.is_empty(), "{:?}", metadata.facts);
    }
}

#[test]
fn docker_tells_its_orchestrator() {
    let swarm = docker::parse(fixture!("docker_swarm_stack.json")).unwrap();
    assert_eq!(swarm.fact(Fact::SwarmService), Some("shop_front"));
    assert_eq!(swarm.fact(Fact::SwarmStack), Some("shop"));
    assert_eq!(
        swarm.fact(Fact::SwarmTask),
        Some("shop_front.1.gubh4jxg8ulo1a95arnvf2tem")
    );
    let nomad = docker::parse(fixture!("docker_nomad.json")).unwrap();
    assert_eq!(
        nomad.fact(Fact::NomadAllocation),
        Some("b7a9d3f2-6a6e-4d8e-9d2c-0b1c2d3e4f50")
    );
    let pod = docker::parse(fixture!("docker_k8s.json")).unwrap();
    assert_eq!(pod.fact(Fact::PodName), Some("cart-7d4b9c6f5-x2vlq"));
}

#[test]
fn containerd_tells_the_pod() {
    let metadata = containerd::parse(fixture!("containerd_cri_container.json")).unwrap();
    assert_eq!(metadata.fact(Fact::PodName), Some("cart-7d4b9c6f5-x2vlq"));
    assert_eq!(metadata.fact(Fact::PodNamespace), Some("shop"));
    assert_eq!(metadata.fact(Fact::PodContainer), Some("cart"));
    assert_eq!(metadata.image.as_deref(), Some("localhost/bb:1"));
    assert!(!metadata.is_pause);
    assert!(
        containerd::parse(fixture!("containerd_cri_sandbox.json"))
            .unwrap()
            .is_pause
    );
}

#[test]
fn containerd_tells_nerdctl_names() {
    let metadata = containerd::parse(fixture!("containerd_nerdctl_labels.json")).unwrap();
    assert_eq!(metadata.name.as_deref(), Some("jolly"));
    assert_eq!(metadata.namespace.as_deref(), Some("default"));
}

#[test]
fn crio_tells_the_pod() {
    let metadata = crio::parse(fixture!("crio_userdata.json")).unwrap();
    assert_eq!(metadata.fact(Fact::PodContainer), Some("cart"));
    assert_eq!(
        metadata.image.as_deref(),
        Some("registry.example/shop/cart:1.4")
    );
}

#[test]
fn podman_lists_its_containers() {
    let list = fixture!("podman_containers.json");
    let metadata = podman::parse(PODMAN_WEB, list).unwrap();
    assert_eq!(metadata.name.as_deref(), Some("pweb"));
    assert_eq!(metadata.image.as_deref(), Some("localhost/bb:1"));
    assert!(!metadata.is_pause);
    assert!(podman::parse(PODMAN_INFRA, list).unwrap().is_pause);
    assert!(matches!(
        podman::parse(b"0", list),
        Err(ParseError::NotListed)
    ));
}

#[test]
fn lxc_tells_its_distribution() {
    assert_eq!(
        lxc::parse(fixture!("lxc_download.conf")).image.as_deref(),
        Some("debian:bookworm")
    );
    assert_eq!(lxc::parse(fixture!("lxc_busybox.conf")).image, None);
    assert_eq!(
        lxc::parse(b"# Parameters passed to the template: --dist").image,
        None
    );
}

#[test]
fn daemon_json_may_move_the_data() {
    let root = |text: &str| docker::parse_data_root(text.as_bytes()).unwrap();
    assert_eq!(
        root(r#"{"data-root": "/srv/docker", "debug": true}"#).as_deref(),
        Some("/srv/docker")
    );
    assert_eq!(root(r#"{"graph": "/old"}"#).as_deref(), Some("/old"));
    for text in ["{}", r#"{"data-root": 7}"#, r#"{"data-root": ""}"#] {
        assert_eq!(root(text), None, "{text}");
    }
    assert!(docker::parse_data_root(b"# not json").is_err());
}

#[test]
fn a_field_of_the_wrong_type_takes_nothing_with_it() {
    let metadata = docker::parse(
        br#"{"Name": "/web", "Config": {"Image": 7, "Labels": {"a": 1, "io.kubernetes.pod.name": "p"}, "Env": [1, "A=B"]},
            "NetworkSettings": {"Ports": {"80/tcp": null, "81/tcp": [{"HostIp": "1.2.3.4", "HostPort": "81"}, 5],
                                          "82/udp": [{"HostIp": "1.2.3.4", "HostPort": "82"}]}}}"#,
    )
    .unwrap();
    assert_eq!(
        (metadata.name.as_deref(), metadata.image.as_deref()),
        (Some("web"), None)
    );
    assert_eq!(metadata.fact(Fact::PodName), Some("p"));
    assert_eq!(metadata.published, ["1.2.3.4:81".parse().unwrap()]);
    assert_eq!(
        docker::parse(br#"{"Name": "/web", "Config": []}"#)
            .unwrap()
            .name
            .as_deref(),
        Some("web")
    );
    assert_eq!(
        containerd::parse(br#"{"annotations": 5}"#).unwrap(),
        Metadata::default()
    );
    let list = br#"[7, {"id": 7}, {"id": "x", "names": "no", "metadata": "{\"name\": \"inner\", \"image-name\": []}"}]"#;
    assert_eq!(
        podman::parse(b"x", list).unwrap().name.as_deref(),
        Some("inner")
    );
}

#[test]
fn published_addresses_are_bounded() {
    let bindings =
        vec![r#"{"HostIp":"0.0.0.0","HostPort":"80"}"#; 2 * super::super::MAX_PUBLISHED].join(",");
    let text = format!(r#"{{"NetworkSettings":{{"Ports":{{"80/tcp":[{bindings}]}}}}}}"#);
    assert_eq!(
        docker::parse(text.as_bytes()).unwrap().published.len(),
        super::super::MAX_PUBLISHED
    );
}

/// JSON that was cut anywhere is an error; a cut text tells less, never something else.
#[test]
fn a_cut_file_never_tells_more() {
    for (name, parse, bytes) in CASES {
        let whole = parse(bytes).unwrap();
        assert!(told(&whole) > 0, "{name}");
        for length in 0..bytes.len() {
            if let Ok(metadata) = parse(&bytes[..length]) {
                assert!(told(&metadata) <= told(&whole), "{name} at {length}");
            }
        }
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let deep = "[".repeat(1 << 20);
    for (name, parse, _) in CASES.iter().filter(|(name, ..)| *name != "lxc") {
        assert!(parse(deep.as_bytes()).is_err(), "{name}");
        assert!(
            parse(format!("{{\"annotations\":{deep}").as_bytes()).is_err(),
            "{name}"
        );
    }
}

#[test]
fn files_are_those_of_the_runtime_and_its_user() {
    let places = Places {
        docker_roots: vec![b"/srv".to_vec(), vec![]],
        containerd_namespaces: vec!["default".into()],
    };
    let asked = |container: &ContainerRef| -> Vec<(FileKind, String, u32)> {
        let runtimes = candidates(container);
        let files = runtimes.flat_map(|runtime| runtime.files(container, &places));
        files
            .map(|file| {
                (
                    file.kind,
                    String::from_utf8([file.root, file.namespace].concat()).unwrap(),
                    file.uid,
                )
            })
            .collect()
    };
    let bare = ContainerRef {
        id: b"x".to_vec(),
        in_pod: true,
        ..ContainerRef::default()
    };
    assert_eq!(
        asked(&bare),
        [
            (FileKind::DockerConfig, "/srv".into(), 0),
            (FileKind::DockerConfig, String::new(), 0),
            (FileKind::ContainerdBundle, "k8s.io".into(), 0),
            (FileKind::StorageBundle, String::new(), 0),
        ]
    );
    let podman = ContainerRef {
        runtime: Some(podman::NAME),
        uid: 1000,
        ..ContainerRef::default()
    };
    assert_eq!(
        asked(&podman),
        [(FileKind::StorageContainers, String::new(), 1000)]
    );
    let nerdctl = ContainerRef {
        runtime: Some(containerd::NAME),
        ..ContainerRef::default()
    };
    assert_eq!(
        asked(&nerdctl),
        [(FileKind::ContainerdBundle, "default".into(), 0)]
    );
    let lxc = ContainerRef {
        runtime: Some(lxc::NAME),
        id: b"box".to_vec(),
        ..ContainerRef::default()
    };
    assert_eq!(asked(&lxc), [(FileKind::LxcConfig, String::new(), 0)]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for (_, parse, _) in CASES {
            let _ = parse(&bytes);
        }
        let _ = docker::parse_data_root(&bytes);
    }

    /// A file with some bytes changed, which is nearer to a file than random bytes are.
    #[test]
    fn damaged_files_are_read_or_refused(at in any::<prop::sample::Index>(), with in any::<[u8; 3]>()) {
        for (_, parse, bytes) in CASES {
            let mut bytes = bytes.to_vec();
            let start = at.index(bytes.len() - with.len());
            bytes[start..start + with.len()].copy_from_slice(&with);
            let _ = parse(&bytes);
        }
    }
}

#[test]
fn mounts_tell_kubernetes_volumes() {
    const BUNDLE: &[u8] = br#"{"mounts": [
        {"destination": "/data", "source": "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pv/mount"},
        {"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/x"}, 5]}"#;
    const DOCKER: &[u8] = br#"{"MountPoints": {"/srv": {"Source": "/srv"}, "/x": 1, "/y": {},
        "/data": {"Source": "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pv/mount"}}}"#;
    for metadata in [
        containerd::parse(BUNDLE),
        crio::parse(BUNDLE),
        docker::parse(DOCKER),
    ] {
        let volumes = metadata.unwrap().volumes;
        assert_eq!(volumes.len(), 1);
        assert!(volumes["/data"].ends_with("kubernetes.io~csi/pv/mount"));
    }
    let many = |at| format!(r#"{{"destination": "/{at}", "source": "/volume-subpaths/{at}/"}}"#);
    let many: Vec<_> = (0..1000).map(many).collect();
    let bundle = format!(r#"{{"mounts": [{}]}}"#, many.join(","));
    let metadata = crio::parse(bundle.as_bytes()).unwrap();
    assert_eq!(metadata.volumes.len(), MAX_VOLUMES);
}
