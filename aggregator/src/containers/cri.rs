//! The container runtime interface of Kubernetes, an optional source: `ContainerStatus` of `runtime.v1.RuntimeService`
//! over the Unix socket of containerd or CRI-O, and `PodSandboxStatus` for what is no container: the pause container.
//!
//! Whoever may connect to that socket can become root on the machine, so giving it to the aggregator undoes the split
//! between the two processes. It is off by default and meant for a runtime whose files the sensor cannot open.
//!
//! Only the fields in use are declared; prost skips the others.

use std::collections::HashMap;
use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use tonic::Code;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::metadata::Metadata;

const CONTAINER_STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const SANDBOX_STATUS: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";
/// Longest answer read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// `ContainerStatusRequest` and `PodSandboxStatusRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {
    #[prost(string, tag = "1")]
    id: String,
}

/// `ContainerStatusResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<ContainerStatus>,
}

/// `PodSandboxStatusResponse`: that there is one is enough.
#[derive(Clone, PartialEq, prost::Message)]
struct SandboxResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerStatus {
    #[prost(message, optional, tag = "8")]
    image: Option<ImageSpec>,
    #[prost(map = "string, string", tag = "12")]
    labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

/// Why CRI did not describe a container.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// The id is not text.
    #[error("not a container id")]
    BadId,
    /// The socket's path cannot be used, or nobody listens.
    #[error("cannot connect")]
    Connect(#[from] tonic::transport::Error),
    /// The runtime answered with an error, or not at all.
    #[error("the runtime gave no status")]
    Status(#[from] Box<tonic::Status>),
    /// It answered without a status.
    #[error("the runtime's answer is empty")]
    Empty,
    /// No answer came in time.
    #[error("the runtime did not answer in time")]
    TimedOut,
}

impl CriError {
    /// The runtime works, but does not know the container or cannot describe it.
    pub fn is_about_container(&self) -> bool {
        match self {
            Self::BadId | Self::Empty => true,
            // Errors of the connection have a source; of a runtime that answers, these are no matter of one container.
            Self::Status(status) => {
                let is_refusal = matches!(
                    status.code(),
                    Code::Unavailable
                        | Code::Unimplemented
                        | Code::PermissionDenied
                        | Code::Unauthenticated
                );
                !is_refusal && status.source().is_none()
            }
            Self::Connect(_) | Self::TimedOut => false,
        }
    }
}

/// A client of CRI.
#[derive(Debug, Clone)]
pub struct Cri {
    socket: PathBuf,
    deadline: Duration,
}

impl Cri {
    /// A client of the runtime at `socket`, which waits for an answer no longer than `deadline`.
    pub fn new(socket: PathBuf, deadline: Duration) -> Self {
        Self { socket, deadline }
    }

    /// Describes a container, or the pause container of a pod, by its id.
    pub async fn status(&self, id: &[u8]) -> Result<Metadata, CriError> {
        let id = String::from_utf8(id.to_vec()).map_err(|_| CriError::BadId)?;
        let answer = tokio::time::timeout(self.deadline, self.describe(StatusRequest { id }));
        answer.await.map_err(|_| CriError::TimedOut)?
    }

    async fn describe(&self, request: StatusRequest) -> Result<Metadata, CriError> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket.display()))?;
        let channel = endpoint.connect().await?;
        let status = call(&channel, CONTAINER_STATUS, request.clone()).await;
        match status {
            Err(CriError::Status(unknown)) if unknown.code() == Code::NotFound => {
                let sandbox = call(&channel, SANDBOX_STATUS, request).await;
                let _: SandboxResponse = sandbox.map_err(|_| CriError::Status(unknown))?;
                Ok(Metadata {
                    is_pause: true,
                    ..Metadata::default()
                })
            }
            status => {
                let answer: StatusResponse = status?;
                Ok(metadata(answer.status.ok_or(CriError::Empty)?))
            }
        }
    }
}

async fn call<A>(
    channel: &Channel,
    method: &'static str,
    request: StatusRequest,
) -> Result<A, CriError>
where
    A: prost::Message + Default + 'static,
{
    let mut client = Grpc::new(channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
    client.ready().await?;
    let codec: ProstCodec<StatusRequest, A> = ProstCodec::default();
    let path = PathAndQuery::from_static(method);
    let answer = client.unary(tonic::Request::new(request), path, codec);
    Ok(answer.await.map_err(Box::new)?.into_inner())
}

fn metadata(status: ContainerStatus) -> Metadata {
    let image = status
        .image
        .map(|spec| spec.image)
        .filter(|image| !image.is_empty());
    let mut metadata = Metadata {
        image,
        ..Metadata::default()
    };
    metadata.note(status.labels);
    metadata
}

#[cfg(test)]
mod tests;
