//! Firings that did not happen, of jobs that are for a client.

use super::item::MissedFirings;
use super::meant::meant;
use super::query::Span;
use crate::client_record::ClientRecord;
use crate::id::{JobId, JobName};
use crate::job::JobSpec;
use crate::job_past::{JobRevision, MissedRow};
use crate::store::{Order, Store, StoreError, key, records, walk};

/// Rows that one answer looks at, at most.
const LOOKED_AT: usize = 1_000_000;

/// Rows that one answer has, at most.
const MAX_ROWS: usize = 10_000;

/// The rows of missed firings in a span, of jobs whose target means the client; and whether there
/// may be more. A job is taken as it is now, or as it was last.
pub(super) fn of_client(
    store: &dyn Store,
    client: &ClientRecord,
    span: Span,
) -> Result<(Vec<MissedFirings>, bool), StoreError> {
    let mut found = Vec::new();
    let mut job_at_hand: Option<(JobId, Option<JobName>)> = None;
    let mut rows = walk(store, key::all(key::MISSED), Order::Up);
    for entry in rows.by_ref().take(LOOKED_AT) {
        let (key, value) = entry?;
        let row: MissedRow = records::read("row of missed firings", &key, &value)?;
        if row.first >= span.until || row.last < span.since {
            continue;
        }
        // The rows of a job come together.
        if job_at_hand.as_ref().is_none_or(|(job, _)| *job != row.job) {
            let spec = spec(store, row.job)?;
            let spec = spec.filter(|spec| meant(&spec.target, client) == Some(true));
            job_at_hand = Some((row.job, spec.map(|spec| spec.name)));
        }
        if let Some((_, Some(job))) = job_at_hand.clone() {
            let MissedRow { first, last, count, reason, policy, .. } = row;
            found.push(MissedFirings { job, first, last, count, reason, policy });
        }
        if found.len() >= MAX_ROWS {
            return Ok((found, true));
        }
    }
    Ok((found, rows.next().is_some()))
}

/// A job's definition as it is now, or as it was last.
fn spec(store: &dyn Store, job: JobId) -> Result<Option<JobSpec>, StoreError> {
    if let Some(job) = records::job(store, job)? {
        return Ok(Some(job.spec));
    }
    for entry in walk(store, key::of_job(key::REVISION, job), Order::Down).take(2) {
        let (key, value) = entry?;
        let revision: JobRevision = records::read("job revision", &key, &value)?;
        if revision.spec.is_some() {
            return Ok(revision.spec);
        }
    }
    Ok(None)
}
