//! The same jobs by `tokio-cron-scheduler`, as a service would that embeds it.
//!
//! It knows whole seconds only, so all jobs are due at once, and its channel gets room for all of
//! them: by default it holds 200, and more firings than that at once are lost. A handler is not
//! told which firing it is: it counts as the one of the second that it came in.

use std::sync::Arc;
use std::time::Duration;

use fleetcron::Timestamp;
use tokio_cron_scheduler::{Job, JobScheduler};

use super::firings::Notes;
use super::moment::WallClock;
use super::options::JobArgs;

/// Room for each firing of a second several times over.
const ROOM_FOR_EACH: usize = 8;

/// Fires each job at each second, and prints the firings of as many whole seconds as asked for.
pub(crate) async fn fire(args: &JobArgs) {
    let clock = WallClock::watch();
    let notes = Arc::new(Notes::new(clock));
    let (begin, end) = window(args, clock);
    let room = args.jobs as usize * ROOM_FOR_EACH;
    let scheduler = JobScheduler::new_with_channel_size(room).await.unwrap();
    for job in 0..args.jobs {
        let notes = Arc::clone(&notes);
        let handler = move |_, _| {
            let second = Timestamp::from_millis(clock.micros() / 1_000_000 * 1_000);
            if (begin..end).contains(&second) {
                notes.note(job, second);
            }
            Box::pin(std::future::ready(())) as _
        };
        scheduler.add(Job::new_async("* * * * * *", handler).unwrap()).await.unwrap();
    }
    scheduler.start().await.unwrap();
    assert!(clock.later_than(begin) < 0, "the jobs are added in time");
    // The last firings are late by less than this, or count as missing.
    tokio::time::sleep_until((clock.instant_of(end) + Duration::from_secs(1)).into()).await;
    notes.print();
}

/// The seconds that count: from the first one by which all jobs are there.
fn window(args: &JobArgs, clock: WallClock) -> (Timestamp, Timestamp) {
    // A job is added in a few milliseconds.
    let adding = Duration::from_millis(5) * args.jobs + Duration::from_secs(2);
    let begin = clock.whole_second_in(adding);
    (begin, begin.plus(Duration::from_secs(args.seconds.into())))
}
