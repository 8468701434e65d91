//! Tells the sensor whose round trip to measure.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::debug;

use super::Collect;
use crate::app::lock;
use crate::containers::OpenError;

/// How often the addresses are looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often they are sent when nothing has changed: the sensor leaves out what it does not know yet or any more.
const REPEAT: Duration = Duration::from_secs(60);

/// What the sensor has.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    connection: u64,
    targets: Vec<IpAddr>,
}

impl Collect {
    /// Runs until the task is cancelled.
    pub(super) async fn pings(&self) {
        let mut told: Option<(Told, Instant)> = None;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(connection) = self.broker.connection() else {
                continue;
            };
            let targets = lock(&self.model).ping_targets();
            let wanted = Told {
                connection,
                targets,
            };
            let is_told = told
                .as_ref()
                .is_some_and(|(told, at)| *told == wanted && at.elapsed() < REPEAT);
            if is_told {
                continue;
            }
            told = match self.broker.set_ping_targets(&wanted.targets).await {
                Ok(()) => Some((wanted, Instant::now())),
                Err(OpenError::Disconnected) => None,
                Err(error) => {
                    self.metrics.add_collector_error("pings");
                    debug!(%error, "The sensor does not take ping targets.");
                    None
                }
            };
        }
    }
}
