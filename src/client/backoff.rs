//! How long to stay away before the next attempt. Pure: its randomness is a seed.

use std::time::Duration;

/// Exponential backoff with full jitter.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    attempt: u32,
    random: u64,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max: max.max(min), attempt: 0, random: seed }
    }

    /// After a failure: anything from nothing to a ceiling that doubles up to the maximum.
    pub(super) fn next(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        let ceiling = self.min.saturating_mul(factor).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        self.jitter(ceiling)
    }

    /// After a refusal that repeating will hardly change: the upper half of the maximum.
    pub(super) fn slowest(&mut self) -> Duration {
        self.max / 2 + self.jitter(self.max / 2)
    }

    /// When the server said how long: that long at least, and up to half more, so that a fleet
    /// that was told the same does not come back in one moment.
    pub(super) fn told(&mut self, after: Duration) -> Duration {
        after.saturating_add(self.jitter(after / 2))
    }

    /// After a connection that lasted.
    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// `SplitMix64` (Steele, Lea, Flood 2014): small, and good enough to spread clients.
    fn jitter(&mut self, most: Duration) -> Duration {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(z % most.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn the_ceiling_doubles_to_the_maximum_and_a_reset_begins_anew() {
        let mut longest = [Duration::ZERO; 12];
        for seed in 0..500 {
            let mut backoff = Backoff::new(MIN, MAX, seed);
            for (attempt, longest) in longest.iter_mut().enumerate() {
                let pause = backoff.next();
                assert!(pause <= MAX.min(MIN * (1 << attempt)));
                *longest = pause.max(*longest);
            }
            backoff.reset();
            assert!(backoff.next() <= MIN);
        }
        // Full jitter uses the whole range: of 500 seeds one comes near each ceiling.
        assert!(longest[0] > MIN * 9 / 10);
        assert!(longest[11] > MAX * 9 / 10);
    }

    #[test]
    fn a_seed_given_again_gives_the_same_pauses() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(MIN, MAX, seed);
            (0..9).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(3), pauses(3));
        assert_ne!(pauses(3), pauses(4));
    }

    #[test]
    fn a_told_pause_is_kept_and_a_refusal_waits_long() {
        let mut backoff = Backoff::new(MIN, MAX, 1);
        for _ in 0..100 {
            let told = backoff.told(Duration::from_secs(4));
            assert!((Duration::from_secs(4)..=Duration::from_secs(6)).contains(&told));
            assert!((MAX / 2..=MAX).contains(&backoff.slowest()));
        }
        for _ in 0..100 {
            assert!(backoff.next() <= MAX, "many attempts do not overflow");
        }
    }
}
