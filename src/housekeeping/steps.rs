//! How a chore works beside the scheduler without delaying it: in small steps, each of which waits
//! until the store has written it, with a pause after each that is many times as long as the step
//! took. When the node is busy a step takes longer, and so the pause does.
//!
//! A chore must keep up all the same, or what it is to bound grows without end: a busy node makes
//! the most work for it. So a round that lasts longer than the time between two of them goes on
//! with shorter pauses, and ever shorter ones, until there are next to none; and it is in a [`Hurry`]:
//! what it reads it reads at the priority of everything else. Even then there is one step at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::node::background::Hurry;

/// How many times as long as a step its pause is at first: a chore works an eighth of the time.
/// With each interval that a round has lasted, it is halved.
const PAUSE_FACTOR: u32 = 7;

/// The shortest pause.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pace of one chore.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    stopping: Arc<AtomicBool>,
    /// The time between two rounds.
    every: Duration,
    /// When the round under way began.
    begun: Instant,
    /// Set when that has lasted longer than the time between two.
    hurry: Hurry,
}

impl Pace {
    /// The pace of a chore of which a round is due in each such interval.
    pub(super) fn new(every: Duration) -> Self {
        let (stopping, hurry) = (Arc::default(), Hurry::default());
        Self { stopping, every, begun: Instant::now(), hurry }
    }

    /// The pace of another chore, which stops with this one.
    pub(super) fn with(&self, every: Duration) -> Self {
        Self { every, hurry: Hurry::default(), ..self.clone() }
    }

    /// The chore's hurry.
    pub(super) fn hurry(&self) -> &Hurry {
        &self.hurry
    }

    /// A round begins.
    pub(super) fn begin(&mut self) {
        self.begun = Instant::now();
    }

    /// No further step is to begin.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether no further step is to begin.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Does a step, and pauses after it.
    pub(super) async fn step<T>(&self, step: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = step.await;
        let lasted = begun.duration_since(self.begun);
        if lasted >= self.every {
            self.hurry.set(true);
        }
        let factor = factor(lasted, self.every);
        tokio::time::sleep(pause(begun.elapsed(), factor)).await;
        done
    }
}

/// How many times as long as a step its pause is, of a round that has lasted so long.
fn factor(lasted: Duration, every: Duration) -> u32 {
    let intervals = lasted.as_nanos().checked_div(every.as_nanos()).unwrap_or_default();
    PAUSE_FACTOR.checked_shr(u32::try_from(intervals).unwrap_or(u32::MAX)).unwrap_or_default()
}

fn pause(took: Duration, factor: u32) -> Duration {
    (took * factor).clamp(LEAST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_many_times_its_step_within_bounds() {
        assert_eq!(pause(Duration::from_millis(10), 7), Duration::from_millis(70));
        assert_eq!(pause(Duration::ZERO, 7), LEAST_PAUSE);
        assert_eq!(pause(Duration::from_millis(10), 0), LEAST_PAUSE);
        assert_eq!(pause(Duration::from_secs(60), 7), LONGEST_PAUSE);
    }

    #[test]
    fn a_round_that_lasts_longer_than_its_interval_pauses_less_and_less() {
        let minute = Duration::from_secs(60);
        let factors = [0, 59, 60, 119, 120, 180, 3_600, 1 << 40]
            .map(|seconds| factor(Duration::from_secs(seconds), minute));
        assert_eq!(factors, [7, 7, 3, 3, 1, 0, 0, 0]);
        assert_eq!(factor(minute, Duration::ZERO), PAUSE_FACTOR);
    }
}
