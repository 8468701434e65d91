//! Docker's API, an optional source: `GET /containers/ID/json` over its Unix socket.
//!
//! Whoever may connect to that socket can become root on the machine, so giving it to the aggregator undoes the split
//! between the two processes. It is off by default and meant for a docker whose files the sensor cannot open, or for a
//! proxy that allows this one request.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::metadata::{Metadata, ParseError};
use super::runtimes::docker;

/// Longest answer read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A client of docker's API. Each request has a connection of its own.
#[derive(Debug, Clone)]
pub struct DockerApi {
    socket: PathBuf,
    deadline: Duration,
}

/// Why docker's API did not describe a container.
#[derive(Debug, thiserror::Error)]
pub enum DockerApiError {
    /// The id is none of docker's.
    #[error("not a container id")]
    BadId,
    /// The socket cannot be used.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// The exchange failed.
    #[error("the exchange with docker failed")]
    Http(#[from] hyper::Error),
    /// Docker answered with an error.
    #[error("docker answered {0}")]
    Status(StatusCode),
    /// The answer was cut or longer than allowed.
    #[error("docker's answer cannot be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not what it should be.
    #[error("docker's answer cannot be used")]
    Parse(#[from] ParseError),
    /// No answer came in time.
    #[error("docker did not answer in time")]
    TimedOut,
}

impl DockerApiError {
    /// Docker works, but does not know the container or cannot describe it.
    pub fn is_about_container(&self) -> bool {
        matches!(
            self,
            Self::BadId | Self::Status(StatusCode::NOT_FOUND) | Self::Parse(_)
        )
    }
}

impl DockerApi {
    /// A client of the API at `socket`, which waits for an answer no longer than `deadline`.
    pub fn new(socket: PathBuf, deadline: Duration) -> Self {
        Self { socket, deadline }
    }

    /// Describes a container by its id.
    pub async fn inspect(&self, id: &[u8]) -> Result<Metadata, DockerApiError> {
        let id = std::str::from_utf8(id)
            .ok()
            .filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let id = id
            .filter(|id| !id.is_empty())
            .ok_or(DockerApiError::BadId)?;
        let body = timeout(self.deadline, self.get(id))
            .await
            .map_err(|_| DockerApiError::TimedOut)??;
        Ok(docker::parse(&body)?)
    }

    async fn get(&self, id: &str) -> Result<Bytes, DockerApiError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(DockerApiError::Connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = format!("/containers/{id}/json")
            .parse()
            .map_err(|_| DockerApiError::BadId)?;
        request
            .headers_mut()
            .insert(header::HOST, header::HeaderValue::from_static("docker"));
        let exchange = async {
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::OK {
                return Err(DockerApiError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
            Ok(body
                .collect()
                .await
                .map_err(DockerApiError::Body)?
                .to_bytes())
        };
        // The connection must be driven beside the exchange; both are dropped together when the deadline passes.
        tokio::pin!(exchange);
        tokio::select! {
            result = &mut exchange => result,
            result = connection => { result?; exchange.await }
        }
    }
}

#[cfg(test)]
mod tests;
