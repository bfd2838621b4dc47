//! How a chore works beside the scheduler without delaying it: in small steps, each of which waits
//! until the store has written it, with a pause after each that is many times as long as the step
//! took. When the node is busy a step takes longer, and so the pause does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many times as long as a step its pause is: a chore works an eighth of the time at most.
const PAUSE_FACTOR: u32 = 7;

/// The shortest pause.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pace of one chore.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    stopping: Arc<AtomicBool>,
}

impl Pace {
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
        tokio::time::sleep(pause(begun.elapsed())).await;
        done
    }
}

fn pause(took: Duration) -> Duration {
    (took * PAUSE_FACTOR).clamp(LEAST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_many_times_its_step_within_bounds() {
        assert_eq!(pause(Duration::from_millis(10)), Duration::from_millis(70));
        assert_eq!(pause(Duration::ZERO), LEAST_PAUSE);
        assert_eq!(pause(Duration::from_secs(60)), LONGEST_PAUSE);
    }
}
