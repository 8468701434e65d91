//! Container runtimes: how each marks its cgroups, which of its files describe a container, and what they say.
//!
//! A runtime is one file here and one line in [`RUNTIMES`]. Its files are opened by the sensor; its `parse` is pure.

use super::class::ContainerRef;
use super::metadata::{Metadata, ParseError};
use super::opener::OwnedOpenFile;

pub mod containerd;
pub mod crio;
pub mod docker;
pub mod lxc;
mod oci;
pub mod podman;

/// All runtimes, in the order they are asked for a container whose cgroup does not tell its runtime.
pub const RUNTIMES: &[&dyn Runtime] = &[
    &docker::Docker,
    &containerd::Containerd,
    &crio::Crio,
    &podman::Podman,
    &lxc::Lxc,
];

/// One container runtime.
pub trait Runtime: Sync {
    /// Its name, the first component of its containers' ids.
    fn name(&self) -> &'static str;

    /// The words it puts before a container's id in the name of a cgroup.
    fn words(&self) -> &'static [(&'static str, Role)];

    /// The files that may describe the container, the likeliest first; none when it cannot be this runtime's.
    fn files(&self, container: &ContainerRef, places: &Places) -> Vec<OwnedOpenFile>;

    /// Reads such a file.
    fn parse(&self, container: &ContainerRef, bytes: &[u8]) -> Result<Metadata, ParseError>;

    /// The container's id when no orchestrator names it; `None` when the runtime has no name for it either.
    fn own_id(&self, container: &ContainerRef, metadata: &Metadata) -> Option<String>;

    /// Whether a container of this runtime can be named without its file.
    fn needs_file(&self) -> bool {
        true
    }
}

/// Whose cgroup has a runtime's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A container's.
    Container,
    /// That of a process that watches one.
    Monitor,
}

/// Where runtimes keep their files, as far as that is not fixed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Data-roots of docker, the likeliest first; an empty one is docker's default.
    pub docker_roots: Vec<Vec<u8>>,
    /// Namespaces of containerd to look in when the cgroup does not tell.
    pub containerd_namespaces: Vec<String>,
}

/// The runtime and role of a word before an id.
pub(super) fn by_word(word: &[u8]) -> Option<(&'static dyn Runtime, Role)> {
    RUNTIMES.iter().find_map(|runtime| {
        let (_, role) = runtime
            .words()
            .iter()
            .find(|(known, _)| known.as_bytes() == word)?;
        Some((*runtime, *role))
    })
}

/// The runtimes that may know the container.
pub(super) fn candidates(container: &ContainerRef) -> impl Iterator<Item = &'static dyn Runtime> {
    let wanted = container.runtime;
    RUNTIMES
        .iter()
        .copied()
        .filter(move |runtime| wanted.is_none_or(|name| name == runtime.name()))
}

/// `/RUNTIME/NAME`, or `/RUNTIME/user-UID/NAME` for a rootless one: two users, or one and the system, may use one name.
fn named(runtime: &str, uid: u32, name: &str) -> String {
    match uid {
        0 => format!("/{runtime}/{name}"),
        uid => format!("/{runtime}/user-{uid}/{name}"),
    }
}

#[cfg(test)]
mod tests;
