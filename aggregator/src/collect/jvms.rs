//! Reads the performance data of Java virtual machines, which the sensor opens.
//!
//! The file is opened, read and closed each time, though the machine keeps it current in place: a descriptor that
//! stayed open would keep the container's root file system busy, and a runtime that removes the container would fail to
//! unmount it.
//!
//! A machine whose file is not to be had (it may be switched off, out of reach, or hang) is tried again later and later.

use std::collections::HashMap;
use std::sync::Arc;

use nodescope_schema::{OpenJvmData, Refusal};
use tracing::debug;

use super::Collect;
use super::hanging::{Hanging, Hangs};
use crate::app::lock;
use crate::containers::{OpenError, ReadError, read_capped};
use crate::jvm::{JvmStatistics, MAX_BYTES, PerfDataError};
use crate::model::jvms::JvmsJob;

/// Readings of the cgroup files for each one of these: the numbers change at collections only.
const ROUNDS: u32 = 3;
/// Most rounds that a machine is left alone after it could not be read.
const MAX_PAUSE: u32 = 20;

/// A machine: container and process.
type Machine = (Arc<str>, u32);

/// Machines that could not be read.
#[derive(Debug, Default)]
struct Unread {
    pauses: HashMap<Machine, Pause>,
    hanging: Hanging<Machine>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pause {
    /// How often in a row.
    failures: u32,
    /// Rounds until it is tried again.
    left: u32,
}

impl Pause {
    /// Another failure: twice as long as before.
    fn again(self) -> Self {
        let failures = self.failures.saturating_add(1);
        let left = 1u32.checked_shl(failures - 1).unwrap_or(MAX_PAUSE);
        Self {
            failures,
            left: left.min(MAX_PAUSE) - 1,
        }
    }
}

/// Why there are no statistics.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The sensor is away or too busy, or the file system is: what was read before stays.
    #[error("{0}")]
    Later(&'static str),
    /// The file hangs.
    #[error(transparent)]
    Hangs(#[from] Hangs),
    /// There is no file.
    #[error("no performance data")]
    Missing,
    /// There is one, but it is not as it should be.
    #[error("{0}")]
    Broken(String),
}

impl Collect {
    /// Reads them now and then.
    pub(super) async fn jvms(&self) {
        let mut unread = Unread::default();
        loop {
            let jobs = lock(&self.model).jvms_to_read();
            unread.pauses.retain(|(id, pid), _| {
                jobs.iter()
                    .any(|job| job.id == *id && job.pids.contains(pid))
            });
            for job in jobs {
                match self.jvms_of(&job, &mut unread).await {
                    Ok(found) => lock(&self.model).set_jvms(&job, found),
                    Err(reason) => {
                        debug!(reason, "Java virtual machines cannot be read now.");
                        break;
                    }
                }
            }
            tokio::time::sleep(self.interval * ROUNDS).await;
        }
    }

    /// The machines of a container that can be read, or why none can now.
    async fn jvms_of(
        &self,
        job: &JvmsJob,
        unread: &mut Unread,
    ) -> Result<Vec<JvmStatistics>, &'static str> {
        let mut found = Vec::new();
        for pid in &job.pids {
            let key = (Arc::clone(&job.id), *pid);
            let pause = unread.pauses.get_mut(&key);
            if let Some(pause) = pause.filter(|pause| pause.left > 0) {
                pause.left -= 1;
                continue;
            }
            match self.jvm(&key, &mut unread.hanging).await {
                Ok(statistics) => {
                    unread.pauses.remove(&key);
                    found.push(statistics);
                }
                Err(Failure::Later(reason)) => return Err(reason),
                Err(failure) => {
                    let pause = unread.pauses.entry(key).or_default();
                    *pause = pause.again();
                    self.tell(*pid, &failure);
                }
            }
        }
        Ok(found)
    }

    fn tell(&self, pid: u32, failure: &Failure) {
        if matches!(failure, Failure::Broken(_) | Failure::Hangs(_)) {
            self.metrics.add_collector_error("jvm");
        }
        debug!(pid, %failure, "A Java virtual machine is not shown.");
    }

    async fn jvm(
        &self,
        machine: &Machine,
        hanging: &mut Hanging<Machine>,
    ) -> Result<JvmStatistics, Failure> {
        hanging.check(machine)?;
        let pid = machine.1;
        let file = self.broker.open_jvm_data(OpenJvmData { pid }).await?;
        let read = move || {
            let bytes = read_capped(file, MAX_BYTES)?;
            Ok(JvmStatistics::parse(&bytes)?)
        };
        hanging.read(machine.clone(), read).await?
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            // A sensor of an earlier release knows no such request.
            OpenError::Refused(Refusal::NotFound | Refusal::Unknown) => Self::Missing,
            OpenError::Refused(Refusal::RateLimited | Refusal::Busy) => {
                Self::Later("the sensor is busy")
            }
            OpenError::Disconnected => Self::Later("the sensor is away"),
            OpenError::TimedOut => Self::Later("the sensor does not answer in time"),
            OpenError::Refused(refusal) => Self::Broken(refusal.to_string()),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<PerfDataError> for Failure {
    fn from(error: PerfDataError) -> Self {
        match error {
            PerfDataError::NotReady => Self::Missing,
            PerfDataError::Malformed { .. } => Self::Broken(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut pause = Pause::default();
        let lengths: Vec<u32> = (0..40)
            .map(|_| {
                pause = pause.again();
                pause.left
            })
            .collect();
        assert_eq!(lengths[..6], [0, 1, 3, 7, 15, 19]);
        assert_eq!(lengths[39], MAX_PAUSE - 1);
    }

    #[test]
    fn only_a_broken_file_is_an_error() {
        let refused = |refusal| Failure::from(OpenError::Refused(refusal));
        assert!(matches!(refused(Refusal::NotFound), Failure::Missing));
        assert!(matches!(refused(Refusal::Forbidden), Failure::Broken(_)));
        assert!(matches!(refused(Refusal::RateLimited), Failure::Later(_)));
        assert!(matches!(
            Failure::from(OpenError::Disconnected),
            Failure::Later(_)
        ));
        assert!(matches!(
            Failure::from(PerfDataError::NotReady),
            Failure::Missing
        ));
    }
}
