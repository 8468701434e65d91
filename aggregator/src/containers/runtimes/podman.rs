//! Podman: `containers.json` of containers-storage, which lists name and image of all containers of one user.
//!
//! The file of the container itself (`userdata/config.json`) does not hold its name.

use nodescope_schema::FileKind;
use serde::Deserialize;

use super::super::class::ContainerRef;
use super::super::metadata::{self, Lenient, Metadata, ParseError};
use super::super::opener::OwnedOpenFile;
use super::{Places, Role, Runtime};

/// Name of the runtime.
pub const NAME: &str = "podman";
/// The cgroup that holds Podman's containers and pods with the cgroupfs manager.
pub(in super::super) const PARENT: &[u8] = b"libpod_parent";
/// The cgroup of conmon there.
pub(in super::super) const MONITOR: &[u8] = b"conmon";

/// Podman, the system's and rootless.
pub struct Podman;

impl Runtime for Podman {
    fn name(&self) -> &'static str {
        NAME
    }

    fn words(&self) -> &'static [(&'static str, Role)] {
        // The payload is a container that shares the cgroup of the service which starts it (`--cgroups=split`, Quadlet).
        &[
            ("libpod", Role::Container),
            ("libpod-payload", Role::Container),
            ("libpod-conmon", Role::Monitor),
        ]
    }

    /// Podman always marks its cgroups, so a bare id is not one of its own.
    fn files(&self, container: &ContainerRef, _: &Places) -> Vec<OwnedOpenFile> {
        if container.runtime != Some(NAME) {
            return Vec::new();
        }
        vec![OwnedOpenFile {
            uid: container.uid,
            ..OwnedOpenFile::of_kind(FileKind::StorageContainers)
        }]
    }

    fn parse(&self, container: &ContainerRef, bytes: &[u8]) -> Result<Metadata, ParseError> {
        parse(&container.id, bytes)
    }

    fn own_id(&self, container: &ContainerRef, metadata: &Metadata) -> Option<String> {
        Some(super::named(NAME, container.uid, metadata.name.as_deref()?))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    id: Lenient<String>,
    names: Lenient<Vec<Lenient<String>>>,
    /// JSON again.
    metadata: Lenient<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Inner {
    name: Lenient<String>,
    image_name: Lenient<String>,
}

/// Finds the container `id` in `containers.json`.
pub fn parse(id: &[u8], bytes: &[u8]) -> Result<Metadata, ParseError> {
    let entries: Vec<Lenient<Entry>> = serde_json::from_slice(bytes)?;
    let is_wanted = |entry: &Entry| {
        entry
            .id
            .0
            .as_deref()
            .is_some_and(|known| known.as_bytes() == id)
    };
    let entry = entries
        .into_iter()
        .filter_map(|entry| entry.0)
        .find(is_wanted)
        .ok_or(ParseError::NotListed)?;
    let inner: Inner = entry
        .metadata
        .0
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let first = entry
        .names
        .0
        .unwrap_or_default()
        .into_iter()
        .find_map(metadata::filled);
    let name = first.or_else(|| metadata::filled(inner.name));
    Ok(Metadata {
        is_pause: name.as_deref().is_some_and(is_infra),
        name,
        image: metadata::filled(inner.image_name),
        ..Metadata::default()
    })
}

/// Podman names the pause container of a pod after the first 12 digits of the pod's id.
fn is_infra(name: &str) -> bool {
    name.strip_suffix("-infra")
        .is_some_and(|pod| pod.len() == 12 && pod.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
