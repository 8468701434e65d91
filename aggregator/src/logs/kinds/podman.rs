//! Podman's log driver `k8s-file`: the CRI format, in the container's own directory; conmon replaces it when it is full.
//!
//! Known limit: a file that `--log-opt path=` put elsewhere is not read.

use nodescope_logs::decode::Format;
use nodescope_schema::FileKind;

use super::{LogKind, Subject};
use crate::containers::OwnedOpenFile;
use crate::containers::runtimes::podman;

/// The log of Podman's `k8s-file` driver.
pub(super) struct Podman;

impl LogKind for Podman {
    fn file_kind(&self) -> FileKind {
        FileKind::PodmanLog
    }

    fn name(&self) -> &'static str {
        "podman"
    }

    fn format(&self) -> Format {
        Format::Cri
    }

    fn file(&self, subject: &Subject<'_>) -> Option<OwnedOpenFile> {
        (subject.runtime == podman::NAME).then(|| OwnedOpenFile {
            container: subject.container.id.clone(),
            uid: subject.container.uid,
            ..OwnedOpenFile::of_kind(self.file_kind())
        })
    }
}
