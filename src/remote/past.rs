//! What jobs keep of their past, over HTTP.

use reqwest::Method;

use super::{Remote, RemoteError};
use crate::history::PastQuery;
use crate::id::{JobId, JobName};
use crate::job_past::{JobRevision, MissedRow};

impl Remote {
    /// Revisions of all jobs that have had a name, removed ones too, the newest first. A part may
    /// be shorter than its limit: only an empty one is the end.
    pub async fn revisions(
        &self,
        job: JobName,
        query: PastQuery,
    ) -> Result<Vec<JobRevision>, RemoteError> {
        let request = self.http.request(Method::GET, &["jobs", job.as_str(), "revisions"])?;
        self.http.json(request.query(&query)).await
    }

    /// Revision `no` of the job that has a name, or has had it last; of an earlier one with its
    /// id.
    pub async fn revision(
        &self,
        job: JobName,
        no: u32,
        id: Option<JobId>,
    ) -> Result<JobRevision, RemoteError> {
        let segments = ["jobs", job.as_str(), "revisions", &no.to_string()];
        let request = self.http.request(Method::GET, &segments)?;
        let id = id.map(|id| ("job", id.to_string()));
        self.http.json(request.query(&id.as_slice())).await
    }

    /// Rows of missed firings of all jobs that have had a name, removed ones too, the newest
    /// first.
    pub async fn missed(
        &self,
        job: JobName,
        query: PastQuery,
    ) -> Result<Vec<MissedRow>, RemoteError> {
        let request = self.http.request(Method::GET, &["jobs", job.as_str(), "missed"])?;
        self.http.json(request.query(&query)).await
    }
}
