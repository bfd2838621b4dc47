//! A load that keeps a number of runs open: as soon as some have ended, as many are submitted.

use std::time::{Duration, Instant};

use fleetcron::remote::Remote;
use fleetcron::{Handle, Serial, Submission};
use futures_util::{StreamExt as _, stream};

/// The parameter of every command: 40 bytes.
pub(crate) const PARAMS: &str = r#"{"path":"/var/log/nginx","keep_days":14}"#;

/// From the last submission to the end: what has not ended by then counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait when nearly all are open.
const PAUSE: Duration = Duration::from_millis(1);

/// A submission of the benchmark's command.
pub(crate) fn submission(target: &str) -> Submission {
    let command = super::load::COMMAND.parse().unwrap();
    let mut submission = Submission::new(target.parse().unwrap(), command);
    submission.params = PARAMS.parse().unwrap();
    submission
}

/// Where runs are submitted.
pub(crate) trait Scheduler {
    /// Submits; the run is durable when it returns.
    async fn submit(&self, submission: Submission) -> Serial;
    /// Runs and deliveries that are open.
    async fn open(&self) -> (u64, u64);
}

impl Scheduler for Remote {
    async fn submit(&self, submission: Submission) -> Serial {
        Remote::submit(self, submission).await.unwrap().serial
    }

    async fn open(&self) -> (u64, u64) {
        let status = self.status().await.unwrap();
        (status.runs_open, status.deliveries_open)
    }
}

impl Scheduler for Handle {
    async fn submit(&self, submission: Submission) -> Serial {
        Handle::submit(self, submission).await.unwrap().serial
    }

    async fn open(&self) -> (u64, u64) {
        let status = self.status().await.unwrap();
        (status.runs_open, status.deliveries_open)
    }
}

/// How a load is paced.
pub(crate) struct Pace {
    /// Runs that are open, at most.
    pub(crate) open: usize,
    /// Submissions under way, at most.
    pub(crate) callers: usize,
    /// Deliveries of one run.
    pub(crate) clients: u64,
    /// Before the measurement.
    pub(crate) warm_up: Duration,
    /// The measurement.
    pub(crate) measured: Duration,
}

/// What a paced load came to.
pub(crate) struct Paced<S> {
    /// Every run, those before and after the measurement too.
    pub(crate) submitted: Vec<Serial>,
    /// Deliveries that ended in the measurement.
    pub(crate) deliveries: u64,
    /// How long the measurement took.
    pub(crate) took: Duration,
    /// What was looked at when it began and when it ended.
    pub(crate) looks: (S, S),
    /// Runs that have not ended in time after the load.
    pub(crate) left_open: u64,
}

impl<S> Paced<S> {
    /// Deliveries a second.
    pub(crate) fn rate(&self) -> f64 {
        as_float(self.deliveries) / self.took.as_secs_f64()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn as_float(count: u64) -> f64 {
    count as f64
}

impl Pace {
    /// Keeps runs open, made by `next` of their number, and `look`s at the begin and the end of
    /// the measurement; then lets all end.
    pub(crate) async fn keep<S>(
        &self,
        scheduler: &impl Scheduler,
        mut next: impl FnMut(usize) -> Submission,
        mut look: impl FnMut() -> S,
    ) -> Paced<S> {
        let begun = Instant::now();
        let mut submitted: Vec<Serial> = Vec::new();
        // When the measurement began: deliveries that had ended, the moment, the look.
        let mut first: Option<(u64, Instant, S)> = None;
        let (deliveries, took, looks) = loop {
            let (runs, deliveries) = scheduler.open().await;
            let ended = submitted.len() as u64 * self.clients - deliveries;
            match first.take_if(|(_, since, _)| since.elapsed() >= self.measured) {
                Some((before, since, looked)) => {
                    break (ended - before, since.elapsed(), (looked, look()));
                }
                None if first.is_none() && begun.elapsed() >= self.warm_up => {
                    first = Some((ended, Instant::now(), look()));
                }
                None => {}
            }
            let free = self.open.saturating_sub(usize::try_from(runs).unwrap());
            if free * 8 < self.open {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let from = submitted.len();
            let new: Vec<Submission> = (from..from + free).map(&mut next).collect();
            let mut new = stream::iter(new)
                .map(|submission| scheduler.submit(submission))
                .buffer_unordered(self.callers);
            while let Some(serial) = new.next().await {
                submitted.push(serial);
            }
        };
        let left_open = drained(scheduler).await;
        Paced { submitted, deliveries, took, looks, left_open }
    }
}

/// Waits until nothing is open; gives how much still is when the patience ends.
pub(crate) async fn drained(scheduler: &impl Scheduler) -> u64 {
    let begun = Instant::now();
    loop {
        let (runs, _) = scheduler.open().await;
        if runs == 0 || begun.elapsed() > PATIENCE {
            return runs;
        }
        tokio::time::sleep(PAUSE * 10).await;
    }
}
