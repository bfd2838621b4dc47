//! The handle's replays: what is to run is chosen here, from history; the engine settles and runs
//! it.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::broadcast;

use super::watch::news;
use super::{CallError, Handle};
use crate::engine::{Event, NewReplay, Page, Reply, Request, RequestError, What};
use crate::history::{self, SelectError};
use crate::id::{JobName, ReplayId};
use crate::replay::{Backfill, Replay, ReplayKind, ReplayPlan, ReplayRun, RunAgain, RunSelection};
use crate::time::Timestamp;

impl From<SelectError> for CallError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Store(error) => Self::Store(error),
            SelectError::NoRun(serial) => not_found("run", serial.to_string()),
            SelectError::NoClient(id) => not_found("client", id.to_string()),
            SelectError::TooMuch(message) => RequestError::Invalid(message).into(),
        }
    }
}

fn not_found(what: &'static str, name: String) -> CallError {
    RequestError::NotFound { what, name, suggestion: None }.into()
}

impl Handle {
    /// Runs past runs, or deliveries of them, again: with the command, the parameters and the
    /// policies that they had, to the same clients or to another target. What is chosen is settled
    /// when this returns.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fleetcron::{DeliveryState, Node, RunAgain, RunSelection};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let node = Node::open(directory.path())?;
    /// let select = RunSelection {
    ///     from: Some("2026-11-22T00:00:00Z".parse()?),
    ///     states: vec![DeliveryState::Failed, DeliveryState::TimedOut],
    ///     ..RunSelection::default()
    /// };
    /// let again = RunAgain { select, ..RunAgain::default() };
    /// let plan = node.handle().plan_again(again.clone()).await?;
    /// assert_eq!(plan.deliveries, 0, "nothing has run yet");
    /// let error = node.handle().run_again(again).await.unwrap_err().to_string();
    /// assert_eq!(error, "nothing is to run: no run or delivery is so");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_again(&self, again: RunAgain) -> Result<Replay, CallError> {
        let new = self.chosen_again(again).await?;
        self.make_replay(new).await
    }

    /// What [`Handle::run_again`] would run.
    pub async fn plan_again(&self, again: RunAgain) -> Result<ReplayPlan, CallError> {
        let new = self.chosen_again(again).await?;
        self.plan_replay(new).await
    }

    /// Makes up for the occurrences of a job's rule in a span of the past that have no run.
    pub async fn backfill(&self, job: JobName, fill: Backfill) -> Result<Replay, CallError> {
        let new = self.chosen_backfill(job, fill).await?;
        self.make_replay(new).await
    }

    /// What [`Handle::backfill`] would run.
    pub async fn plan_backfill(
        &self,
        job: JobName,
        fill: Backfill,
    ) -> Result<ReplayPlan, CallError> {
        let new = self.chosen_backfill(job, fill).await?;
        self.plan_replay(new).await
    }

    /// One replay, as it stands.
    pub async fn replay(&self, id: ReplayId) -> Result<Replay, CallError> {
        let found = self.read(move |store| history::replay(store, id)).await?;
        found.ok_or_else(|| not_found("replay", id.to_string()))
    }

    /// Replays, the newest first; `after` is the last of the part before.
    pub async fn replays(&self, page: Page<ReplayId>) -> Result<Vec<Replay>, CallError> {
        self.read(move |store| history::replays(store, &page)).await
    }

    /// Ends a replay: no further run is made, and its open runs are cancelled as
    /// [`Handle::cancel`] does.
    pub async fn cancel_replay(&self, id: ReplayId) -> Result<Replay, CallError> {
        match self.call(Request::CancelReplay(id)).await? {
            Reply::Replay(replay) => Ok(*replay),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }

    /// Waits for a replay's end.
    pub async fn wait_replay(&self, id: ReplayId) -> Result<Replay, CallError> {
        let mut events = self.subscribe();
        loop {
            let replay = self.replay(id).await?;
            if replay.ended_at.is_some() {
                return Ok(replay);
            }
            news(&mut events, |what| matches!(what, What::Replay { replay, .. } if *replay == id))
                .await?;
        }
    }

    /// The runs that a replay has made, in their order, each as it stands. With `follow`, each
    /// once it has ended, and those to come, until the replay has ended.
    #[must_use]
    pub fn replay_runs(
        &self,
        id: ReplayId,
        follow: bool,
    ) -> BoxStream<'static, Result<ReplayRun, CallError>> {
        let handle = self.clone();
        // From before the first read, so that nothing falls between.
        let events = follow.then(|| self.subscribe());
        let reader = RunsOf { handle, id, item: 0, events };
        stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|run| (run, reader)))
        })
        .boxed()
    }

    /// Replays that ended before a moment, the earliest first, at most `limit`: what retention
    /// forgets.
    pub async fn replays_ended_before(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<ReplayId>, CallError> {
        self.read(move |store| history::replays_ended_before(store, before, limit)).await
    }

    /// Forgets a bounded part of each of these replays, if they have ended. One of which something
    /// is left is among [`Handle::replays_ended_before`] again. Their runs stay.
    pub async fn forget_replays(&self, ids: Vec<ReplayId>) -> Result<(), CallError> {
        match self.call(Request::ForgetReplays(ids)).await? {
            Reply::Done => Ok(()),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }

    async fn make_replay(&self, new: NewReplay) -> Result<Replay, CallError> {
        match self.call(Request::Replay(Box::new(new))).await? {
            Reply::Replay(replay) => Ok(*replay),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }

    async fn plan_replay(&self, new: NewReplay) -> Result<ReplayPlan, CallError> {
        match self.call(Request::PlanReplay(Box::new(new))).await? {
            Reply::ReplayPlan(plan) => Ok(*plan),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }

    async fn chosen_again(&self, again: RunAgain) -> Result<NewReplay, CallError> {
        let RunAgain { select, terms } = again;
        select.check().map_err(RequestError::from)?;
        let RunSelection { job, from, to, .. } = select.clone();
        let whole = terms.target.is_some();
        let _place = self.reading_place().await?;
        let read = Arc::clone(&self.store);
        let chosen = self.compute(move || history::select_runs(read.as_ref(), &select, whole));
        let history::Selected { parts, left_out } = chosen.await??;
        let (kind, again) = (ReplayKind::Again, true);
        Ok(NewReplay { kind, job, from, to, terms, left_out, again, parts })
    }

    async fn chosen_backfill(&self, name: JobName, fill: Backfill) -> Result<NewReplay, CallError> {
        let (now, job) = match self.call(Request::Outlook(name)).await? {
            Reply::Outlook(now, outlook) => (now, outlook.job),
            other => return Err(CallError::UnexpectedReply(format!("{other:?}"))),
        };
        let Backfill { from, again, terms, .. } = fill.clone();
        let to = fill.end(now).map_err(RequestError::from)?;
        let name = job.spec.name.clone();
        let _place = self.reading_place().await?;
        let read = Arc::clone(&self.store);
        let chosen =
            self.compute(move || history::select_occurrences(read.as_ref(), &job, from..to, again));
        let history::Selected { parts, left_out } = chosen.await??;
        let (kind, job, from, to) = (ReplayKind::Backfill, Some(name), Some(from), Some(to));
        Ok(NewReplay { kind, job, from, to, terms, left_out, again, parts })
    }

    /// One of the few places for what reads or computes much: forecasts, and selections.
    async fn reading_place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, CallError> {
        // It is never closed.
        Arc::clone(&self.forecasts).acquire_owned().await.map_err(|_| CallError::Stopped)
    }
}

/// A reader of the runs of a replay, one after the other.
struct RunsOf {
    handle: Handle,
    id: ReplayId,
    item: u32,
    /// Present if the reader waits for what is still to come.
    events: Option<broadcast::Receiver<Arc<Event>>>,
}

impl RunsOf {
    async fn next(&mut self) -> Result<Option<ReplayRun>, CallError> {
        let id = self.id;
        loop {
            let item = self.item;
            // Asked before reading: a replay that has ended makes no further run.
            let ended = self.handle.replay(id).await?.ended_at.is_some();
            let serial =
                self.handle.read(move |store| history::replay_run(store, id, item)).await?;
            if let Some(serial) = serial {
                self.item += 1;
                let found = match &self.events {
                    Some(_) => self.handle.wait(serial).await,
                    None => self.handle.run(serial).await,
                };
                match found {
                    Ok(run) => return Ok(Some(ReplayRun { item, run })),
                    // Retention has forgotten it, and not yet the replay.
                    Err(CallError::Refused(RequestError::NotFound { .. })) => continue,
                    Err(error) => return Err(error),
                }
            }
            match &mut self.events {
                Some(events) if !ended => {
                    news(events, |what| concerns(what, id)).await?;
                }
                _ => return Ok(None),
            }
        }
    }
}

/// Whether a replay may have gone on by it.
fn concerns(what: &What, id: ReplayId) -> bool {
    match what {
        What::Replay { replay, .. } => *replay == id,
        What::RunStarted { .. } => true,
        _ => false,
    }
}
