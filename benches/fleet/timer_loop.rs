//! The floor: one task with one timer for each job, in memory, nothing else.

use std::sync::Arc;
use std::time::Duration;

use super::firings::Notes;
use super::moment::WallClock;
use super::options::JobArgs;

/// Fires each job once a second, at its own phase, and prints the firings.
pub(crate) async fn fire(args: &JobArgs) {
    let clock = WallClock::watch();
    let notes = Arc::new(Notes::new(clock));
    let begin = clock.whole_second_in(Duration::from_secs(1));
    let seconds = args.seconds;
    let tasks = (0..args.jobs).map(|job| {
        let notes = Arc::clone(&notes);
        let phase = Duration::from_millis(u64::from(job % 1_000));
        tokio::spawn(async move {
            for second in 0..seconds {
                let at = begin.plus(phase + Duration::from_secs(second.into()));
                tokio::time::sleep_until(clock.instant_of(at).into()).await;
                notes.note(job, at);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    notes.print();
}
