//! The handle's reads of runs and responses: the store has the rows, the engine the counts of
//! what is open.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::handle::Place;
use super::{CallError, Handle};
use crate::engine::{Page, Reply, Request, RequestError};
use crate::history::{self, RunQuery};
use crate::id::{ClientId, JobName, Serial};
use crate::idempotency::Submitted;
use crate::run::{LateAnswer, Response, Run, Submission};
use crate::store::{Store, StoreError};

impl Handle {
    /// Runs a command now, or gives back the run of an earlier submit by the submission's
    /// `idempotency_key` or `unique_within`, as it stands; the answer tells which. A run that
    /// retention has forgotten since is a conflict.
    pub async fn submit_once(&self, submission: Submission) -> Result<Submitted, CallError> {
        let serial = match self.call(Request::Submit(submission)).await? {
            Reply::Run(run) => return Ok(Submitted { run: *run, repeated: false }),
            Reply::Repeated(serial) => serial,
            other => return Err(CallError::UnexpectedReply(format!("{other:?}"))),
        };
        match self.run(serial).await {
            Ok(run) => Ok(Submitted { run, repeated: true }),
            Err(CallError::Refused(RequestError::NotFound { .. })) => {
                let message = format!(
                    "this was submitted before, as run {serial}, which has been forgotten since"
                );
                Err(RequestError::Conflict(message).into())
            }
            Err(error) => Err(error),
        }
    }

    /// One run, with its counts as they stand.
    pub async fn run(&self, serial: Serial) -> Result<Run, CallError> {
        if let Some(run) = self.open_runs(vec![serial]).await?.pop() {
            return Ok(run);
        }
        // What the engine no longer has is in the store, or was never there.
        self.read(move |store| history::run(store, serial)).await?.ok_or_else(|| {
            let name = serial.to_string();
            RequestError::NotFound { what: "run", name, suggestion: None }.into()
        })
    }

    /// Runs, newest first. Those of one job are found by its list of them, however rare they are.
    pub async fn runs(&self, query: RunQuery) -> Result<Vec<Run>, CallError> {
        if let Some(job) = &query.job
            && let Some(runs) = self.runs_of_job(job.clone(), &query).await?
        {
            return Ok(runs);
        }
        let mut runs = self.read(move |store| history::runs(store, &query)).await?;
        let open = runs.iter().filter(|run| run.ended_at.is_none()).map(|run| run.serial);
        let open = self.open_runs(open.collect()).await?;
        let mut open: BTreeMap<Serial, Run> =
            open.into_iter().map(|run| (run.serial, run)).collect();
        for run in &mut runs {
            if let Some(current) = open.remove(&run.serial) {
                *run = current;
            } else if run.ended_at.is_none() {
                // It has ended between the two looks.
                *run = self.run(run.serial).await?;
            }
        }
        Ok(runs)
    }

    /// The runs of all jobs that have had a name; `None`: they are not listed by job yet, or it is
    /// not known which jobs these were.
    async fn runs_of_job(
        &self,
        name: JobName,
        query: &RunQuery,
    ) -> Result<Option<Vec<Run>>, CallError> {
        let named =
            self.past(name, |store, name, live| history::jobs_named(store, name, live, None));
        let jobs = match named.await {
            Ok(jobs) => jobs,
            Err(CallError::Refused(RequestError::NotFound { .. })) => return Ok(None),
            Err(error) => return Err(error),
        };
        let limit = query.limit.min(history::MAX_RUNS);
        let RunQuery { after, before, .. } = *query;
        // First those that are open: one that ends meanwhile is in both, and none is left out.
        let open = Request::OpenRunsOfJobs { jobs: jobs.clone(), after, before, limit };
        let open = match self.call(open).await? {
            Reply::Runs(runs) => runs,
            other => return Err(CallError::UnexpectedReply(format!("{other:?}"))),
        };
        let query = query.clone();
        let ended = self.read(move |store| history::ended_of_jobs(store, &jobs, &query)).await?;
        let Some(ended) = ended else { return Ok(None) };
        let all = open.into_iter().chain(ended);
        let found: BTreeMap<Serial, Run> = all.map(|run| (run.serial, run)).collect();
        Ok(Some(found.into_values().rev().take(limit).collect()))
    }

    /// The response of one client; `None` while its delivery is open, or if the run was not for
    /// it.
    pub async fn response(
        &self,
        serial: Serial,
        client: ClientId,
    ) -> Result<Option<Response>, CallError> {
        self.run(serial).await?;
        self.read(move |store| history::response(store, serial, &client)).await
    }

    /// What one client answered to a run after the server had ended its delivery, or an attempt,
    /// by itself; the last if there were several.
    pub async fn late_answer(
        &self,
        serial: Serial,
        client: ClientId,
    ) -> Result<Option<LateAnswer>, CallError> {
        self.run(serial).await?;
        self.read(move |store| history::late_answer(store, serial, &client)).await
    }

    /// All such answers to a run, in the order in which their clients were defined.
    pub async fn late_answers(
        &self,
        serial: Serial,
        page: Page<ClientId>,
    ) -> Result<Vec<LateAnswer>, CallError> {
        self.run(serial).await?;
        self.read(move |store| history::late_answers(store, serial, &page)).await
    }

    async fn open_runs(&self, serials: Vec<Serial>) -> Result<Vec<Run>, CallError> {
        if serials.is_empty() {
            return Ok(Vec::new());
        }
        match self.call(Request::OpenRuns(serials)).await? {
            Reply::Runs(runs) => Ok(runs),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }

    /// Reads the store away from the threads that serve connections.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, CallError> {
        let store = Arc::clone(&self.store);
        Ok(self.compute(move || read(store.as_ref())).await??)
    }

    /// Works away from the threads that serve connections.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CallError> {
        match &self.place {
            Place::Here => Ok(work()),
            Place::Background(thread, hurry) if !hurry.is_set() => {
                thread.compute(work).await.ok_or(CallError::Stopped)
            }
            Place::Pool | Place::Background(..) => match tokio::task::spawn_blocking(work).await {
                Ok(result) => Ok(result),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is shutting down.
                Err(_) => Err(CallError::Stopped),
            },
        }
    }
}
