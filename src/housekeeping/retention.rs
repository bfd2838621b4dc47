//! Retention: forgets what of the history is too old or too much, in small steps.
//!
//! A round looks at, in this order: runs of which a part is forgotten already; what is beyond the
//! limits of jobs that have their own; what ended too long ago; what is beyond the limits of number
//! and bytes of all, the oldest first; the past of removed jobs; the ledger and recorded inputs.
//!
//! A run is forgotten only when the statistics have counted it: what it came to stays.
//!
//! What it costs to find them: of each job with a limit of number or bytes, a round reads what the
//! list of its ended runs tells of those that it keeps, some 50 bytes each. By age, it reads the
//! runs that have become too old since the last round, and once in [`WHOLE`] rounds every run that
//! is older, for some end late and some are kept longer by their jobs. For the limits of all it
//! reads every run at the start, and then those of the minutes of which a run has ended since. It
//! holds the limits of jobs and the minutes in memory, and nothing of single runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::book::Book;
use super::steps::Pace;
use crate::engine::{Forgotten, Page};
use crate::history::OldRuns;
use crate::id::{JobId, Serial};
use crate::keep::Keep;
use crate::node::{CallError, Handle};
use crate::store::records::EndedRun;
use crate::time::Timestamp;

/// Runs that one step forgets, at most: with their responses about one batch of the store.
const STEP: usize = 32;

/// Jobs of whose limits one read looks, at most.
const JOBS_READ: usize = 256;

/// Removed jobs of whose past one step forgets a part, at most.
const JOBS_STEP: usize = 20;

/// Among so many rounds, one looks at all runs that are too old by their time, and the others at
/// those that have become so since.
const WHOLE: u64 = 60;

/// What is kept of all history. Open runs are always kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long ended runs are kept whose jobs do not say otherwise, the past of removed jobs, and
    /// ended replays.
    /// Default 90 days.
    pub keep: Duration,
    /// The most ended runs; `None`, the default: no limit.
    pub runs: Option<u64>,
    /// The most bytes that ended runs take with their responses, about, see
    /// [`Run::kept_bytes`](crate::Run::kept_bytes); `None`, the default: no limit.
    pub bytes: Option<u64>,
    /// How long the ledger is kept; `None`, the default: as long as ended runs.
    pub ledger: Option<Duration>,
    /// How long what the engine was told is kept, so that its decisions can be verified. Default 7
    /// days.
    pub inputs: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self { keep: days(90), runs: None, bytes: None, ledger: None, inputs: days(7) }
    }
}

/// Retention at work: what it remembers from round to round.
#[derive(Debug)]
pub(super) struct Retention {
    handle: Handle,
    limits: Limits,
    pace: Pace,
    book: Option<Book>,
    /// By age all before this was looked at.
    looked_at: Option<Serial>,
    rounds: u64,
    all_listed: bool,
    /// Runs that ended before this moment are in the statistics, and may be forgotten.
    counted_before: Timestamp,
}

impl Retention {
    pub(super) fn new(handle: Handle, limits: Limits, pace: Pace) -> Self {
        let counts = limits.runs.is_some() || limits.bytes.is_some();
        let book = counts.then(|| Book::open(&handle));
        let (looked_at, counted_before) = (None, Timestamp::MIN);
        Self { handle, limits, pace, book, looked_at, rounds: 0, all_listed: false, counted_before }
    }

    /// One round, as of `now`. Stops early, with what it has done so far, when the pace stops.
    pub(super) async fn round(&mut self, now: Timestamp) -> Result<(), CallError> {
        self.pace.begin();
        let before = now.minus(self.limits.keep);
        let mut forgotten = Forgotten { runs: 0, deliveries: 0, bytes: 0, before };
        let done = self.forget_runs(now, &mut forgotten).await;
        if forgotten.runs > 0 {
            let Forgotten { runs, deliveries, bytes, .. } = forgotten;
            tracing::info!(runs, deliveries, bytes, %before, "retention has forgotten ended runs");
            self.handle.note_forgotten(forgotten).await?;
        }
        done?;
        self.rounds += 1;
        self.forget_replays(before).await?;
        self.forget_jobs(before).await?;
        self.forget_ledger(now).await
    }

    /// Forgets replays that ended before a moment. Their runs go by their own age.
    async fn forget_replays(&self, before: Timestamp) -> Result<(), CallError> {
        while !self.pace.is_stopping() {
            // A replay is there until all of it is forgotten.
            let old = self.handle.replays_ended_before(before, 1).await?;
            if old.is_empty() {
                break;
            }
            self.pace.step(self.handle.forget_replays(old)).await?;
        }
        Ok(())
    }

    /// Forgets old pages of the ledger, and old inputs.
    async fn forget_ledger(&self, now: Timestamp) -> Result<(), CallError> {
        let pages_before = now.minus(self.limits.ledger.unwrap_or(self.limits.keep));
        let inputs_before = now.minus(self.limits.inputs);
        let mut sum = 0;
        while !self.pace.is_stopping() {
            let step = self.handle.forget_ledger(pages_before, inputs_before);
            match self.pace.step(step).await? {
                0 => break,
                count => sum += count,
            }
        }
        if sum > 0 {
            tracing::info!(records = sum, "retention has forgotten old pages of the ledger");
        }
        Ok(())
    }

    async fn forget_runs(&mut self, now: Timestamp, sum: &mut Forgotten) -> Result<(), CallError> {
        self.counted_before = self.handle.counted_before().await?;
        self.list_all().await?;
        self.finish().await?;
        let jobs = self.keeping().await?;
        let own_age = jobs.iter().filter(|(_, keep)| keep.age().is_some());
        let own_age: Arc<BTreeSet<JobId>> = Arc::new(own_age.map(|(job, _)| *job).collect());
        self.forget_of_jobs(jobs, now, sum).await?;
        self.forget_by_age(own_age, sum).await?;
        self.forget_by_amount(sum).await
    }

    /// Lists the ended runs of a store from before there were lists of them by job; once.
    async fn list_all(&mut self) -> Result<(), CallError> {
        let mut after = None;
        while !self.all_listed && !self.pace.is_stopping() {
            let Some(part) = self.pace.step(self.handle.unlisted(after)).await? else {
                self.all_listed = true;
                break;
            };
            for runs in part.runs.chunks(STEP) {
                self.pace.step(self.handle.list_ended(runs.to_vec(), false)).await?;
            }
            after = part.next;
            if after.is_none() {
                self.handle.list_ended(Vec::new(), true).await?;
            }
        }
        Ok(())
    }

    /// Forgets the rest of runs of which a crash has left a part.
    async fn finish(&mut self) -> Result<(), CallError> {
        loop {
            let runs = self.handle.forgetting(STEP).await?;
            if runs.is_empty() || self.forget_step(runs).await?.is_empty() {
                return Ok(());
            }
        }
    }

    async fn keeping(&self) -> Result<Vec<(JobId, Keep)>, CallError> {
        let mut jobs: Vec<(JobId, Keep)> = Vec::new();
        loop {
            let after = jobs.last().map(|(job, _)| *job);
            let part = self.handle.keeping(Page { after, ..Page::first() }).await?;
            if part.is_empty() {
                return Ok(jobs);
            }
            jobs.extend(part);
        }
    }

    /// Forgets what is beyond the jobs' own limits.
    async fn forget_of_jobs(
        &mut self,
        jobs: Vec<(JobId, Keep)>,
        now: Timestamp,
        sum: &mut Forgotten,
    ) -> Result<(), CallError> {
        let (mut rest, mut within) = (&jobs[..], None);
        while !rest.is_empty() && !self.pace.is_stopping() {
            let part = rest[..rest.len().min(JOBS_READ)].to_vec();
            let found = self.pace.step(self.handle.beyond(part, now, within)).await?;
            self.forget(found.runs, sum).await?;
            rest = &rest[found.done..];
            within = found.within;
        }
        Ok(())
    }

    /// Forgets what ended too long ago, but for runs of jobs that have an age of their own.
    async fn forget_by_age(
        &mut self,
        own_age: Arc<BTreeSet<JobId>>,
        sum: &mut Forgotten,
    ) -> Result<(), CallError> {
        let mut after = self.looked_at.filter(|_| !self.rounds.is_multiple_of(WHOLE));
        while !self.pace.is_stopping() {
            let found = self.handle.old_runs(after, Some(sum.before), Arc::clone(&own_age));
            let OldRuns { runs, last, more } = self.pace.step(found).await?;
            self.forget(runs, sum).await?;
            after = last;
            self.looked_at = self.looked_at.max(last);
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Forgets the oldest until what is left is within the limits of number and bytes.
    async fn forget_by_amount(&mut self, sum: &mut Forgotten) -> Result<(), CallError> {
        let Some(mut book) = self.book.take() else { return Ok(()) };
        let done = book.update(&self.handle, &self.pace).await;
        let mut after = book.start();
        self.book = Some(book);
        done?;
        while self.excess() > (0, 0) && !self.pace.is_stopping() {
            let found = self.handle.old_runs(after, None, Arc::default());
            let OldRuns { mut runs, last, more } = self.pace.step(found).await?;
            runs.truncate(self.needed(&runs));
            self.forget(runs, sum).await?;
            after = last;
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Runs and bytes above the limits.
    fn excess(&self) -> (u64, u64) {
        let total = self.book.as_ref().map(Book::total).unwrap_or_default();
        let above =
            |amount: u64, most: Option<u64>| most.map_or(0, |most| amount.saturating_sub(most));
        (above(total.runs, self.limits.runs), above(total.bytes, self.limits.bytes))
    }

    /// How many of these, the oldest, must go.
    fn needed(&self, runs: &[EndedRun]) -> usize {
        let (mut excess, mut bytes) = self.excess();
        let needed = runs.iter().take_while(|run| {
            let needed = excess > 0 || bytes > 0;
            excess = excess.saturating_sub(1);
            bytes = bytes.saturating_sub(run.bytes);
            needed
        });
        needed.count()
    }

    async fn forget(
        &mut self,
        mut runs: Vec<EndedRun>,
        sum: &mut Forgotten,
    ) -> Result<(), CallError> {
        // The others are, in a later round.
        runs.retain(|run| run.ended_at < self.counted_before);
        for step in runs.chunks(STEP) {
            let forgotten = self.forget_step(step.iter().map(|run| run.serial).collect()).await?;
            for run in step.iter().filter(|run| forgotten.contains(&run.serial)) {
                sum.runs += 1;
                sum.deliveries += u64::from(run.deliveries);
                sum.bytes = sum.bytes.saturating_add(run.bytes);
                if let Some(book) = &mut self.book {
                    book.forgotten(run.serial, run.bytes);
                }
            }
            if forgotten.is_empty() && self.pace.is_stopping() {
                break;
            }
        }
        Ok(())
    }

    /// Forgets a few runs, all of each that may be forgotten, and gives these; none if the pace has
    /// stopped before.
    async fn forget_step(&self, runs: Vec<Serial>) -> Result<BTreeSet<Serial>, CallError> {
        let (mut left, mut first) = (runs, None);
        while !left.is_empty() {
            if self.pace.is_stopping() {
                return Ok(BTreeSet::new());
            }
            let part = self.pace.step(self.handle.forget_part(left)).await?;
            first.get_or_insert(part.runs);
            left = part.left;
        }
        Ok(first.unwrap_or_default().into_iter().collect())
    }

    /// Forgets the past of jobs that were removed before a moment.
    async fn forget_jobs(&self, before: Timestamp) -> Result<(), CallError> {
        let mut jobs = BTreeSet::new();
        while !self.pace.is_stopping() {
            // A job is there until all of its past is forgotten.
            let old = self.handle.removed_before(before, JOBS_STEP).await?;
            if old.is_empty() {
                break;
            }
            jobs.extend(old.iter().map(|removed| removed.job));
            self.pace.step(self.handle.forget_jobs(old)).await?;
        }
        if !jobs.is_empty() {
            let jobs = jobs.len();
            tracing::info!(jobs, %before, "retention has forgotten what removed jobs left");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
