//! The handle's part in statistics: they are read, and a chore counts by it what the ledger tells.

use super::{CallError, Handle};
use crate::engine::{Reply, Request};
use crate::history::{self, Delta};
use crate::id::{ClientId, JobName};
use crate::statistics::{CLIENTS, ClientStatistics, Counted, JobStatistics, Record, Slot, Subject};
use crate::store::records;
use crate::time::Timestamp;

/// What is to be counted next.
#[derive(Debug)]
pub struct Uncounted {
    /// Up to where the ledger is counted.
    pub counted: Counted,
    /// What comes after it.
    pub delta: Delta,
}

impl Handle {
    /// The statistics of a job; of several that have had the name, those of the latest. What the
    /// chore has not counted yet is counted, up to a bound: `as_of` tells.
    pub async fn job_statistics(&self, job: JobName) -> Result<JobStatistics, CallError> {
        let now = self.time().await?;
        let name = job.clone();
        let told = self.past(job, move |store, name, live| {
            let jobs = history::jobs_named(store, name, live, None)?;
            let latest = jobs.first().copied();
            latest.map(|job| history::statistics(store, Subject::Job(job), 0, now)).transpose()
        });
        // The name is known, or there had been an error.
        let told = told
            .await?
            .ok_or_else(|| CallError::UnexpectedReply(format!("job {name} has no number")))?;
        let history::Told { as_of, periods, hours, days } = told;
        Ok(JobStatistics { job: name, as_of, periods, hours, days })
    }

    /// The statistics of a client, in the same way.
    pub async fn client_statistics(&self, id: ClientId) -> Result<ClientStatistics, CallError> {
        let now = self.time().await?;
        let client = self.client(id).await?.id;
        let id = client.clone();
        let told = self.read(move |store| {
            let Some(no) = history::client_no(store, &id)? else { return Ok(None) };
            let place = u8::try_from(no.0 % CLIENTS).unwrap_or(0);
            history::statistics(store, Subject::Clients(no.0 / CLIENTS), place, now).map(Some)
        });
        let told = told
            .await?
            .ok_or_else(|| CallError::UnexpectedReply(format!("client {client} has no number")))?;
        let history::Told { as_of, periods, hours, days } = told;
        Ok(ClientStatistics { client, as_of, periods, hours, days })
    }

    /// The next part of the ledger that is not counted; `seen`: events before it are known to be of
    /// no matter.
    pub async fn uncounted(&self, seen: u64) -> Result<Uncounted, CallError> {
        self.read(move |store| {
            let counted = history::counted(store)?;
            let delta = if counted.done < counted.until {
                history::count(store, counted.done, Some(counted.until))?
            } else {
                history::count(store, counted.until.max(seen), None)?
            };
            Ok(Uncounted { counted, delta })
        })
        .await
    }

    /// Adds counts to the stored statistics, those that have them already left out, and notes up to
    /// where the ledger is counted.
    pub async fn put_statistics(
        &self,
        deltas: Vec<(Slot, Record)>,
        counted: Counted,
    ) -> Result<(), CallError> {
        let batch = self
            .read(move |store| records::put_statistics(&history::merged(store, deltas)?, &counted));
        self.write_derived(batch.await?).await
    }

    /// Before which moment every run that has ended is in the statistics.
    pub async fn counted_before(&self) -> Result<Timestamp, CallError> {
        self.read(history::counted_before).await
    }

    /// Forgets a bounded part of the statistics of hours and days before these; `false`: there were
    /// none.
    pub async fn forget_statistics(&self, hours: u32, days: u32) -> Result<bool, CallError> {
        let batch = self.read(move |store| records::old_statistics(store, hours, days)).await?;
        let any = !batch.is_empty();
        if any {
            self.write_derived(batch).await?;
        }
        Ok(any)
    }

    async fn time(&self) -> Result<Timestamp, CallError> {
        match self.call(Request::Time).await? {
            Reply::Time(now) => Ok(now),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }
}
