//! containerd: the bundle of a container, `config.json` with the annotations of its CRI plugin (Kubernetes) or of nerdctl.
//! Without either, as with `ctr`, the container has no name but its id.
//!
//! The image is only in the annotations of the CRI plugin; nerdctl's is in containerd's database, which is not read. The
//! bundles of a rootless containerd are in its own mount namespace and cannot be opened.

use nodescope_schema::FileKind;

use super::super::class::ContainerRef;
use super::super::metadata::{Metadata, ParseError};
use super::super::opener::OwnedOpenFile;
use super::{Places, Role, Runtime, oci};

/// Name of the runtime.
pub const NAME: &str = "containerd";
/// Namespace of Kubernetes' containers.
pub const KUBERNETES: &str = "k8s.io";
/// Namespace of containerd's and nerdctl's own default.
pub const DEFAULT: &str = "default";

/// Annotations of the CRI plugin, and the facts they are.
const CRI_FACTS: [(&str, &str); 4] = [
    ("io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"),
    (
        "io.kubernetes.cri.sandbox-namespace",
        "io.kubernetes.pod.namespace",
    ),
    ("io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"),
    (
        "io.kubernetes.cri.container-name",
        "io.kubernetes.container.name",
    ),
];

/// containerd, below Kubernetes, nerdctl or alone.
pub struct Containerd;

impl Runtime for Containerd {
    fn name(&self) -> &'static str {
        NAME
    }

    fn words(&self) -> &'static [(&'static str, Role)] {
        &[
            ("cri-containerd", Role::Container),
            ("nerdctl", Role::Container),
        ]
    }

    fn files(&self, container: &ContainerRef, places: &Places) -> Vec<OwnedOpenFile> {
        if container.uid != 0 {
            return Vec::new();
        }
        let file = |namespace: &str| OwnedOpenFile {
            container: container.id.clone(),
            namespace: namespace.as_bytes().to_vec(),
            ..OwnedOpenFile::of_kind(FileKind::ContainerdBundle)
        };
        match &container.namespace {
            Some(namespace) => vec![file(namespace)],
            None if container.in_pod => vec![file(KUBERNETES)],
            None => places
                .containerd_namespaces
                .iter()
                .map(|namespace| file(namespace))
                .collect(),
        }
    }

    fn parse(&self, _: &ContainerRef, bytes: &[u8]) -> Result<Metadata, ParseError> {
        parse(bytes)
    }

    /// `/containerd/NAMESPACE/NAME`, with nerdctl's name or the id. A pod's container without Kubernetes' names stays
    /// unnamed: its id is new at every start.
    fn own_id(&self, container: &ContainerRef, metadata: &Metadata) -> Option<String> {
        if container.in_pod {
            return None;
        }
        let id = String::from_utf8_lossy(&container.id);
        let name = metadata.name.as_deref().unwrap_or(&id);
        let namespace = metadata
            .namespace
            .as_deref()
            .or(container.namespace.as_deref())
            .unwrap_or(DEFAULT);
        Some(super::named(
            NAME,
            container.uid,
            &format!("{namespace}/{name}"),
        ))
    }
}

/// Reads a bundle's `config.json`.
pub fn parse(bytes: &[u8]) -> Result<Metadata, ParseError> {
    let oci::Bundle {
        mut annotations,
        mounts,
    } = oci::parse(bytes)?;
    let kind = oci::take(&mut annotations, "io.kubernetes.cri.container-type");
    let mut metadata = Metadata {
        name: oci::take(&mut annotations, "nerdctl/name"),
        namespace: oci::take(&mut annotations, "nerdctl/namespace"),
        image: oci::take(&mut annotations, "io.kubernetes.cri.image-name"),
        is_pause: kind.as_deref() == Some("sandbox"),
        ..Metadata::default()
    };
    let cri =
        CRI_FACTS.map(|(annotation, fact)| Some((fact, oci::take(&mut annotations, annotation)?)));
    metadata.note(annotations);
    metadata.note_mounts(mounts);
    metadata.note(cri.into_iter().flatten());
    Ok(metadata)
}
