//! Whether an optional source answers. One that does not is left alone for a growing pause, so that a socket that hangs
//! holds up no other container, and is spoken of once: when it falls silent and when it answers again.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::super::cri::CriError;
use super::super::docker_api::DockerApiError;
use super::super::metadata::Metadata;
use super::RetryReason;
use crate::causes::with_causes;

/// How long a source that failed is left alone; doubled each time it fails again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// What a source answers instead of metadata.
pub(super) trait SourceError: Error + 'static {
    /// It knows no such container, or cannot describe this one; it may well know others.
    fn is_about_container(&self) -> bool;
}

impl SourceError for CriError {
    fn is_about_container(&self) -> bool {
        self.is_about_container()
    }
}

impl SourceError for DockerApiError {
    fn is_about_container(&self) -> bool {
        self.is_about_container()
    }
}

/// How a source fares.
pub(super) struct Health {
    socket: PathBuf,
    silence: Mutex<Option<Silence>>,
}

/// It failed, and nothing came of it since.
struct Silence {
    until: Instant,
    pause: Duration,
    /// Somebody asks again now that a pause is over.
    probing: bool,
}

impl Health {
    /// Of the source at `socket`.
    pub(super) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            silence: Mutex::default(),
        }
    }

    /// Waits for the answer, unless the source is left alone.
    pub(super) async fn ask<E: SourceError>(
        &self,
        answer: impl Future<Output = Result<Metadata, E>>,
    ) -> Result<Metadata, RetryReason> {
        if !self.may_ask() {
            return Err(RetryReason::SourceSilent);
        }
        match answer.await {
            Ok(metadata) => {
                self.answered();
                Ok(metadata)
            }
            Err(error) if error.is_about_container() => {
                self.answered();
                debug!(socket = %self.socket.display(), error = with_causes(&error), "A source does not know a container.");
                Err(RetryReason::NotFound)
            }
            Err(error) => {
                self.failed(&error);
                Err(RetryReason::SourceSilent)
            }
        }
    }

    /// After a failure one question a pause goes through.
    fn may_ask(&self) -> bool {
        let mut silence = self.silence();
        let Some(silence) = silence.as_mut() else {
            return true;
        };
        let now = Instant::now();
        if now < silence.until {
            return false;
        }
        silence.until = now + silence.pause;
        silence.probing = true;
        true
    }

    fn answered(&self) {
        if self.silence().take().is_some() {
            info!(socket = %self.socket.display(), "The source of names answers again.");
        }
    }

    fn failed(&self, error: &(dyn Error + 'static)) {
        let mut silence = self.silence();
        let pause = match silence.as_ref() {
            None => {
                warn!(
                    socket = %self.socket.display(),
                    error = with_causes(error),
                    "The source of names does not answer; containers that only it knows are not shown meanwhile."
                );
                FIRST_PAUSE
            }
            // It was asked before the first failure was known.
            Some(silence) if !silence.probing => return,
            Some(silence) => (silence.pause * 2).min(LONGEST_PAUSE),
        };
        *silence = Some(Silence {
            until: Instant::now() + pause,
            pause,
            probing: false,
        });
    }

    fn silence(&self) -> MutexGuard<'_, Option<Silence>> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no answer")]
    struct NoAnswer {
        about_container: bool,
    }

    impl SourceError for NoAnswer {
        fn is_about_container(&self) -> bool {
            self.about_container
        }
    }

    async fn ask(health: &Health, result: Result<(), NoAnswer>) -> Result<(), RetryReason> {
        let answer = async { result.map(|()| Metadata::default()) };
        health.ask(answer).await.map(|_| ())
    }

    const SILENT: Result<(), NoAnswer> = Err(NoAnswer {
        about_container: false,
    });
    const UNKNOWN: Result<(), NoAnswer> = Err(NoAnswer {
        about_container: true,
    });

    #[tokio::test(start_paused = true)]
    async fn a_silent_source_is_asked_less_and_less_often() {
        let health = Health::new("socket".into());
        assert_eq!(ask(&health, SILENT).await, Err(RetryReason::SourceSilent));
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let start = Instant::now();
            while !health.may_ask() {
                tokio::time::advance(Duration::from_millis(100)).await;
            }
            // One at a time.
            assert!(!health.may_ask());
            pauses.push(start.elapsed().as_secs());
            health.failed(&SILENT.unwrap_err());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 16]);
        tokio::time::advance(LONGEST_PAUSE).await;
        assert_eq!(ask(&health, Ok(())).await, Ok(()));
        assert_eq!(ask(&health, Ok(())).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn many_failures_at_once_are_one() {
        let health = Health::new("socket".into());
        assert!(health.may_ask() && health.may_ask());
        health.failed(&SILENT.unwrap_err());
        health.failed(&SILENT.unwrap_err());
        tokio::time::advance(FIRST_PAUSE).await;
        assert!(health.may_ask());
    }

    #[tokio::test]
    async fn an_unknown_container_is_an_answer() {
        let health = Health::new("socket".into());
        for _ in 0..2 {
            assert_eq!(ask(&health, UNKNOWN).await, Err(RetryReason::NotFound));
        }
    }
}
