//! Token bucket: how often something may happen. Pure: the caller says what time it is.

use std::time::{Duration, Instant};

/// Allows `per_second` events a second and `burst` at once.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    interval: Duration,
    burst: u32,
    tokens: u32,
    /// When the last token that is in the bucket was put there.
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket. Both numbers are at least 1.
    pub fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            burst: burst.max(1),
            tokens: burst.max(1),
            filled: now,
        }
    }

    /// Takes a token; false when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }

    /// How long until there is a token; zero when there is one.
    pub fn wait(&mut self, now: Instant) -> Duration {
        self.fill(now);
        if self.tokens > 0 {
            return Duration::ZERO;
        }
        (self.filled + self.interval).saturating_duration_since(now)
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let due = passed.as_nanos() / self.interval.as_nanos();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        if due >= self.burst - self.tokens {
            self.tokens = self.burst;
            self.filled = now;
        } else {
            self.tokens += due;
            self.filled += self.interval * due;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, 3, start);
        assert_eq!((0..5).filter(|_| bucket.take(start)).count(), 3);
        assert_eq!(bucket.wait(start), Duration::from_millis(100));

        let later = start + Duration::from_millis(250);
        assert_eq!((0..5).filter(|_| bucket.take(later)).count(), 2);
        assert_eq!(bucket.wait(later), Duration::from_millis(50));
    }

    #[test]
    fn never_more_than_the_burst() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(1000, 2, start);
        let later = start + Duration::from_secs(1_000_000);
        assert_eq!((0..5).filter(|_| bucket.take(later)).count(), 2);
    }

    #[test]
    fn asking_often_does_not_slow_the_filling() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, 1, start);
        let taken = (0..=1000)
            .filter(|ms| bucket.take(start + Duration::from_millis(*ms)))
            .count();
        assert_eq!(taken, 11);
    }
}
