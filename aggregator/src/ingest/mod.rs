//! Takes in what the sensor says: from its socket, or from a recording.
//!
//! One task owns the socket. It reads packets while there are any, hands records to the [`Model`] under one lock a
//! packet, and replies to the [`Broker`]. When the connection ends it connects again, at first quickly, then every
//! [`MAX_RECONNECT_DELAY`], also when a sensor takes connections and closes them at once; what was known stays shown
//! meanwhile.

mod replay;
mod sink;
mod socket;
mod unseen;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nodescope_schema::{
    AggregatorHello, MAX_MESSAGE_BYTES, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION,
    encode_aggregator_hello,
};
use rustix::net::{SendFlags, send};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use self::sink::Sink;
use self::socket::{Received, SensorSocket, SocketError};
use crate::broker::Broker;
use crate::metrics::own::Metrics;
use crate::model::Model;

pub use self::replay::{ReplayError, ReplayReport, replay};
pub use self::unseen::Unseen;

/// First wait before connecting again.
const MIN_RECONNECT_DELAY: Duration = Duration::from_millis(50);
/// Longest wait before connecting again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// A connection that lasted so long was a good one: after it the waits begin anew.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);
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
    /// Told when all that the sensor sent has been taken in.
    pub taken_in: Arc<Notify>,
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
                    let began = Instant::now();
                    let error = self.serve(&socket).await;
                    if began.elapsed() >= GOOD_CONNECTION {
                        (delay, last_said) = (MIN_RECONNECT_DELAY, String::new());
                    }
                    error
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
            let mut is_empty = false;
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
                        is_empty = true;
                        break;
                    }
                    Ok(Received::Closed) => return ConnectionError::Closed,
                    Err(errno) => return ConnectionError::Read(errno.into()),
                }
            }
            sink.flush_counts();
            if is_empty {
                // Whoever waits now: a sample for later would be late.
                self.taken_in.notify_waiters();
            }
            drop(ready);
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept, bind, listen, socket_with,
    };

    use super::*;
    use crate::model::{GlobalLabels, Settings};

    fn listener(path: &std::path::Path) -> OwnedFd {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        listen(&socket, 64).unwrap();
        socket
    }

    fn reconnects(metrics: &Metrics) -> u64 {
        let page = metrics.page(crate::metrics::Format::Text, |_| ());
        let page = String::from_utf8(page).unwrap();
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix("nodescope_sensor_reconnects_total "));
        value.unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn a_sensor_that_closes_at_once_is_asked_ever_less_often() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sensor.sock");
        let listener = listener(&path);
        std::thread::spawn(move || {
            while let Ok(connection) = accept(&listener) {
                drop(connection);
            }
        });
        let metrics = Arc::new(Metrics::new("test"));
        let model = Model::new(Settings::default(), GlobalLabels::default());
        let ingest = Ingest {
            path,
            model: Arc::new(Mutex::new(model)),
            metrics: Arc::clone(&metrics),
            broker: Broker::default(),
            wake_resolver: Arc::default(),
            taken_in: Arc::default(),
        };
        let began = Instant::now();
        let four = async {
            while reconnects(&metrics) < 4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(60);
        tokio::select! {
            () = ingest.run() => {}
            reached = tokio::time::timeout(limit, four) => reached.unwrap(),
        }
        let waits = MIN_RECONNECT_DELAY * (1 + 2 + 4 + 8);
        assert!(began.elapsed() >= waits, "{:?}", began.elapsed());
    }
}
