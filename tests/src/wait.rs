//! Waiting with a deadline.

use std::time::{Duration, Instant};

/// How long a fact may take to become true, on a slow machine too.
pub const DEADLINE: Duration = Duration::from_secs(30);

const INTERVAL: Duration = Duration::from_millis(50);

/// Asks until the answer is there; `None` when it is not there in time.
pub fn poll<T>(deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// As [`poll`] with the usual [`DEADLINE`]; panics with `what` was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    poll(DEADLINE, ask).unwrap_or_else(|| panic!("waited {DEADLINE:?} in vain: {what}"))
}
