//! Reads runtime files that the sensor opens: within a deadline, capped, off the async threads, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use nodescope_schema::Refusal;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::super::opener::{FileOpener, OpenError, OwnedOpenFile, longest, read_capped};
use super::RetryReason;

/// Files being opened or read at a time. Those of users have permits of their own: a user can make reading hang.
const MAX_READS: usize = 16;

pub(super) struct Reader {
    opener: Arc<dyn FileOpener>,
    deadline: Duration,
    system: Arc<Semaphore>,
    users: Arc<Semaphore>,
}

impl Reader {
    pub(super) fn new(opener: Arc<dyn FileOpener>, deadline: Duration) -> Self {
        let permits = || Arc::new(Semaphore::new(MAX_READS));
        Self {
            opener,
            deadline,
            system: permits(),
            users: permits(),
        }
    }

    /// The content of a file. When the deadline passes during the read, the permit stays taken until the read returns.
    pub(super) async fn read(&self, file: OwnedOpenFile) -> Result<Vec<u8>, RetryReason> {
        timeout(self.deadline, self.read_to_end(file))
            .await
            .unwrap_or(Err(RetryReason::TimedOut))
    }

    async fn read_to_end(&self, file: OwnedOpenFile) -> Result<Vec<u8>, RetryReason> {
        let limit = longest(file.kind);
        let permits = if file.uid == 0 {
            &self.system
        } else {
            &self.users
        };
        let permit = permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| RetryReason::Unreadable)?;
        let descriptor = self.opener.open(file).await.map_err(open_reason)?;
        let reading = tokio::task::spawn_blocking(move || {
            let content = read_capped(descriptor, limit);
            drop(permit);
            content
        });
        let content = reading.await.map_err(|_| RetryReason::Unreadable)?;
        content.map_err(|_| RetryReason::Unreadable)
    }
}

fn open_reason(error: OpenError) -> RetryReason {
    match error {
        OpenError::Disconnected => RetryReason::Disconnected,
        OpenError::TimedOut => RetryReason::TimedOut,
        OpenError::Refused(Refusal::RateLimited | Refusal::Busy) => RetryReason::RateLimited,
        OpenError::Refused(Refusal::NotFound | Refusal::BadArgument | Refusal::Unknown) => {
            RetryReason::NotFound
        }
        OpenError::Refused(Refusal::Forbidden | Refusal::Io) => RetryReason::Unreadable,
    }
}
