//! Something costly that tests of one file share and the last one takes down.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Made on first use; dropped when no test holds it any more, and made again when another one comes.
#[derive(Debug)]
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    /// For a `static`.
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The one that exists, or a new one.
    pub fn get(&self, make: impl FnOnce() -> T) -> Arc<T> {
        // A test that failed while making it leaves nothing in here that could be broken.
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(existing) = slot.upgrade() {
            return existing;
        }
        let made = Arc::new(make());
        *slot = Arc::downgrade(&made);
        made
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self::new()
    }
}
