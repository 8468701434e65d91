//! Accepts connections, bounds them and ends them.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::deadline::WriteDeadline;
use super::response::Router;
use super::{Listener, Pages};

/// Bounds on what clients can make the server hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time to send the head of a request; an idle connection is closed after it, too.
    pub header_read: Duration,
    /// Time to take a response, from the moment the kernel's buffers are full.
    pub write: Duration,
    /// Connections at once. Further ones wait in the kernel's queue.
    pub connections: usize,
    /// Pages of metrics in memory at once, being written or being sent. Further requests wait as long as `write` and are
    /// then told to come again.
    pub pages: usize,
    /// Time to finish responses after the shutdown began.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(30),
            write: Duration::from_secs(10),
            connections: 64,
            pages: 4,
            shutdown: Duration::from_secs(5),
        }
    }
}

/// Longest head of a request in bytes; a longer one is answered with 431.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Pause after a failed accept, which means that the process or the machine has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Serves until `shutdown` completes, then finishes what was begun.
pub async fn serve(listener: Listener, pages: Arc<dyn Pages>, shutdown: impl Future<Output = ()>) {
    serve_with(listener, pages, Limits::default(), shutdown).await;
}

/// Like [`serve`] with other limits.
pub async fn serve_with(
    listener: Listener,
    pages: Arc<dyn Pages>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let router = Router::new(pages, limits.pages, limits.write);
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut shutdown = pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            stream = accept(&listener, &slots) => stream,
        };
        let (stream, slot) = stream;
        let connection = serve_connection(stream, router.clone(), limits.clone(), stopping.clone());
        connections.spawn(async move {
            connection.await;
            drop(slot);
        });
    }
    drop(listener);
    drop(stop);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.shutdown, finish).await.is_err() {
        debug!(
            connections = connections.len(),
            "Closing connections that did not finish."
        );
    }
}

async fn accept(
    listener: &Listener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    loop {
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            return std::future::pending().await;
        };
        match listener.socket.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(error) => {
                warn!(%error, "Cannot accept a connection.");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<()>,
) {
    let service = service_fn(move |request| {
        let answer = router.clone().answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_header_size(MAX_HEADER_BYTES)
        .serve_connection(
            TokioIo::new(WriteDeadline::new(stream, limits.write)),
            service,
        );
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        // The sender sends nothing: its end is the signal.
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%error, "A connection ended early.");
    }
}
