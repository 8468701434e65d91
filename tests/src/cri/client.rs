//! A blocking client of a CRI runtime over its Unix socket.

use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tonic::Status;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

/// Making a sandbox with its network takes longest.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Client {
    runtime: Runtime,
    socket: PathBuf,
}

impl Client {
    pub(super) fn new(socket: PathBuf) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        Self {
            runtime: runtime.expect("a runtime of one thread"),
            socket,
        }
    }

    /// One call of `runtime.v1.RuntimeService`, on a connection of its own.
    pub(super) fn call<Q, A>(&self, method: &str, request: Q) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let path = format!("/runtime.v1.RuntimeService/{method}");
        let path: PathAndQuery = path.parse().expect("a method's name");
        let exchange = async {
            let unavailable = |error: tonic::transport::Error| Status::from_error(error.into());
            let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket.display()));
            let channel = endpoint.map_err(unavailable)?.connect().await;
            let mut grpc = Grpc::new(channel.map_err(unavailable)?);
            grpc.ready().await.map_err(unavailable)?;
            let codec: ProstCodec<Q, A> = ProstCodec::default();
            let answer = grpc.unary(tonic::Request::new(request), path, codec).await;
            Ok(answer?.into_inner())
        };
        self.runtime.block_on(async {
            tokio::time::timeout(DEADLINE, exchange)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
        })
    }
}
