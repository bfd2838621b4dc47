//! The server's own chores: retention, statistics and the index of the ledger, run by
//! `tokio-cron-scheduler`.
//!
//! Promises: a chore that fails is logged and tried again at its next time; it never stops the
//! node. `tokio-cron-scheduler` serves tens of chores well, and is not the fleet's timer: it looks
//! every half second, at every job. May import `node`.

mod index;

use std::sync::Arc;
use std::time::Duration;

use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::actor::Actor;
use crate::node::{CallError, Handle};
use crate::time::{Clock, SystemClock, Timestamp};

/// Runs forgotten in one step, at most; the next step follows when the store has written it.
const STEP: usize = 200;

/// Removed jobs of whose past one step forgets a part, at most.
const JOBS_STEP: usize = 20;

/// Steps of one round of retention, at most; the rest waits for the next round.
const STEPS: usize = 50;

/// What to keep and how often to look.
#[derive(Debug, Clone)]
pub struct Chores {
    /// How long ended runs and their responses are kept, and the past of jobs after their removal.
    /// Default 90 days.
    pub keep: Duration,
    /// The time between two rounds of retention. Default 1 minute.
    pub retention_every: Duration,
    /// The time between two lines of statistics in the log. Default 1 minute.
    pub statistics_every: Duration,
    /// The time between two looks for parts of the ledger that can be indexed. Default 10 s.
    pub index_every: Duration,
}

impl Default for Chores {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        let keep = Duration::from_secs(90 * 86_400);
        let index_every = Duration::from_secs(10);
        Self { keep, retention_every: minute, statistics_every: minute, index_every }
    }
}

/// The chores at work; they end with [`Housekeeping::stop`].
pub struct Housekeeping {
    scheduler: JobScheduler,
}

impl std::fmt::Debug for Housekeeping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Housekeeping").finish_non_exhaustive()
    }
}

impl Housekeeping {
    /// Starts the chores.
    pub async fn start(handle: &Handle, chores: &Chores) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let handle = &handle.with_actor(Actor::Chores);
        let (retention, keep) = (handle.clone(), chores.keep);
        scheduler
            .add(chore(chores.retention_every, move || retain(retention.clone(), keep))?)
            .await?;
        let statistics = handle.clone();
        scheduler
            .add(chore(chores.statistics_every, move || tell_statistics(statistics.clone()))?)
            .await?;
        let indexed = handle.clone();
        scheduler.add(chore(chores.index_every, move || index::index(indexed.clone()))?).await?;
        scheduler.start().await?;
        Ok(Self { scheduler })
    }

    /// Starts no further chore. One that is at work goes on to its end.
    pub async fn stop(mut self) -> Result<(), JobSchedulerError> {
        self.scheduler.shutdown().await
    }
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

/// Forgets what ended longer ago than `keep`, in small steps.
async fn retain(handle: Handle, keep: Duration) -> Result<(), CallError> {
    let before = SystemClock.now().minus(keep);
    forget_runs(&handle, before).await?;
    forget_jobs(&handle, before).await
}

async fn forget_runs(handle: &Handle, before: Timestamp) -> Result<(), CallError> {
    let mut forgotten = 0;
    for _ in 0..STEPS {
        let old = handle.ended_before(before, STEP).await?;
        let count = old.len();
        if count > 0 {
            handle.forget(old).await?;
            forgotten += count;
        }
        if count < STEP {
            break;
        }
    }
    if forgotten > 0 {
        tracing::info!(runs = forgotten, %before, "retention has forgotten ended runs");
    }
    Ok(())
}

/// Forgets the past of jobs that were removed before a moment.
async fn forget_jobs(handle: &Handle, before: Timestamp) -> Result<(), CallError> {
    for _ in 0..STEPS {
        // A job is there until all of its past is forgotten.
        let old = handle.removed_before(before, JOBS_STEP).await?;
        if old.is_empty() {
            break;
        }
        tracing::info!(jobs = old.len(), %before, "retention forgets a part of what removed jobs left");
        handle.forget_jobs(old).await?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Order, Store, key};

    /// A clock that stands still.
    struct Then(Timestamp);

    impl Clock for Then {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    fn keys(store: &MemoryStore, kind: u8) -> usize {
        let range = key::all(kind);
        store.scan(&range.start..&range.end, Order::Up, usize::MAX).unwrap().len()
    }

    #[tokio::test]
    async fn what_removed_jobs_leave_is_forgotten_at_the_age_of_runs() {
        let store = MemoryStore::new();
        let then = SystemClock.now().minus(Duration::from_secs(100 * 86_400));
        let node =
            crate::Node::start_with_clock(Arc::new(store.clone()), Arc::new(Then(then))).unwrap();
        let handle = node.handle();
        let job = |n: usize, last: usize| {
            let rule = crate::Rule::at(then.minus(Duration::from_secs(60)));
            let (name, target) = (format!("job-{n}").parse().unwrap(), crate::Target::All);
            let mut spec = crate::JobSpec::new(name, target, "work".parse().unwrap(), rule);
            spec.catch_up = crate::CatchUp::Skip;
            spec.description = Some(format!("version {last}"));
            spec
        };
        let apply = async |jobs| {
            let apply = crate::Apply { jobs, prune: true, ..crate::Apply::default() };
            handle.apply(apply).await.unwrap();
        };
        for version in 0..3 {
            apply((0..50).map(|n| job(n, version)).collect()).await;
        }
        apply(vec![job(49, 2)]).await;
        let kept = || [key::REVISION, key::MISSED].map(|kind| keys(&store, kind));
        let removed = || [key::REMOVED, key::REMOVAL].map(|kind| keys(&store, kind));
        let before = (kept(), removed());
        assert_eq!(before, ([49 * 4 + 2, 50], [49, 49]));

        retain(handle.clone(), Duration::from_secs(101 * 86_400)).await.unwrap();
        assert_eq!((kept(), removed()), before, "not old enough");
        retain(handle.clone(), Duration::from_secs(99 * 86_400)).await.unwrap();
        assert_eq!((kept(), removed()), ([2, 1], [0, 0]), "the job that is there keeps its own");
        node.stop().await.unwrap();
    }
}
