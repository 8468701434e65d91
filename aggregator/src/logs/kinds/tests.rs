use std::collections::BTreeSet;
use std::path::Path;

use super::*;

const FACTS: [(Fact, &str); 4] = [
    (Fact::PodNamespace, "default"),
    (Fact::PodName, "web-1"),
    (Fact::PodUid, "0a1b"),
    (Fact::PodContainer, "app"),
];

use crate::containers::Fact;

fn found(runtime: &'static str, metadata: &Metadata) -> Vec<OwnedOpenFile> {
    let container = ContainerRef {
        id: b"id".to_vec(),
        uid: 7,
        ..ContainerRef::default()
    };
    let subject = Subject {
        runtime,
        container: &container,
        docker_root: b"/data",
        metadata,
    };
    let places = places(&subject).into_iter();
    places.map(|place| place.file).collect()
}

fn in_pod() -> Metadata {
    Metadata {
        facts: FACTS.map(|(fact, value)| (fact, value.to_owned())).into(),
        ..Metadata::default()
    }
}

#[test]
fn every_file_here_is_in_the_table() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/logs/kinds");
    let files = std::fs::read_dir(here).unwrap().map(|entry| entry.unwrap());
    let members = files.filter(|file| {
        let name = file.file_name();
        name != "mod.rs" && name != "tests.rs"
    });
    assert_eq!(members.count(), KINDS.len());
    let kinds: BTreeSet<_> = KINDS
        .iter()
        .map(|kind| format!("{:?}", kind.file_kind()))
        .collect();
    assert_eq!(kinds.len(), KINDS.len());
    let names: BTreeSet<_> = KINDS.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), KINDS.len());
    for kind in FileKind::ALL {
        let name = format!("{kind:?}");
        let is_runtimes = name.ends_with("Log") && kind != FileKind::HeldLog;
        assert_eq!(is_runtimes, kinds.contains(&name), "{name}");
    }
}

#[test]
fn docker_has_one_of_two() {
    let files = found("docker", &Metadata::default());
    let of = |kind| OwnedOpenFile {
        container: b"id".to_vec(),
        root: b"/data".to_vec(),
        uid: 7,
        ..OwnedOpenFile::of_kind(kind)
    };
    let both = [FileKind::DockerJsonLog, FileKind::DockerLocalLog].map(of);
    assert_eq!(files, both);
    // Kubernetes with docker: the pod's log is a link.
    assert_eq!(found("docker", &in_pod()), both);
}

#[test]
fn a_pods_log_needs_all_its_names() {
    for runtime in ["containerd", "crio"] {
        let [file] = &found(runtime, &in_pod())[..] else {
            panic!("{runtime}");
        };
        assert_eq!(file.kind, FileKind::PodLog);
        assert_eq!(file.namespace, b"default_web-1_0a1b");
        assert_eq!(file.container, b"app");
        for (fact, _) in FACTS {
            let mut metadata = in_pod();
            metadata.facts.remove(&fact);
            assert_eq!(found(runtime, &metadata), []);
        }
    }
}

#[test]
fn podman_has_its_own() {
    let [file] = &found("podman", &Metadata::default())[..] else {
        panic!();
    };
    assert_eq!((file.kind, file.uid), (FileKind::PodmanLog, 7));
    assert_eq!(found("lxc", &Metadata::default()), []);
}
