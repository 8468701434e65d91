//! The container runtime interface of Kubernetes, an optional source: `ContainerStatus` of `runtime.v1.RuntimeService`
//! over the Unix socket of containerd or CRI-O.
//!
//! Whoever may connect to that socket can become root on the machine, so giving it to the aggregator undoes the split
//! between the two processes. It is off by default and meant for a runtime whose files the sensor cannot open.
//!
//! Only the fields in use are declared; prost skips the others.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::metadata::Metadata;

const METHOD: &str = "/runtime.v1.RuntimeService/ContainerStatus";
/// Longest answer read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// `ContainerStatusRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {
    #[prost(string, tag = "1")]
    container_id: String,
}

/// `ContainerStatusResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<ContainerStatus>,
}

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
    #[error("cannot connect to the CRI socket")]
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

    /// Describes a container by its id.
    pub async fn status(&self, id: &[u8]) -> Result<Metadata, CriError> {
        let container_id = String::from_utf8(id.to_vec()).map_err(|_| CriError::BadId)?;
        let answer =
            tokio::time::timeout(self.deadline, self.call(StatusRequest { container_id })).await;
        Ok(metadata(
            answer
                .map_err(|_| CriError::TimedOut)??
                .status
                .ok_or(CriError::Empty)?,
        ))
    }

    async fn call(&self, request: StatusRequest) -> Result<StatusResponse, CriError> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket.display()))?;
        let channel: Channel = endpoint.connect().await?;
        let mut client = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        client.ready().await?;
        let codec: ProstCodec<StatusRequest, StatusResponse> = ProstCodec::default();
        let path = PathAndQuery::from_static(METHOD);
        let answer = client
            .unary(tonic::Request::new(request), path, codec)
            .await;
        Ok(answer.map_err(Box::new)?.into_inner())
    }
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
