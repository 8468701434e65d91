//! docker's log driver `local`: protobuf messages; older files are compressed and then not read.

use nodescope_logs::decode::Format;
use nodescope_schema::FileKind;

use super::{LogKind, Subject, docker_json};
use crate::containers::OwnedOpenFile;

/// The log of docker's `local` driver.
pub(super) struct DockerLocal;

impl LogKind for DockerLocal {
    fn file_kind(&self) -> FileKind {
        FileKind::DockerLocalLog
    }

    fn name(&self) -> &'static str {
        "docker-local"
    }

    fn format(&self) -> Format {
        Format::DockerLocal
    }

    fn file(&self, subject: &Subject<'_>) -> Option<OwnedOpenFile> {
        docker_json::file(subject, self.file_kind())
    }
}
