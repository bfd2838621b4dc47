//! Token buckets: how much may happen now, and when more may. Pure: time is a parameter, told as
//! the time since a beginning of the caller's choice.
//!
//! Promises: within any span, no more is let through than the burst and the rate times the span;
//! time that goes back is taken as none passing. Imports nothing of fleetcron.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one token is counted in: a rate of one token a second fills one of these a nanosecond.
const TOKEN: u64 = 1_000_000_000;

/// How much is let through: so many in a second, and so many at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    per_second: u32,
    burst: u32,
}

/// A rate that is not between 1 and [`Rate::MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {value} is not valid: it is between 1 and {}", Rate::MOST)]
pub struct InvalidRate {
    what: &'static str,
    value: u32,
}

impl Rate {
    /// The highest rate and the largest burst.
    pub const MOST: u32 = 1_000_000;

    /// A rate in tokens a second, and how many may go at once. Both are between 1 and
    /// [`Rate::MOST`].
    pub const fn new(per_second: u32, burst: u32) -> Result<Self, InvalidRate> {
        if per_second == 0 || per_second > Self::MOST {
            return Err(InvalidRate { what: "a rate a second", value: per_second });
        }
        if burst == 0 || burst > Self::MOST {
            return Err(InvalidRate { what: "a burst", value: burst });
        }
        Ok(Self { per_second, burst })
    }

    /// A rate whose burst is what a tenth of a second brings, 1 at least.
    pub const fn smooth(per_second: u32) -> Result<Self, InvalidRate> {
        let burst = if per_second < 10 { 1 } else { per_second / 10 };
        Self::new(per_second, burst)
    }

    /// Tokens a second.
    #[must_use]
    pub const fn per_second(self) -> u32 {
        self.per_second
    }

    /// Tokens at once.
    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// How long so many tokens take to come, rounded up.
    #[must_use]
    pub const fn time_for(self, tokens: u32) -> Duration {
        let nanos = (tokens as u64 * TOKEN).div_ceil(self.per_second as u64);
        Duration::from_nanos(nanos)
    }
}

/// A bucket that fills at a rate up to its burst, and is emptied token by token.
///
/// ```
/// use std::time::Duration;
/// use fleetcron::bucket::{Bucket, Rate};
///
/// let mut bucket = Bucket::full(Rate::new(10, 2)?, Duration::ZERO);
/// assert!(bucket.take(Duration::ZERO) && bucket.take(Duration::ZERO));
/// assert!(!bucket.take(Duration::from_millis(99)));
/// assert_eq!(bucket.ready_at(1), Duration::from_millis(100));
/// assert!(bucket.take(Duration::from_millis(100)));
/// # Ok::<(), fleetcron::bucket::InvalidRate>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    /// In parts of [`TOKEN`].
    level: u64,
    /// The time of `level`.
    at: Duration,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn full(rate: Rate, now: Duration) -> Self {
        Self { rate, level: u64::from(rate.burst) * TOKEN, at: now }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Duration) -> bool {
        self.fill(now);
        let there = self.level >= TOKEN;
        if there {
            self.level -= TOKEN;
        }
        there
    }

    /// When there are so many tokens, or the whole burst if that is less, if none is taken before;
    /// a time that may have passed.
    #[must_use]
    pub fn ready_at(&self, tokens: u32) -> Duration {
        let wanted = u64::from(tokens.min(self.rate.burst)) * TOKEN;
        let lacking = wanted.saturating_sub(self.level);
        let nanos = lacking.div_ceil(u64::from(self.rate.per_second));
        self.at.saturating_add(Duration::from_nanos(nanos))
    }

    /// Its rate.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    fn fill(&mut self, now: Duration) {
        let Some(passed) = now.checked_sub(self.at) else { return };
        let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let come = passed.saturating_mul(u64::from(self.rate.per_second));
        let full = u64::from(self.rate.burst) * TOKEN;
        self.level = self.level.saturating_add(come).min(full);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_outside_their_range_are_refused_by_name() {
        let told = |per_second, burst| Rate::new(per_second, burst).map_err(|e| e.to_string());
        let range = "is not valid: it is between 1 and 1000000";
        assert_eq!(told(0, 1), Err(format!("a rate a second of 0 {range}")));
        assert_eq!(told(1_000_001, 1), Err(format!("a rate a second of 1000001 {range}")));
        assert_eq!(told(1, 0), Err(format!("a burst of 0 {range}")));
        assert!(told(Rate::MOST, Rate::MOST).is_ok());
        assert_eq!(Rate::smooth(7).map(Rate::burst), Ok(1));
        assert_eq!(Rate::smooth(20_000).map(Rate::burst), Ok(2_000));
    }

    proptest! {
        #[test]
        fn no_span_lets_more_through_than_its_rate_and_a_burst(
            per_second in 1_u32..5_000, burst in 1_u32..50,
            steps in proptest::collection::vec((0_u64..50_000_000, 1_usize..40), 1..20),
        ) {
            let rate = Rate::new(per_second, burst).unwrap();
            let mut bucket = Bucket::full(rate, Duration::ZERO);
            let (mut now, mut taken) = (Duration::ZERO, Vec::new());
            for (nanos, tries) in steps {
                now += Duration::from_nanos(nanos);
                taken.extend((0..tries).filter(|_| bucket.take(now)).map(|_| now));
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, until) in taken.iter().enumerate().skip(first) {
                    let span = until.saturating_sub(*from).as_nanos();
                    let most = u128::from(burst) + span * u128::from(per_second) / 1_000_000_000;
                    prop_assert!((last - first + 1) as u128 <= most);
                }
            }
        }

        #[test]
        fn the_token_is_there_when_it_is_said_to_be_and_not_before(
            per_second in 1_u32..=Rate::MOST, burst in 1_u32..100, taken in 1_usize..200,
            wanted in 1_u32..100,
        ) {
            let rate = Rate::new(per_second, burst).unwrap();
            let mut bucket = Bucket::full(rate, Duration::from_secs(5));
            for _ in 0..taken {
                bucket.take(Duration::from_secs(5));
            }
            let ready = bucket.ready_at(wanted);
            let there = |at: Duration| {
                let mut bucket = bucket.clone();
                std::iter::repeat_with(|| bucket.take(at)).take_while(|there| *there).count()
            };
            let wanted = wanted.min(burst) as usize;
            prop_assert!(there(ready) >= wanted);
            if ready > Duration::from_secs(5) {
                prop_assert!(there(ready.saturating_sub(Duration::from_nanos(1))) < wanted);
            }
        }

        #[test]
        fn time_that_goes_back_brings_nothing(back in 0_u64..10_000) {
            let rate = Rate::new(1_000, 3).unwrap();
            let mut bucket = Bucket::full(rate, Duration::from_secs(20));
            let passed = std::iter::repeat_with(|| bucket.take(Duration::from_secs(20)));
            prop_assert_eq!(passed.take_while(|there| *there).count(), 3);
            prop_assert!(!bucket.take(Duration::from_millis(back)));
            prop_assert!(!bucket.take(Duration::from_secs(20)));
        }
    }
}
