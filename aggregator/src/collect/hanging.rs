//! Reads that may hang: of a file whose file system does not answer, or of a process's command line, which is in memory
//! that the process may have mapped from such a file.
//!
//! A read cannot be ended from outside; one that is not over in time keeps its thread. So what hangs is not read again
//! before that, and there may be only few of them: pages are written on the same pool of threads.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::resume;

/// How long a read may take; what is read is in memory as a rule.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Reads that may hang; with more nothing of the kind is read until one of them is over.
const MAX_HANGING: usize = 16;

/// Reads that were not over in time, by what is read.
#[derive(Debug)]
pub(super) struct Hanging<K>(HashMap<K, AbortHandle>);

impl<K> Default for Hanging<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// It hangs, or too much else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not read in time")]
pub(super) struct Hangs;

impl<K: Eq + Hash> Hanging<K> {
    /// Whether this may be read now.
    pub(super) fn check(&mut self, key: &K) -> Result<(), Hangs> {
        self.0.retain(|_, read| !read.is_finished());
        let may_read = self.0.len() < MAX_HANGING && !self.0.contains_key(key);
        may_read.then_some(()).ok_or(Hangs)
    }

    /// Reads on a thread of its own, which goes on after the time limit.
    pub(super) async fn read<T: Send + 'static>(
        &mut self,
        key: K,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hangs> {
        self.check(&key)?;
        let reading = tokio::task::spawn_blocking(read);
        let handle = reading.abort_handle();
        match tokio::time::timeout(TIMEOUT, reading).await {
            Ok(read) => Ok(read.unwrap_or_else(resume)),
            Err(_elapsed) => {
                self.0.insert(key, handle);
                Err(Hangs)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A read that hangs until it is told to end.
    async fn hang(hanging: &mut Hanging<usize>, key: usize) -> Sender<()> {
        let (end, ended) = channel();
        let read = hanging.read(key, move || ended.recv()).await;
        assert!(matches!(read, Err(Hangs)));
        end
    }

    /// A paused clock stands still while a thread of the pool works, so it is moved by hand.
    async fn advancing<T>(read: impl Future<Output = T>) -> T {
        tokio::pin!(read);
        loop {
            tokio::select! {
                biased;
                read = &mut read => return read,
                () = tokio::task::yield_now() => tokio::time::advance(TIMEOUT).await,
            }
        }
    }

    async fn until_free(hanging: &mut Hanging<usize>, key: usize) {
        let began = std::time::Instant::now();
        while hanging.check(&key).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "{hanging:?}");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_left_alone_until_it_is_read() {
        let mut hanging = Hanging::default();
        let end = advancing(hang(&mut hanging, 1)).await;
        assert_eq!(hanging.read(1, || 5).await, Err(Hangs));
        assert_eq!(hanging.check(&2), Ok(()));
        end.send(()).unwrap();
        until_free(&mut hanging, 1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_may_hang() {
        let mut hanging = Hanging::default();
        let mut ends = Vec::new();
        for key in 0..MAX_HANGING {
            assert_eq!(hanging.check(&key), Ok(()));
            ends.push(advancing(hang(&mut hanging, key)).await);
        }
        assert_eq!(hanging.read(MAX_HANGING, || 5).await, Err(Hangs));
        drop(ends.pop());
        until_free(&mut hanging, MAX_HANGING).await;
    }
}
