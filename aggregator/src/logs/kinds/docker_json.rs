//! docker's default log driver, `json-file`: a JSON object a line, rotated to `.1`, `.2` and so on.

use nodescope_logs::decode::Format;
use nodescope_schema::FileKind;

use super::{LogKind, Subject};
use crate::containers::OwnedOpenFile;
use crate::containers::runtimes::docker;

/// The log of docker's `json-file` driver.
pub(super) struct DockerJson;

impl LogKind for DockerJson {
    fn file_kind(&self) -> FileKind {
        FileKind::DockerJsonLog
    }

    fn name(&self) -> &'static str {
        "docker-json"
    }

    fn format(&self) -> Format {
        Format::DockerJson
    }

    fn file(&self, subject: &Subject<'_>) -> Option<OwnedOpenFile> {
        file(subject, self.file_kind())
    }
}

/// A file of one of docker's log drivers.
pub(super) fn file(subject: &Subject<'_>, kind: FileKind) -> Option<OwnedOpenFile> {
    (subject.runtime == docker::NAME).then(|| OwnedOpenFile {
        container: subject.container.id.clone(),
        root: subject.docker_root.to_vec(),
        uid: subject.container.uid,
        ..OwnedOpenFile::of_kind(kind)
    })
}
