//! When each target is sent a request. Pure: the caller says what time it is.
//!
//! Time goes in rounds, and each target has its place in the round, made from its address with a key of this run. So
//! requests are spread over time, no target is asked more than once a round however often the set is replaced, and
//! nobody can choose addresses that fall together. A round is as long as the interval, or longer where the node's rate
//! would not do for all targets.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nodescope_schema::Ping;

use crate::rate::TokenBucket;

/// Requests sent a second, to all targets.
pub(super) const REQUESTS_PER_SECOND: u32 = 250;
/// Requests sent at once.
const BURST: u32 = 64;
/// How late a request may be: what the loop was kept from for longer is left out.
const LATE_MAX: Duration = Duration::from_secs(1);
/// Positions are rounds in the upper half and a place in the round in the lower.
const ROUND: u64 = 1 << 32;

/// A target and what came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// Its totals.
    pub ping: Ping,
    /// Whether they changed since they were last told.
    pub changed: bool,
}

/// All targets by their place in the round.
#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    /// The interval, or what the rate allows.
    round: Duration,
    keys: RandomState,
    targets: BTreeMap<u32, Target>,
    places: HashMap<IpAddr, u32>,
    bucket: TokenBucket,
    /// A time and the position at it: others are counted from there.
    base: (Instant, u64),
    /// Everything before it has been sent or left out.
    position: u64,
}

impl Schedule {
    /// Without targets; each will be asked once an interval.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            round: interval,
            keys: RandomState::new(),
            targets: BTreeMap::new(),
            places: HashMap::new(),
            bucket: TokenBucket::new(REQUESTS_PER_SECOND, BURST, now),
            base: (now, 0),
            position: 0,
        }
    }

    /// Replaces the set. Totals of those that stay go on.
    pub(super) fn set(&mut self, wanted: &[IpAddr], now: Instant, now_ns: u64) {
        let mut old = std::mem::take(&mut self.targets);
        let places = std::mem::take(&mut self.places);
        for ip in wanted {
            let known = places.get(ip).and_then(|place| old.remove(place));
            self.add(*ip, known.unwrap_or_else(|| Target::new(*ip, now_ns)));
        }
        let position = self.position_at(now);
        self.base = (now, position);
        let count = u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
        self.round = self
            .interval
            .max(Duration::from_secs(1) * count / REQUESTS_PER_SECOND);
    }

    /// Keeps only what `keep` says yes to.
    pub(super) fn retain(&mut self, keep: impl Fn(&IpAddr) -> bool) {
        let targets = &mut self.targets;
        self.places.retain(|ip, place| {
            let kept = keep(ip);
            if !kept {
                targets.remove(place);
            }
            kept
        });
    }

    fn add(&mut self, ip: IpAddr, target: Target) {
        if self.places.contains_key(&ip) {
            return;
        }
        // The upper half of the hash; the next place where two fall together.
        let mut place = (self.keys.hash_one(ip) >> 32) as u32;
        while self.targets.contains_key(&place) {
            place = place.wrapping_add(1);
        }
        self.places.insert(ip, place);
        self.targets.insert(place, target);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    pub(super) fn get_mut(&mut self, ip: &IpAddr) -> Option<&mut Target> {
        self.targets.get_mut(self.places.get(ip)?)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        self.targets.values_mut()
    }

    /// Addresses of all targets.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &IpAddr> {
        self.places.keys()
    }

    /// When the next request is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<Instant> {
        let (position, _) = self.following(self.position)?;
        let (time, base) = self.base;
        let nanos = u128::from(position.saturating_sub(base)) * self.round.as_nanos();
        let due = time + Duration::from_nanos(u64::try_from(nanos / u128::from(ROUND)).ok()?);
        Some(due.max(now + self.bucket.wait(now)))
    }

    /// The next target that is due, if there is one and the rate allows it; then it is due a round later.
    pub(super) fn take(&mut self, now: Instant) -> Option<IpAddr> {
        let goal = self.position_at(now);
        let late = ROUND as u128 * LATE_MAX.as_nanos() / self.round.as_nanos().max(1);
        let late = u64::try_from(late).unwrap_or(ROUND).min(ROUND);
        self.position = self.position.max(goal.saturating_sub(late));
        let (position, ip) = self.following(self.position)?;
        // A time rounded down to a position must not be too early for it.
        if position > goal || !self.bucket.take(now) {
            return None;
        }
        self.position = position + 1;
        Some(ip)
    }

    /// The first target at or after a position.
    fn following(&self, position: u64) -> Option<(u64, IpAddr)> {
        let (round, place) = (position & !(ROUND - 1), position as u32);
        let here = self
            .targets
            .range(place..)
            .next()
            .map(|found| (round, found));
        let next = self.targets.first_key_value();
        let (round, (place, target)) = here.or_else(|| Some((round + ROUND, next?)))?;
        Some((round + u64::from(*place), target.address()))
    }

    fn position_at(&self, now: Instant) -> u64 {
        let (time, base) = self.base;
        let passed = now.saturating_duration_since(time).as_nanos();
        let positions = passed * u128::from(ROUND) / self.round.as_nanos().max(1);
        base.saturating_add(u64::try_from(positions).unwrap_or(u64::MAX))
    }
}

impl Target {
    fn new(ip: IpAddr, now_ns: u64) -> Self {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self {
            ping: Ping {
                ip,
                generation: now_ns,
                sent: 0,
                answered: 0,
                lost: 0,
                rtt_ns: 0,
                answered_ns: 0,
            },
            changed: false,
        }
    }

    /// A request was sent.
    pub(super) fn sent(&mut self) {
        self.ping.sent += 1;
        self.changed = true;
    }

    /// One was answered.
    pub(super) fn answered(&mut self, rtt_ns: u64, now_ns: u64) {
        self.ping.answered += 1;
        self.ping.rtt_ns = rtt_ns;
        self.ping.answered_ns = now_ns;
        self.changed = true;
    }

    /// One was not answered in time.
    pub(super) fn lost(&mut self) {
        self.ping.lost += 1;
        self.changed = true;
    }

    fn address(&self) -> IpAddr {
        IpAddr::V6(self.ping.ip).to_canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn ips(count: u32) -> Vec<IpAddr> {
        let first = u32::from_be_bytes([10, 0, 0, 1]);
        (first..first + count)
            .map(|ip| IpAddr::from(ip.to_be_bytes()))
            .collect()
    }

    /// What is asked from `start` on, in steps, with the step it was asked in.
    fn run(
        schedule: &mut Schedule,
        start: Instant,
        step: Duration,
        steps: u32,
    ) -> Vec<(u32, IpAddr)> {
        let mut asked = Vec::new();
        for index in 0..steps {
            while let Some(ip) = schedule.take(start + step * index) {
                asked.push((index, ip));
            }
        }
        asked
    }

    #[test]
    fn each_once_a_round_spread_over_it() {
        let start = Instant::now();
        let mut schedule = Schedule::new(INTERVAL, start);
        schedule.set(&ips(1000), start, 1);
        let asked = run(&mut schedule, start, Duration::from_millis(100), 301);
        let mut counts: HashMap<IpAddr, u32> = HashMap::new();
        for (_, ip) in &asked {
            *counts.entry(*ip).or_default() += 1;
        }
        assert_eq!(counts.len(), 1000);
        assert!(counts.values().all(|count| *count == 3), "{counts:?}");
        for step in 0..100 {
            let of_step = asked.iter().filter(|(index, _)| *index == step).count();
            assert!(of_step <= 40, "{of_step} in step {step}");
        }
    }

    #[test]
    fn replacing_the_set_asks_nobody_more_often() {
        let start = Instant::now();
        let mut schedule = Schedule::new(INTERVAL, start);
        let mut asked = Vec::new();
        for step in 0..600 {
            let now = start + Duration::from_millis(100) * step;
            // Taken out and put in again, over and over.
            schedule.set(&ips(if step % 2 == 0 { 50 } else { 0 }), now, 1);
            while let Some(ip) = schedule.take(now) {
                asked.push((step, ip));
            }
        }
        assert!(!asked.is_empty());
        for ip in ips(50) {
            let times: Vec<u32> = asked
                .iter()
                .filter(|row| row.1 == ip)
                .map(|row| row.0)
                .collect();
            assert!(
                times.windows(2).all(|pair| pair[1] - pair[0] >= 99),
                "{times:?}"
            );
        }
    }

    #[test]
    fn the_rate_of_the_node_holds_and_all_have_their_turn() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Duration::from_secs(1), start);
        let count = 2000;
        schedule.set(&ips(count), start, 1);
        let asked = run(&mut schedule, start, Duration::from_millis(50), 20 * 16);
        for second in 0..16 {
            let steps = second * 20..(second + 1) * 20;
            let of_second = asked
                .iter()
                .filter(|(index, _)| steps.contains(index))
                .count();
            assert!(
                of_second <= (REQUESTS_PER_SECOND + BURST) as usize,
                "{of_second}"
            );
        }
        let different: std::collections::HashSet<_> = asked.iter().map(|(_, ip)| ip).collect();
        assert_eq!(different.len(), count as usize);
    }

    #[test]
    fn after_a_long_pause_little_is_made_up_for() {
        let start = Instant::now();
        let mut schedule = Schedule::new(INTERVAL, start);
        schedule.set(&ips(500), start, 1);
        let later = start + Duration::from_secs(3600);
        let asked = run(&mut schedule, later, Duration::from_millis(1), 1);
        assert!(
            !asked.is_empty() && asked.len() <= BURST as usize,
            "{}",
            asked.len()
        );
    }

    #[test]
    fn next_is_when_there_is_something_to_take() {
        let start = Instant::now();
        let mut schedule = Schedule::new(INTERVAL, start);
        assert_eq!(schedule.next(start), None);
        schedule.set(&ips(20), start, 1);
        let mut now = start;
        for _ in 0..100 {
            let due = schedule.next(now).unwrap();
            assert!(due <= now + INTERVAL);
            assert!(now == due || schedule.take(due - Duration::from_nanos(10)).is_none());
            // A place is 2.3 ns of ten seconds.
            now = due + Duration::from_nanos(3);
            assert!(schedule.take(now).is_some());
        }
    }

    #[test]
    fn totals_of_those_that_stay_go_on() {
        let start = Instant::now();
        let mut schedule = Schedule::new(INTERVAL, start);
        let all = ips(3);
        schedule.set(&all, start, 1);
        schedule.get_mut(&all[1]).unwrap().ping.sent = 7;
        schedule.set(&[all[1], all[2], all[1]], start, 2);
        assert_eq!(schedule.get_mut(&all[1]).unwrap().ping.sent, 7);
        assert_eq!(schedule.get_mut(&all[2]).unwrap().ping.generation, 1);
        assert!(schedule.get_mut(&all[0]).is_none());
        schedule.retain(|ip| *ip == all[2]);
        assert_eq!(schedule.iter_mut().count(), 1);
        assert_eq!(schedule.addresses().count(), 1);
    }

    proptest! {
        #[test]
        fn nobody_twice_within_an_interval(
            counts in proptest::collection::vec((0..300_u32, 1..2000_u64), 1..40),
        ) {
            let start = Instant::now();
            let mut schedule = Schedule::new(INTERVAL, start);
            let mut last: HashMap<IpAddr, Instant> = HashMap::new();
            let mut now = start;
            for (count, millis) in counts {
                now += Duration::from_millis(millis);
                schedule.set(&ips(count), now, 1);
                while let Some(ip) = schedule.take(now) {
                    if let Some(before) = last.insert(ip, now) {
                        // It may have been late the last time.
                        prop_assert!(now - before >= INTERVAL - LATE_MAX * 2, "{:?}", now - before);
                    }
                }
            }
        }
    }
}
