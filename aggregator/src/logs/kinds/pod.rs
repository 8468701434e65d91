//! Logs of Kubernetes' containers as containerd and CRI-O write them: `/var/log/pods/NAMESPACE_POD_UID/CONTAINER`, a file
//! for each restart, rotated by kubelet. The links in `/var/log/containers` lead there and are not needed.
//!
//! Known limit: containerd notes the pod's UID, which the path has, from 1.6 on.

use nodescope_logs::decode::Format;
use nodescope_schema::FileKind;

use super::{LogKind, Subject};
use crate::containers::runtimes::docker;
use crate::containers::{Fact, OwnedOpenFile};

/// The log of a container of a pod.
pub(super) struct Pod;

impl LogKind for Pod {
    fn file_kind(&self) -> FileKind {
        FileKind::PodLog
    }

    fn name(&self) -> &'static str {
        "pod"
    }

    fn format(&self) -> Format {
        Format::Cri
    }

    /// With docker the files there are links to docker's own.
    fn file(&self, subject: &Subject<'_>) -> Option<OwnedOpenFile> {
        let fact = |fact| subject.metadata.fact(fact);
        if subject.runtime == docker::NAME || subject.container.sandbox {
            return None;
        }
        let (namespace, pod) = (fact(Fact::PodNamespace)?, fact(Fact::PodName)?);
        let uid = fact(Fact::PodUid)?;
        Some(OwnedOpenFile {
            container: fact(Fact::PodContainer)?.into(),
            namespace: format!("{namespace}_{pod}_{uid}").into(),
            ..OwnedOpenFile::of_kind(self.file_kind())
        })
    }
}
