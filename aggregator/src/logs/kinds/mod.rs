//! Which files the logs of containers are in. A kind of file is one file here and one line in [`KINDS`]; the sensor
//! has a row for it in its table of files.

use nodescope_logs::decode::Format;
use nodescope_schema::FileKind;

use crate::containers::{ContainerRef, Metadata, OwnedOpenFile};

mod docker_json;
mod docker_local;
mod pod;
mod podman;

/// All kinds, in the order they are tried for a container.
pub const KINDS: &[&dyn LogKind] = &[
    &docker_json::DockerJson,
    &docker_local::DockerLocal,
    &pod::Pod,
    &podman::Podman,
];

/// Value of the label `source` of what a container writes to its standard output and error.
pub const STANDARD_STREAMS: &str = "stdout/stderr";

/// One kind of file.
pub trait LogKind: Sync {
    /// The sensor's number for it.
    fn file_kind(&self) -> FileKind;

    /// Its name among the places that are kept, which never changes.
    fn name(&self) -> &'static str;

    /// What is in it.
    fn format(&self) -> Format;

    /// The file of a container that is written now; `None` when the container can have none of this kind.
    fn file(&self, subject: &Subject<'_>) -> Option<OwnedOpenFile>;
}

/// A container as far as its logs need it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Name of its runtime.
    pub runtime: &'static str,
    /// Its identifiers.
    pub container: &'a ContainerRef,
    /// Docker's data-root; empty for the default.
    pub docker_root: &'a [u8],
    /// What its runtime says about it.
    pub metadata: &'a Metadata,
}

/// A log that a container may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace {
    /// Value of the label `source`.
    pub source: &'static str,
    /// What is in it.
    pub format: Format,
    /// The file.
    pub file: OwnedOpenFile,
}

/// The logs that a container may have; it has one of them at most.
pub fn places(subject: &Subject<'_>) -> Vec<LogPlace> {
    let place = |kind: &&dyn LogKind| {
        Some(LogPlace {
            source: STANDARD_STREAMS,
            format: kind.format(),
            file: kind.file(subject)?,
        })
    };
    KINDS.iter().filter_map(place).collect()
}

/// The name of a log among the places that are kept, the same in every release.
pub(super) fn name_of(log: &OwnedOpenFile) -> String {
    let kind = KINDS.iter().find(|kind| kind.file_kind() == log.kind);
    let kind = kind.map_or("", |kind| kind.name());
    let text = String::from_utf8_lossy;
    let mut name = format!("{kind}:{}/{}", text(&log.namespace), text(&log.container));
    if log.uid != 0 {
        name += &format!(" user {}", log.uid);
    }
    if !log.root.is_empty() {
        name += &format!(" in {}", text(&log.root));
    }
    name
}

#[cfg(test)]
mod tests;
