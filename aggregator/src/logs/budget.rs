//! How many bytes may be read: a bucket that fills at a rate and holds what comes in in one second.

/// A budget of bytes. Pure: the caller says what time it is.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    per_second: u64,
    left: u64,
    filled_ms: u64,
}

impl ByteBudget {
    /// A full bucket.
    pub fn new(per_second: u64, now_ms: u64) -> Self {
        Self {
            per_second,
            left: per_second,
            filled_ms: now_ms,
        }
    }

    /// Bytes that may be read now.
    pub fn left(&mut self, now_ms: u64) -> u64 {
        let passed = now_ms.saturating_sub(self.filled_ms).min(1000);
        self.left = self
            .per_second
            .min(self.left + self.per_second.saturating_mul(passed) / 1000);
        self.filled_ms = now_ms;
        self.left
    }

    /// Bytes that were taken are not used.
    pub fn give_back(&mut self, bytes: u64) {
        self.left = self.per_second.min(self.left + bytes);
    }

    /// Bytes were read.
    pub fn take(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_at_its_rate_up_to_a_second() {
        let mut budget = ByteBudget::new(1000, 5);
        budget.take(900);
        assert_eq!(budget.left(5), 100);
        assert_eq!(budget.left(305), 400);
        assert_eq!(budget.left(1_000_000), 1000);
        budget.take(5000);
        assert_eq!(budget.left(1_000_000), 0);
    }
}
