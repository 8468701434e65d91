//! When to walk over all tasks again, so that walking takes a bounded share of a core however many there are.

use std::time::Duration;

/// Least time between two walks.
const INTERVAL: Duration = Duration::from_secs(2);
/// A walk may take one part in this many of a core.
const SHARE: u64 = 200;

/// When to walk again after a walk that took this long.
pub(crate) fn next_walk_ns(begun_ns: u64, ended_ns: u64) -> u64 {
    let interval_ns = u64::try_from(INTERVAL.as_nanos()).unwrap_or(u64::MAX);
    let pause_ns = ended_ns.saturating_sub(begun_ns).saturating_mul(SHARE);
    begun_ns.saturating_add(interval_ns.max(pause_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_long_walk_is_followed_by_a_longer_pause() {
        assert_eq!(next_walk_ns(5 * SECOND, 5 * SECOND + 1000), 7 * SECOND);
        let ended = 5 * SECOND + SECOND / 10;
        assert_eq!(next_walk_ns(5 * SECOND, ended), 25 * SECOND);
        assert_eq!(next_walk_ns(u64::MAX - 1, u64::MAX), u64::MAX);
        assert_eq!(next_walk_ns(2, 1), 2 + 2 * SECOND);
    }
}
