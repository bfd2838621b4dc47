//! The handle's reads of what jobs keep of their past, and how retention forgets it.

use super::{CallError, Handle};
use crate::engine::{Reply, Request, RequestError};
use crate::history::{self, PastQuery};
use crate::id::{JobId, JobName};
use crate::job_past::{JobRevision, MissedRow, RemovedJob};
use crate::store::{Store, StoreError};
use crate::time::Timestamp;

impl Handle {
    /// Revisions of all jobs that have had a name, removed ones too, the newest first. A part may
    /// be shorter than its limit: only an empty one is the end.
    pub async fn revisions(
        &self,
        job: JobName,
        query: PastQuery,
    ) -> Result<Vec<JobRevision>, CallError> {
        self.past(job, move |store, name, live| history::revisions(store, name, live, &query)).await
    }

    /// Revision `no` of the job that has a name, or has had it last; of an earlier one with its
    /// id.
    pub async fn revision(
        &self,
        job: JobName,
        no: u32,
        id: Option<JobId>,
    ) -> Result<JobRevision, CallError> {
        let found = self.past(job.clone(), move |store, name, live| {
            for job in history::jobs_named(store, name, live, None)? {
                if id.is_none_or(|id| id == job)
                    && let Some(revision) = history::revision(store, job, no)?
                {
                    return Ok(Some(revision));
                }
            }
            Ok(None)
        });
        found.await?.ok_or_else(|| {
            let of = id.map(|id| format!(" ({id})")).unwrap_or_default();
            let name = format!("{no} of {job}{of}");
            RequestError::NotFound { what: "revision", name, suggestion: None }.into()
        })
    }

    /// Rows of missed firings of all jobs that have had a name, removed ones too, the newest
    /// first.
    pub async fn missed(
        &self,
        job: JobName,
        query: PastQuery,
    ) -> Result<Vec<MissedRow>, CallError> {
        self.past(job, move |store, name, live| history::missed(store, name, live, &query)).await
    }

    /// Jobs that were removed before a moment, the earliest first, at most `limit`: whose past
    /// retention forgets.
    pub async fn removed_before(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<RemovedJob>, CallError> {
        self.read(move |store| history::removed_before(store, before, limit)).await
    }

    /// Forgets a bounded part of the past of each of these removed jobs. One of which something
    /// is left is among [`Handle::removed_before`] again.
    pub async fn forget_jobs(&self, jobs: Vec<RemovedJob>) -> Result<(), CallError> {
        match self.call(Request::ForgetJobs(jobs)).await? {
            Reply::Done => Ok(()),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }

    /// Reads the past of a name that a job has, or has had.
    pub(super) async fn past<T: Send + 'static>(
        &self,
        name: JobName,
        read: impl FnOnce(&dyn Store, &JobName, Option<JobId>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, CallError> {
        let (live, refusal) = match self.get(name.clone()).await {
            Ok(view) => (Some(view.job.id), None),
            Err(CallError::Refused(refusal @ RequestError::NotFound { .. })) => {
                (None, Some(refusal))
            }
            Err(error) => return Err(error),
        };
        self.read(move |store| {
            let Some(mut refusal) = refusal else { return read(store, &name, live).map(Ok) };
            if !history::jobs_named(store, &name, None, None)?.is_empty() {
                return read(store, &name, None).map(Ok);
            }
            if let RequestError::NotFound { suggestion: suggestion @ None, .. } = &mut refusal {
                *suggestion = history::nearest_removed(store, &name)?;
            }
            Ok(Err(CallError::Refused(refusal)))
        })
        .await?
    }
}
