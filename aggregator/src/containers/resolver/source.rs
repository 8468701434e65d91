//! Where metadata comes from: runtime files through the sensor, then the optional sockets.

use std::sync::Arc;

use super::super::class::ContainerRef;
use super::super::cri::Cri;
use super::super::docker_api::DockerApi;
use super::super::metadata::Metadata;
use super::super::opener::{FileOpener, OwnedOpenFile};
use super::super::runtimes::{self, Places, containerd, crio, docker};
use super::docker_roots::DockerRoots;
use super::optional::Health;
use super::reader::Reader;
use super::{RetryReason, Runtime, Settings};

/// Metadata and the runtime it is of.
pub(super) struct Found {
    pub(super) runtime: &'static dyn Runtime,
    pub(super) metadata: Metadata,
    /// Docker's data-root where it was found; empty for the default.
    pub(super) docker_root: Vec<u8>,
}

impl Found {
    fn new(runtime: &'static dyn Runtime, metadata: Metadata) -> Self {
        Self {
            runtime,
            metadata,
            docker_root: Vec::new(),
        }
    }
}

/// All sources.
pub(super) struct Sources {
    reader: Reader,
    docker_roots: DockerRoots,
    containerd_namespaces: Vec<String>,
    docker_api: Option<(DockerApi, Health)>,
    cri: Option<(Cri, Health)>,
}

impl Sources {
    pub(super) fn new(opener: Arc<dyn FileOpener>, settings: &Settings) -> Self {
        let deadline = settings.api_deadline;
        Self {
            reader: Reader::new(opener, settings.file_deadline),
            docker_roots: DockerRoots::new(&settings.docker_roots),
            containerd_namespaces: settings.containerd_namespaces.clone(),
            docker_api: settings.docker_socket.clone().map(|socket| {
                (
                    DockerApi::new(socket.clone(), deadline),
                    Health::new(socket),
                )
            }),
            cri: settings
                .cri_socket
                .clone()
                .map(|socket| (Cri::new(socket.clone(), deadline), Health::new(socket))),
        }
    }

    /// The first source that knows the container, or the most telling of the failures.
    pub(super) async fn find(&self, container: &ContainerRef) -> Result<Found, RetryReason> {
        let mut failure = match self.in_files(container).await {
            Ok(found) => return Ok(found),
            Err(failure) => failure,
        };
        match self.ask_docker(container).await {
            Some(Ok(found)) => return Ok(found),
            Some(Err(RetryReason::SourceSilent)) => failure = RetryReason::SourceSilent,
            Some(Err(_)) | None => {}
        }
        match self.ask_cri(container).await {
            Some(Ok(found)) => return Ok(found),
            Some(Err(RetryReason::SourceSilent)) => failure = RetryReason::SourceSilent,
            Some(Err(_)) | None => {}
        }
        let known = runtimes::candidates(container).filter(|_| container.runtime.is_some());
        let mut nameable = known.filter(|runtime| !runtime.needs_file());
        nameable
            .next()
            .map(|runtime| Found::new(runtime, Metadata::default()))
            .ok_or(failure)
    }

    async fn in_files(&self, container: &ContainerRef) -> Result<Found, RetryReason> {
        let places = self.places(container).await;
        let mut failure = RetryReason::NotFound;
        for runtime in runtimes::candidates(container) {
            for file in runtime.files(container, &places) {
                let docker_root = file.root.clone();
                match self.metadata(runtime, container, file).await {
                    Ok(metadata) => {
                        return Ok(Found {
                            docker_root,
                            ..Found::new(runtime, metadata)
                        });
                    }
                    Err(reason) if reason.is_about_sensor() => return Err(reason),
                    Err(RetryReason::NotFound) => {}
                    Err(reason) => failure = reason,
                }
            }
        }
        Err(failure)
    }

    async fn metadata(
        &self,
        runtime: &dyn Runtime,
        container: &ContainerRef,
        file: OwnedOpenFile,
    ) -> Result<Metadata, RetryReason> {
        let content = self.reader.read(file).await?;
        runtime.parse(container, &content).map_err(|error| {
            tracing::debug!(runtime = runtime.name(), %error, "A container's file cannot be used");
            RetryReason::Malformed
        })
    }

    async fn places(&self, container: &ContainerRef) -> Places {
        let may_be_docker = container.runtime.is_none_or(|name| name == docker::NAME);
        let docker_roots = match may_be_docker {
            true => self.docker_roots.of(container.uid, &self.reader).await,
            false => Vec::new(),
        };
        Places {
            docker_roots,
            containerd_namespaces: self.containerd_namespaces.clone(),
        }
    }

    /// `None` when it is not docker's, or the source is off.
    async fn ask_docker(&self, container: &ContainerRef) -> Option<Result<Found, RetryReason>> {
        let is_docker =
            container.uid == 0 && container.runtime.is_none_or(|name| name == docker::NAME);
        let (api, health) = self.docker_api.as_ref().filter(|_| is_docker)?;
        let answer = health.ask(api.inspect(&container.id)).await;
        Some(answer.map(|metadata| Found::new(&docker::Docker, metadata)))
    }

    /// `None` when it is no pod's, or the source is off.
    async fn ask_cri(&self, container: &ContainerRef) -> Option<Result<Found, RetryReason>> {
        let is_cri =
            container.in_pod || matches!(container.runtime, Some(containerd::NAME | crio::NAME));
        let (cri, health) = self.cri.as_ref().filter(|_| is_cri && container.uid == 0)?;
        let not_docker =
            runtimes::candidates(container).find(|runtime| runtime.name() != docker::NAME);
        let runtime = not_docker.or_else(|| runtimes::candidates(container).next())?;
        let answer = health.ask(cri.status(&container.id)).await;
        Some(answer.map(|metadata| Found::new(runtime, metadata)))
    }
}
