//! The server's own chores: retention, statistics and the index of the ledger, run by `tokio-cron-scheduler`.
//!
//! Promises: a chore that fails is logged and tried again at its next time; it never stops the
//! node; it works in small steps with pauses, reads in a thread of low priority, and waits a while
//! for the end of a burst, so that no firing waits for it, and all of that only for as long as it keeps
//! up: what is late bounds nothing. One round of a chore begins when the round before it has ended.
//! `tokio-cron-scheduler` serves tens of chores well, and is not the fleet's timer: it looks every
//! half second, at every job. May import `node` and what that may import.

mod book;
mod index;
mod quiet;
mod retention;
mod statistics;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, TryFutureExt as _};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::actor::Actor;
use crate::node::background::Hurry;
use crate::node::{CallError, Handle};
use crate::time::{Clock, SystemClock};

use quiet::{PATIENCE, Quiet};
pub use retention::Limits;
use retention::Retention;
use statistics::Counting;
use steps::Pace;

/// What to keep and how often to look.
#[derive(Debug, Clone)]
pub struct Chores {
    /// What of the history is kept.
    pub limits: Limits,
    /// The time between two rounds of retention. Default 1 minute.
    pub retention_every: Duration,
    /// The time between two looks at what is to be counted into the statistics. Default 10
    /// seconds.
    pub count_every: Duration,
    /// The time between two lines of statistics in the log. Default 1 minute.
    pub statistics_every: Duration,
    /// The time between two looks for parts of the ledger that can be indexed. Default 10
    /// seconds.
    pub index_every: Duration,
}

impl Default for Chores {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        let limits = Limits::default();
        let (count_every, index_every) = (Duration::from_secs(10), Duration::from_secs(10));
        let (retention_every, statistics_every) = (minute, minute);
        Self { limits, retention_every, count_every, statistics_every, index_every }
    }
}

/// The chores at work; they end with [`Housekeeping::stop`].
pub struct Housekeeping {
    scheduler: JobScheduler,
    pace: Pace,
}

impl std::fmt::Debug for Housekeeping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Housekeeping").finish_non_exhaustive()
    }
}

impl Housekeeping {
    /// Starts the chores, by the machine's clock.
    pub async fn start(handle: &Handle, chores: &Chores) -> Result<Self, JobSchedulerError> {
        Self::start_with_clock(handle, chores, Arc::new(SystemClock)).await
    }

    /// Starts the chores, by the clock that the node goes by.
    pub async fn start_with_clock(
        handle: &Handle,
        chores: &Chores,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let handle = &handle.with_actor(Actor::Chores);
        let pace = Pace::new(chores.retention_every);
        // If it is not known how many there have been, the first look finds no burst.
        let (begun, events) = (Instant::now(), handle.events_so_far().await.unwrap_or(u64::MAX));
        let patience = |patience, hurry: &Hurry| Patience {
            quiet: Quiet::new(patience, begun, events),
            hurry: hurry.clone(),
            handle: handle.clone(),
        };

        let hurry = pace.hurry();
        let retention =
            Retention::new(handle.in_background(hurry), chores.limits.clone(), pace.clone());
        // What is kept is bounded: it leaves out one round at most.
        let waits = patience(chores.retention_every.min(PATIENCE), hurry);
        let told = Arc::clone(&clock);
        let retention = patiently(chores.retention_every, waits, retention, move |retention| {
            retention.round(told.now()).map_ok(|()| true).boxed()
        });
        scheduler.add(retention?).await?;

        let counting = pace.with(chores.count_every);
        let hurry = &counting.hurry().clone();
        let counting = Counting::new(handle.in_background(hurry), counting);
        let waits = patience(PATIENCE, hurry);
        let counting = patiently(chores.count_every, waits, counting, move |counting| {
            counting.round(clock.now()).map_ok(|()| true).boxed()
        });
        scheduler.add(counting?).await?;

        let hurry = &Hurry::default();
        let indexing = handle.in_background(hurry);
        let waits = patience(PATIENCE, hurry);
        let indexing =
            patiently(chores.index_every, waits, indexing, |handle| index::index(handle).boxed());
        scheduler.add(indexing?).await?;

        let statistics = handle.clone();
        scheduler
            .add(chore(chores.statistics_every, move || tell_statistics(statistics.clone()))?)
            .await?;
        scheduler.start().await?;
        Ok(Self { scheduler, pace })
    }

    /// Starts no further chore. One that is at work ends after the step that it is at.
    pub async fn stop(mut self) -> Result<(), JobSchedulerError> {
        self.pace.stop();
        self.scheduler.shutdown().await
    }
}

/// A chore with a state of its own; a round that comes while the one before it is under way is
/// left out.
fn alone<S: Send + 'static, F>(
    every: Duration,
    state: S,
    round: impl Fn(OwnedMutexGuard<S>) -> F + Clone + Send + Sync + 'static,
) -> Result<Job, JobSchedulerError>
where
    F: Future<Output = Result<(), CallError>> + Send + 'static,
{
    let state = Arc::new(Mutex::new(state));
    chore(every, move || {
        let (state, round) = (Arc::clone(&state).try_lock_owned(), round.clone());
        async move {
            match state {
                Ok(state) => round(state).await,
                Err(_) => Ok(()),
            }
        }
    })
}

/// How a chore leaves a burst alone.
struct Patience {
    quiet: Quiet,
    /// Set for a round that could not wait any longer, and from one that lasts longer than the time
    /// between two until one that does not has ended.
    hurry: Hurry,
    handle: Handle,
}

/// The same, left out while there is a burst. A round tells whether it has done everything. One that
/// comes after a round that lasted longer than the time between two is in a hurry.
fn patiently<S, R>(
    every: Duration,
    patience: Patience,
    state: S,
    round: R,
) -> Result<Job, JobSchedulerError>
where
    S: Send + 'static,
    R: for<'a> Fn(&'a mut S) -> BoxFuture<'a, Result<bool, CallError>>
        + Clone
        + Send
        + Sync
        + 'static,
{
    alone(every, (patience, state), move |mut both| {
        let round = round.clone();
        async move {
            let (Patience { quiet, hurry, handle }, chore) = &mut *both;
            let (begun, events) = (Instant::now(), handle.events_so_far().await?);
            if !quiet.is_now(begun, events) {
                return Ok(());
            }
            if quiet.is_exhausted() {
                hurry.set(true);
            }
            let done = round(chore).await;
            hurry.set(begun.elapsed() >= every);
            if done? {
                quiet.done();
            }
            Ok(())
        }
    })
}

fn chore<F>(
    every: Duration,
    work: impl Fn() -> F + Send + Sync + 'static,
) -> Result<Job, JobSchedulerError>
where
    F: Future<Output = Result<(), CallError>> + Send + 'static,
{
    let work = Arc::new(work);
    Job::new_repeated_async(every, move |_, _| {
        let work = Arc::clone(&work);
        Box::pin(async move {
            if let Err(error) = work().await {
                tracing::warn!(%error, "a chore failed");
            }
        })
    })
}

async fn tell_statistics(handle: Handle) -> Result<(), CallError> {
    let status = handle.status().await?;
    tracing::info!(
        clients_defined = status.clients_defined,
        clients_connected = status.clients_connected,
        jobs = status.jobs,
        runs_open = status.runs_open,
        deliveries_open = status.deliveries_open,
        "statistics"
    );
    Ok(())
}
