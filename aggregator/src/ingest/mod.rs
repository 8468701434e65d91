//! Takes in what the sensor says: from its socket, or from a recording.
//!
//! One task owns the socket. It reads packets while there are any, hands records to the [`Model`] under one lock a
//! packet, and replies to the [`Broker`]. When the connection ends it connects again, at first quickly, then every
//! [`MAX_RECONNECT_DELAY`]; what was known stays shown meanwhile.

mod replay;
mod sink;
mod socket;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nodescope_schema::{
    AggregatorHello, MAX_MESSAGE_BYTES, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION,
    encode_aggregator_hello,
};
use rustix::net::{SendFlags, send};
use tokio::sync::Notify;
use tracing::{info, warn};

use self::sink::Sink;
use self::socket::{Received, SensorSocket, SocketError};
use crate::broker::Broker;
use crate::metrics::own::Metrics;
use crate::model::Model;

pub use self::replay::{ReplayError, ReplayReport, replay};

/// First wait before connecting again.
const MIN_RECONNECT_DELAY: Duration = Duration::from_millis(50);
/// Longest wait before connecting again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// Packets read before other tasks get their turn.
const PACKETS_PER_TURN: usize = 32;

/// What the ingest task works with.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// Where the sensor listens.
    pub path: PathBuf,
    /// The node.
    pub model: Arc<Mutex<Model>>,
    /// Own metrics.
    pub metrics: Arc<Metrics>,
    /// Requests to the sensor.
    pub broker: Broker,
    /// Told when a cgroup appeared whose container is to be found.
    pub wake_resolver: Arc<Notify>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("the sensor closed the connection")]
    Closed,
    #[error(
        "the sensor speaks protocol versions {oldest} to {newest}, this aggregator {OLDEST_PROTOCOL_VERSION} to {PROTOCOL_VERSION}: install the same release of both"
    )]
    Version { newest: u16, oldest: u16 },
    #[error("reading from the sensor: {0}")]
    Read(#[source] std::io::Error),
    #[error("the hello could not be sent: {0}")]
    Hello(#[source] std::io::Error),
}

impl Ingest {
    /// Runs until the task is cancelled.
    pub async fn run(self) {
        let mut delay = MIN_RECONNECT_DELAY;
        let mut connections = 0u64;
        let mut last_said = String::new();
        loop {
            let error = match SensorSocket::connect(&self.path) {
                Ok(socket) => {
                    connections += 1;
                    if connections > 1 {
                        self.metrics.add_sensor_reconnect();
                    }
                    (delay, last_said) = (MIN_RECONNECT_DELAY, String::new());
                    self.serve(&socket).await
                }
                Err(error) => error.into(),
            };
            let text = error.to_string();
            if text != last_said {
                warn!("{text}; trying again");
                last_said = text;
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(MAX_RECONNECT_DELAY);
        }
    }

    /// One connection, from hello to end.
    async fn serve(&self, socket: &SensorSocket) -> ConnectionError {
        let hello = encode_aggregator_hello(&AggregatorHello {
            version: PROTOCOL_VERSION,
            oldest_version: OLDEST_PROTOCOL_VERSION,
            release: crate::RELEASE,
        });
        if let Err(errno) = send(socket.descriptor(), &hello, SendFlags::NOSIGNAL) {
            return ConnectionError::Hello(errno.into());
        }
        info!(path = %self.path.display(), "Connected to the sensor.");
        self.broker.connected(socket.descriptor());
        self.metrics.set_sensor_connected(true);
        let error = self.read_all(socket).await;
        self.broker.disconnected();
        self.metrics.set_sensor_connected(false);
        self.model
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .disconnected();
        error
    }

    async fn read_all(&self, socket: &SensorSocket) -> ConnectionError {
        let mut sink = Sink::new(self);
        let mut buffer = vec![0; MAX_MESSAGE_BYTES];
        loop {
            let mut ready = match socket.readable().await {
                Ok(ready) => ready,
                Err(source) => return ConnectionError::Read(source),
            };
            for _ in 0..PACKETS_PER_TURN {
                match socket.receive(&mut buffer) {
                    Ok(Received::Message(length, descriptor)) => {
                        if let Err(error) = sink.take(&buffer[..length], descriptor) {
                            return error;
                        }
                    }
                    Ok(Received::Oversized) => self.metrics.add_decode_error(),
                    Ok(Received::Empty) => {
                        ready.clear_ready();
                        break;
                    }
                    Ok(Received::Closed) => return ConnectionError::Closed,
                    Err(errno) => return ConnectionError::Read(errno.into()),
                }
            }
            sink.flush_counts();
            drop(ready);
            tokio::task::yield_now().await;
        }
    }
}
