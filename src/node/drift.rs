//! Whether somebody has set the clock: wall clock against monotonic clock.
//!
//! Pure: both times are given. Imports `time`.

use std::time::{Duration, Instant};

use crate::time::Timestamp;

/// The least difference that counts as a jump; a clock that is only adjusted stays below it.
pub(super) const JUMP: Duration = Duration::from_secs(5);

/// The two clocks as they were looked at last.
pub(super) struct Drift {
    wall: Timestamp,
    steady: Instant,
}

impl Drift {
    pub(super) fn new(wall: Timestamp, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// By how many milliseconds the wall clock has jumped since the last look, if it has: forward
    /// above zero, back below.
    pub(super) fn look(&mut self, wall: Timestamp, steady: Instant) -> Option<i64> {
        let passed = steady.saturating_duration_since(self.steady).as_millis();
        let told = i128::from(wall.millis()) - i128::from(self.wall.millis());
        (self.wall, self.steady) = (wall, steady);
        let jump = told - i128::try_from(passed).unwrap_or(i128::MAX);
        let clamped = i64::try_from(jump).unwrap_or(if jump < 0 { i64::MIN } else { i64::MAX });
        (jump.unsigned_abs() > JUMP.as_millis()).then_some(clamped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_steady_clock_does_not_tell_is_a_jump() {
        let at = Timestamp::from_millis;
        let begun = Instant::now();
        let after = |millis| begun + Duration::from_millis(millis);
        let mut drift = Drift::new(at(0), begun);
        assert_eq!(drift.look(at(60_000), after(60_000)), None, "a long sleep");
        assert_eq!(drift.look(at(66_000), after(61_000)), None, "5 s are none yet");
        assert_eq!(drift.look(at(72_001), after(62_000)), Some(5_001));
        assert_eq!(drift.look(at(73_001), after(63_000)), None, "it is told once");
        assert_eq!(drift.look(at(1_001), after(64_000)), Some(-73_000));
        assert_eq!(drift.look(Timestamp::MIN, after(64_000)), Some(i64::MIN));
    }
}
