//! CRI-O: `userdata/config.json` of a container in containers-storage, with Kubernetes' names as annotations.

use nodescope_schema::FileKind;

use super::super::class::ContainerRef;
use super::super::metadata::{Metadata, ParseError};
use super::super::opener::OwnedOpenFile;
use super::{Places, Role, Runtime, oci};

/// Name of the runtime.
pub const NAME: &str = "crio";

/// CRI-O.
pub struct Crio;

impl Runtime for Crio {
    fn name(&self) -> &'static str {
        NAME
    }

    fn words(&self) -> &'static [(&'static str, Role)] {
        &[("crio", Role::Container), ("crio-conmon", Role::Monitor)]
    }

    /// CRI-O runs pods only, and only as root, so nothing else is one of its own.
    fn files(&self, container: &ContainerRef, _: &Places) -> Vec<OwnedOpenFile> {
        let is_possible = container.in_pod || container.runtime == Some(NAME);
        if !is_possible || container.uid != 0 {
            return Vec::new();
        }
        vec![OwnedOpenFile {
            container: container.id.clone(),
            ..OwnedOpenFile::of_kind(FileKind::StorageBundle)
        }]
    }

    fn parse(&self, _: &ContainerRef, bytes: &[u8]) -> Result<Metadata, ParseError> {
        parse(bytes)
    }

    fn own_id(&self, _: &ContainerRef, _: &Metadata) -> Option<String> {
        None
    }
}

/// Reads `userdata/config.json`.
pub fn parse(bytes: &[u8]) -> Result<Metadata, ParseError> {
    let oci::Bundle {
        mut annotations,
        mounts,
    } = oci::parse(bytes)?;
    let kind = oci::take(&mut annotations, "io.kubernetes.cri-o.ContainerType");
    let mut metadata = Metadata {
        image: oci::take(&mut annotations, "io.kubernetes.cri-o.ImageName"),
        is_pause: kind.as_deref() == Some("sandbox"),
        ..Metadata::default()
    };
    metadata.note(annotations);
    metadata.note_mounts(mounts);
    Ok(metadata)
}
