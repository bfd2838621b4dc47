//! Replays over HTTP: past runs again, and firings made up for.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use reqwest::Method;

use super::streams::{WAIT, wait_for};
use super::{Remote, RemoteError, page_query};
use crate::engine::Page;
use crate::id::{JobName, ReplayId};
use crate::replay::{Backfill, Replay, ReplayPlan, ReplayRun, RunAgain};
use crate::time::duration;

/// What makes of a replay its plan.
const DRY_RUN: &[(&str, bool)] = &[("dry_run", true)];

impl Remote {
    /// Runs past runs, or deliveries of them, again. What is chosen is settled when this returns.
    pub async fn run_again(&self, again: RunAgain) -> Result<Replay, RemoteError> {
        let request = self.http.request(Method::POST, &["replays"])?;
        self.http.json(request.json(&again)).await
    }

    /// What [`Remote::run_again`] would run.
    pub async fn plan_again(&self, again: RunAgain) -> Result<ReplayPlan, RemoteError> {
        let request = self.http.request(Method::POST, &["replays"])?.query(DRY_RUN);
        self.http.json(request.json(&again)).await
    }

    /// Makes up for the occurrences of a job's rule in a span of the past that have no run.
    pub async fn backfill(&self, job: JobName, fill: Backfill) -> Result<Replay, RemoteError> {
        let request = self.http.request(Method::POST, &["jobs", job.as_str(), "backfill"])?;
        self.http.json(request.json(&fill)).await
    }

    /// What [`Remote::backfill`] would run.
    pub async fn plan_backfill(
        &self,
        job: JobName,
        fill: Backfill,
    ) -> Result<ReplayPlan, RemoteError> {
        let request = self.http.request(Method::POST, &["jobs", job.as_str(), "backfill"])?;
        self.http.json(request.query(DRY_RUN).json(&fill)).await
    }

    /// One replay, as it stands.
    pub async fn replay(&self, id: ReplayId) -> Result<Replay, RemoteError> {
        self.fetch(&["replays", &id.to_string()]).await
    }

    /// Replays, the newest first; `after` is the last of the part before.
    pub async fn replays(&self, page: Page<ReplayId>) -> Result<Vec<Replay>, RemoteError> {
        let request = self.http.request(Method::GET, &["replays"])?;
        self.http.json(request.query(&page_query(&page))).await
    }

    /// Ends a replay: no further run is made, and its open runs are cancelled.
    pub async fn cancel_replay(&self, id: ReplayId) -> Result<Replay, RemoteError> {
        self.post(&["replays", &id.to_string(), "cancel"]).await
    }

    /// Waits for a replay's end. Connection errors are borne for about a minute: the server may
    /// restart meanwhile.
    pub async fn wait_replay(&self, id: ReplayId) -> Result<Replay, RemoteError> {
        wait_for(|| self.wait_replay_once(id), |replay: &Replay| replay.ended_at.is_some()).await
    }

    async fn wait_replay_once(&self, id: ReplayId) -> Result<Replay, RemoteError> {
        let request = self.http.request(Method::GET, &["replays", &id.to_string()])?;
        self.http.json(request.query(&[("wait", duration::format(WAIT))])).await
    }

    /// The runs that a replay has made, in their order, each as it stands. With `follow`, each
    /// once it has ended, and those to come, until the replay has ended; a stream that ends before
    /// does so with an error.
    #[must_use]
    pub fn replay_runs(
        &self,
        id: ReplayId,
        follow: bool,
    ) -> BoxStream<'static, Result<ReplayRun, RemoteError>> {
        let path = vec!["replays".into(), id.to_string(), "runs".into()];
        let runs = self.stream(path, vec![("follow", follow.to_string())]);
        if !follow {
            return runs;
        }
        let remote = self.clone();
        // An error is the last item that `stream` gives: only after none is there a check.
        stream::unfold(Some(runs), move |runs| {
            let remote = remote.clone();
            async move {
                let mut runs = runs?;
                match runs.next().await {
                    Some(Ok(run)) => Some((Ok(run), Some(runs))),
                    Some(Err(error)) => Some((Err(error), None)),
                    None => remote.replay_ended(id).await.err().map(|error| (Err(error), None)),
                }
            }
        })
        .boxed()
    }

    async fn replay_ended(&self, id: ReplayId) -> Result<(), RemoteError> {
        let replay = self.replay(id).await?;
        if replay.ended_at.is_some() {
            return Ok(());
        }
        let (ended, items) = (replay.ended, replay.items);
        Err(RemoteError::Broken {
            url: self.http.base().to_owned(),
            cause: format!("the stream ended while replay {id} has ended {ended} of {items} runs"),
        })
    }
}
