//! The handle's reads of runs and responses: the store has the rows, the engine the counts of
//! what is open.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CallError, Handle};
use crate::engine::{Page, Reply, Request, RequestError};
use crate::history::{self, RunQuery};
use crate::id::{ClientId, Serial};
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

    /// Runs, newest first.
    pub async fn runs(&self, query: RunQuery) -> Result<Vec<Run>, CallError> {
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
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => Ok(result),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down.
            Err(_) => Err(CallError::Stopped),
        }
    }
}
