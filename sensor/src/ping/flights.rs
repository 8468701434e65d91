//! Requests that may still be answered. Pure: the caller says what time it is.
//!
//! Their sequence numbers follow one another and all have the same time to be answered, so they are a queue whose front
//! is the oldest, and a sequence number is a place in it. Its length is bounded by rate and time.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::echo::Echo;

/// How long an answer may take.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A request under way.
#[derive(Debug)]
struct Flight {
    ip: IpAddr,
    cookie: u64,
    /// Time of day it was sent: the process's own, until the kernel's is known.
    sent_ns: u64,
    is_stamped: bool,
    is_answered: bool,
    until: Instant,
}

/// All requests under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    queue: VecDeque<Flight>,
    /// Sequence number of the front.
    first: u16,
}

impl Flights {
    /// Sequence number of the next request.
    pub(super) fn next_sequence(&self) -> u16 {
        // As many as there are numbers are never under way.
        self.first.wrapping_add(self.queue.len() as u16)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next request was sent to `ip` at this time of day.
    pub(super) fn sent(&mut self, ip: IpAddr, cookie: u64, sent_ns: u64, now: Instant) {
        self.queue.push_back(Flight {
            ip,
            cookie,
            sent_ns,
            is_stamped: false,
            is_answered: false,
            until: now + ANSWER_MAX,
        });
    }

    /// The kernel says when a request left. Only the first time counts: it may pass several interfaces.
    pub(super) fn stamp(&mut self, echo: Echo, sent_ns: u64) {
        if let Some(flight) = self.of(echo)
            && !flight.is_stamped
        {
            flight.sent_ns = sent_ns;
            flight.is_stamped = true;
        }
    }

    /// An answer of `from` that arrived at this time of day: its round trip, or none when it answers nothing.
    pub(super) fn answer(&mut self, from: IpAddr, echo: Echo, received_ns: u64) -> Option<u64> {
        let flight = self.of(echo)?;
        if flight.ip != from || flight.is_answered {
            return None;
        }
        // The time of day may have been set meanwhile.
        let rtt_ns = received_ns.checked_sub(flight.sent_ns)?;
        if u128::from(rtt_ns) > ANSWER_MAX.as_nanos() {
            return None;
        }
        flight.is_answered = true;
        Some(rtt_ns)
    }

    /// Address of a request that was not answered in time. To be called until there is none.
    pub(super) fn take_lost(&mut self, now: Instant) -> Option<IpAddr> {
        while self.queue.front().is_some_and(|flight| flight.until <= now) {
            let flight = self.queue.pop_front()?;
            self.first = self.first.wrapping_add(1);
            if !flight.is_answered {
                return Some(flight.ip);
            }
        }
        None
    }

    fn of(&mut self, echo: Echo) -> Option<&mut Flight> {
        let place = echo.sequence.wrapping_sub(self.first);
        let flight = self.queue.get_mut(usize::from(place))?;
        (flight.cookie == echo.cookie).then_some(flight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn echo(sequence: u16, cookie: u64) -> Echo {
        Echo {
            identifier: 0,
            sequence,
            cookie,
        }
    }

    #[test]
    fn the_round_trip_is_between_the_kernels_times() {
        let (mut flights, now) = (Flights::default(), Instant::now());
        assert_eq!(flights.next_sequence(), 0);
        flights.sent(A, 7, 1000, now);
        assert_eq!(flights.next_sequence(), 1);
        flights.stamp(echo(0, 7), 1500);
        flights.stamp(echo(0, 7), 1700);
        assert_eq!(flights.answer(A, echo(0, 7), 2500), Some(1000));
        assert_eq!(flights.answer(A, echo(0, 7), 2600), None, "a second answer");
        assert_eq!(flights.take_lost(now + ANSWER_MAX), None);
        assert!(flights.is_empty());
    }

    #[test]
    fn without_the_kernels_time_the_own_one_does() {
        let (mut flights, now) = (Flights::default(), Instant::now());
        flights.sent(A, 7, 1000, now);
        assert_eq!(flights.answer(A, echo(0, 7), 2500), Some(1500));
    }

    #[test]
    fn what_answers_nothing() {
        let (mut flights, now) = (Flights::default(), Instant::now());
        flights.sent(A, 7, 5000, now);
        for (from, echo, received_ns, why) in [
            (B, echo(0, 7), 6000, "another machine"),
            (A, echo(0, 8), 6000, "another cookie"),
            (A, echo(1, 7), 6000, "another request"),
            (A, echo(u16::MAX, 7), 6000, "an earlier request"),
            (A, echo(0, 7), 4000, "before the request"),
            (A, echo(0, 7), 2_000_005_001, "too late"),
        ] {
            assert_eq!(flights.answer(from, echo, received_ns), None, "{why}");
        }
        assert_eq!(flights.take_lost(now), None, "there is still time");
        assert_eq!(flights.take_lost(now + ANSWER_MAX), Some(A));
        assert_eq!(flights.answer(A, echo(0, 7), 6000), None, "over");
    }

    proptest! {
        /// Sequence numbers wrap around many times; every request ends as answered or lost, once.
        #[test]
        fn every_request_ends_once(answered in proptest::collection::vec(any::<bool>(), 1..300), start: u16) {
            let now = Instant::now();
            let mut flights = Flights { first: start, ..Flights::default() };
            let mut ends = 0;
            for (index, answered) in answered.iter().enumerate() {
                let at = now + Duration::from_millis(100 * index as u64);
                while flights.take_lost(at).is_some() {
                    ends += 1;
                }
                let (sequence, cookie) = (flights.next_sequence(), index as u64);
                flights.sent(A, cookie, 0, at);
                prop_assert!(flights.queue.len() <= 20);
                if *answered {
                    prop_assert_eq!(flights.answer(A, echo(sequence, cookie), 9), Some(9));
                    ends += 1;
                }
            }
            while flights.take_lost(now + Duration::from_secs(3600)).is_some() {
                ends += 1;
            }
            prop_assert_eq!(ends, answered.len());
            prop_assert_eq!(flights.next_sequence(), start.wrapping_add(answered.len() as u16));
        }
    }
}
