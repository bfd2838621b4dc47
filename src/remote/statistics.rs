//! Statistics over HTTP.

use super::{Remote, RemoteError};
use crate::id::{ClientId, JobName};
use crate::statistics::{ClientStatistics, JobStatistics};

impl Remote {
    /// The statistics of a job; of several that have had the name, those of the latest.
    pub async fn job_statistics(&self, job: JobName) -> Result<JobStatistics, RemoteError> {
        self.fetch(&["jobs", job.as_str(), "statistics"]).await
    }

    /// The statistics of a client.
    pub async fn client_statistics(&self, id: ClientId) -> Result<ClientStatistics, RemoteError> {
        self.fetch(&["clients", id.as_str(), "statistics"]).await
    }
}
