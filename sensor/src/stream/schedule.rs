//! When the stream does what it does by the clock.

use std::time::{Duration, Instant};

/// Something done every so often.
#[derive(Debug)]
pub struct Every {
    interval: Duration,
    next: Instant,
}

impl Every {
    /// First due one interval after `now`.
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            next: now + interval,
        }
    }

    /// Whether it is time; then the next time is an interval from now. Missed times are not made up for.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + self.interval;
        }
        due
    }

    /// When it is due.
    pub fn next(&self) -> Instant {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_once_an_interval() {
        let start = Instant::now();
        let mut every = Every::new(Duration::from_secs(1), start);
        let at = |millis| start + Duration::from_millis(millis);
        let due: Vec<u64> = (0..40)
            .map(|tick| tick * 100)
            .filter(|ms| every.is_due(at(*ms)))
            .collect();
        assert_eq!(due, [1000, 2000, 3000]);
        assert!(every.is_due(at(60_000)));
        assert!(!every.is_due(at(60_999)));
        assert_eq!(every.next(), at(61_000));
    }
}
