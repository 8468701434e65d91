//! Which files the logs of containers are in. A kind of file that a runtime writes is one file here and one line in
//! [`KINDS`]; the sensor has a row for it in its table of files. What a container's processes write to files of their own
//! below `/var/log` the sensor finds by itself: see [`LogPlace::held`].

use std::sync::Arc;

use nodescope_logs::decode::Format;
use nodescope_schema::FileKind;

use super::positions::{Mark, Positions};
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
    /// Its name among the places that are kept, the same in every release.
    pub name: Arc<str>,
    /// Value of the label `source`.
    pub source: Arc<str>,
    /// What is in it.
    pub format: Format,
    /// The file.
    pub file: OwnedOpenFile,
    /// Of a log that processes hold open: the numbers of the files they may still write to.
    pub held: Vec<u64>,
}

impl LogPlace {
    /// The file of a runtime.
    pub fn of_runtime(format: Format, file: OwnedOpenFile) -> Self {
        Self {
            name: name_of(&file).into(),
            source: STANDARD_STREAMS.into(),
            format,
            file,
            held: Vec::new(),
        }
    }

    /// A log that the sensor gave a number, in which processes of a container write to files of these numbers.
    pub fn held(container: &str, path: &str, number: u64, inodes: &[u64]) -> Self {
        Self {
            name: format!("held:{container}:{path}").into(),
            source: path.into(),
            format: Format::Plain,
            file: OwnedOpenFile {
                container: number.to_string().into(),
                ..OwnedOpenFile::of_kind(FileKind::HeldLog)
            },
            held: inodes.to_vec(),
        }
    }

    /// Whether processes hold it open, and no runtime writes it.
    pub fn is_held(&self) -> bool {
        self.file.kind == FileKind::HeldLog
    }

    /// What the names of the logs that processes of one container hold begin with.
    pub(super) fn held_prefix(&self) -> Option<&str> {
        let is_held = self.is_held();
        is_held.then(|| self.name.strip_suffix(&*self.source))?
    }
}

/// How far a log was read before. Of a held one that goes by another name now, because it was rotated away, the files
/// tell it.
pub(super) fn saved(positions: &Positions, place: &LogPlace) -> Option<Mark> {
    let prefix = place.held_prefix();
    let by_file = prefix.and_then(|prefix| positions.of_file(prefix, &place.held));
    by_file.or_else(|| positions.get(&place.name))
}

/// The logs that a container may have; it has one of them at most.
pub fn places(subject: &Subject<'_>) -> Vec<LogPlace> {
    let place =
        |kind: &&dyn LogKind| Some(LogPlace::of_runtime(kind.format(), kind.file(subject)?));
    KINDS.iter().filter_map(place).collect()
}

fn name_of(log: &OwnedOpenFile) -> String {
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
