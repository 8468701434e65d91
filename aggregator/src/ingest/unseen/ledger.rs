//! What is missing between the kernel's count of connects and the sensors'. Pure.
//!
//! A sample is both counts at about the same time; the kernel's minus the sensor's is its gap. The gap grows by what no
//! sensor sees, so the growth from one sensor to the next is what was lost. A gap is also too large by the connects that
//! the sensor had not told of when the sample was taken. It is never too small for that reason, hence the smallest of
//! several samples is the best one.

use std::collections::VecDeque;

/// Samples of each sensor that count: its last ones before it goes, the first ones of the next.
pub(super) const WINDOW: usize = 5;

/// The gap and what has become of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    run_id: Option<u64>,
    /// Gaps of this run's last samples.
    gaps: VecDeque<i64>,
    /// The gap that earlier runs ended with, until the present one has enough samples to compare.
    before: Option<i64>,
    lost: u64,
}

impl Ledger {
    /// Takes totals of the same time: connects that the kernel counted, and those that sensors counted until run `run_id`.
    pub(super) fn sample(&mut self, run_id: u64, opened: u64, seen: u64) {
        if self.run_id.replace(run_id) != Some(run_id) {
            // A run that ended too early to be compared with the one before leaves that one's gap standing.
            self.before = self.before.or(self.smallest());
            self.gaps.clear();
        }
        if self.gaps.len() == WINDOW {
            self.gaps.pop_front();
        }
        self.gaps.push_back(opened.wrapping_sub(seen).cast_signed());
        if self.gaps.len() == WINDOW
            && let Some(before) = self.before.take()
            && let Some(after) = self.smallest()
        {
            // Negative when sensors counted connects of namespaces that were gone before they could be read.
            let grown = after.saturating_sub(before);
            self.lost += u64::try_from(grown).unwrap_or(0);
        }
    }

    /// Connects lost until now; never shrinks.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    fn smallest(&self) -> Option<i64> {
        self.gaps.iter().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(ledger: &mut Ledger, run_id: u64, opened: u64, seen: u64) {
        for _ in 0..WINDOW {
            ledger.sample(run_id, opened, seen);
        }
    }

    #[test]
    fn nothing_is_lost_while_one_sensor_runs() {
        let mut ledger = Ledger::default();
        for connects in 0..20 {
            ledger.sample(1, 1000 + connects, connects);
        }
        assert_eq!(ledger.lost(), 0);
    }

    #[test]
    fn what_grows_between_two_sensors_is_lost() {
        let mut ledger = Ledger::default();
        settle(&mut ledger, 1, 1000, 400);
        // 70 more, of which the next sensor saw 20.
        settle(&mut ledger, 2, 1070, 420);
        assert_eq!(ledger.lost(), 50);
        settle(&mut ledger, 2, 2000, 1350);
        assert_eq!(ledger.lost(), 50);
        settle(&mut ledger, 3, 2010, 1350);
        assert_eq!(ledger.lost(), 60);
    }

    #[test]
    fn it_shows_only_when_there_are_samples_enough() {
        let mut ledger = Ledger::default();
        settle(&mut ledger, 1, 100, 100);
        for _ in 1..WINDOW {
            ledger.sample(2, 130, 100);
            assert_eq!(ledger.lost(), 0);
        }
        ledger.sample(2, 130, 100);
        assert_eq!(ledger.lost(), 30);
    }

    #[test]
    fn connects_on_their_way_from_the_sensor_are_not_lost() {
        let mut ledger = Ledger::default();
        for late in [9, 4, 0, 7, 3] {
            ledger.sample(1, 500 + late, 500);
        }
        for late in [8, 12, 0, 2, 5] {
            ledger.sample(2, 540 + late, 500);
        }
        assert_eq!(ledger.lost(), 40);
    }

    #[test]
    fn a_sensor_that_dies_at_once_leaves_nothing_out() {
        let mut ledger = Ledger::default();
        settle(&mut ledger, 1, 100, 100);
        ledger.sample(2, 150, 110);
        settle(&mut ledger, 3, 200, 130);
        assert_eq!(ledger.lost(), 70);
    }

    #[test]
    fn a_gap_that_shrinks_is_no_loss() {
        let mut ledger = Ledger::default();
        settle(&mut ledger, 1, 1000, 0);
        settle(&mut ledger, 2, 1000, 10);
        assert_eq!(ledger.lost(), 0);
        settle(&mut ledger, 3, 1005, 10);
        assert_eq!(ledger.lost(), 5);
    }
}
