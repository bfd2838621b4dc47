//! The handle's part in what history is kept: retention finds by it what to forget, and forgets
//! it a bounded part at a time.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::{CallError, Handle};
use crate::engine::{Forgotten, Page, Reply, Request};
use crate::history::{self, Beyond, Census, OldRuns, OldRunsQuery, Unlisted, Within};
use crate::id::{JobId, Serial};
use crate::keep::Keep;
use crate::store::records;
use crate::time::Timestamp;

/// What a step has forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenPart {
    /// Those of the runs that may be forgotten.
    pub runs: Vec<Serial>,
    /// Those of these of which something is left.
    pub left: Vec<Serial>,
}

impl Handle {
    /// Forgets ended runs and their responses; those still open stay, and so does the latest run of
    /// all. A large run is forgotten part by part; from the first part on it is not known any more.
    pub async fn forget(&self, runs: Vec<Serial>) -> Result<(), CallError> {
        let mut left = runs;
        while !left.is_empty() {
            left = self.forget_part(left).await?.left;
        }
        Ok(())
    }

    /// Forgets a bounded part of these ended runs, the first first: one batch of the store.
    pub async fn forget_part(&self, runs: Vec<Serial>) -> Result<ForgottenPart, CallError> {
        let runs = match self.call(Request::ForgetRuns(runs)).await? {
            Reply::Forgetting(runs) => runs,
            other => return Err(CallError::UnexpectedReply(format!("{other:?}"))),
        };
        self.read(move |store| {
            let left = history::left(store, &runs)?;
            Ok(ForgottenPart { runs, left })
        })
        .await
    }

    /// The jobs that say what of their history is kept, in the order of their numbers.
    pub async fn keeping(&self, page: Page<JobId>) -> Result<Vec<(JobId, Keep)>, CallError> {
        match self.call(Request::Keeping(page)).await? {
            Reply::Keeping(jobs) => Ok(jobs),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }

    /// Ended runs that are beyond their jobs' own limits at a moment, see [`history::beyond`].
    pub async fn beyond(
        &self,
        jobs: Vec<(JobId, Keep)>,
        now: Timestamp,
        within: Option<Within>,
    ) -> Result<Beyond, CallError> {
        self.read(move |store| history::beyond(store, &jobs, now, within)).await
    }

    /// Ended runs after a serial that ended before a moment, but for those of some jobs, see
    /// [`history::old_runs`].
    pub async fn old_runs(
        &self,
        after: Option<Serial>,
        before: Option<Timestamp>,
        except: Arc<BTreeSet<JobId>>,
    ) -> Result<OldRuns, CallError> {
        self.read(move |store| {
            history::old_runs(store, &OldRunsQuery { after, before, except: &except })
        })
        .await
    }

    /// The ended runs that were due in a span, see [`history::census`].
    pub async fn census(
        &self,
        span: Range<Timestamp>,
        after: Option<Serial>,
    ) -> Result<Census, CallError> {
        self.read(move |store| history::census(store, &span, after)).await
    }

    /// Runs of which a part is forgotten: a crash has come between. `limit` at most.
    pub async fn forgetting(&self, limit: usize) -> Result<Vec<Serial>, CallError> {
        self.read(move |store| history::forgetting(store, limit)).await
    }

    /// Runs that ended before they were listed by job, see [`history::unlisted`].
    pub async fn unlisted(&self, after: Option<Serial>) -> Result<Option<Unlisted>, CallError> {
        self.read(move |store| history::unlisted(store, after)).await
    }

    /// Lists these by job, `all` if there are no others.
    pub async fn list_ended(&self, runs: Vec<Serial>, all: bool) -> Result<(), CallError> {
        let batch = self.read(move |store| records::list(store, &runs, all)).await?;
        self.write_derived(batch).await
    }

    /// Forgets a bounded part of the pages of the ledger written before one moment and of the
    /// inputs recorded before another, see [`history::old_ledger`]; tells how much.
    pub async fn forget_ledger(
        &self,
        pages_before: Timestamp,
        inputs_before: Timestamp,
    ) -> Result<usize, CallError> {
        let batch =
            self.read(move |store| history::old_ledger(store, pages_before, inputs_before)).await?;
        let count = batch.len();
        if count > 0 {
            self.write_derived(batch).await?;
        }
        Ok(count)
    }

    /// Tells those who watch what a round of retention has forgotten.
    pub async fn note_forgotten(&self, forgotten: Forgotten) -> Result<(), CallError> {
        self.told(Request::NoteForgotten(forgotten)).await
    }

    async fn told(&self, request: Request) -> Result<(), CallError> {
        match self.call(request).await? {
            Reply::Done => Ok(()),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }
}
