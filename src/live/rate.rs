//! A limit to how much may pass in a time. Pure: the time is given.

use std::time::{Duration, Instant};

/// Lets so much pass in a second on average, and after a rest a second's worth at once.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    /// When all that has passed would have passed evenly.
    even: Option<Instant>,
}

/// How far what passes may be ahead of an even flow.
const AHEAD: Duration = Duration::from_secs(1);

impl Rate {
    /// At most `per_second` units a second, at least one.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second.max(1)), even: None }
    }

    /// Lets `units` pass, or not: then nothing is taken. A large piece passes whole, and those
    /// after it wait the longer.
    pub(crate) fn take(&mut self, now: Instant, units: usize) -> bool {
        if self.ready_at().is_some_and(|at| at > now) {
            return false;
        }
        #[expect(clippy::cast_precision_loss, reason = "pieces are far below 2^52 units")]
        let cost = Duration::from_secs_f64(units as f64 / self.per_second);
        self.even = Some(self.even.map_or(now, |even| even.max(now)) + cost);
        true
    }

    /// From when on something may pass; `None`: at any time.
    pub(crate) fn ready_at(&self) -> Option<Instant> {
        self.even.and_then(|even| even.checked_sub(AHEAD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_worth_passes_at_once_and_then_an_even_flow() {
        let (mut rate, start) = (Rate::new(10), Instant::now());
        let mut passed = |at: u64| {
            let at = start + Duration::from_millis(at);
            (0..100).filter(|_| rate.take(at, 1)).count()
        };
        assert_eq!(passed(0), 11);
        assert_eq!(passed(50), 0);
        assert_eq!(passed(1_000), 10);
        assert_eq!(passed(60_000), 11, "a rest is worth no more than a second");
    }

    #[test]
    fn a_large_piece_passes_and_is_paid_for_later() {
        let (mut rate, start) = (Rate::new(10), Instant::now());
        assert!(rate.take(start, 50));
        assert_eq!(rate.ready_at(), Some(start + Duration::from_secs(4)));
        assert!(!rate.take(start + Duration::from_millis(3_999), 1));
        assert!(rate.take(start + Duration::from_secs(4), 1));
    }
}
