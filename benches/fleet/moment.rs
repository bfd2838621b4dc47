//! The wall clock in microseconds: the library's clock tells milliseconds, which is too coarse to
//! measure how late a timer is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleetcron::Timestamp;

/// The wall clock, watched since a moment: on some machines it is set while a benchmark runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    since_micros: i64,
    since: Instant,
}

#[expect(
    clippy::unused_self,
    reason = "whoever has the clock may read it; the system has the reading"
)]
impl WallClock {
    pub(crate) fn watch() -> Self {
        Self { since_micros: micros(), since: Instant::now() }
    }

    /// Microseconds since 1970.
    pub(crate) fn micros(self) -> i64 {
        micros()
    }

    /// How far it has gone from where it would be by the monotonic clock, in microseconds.
    pub(crate) fn drift_micros(self) -> i64 {
        let passed = i64::try_from(self.since.elapsed().as_micros()).unwrap();
        micros() - self.since_micros - passed
    }

    /// How much later than a moment it is, in microseconds; before it: negative.
    pub(crate) fn later_than(self, moment: Timestamp) -> i64 {
        micros() - moment.millis() * 1_000
    }

    /// The monotonic time of a moment, as far as it is to come: as things stand now.
    pub(crate) fn instant_of(self, moment: Timestamp) -> Instant {
        let to_come = u64::try_from(-self.later_than(moment)).unwrap_or(0);
        Instant::now() + Duration::from_micros(to_come)
    }

    /// The first whole second that is at least so far away.
    pub(crate) fn whole_second_in(self, least: Duration) -> Timestamp {
        let micros = micros() + i64::try_from(least.as_micros()).unwrap();
        Timestamp::from_millis((micros / 1_000_000 + 1) * 1_000)
    }
}

#[expect(clippy::disallowed_methods, reason = "the library's clock tells milliseconds only")]
fn micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_micros()).unwrap()
}
