//! The wall clock in microseconds: the library's clock tells milliseconds, which is too coarse to
//! measure how late a timer is.

use std::time::{Duration, Instant};

use fleetcron::Timestamp;
use fleetcron::time::{Clock as _, SystemClock};

/// A moment at which the wall clock went to its next millisecond, and the monotonic time of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anchor {
    wall: Timestamp,
    instant: Instant,
}

impl Anchor {
    /// Waits, awake, for the next millisecond to begin. If this was interrupted, what is measured
    /// by it looks earlier than it was, so the best of a few is taken.
    pub(crate) fn set() -> Self {
        let turns = (0..20).map(|_| Self::next_turn());
        // The one with the least monotonic time for its wall time saw its turn soonest.
        let first = Self::next_turn();
        turns.fold(first, |best, one| {
            let wall = one.wall.since(best.wall);
            if one.instant - best.instant < wall { one } else { best }
        })
    }

    fn next_turn() -> Self {
        let before = SystemClock.now();
        loop {
            let (instant, wall) = (Instant::now(), SystemClock.now());
            if wall != before {
                return Self { wall, instant };
            }
            std::hint::spin_loop();
        }
    }

    /// Microseconds since 1970.
    pub(crate) fn micros(&self) -> i64 {
        let passed = i64::try_from(self.instant.elapsed().as_micros()).unwrap();
        self.wall.millis() * 1_000 + passed
    }

    /// How much later than a moment it is, in microseconds; before it: negative.
    pub(crate) fn later_than(&self, moment: Timestamp) -> i64 {
        self.micros() - moment.millis() * 1_000
    }

    /// The monotonic time of a moment that is to come.
    pub(crate) fn instant_of(&self, moment: Timestamp) -> Instant {
        self.instant + moment.since(self.wall)
    }

    /// The first whole second that is at least so far away.
    pub(crate) fn whole_second_in(&self, least: Duration) -> Timestamp {
        let micros = self.micros() + i64::try_from(least.as_micros()).unwrap();
        Timestamp::from_millis((micros / 1_000_000 + 1) * 1_000)
    }
}
