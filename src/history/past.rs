//! The past of jobs: revisions and rows of missed firings, of all jobs that have had one name.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::id::{JobId, JobName};
use crate::job_diff;
use crate::job_past::{JobRevision, MissedRow, Place, RemovedJob, RevisionChange};
use crate::store::{Order, Store, StoreError, key, records, walk};
use crate::time::Timestamp;

/// Records that a query of the past gives when it does not say.
pub const DEFAULT_PAST: usize = 100;

/// The most records that a query of the past gives.
pub const MAX_PAST: usize = 1_000;

/// Bytes of revisions after which one read stops.
pub const MAX_REVISIONS_BYTES: usize = 1024 * 1024;

/// Removed jobs of one name that one read looks at, the latest first.
pub const NAMESAKES: usize = 1_000;

/// Names of removed jobs that are looked at for one that was meant.
const NAMES: usize = 10_000;

/// Which part of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PastQuery {
    /// Only what is before this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Place>,
    /// The most records. Default [`DEFAULT_PAST`], at most [`MAX_PAST`].
    pub limit: usize,
}

impl Default for PastQuery {
    fn default() -> Self {
        Self { before: None, limit: DEFAULT_PAST }
    }
}

impl PastQuery {
    fn limit(&self) -> usize {
        self.limit.min(MAX_PAST)
    }

    /// The first number of a job that is not before the place; `None`: all are.
    fn end(&self, job: JobId) -> Option<u64> {
        self.before.filter(|place| place.job == job).map(|place| place.no)
    }
}

/// The jobs of a name, a later one before an earlier one: those that were removed, and `live`, the
/// one that has the name now. With `before`, those that it does not leave out.
///
/// Looks at [`NAMESAKES`] removed jobs at most.
pub fn jobs_named(
    store: &dyn Store,
    name: &JobName,
    live: Option<JobId>,
    before: Option<Place>,
) -> Result<Vec<JobId>, StoreError> {
    let mut keys = key::removed_named(name);
    if let Some(before) = before {
        keys.end = key::removed(name, before.job);
        // The place is within this job.
        keys.end.push(0);
    }
    let mut jobs: BTreeSet<JobId> =
        live.into_iter().filter(|job| before.is_none_or(|before| *job <= before.job)).collect();
    for entry in walk(store, keys, Order::Down).take(NAMESAKES) {
        let (key, value) = entry?;
        jobs.insert(records::read::<RemovedJob>("removed job", &key, &value)?.job);
    }
    Ok(jobs.into_iter().rev().collect())
}

/// Revisions of all jobs that have had a name, the newest first, each with what it changed.
/// `live` is the job that has the name now.
///
/// Stops after [`MAX_REVISIONS_BYTES`]: a part may be shorter than its limit, and only an empty
/// one is the end.
pub fn revisions(
    store: &dyn Store,
    name: &JobName,
    live: Option<JobId>,
    query: &PastQuery,
) -> Result<Vec<JobRevision>, StoreError> {
    let mut found = Vec::new();
    for job in jobs_named(store, name, live, query.before)? {
        let end = query.end(job).map(|no| u32::try_from(no).unwrap_or(u32::MAX));
        if !add_revisions(store, job, end, query.limit(), &mut found)? {
            break;
        }
    }
    let mut found: Vec<JobRevision> = found.into_iter().map(|(revision, _)| revision).collect();
    for at in 0..found.len() {
        let (later, earlier) = found.split_at_mut(at + 1);
        let before = earlier.first().filter(|before| {
            before.job == later[at].job && before.revision + 1 == later[at].revision
        });
        compare(store, &mut later[at], before)?;
    }
    Ok(found)
}

/// Adds the revisions of one job before `end`; tells whether there is room for more.
fn add_revisions(
    store: &dyn Store,
    job: JobId,
    end: Option<u32>,
    limit: usize,
    found: &mut Vec<(JobRevision, usize)>,
) -> Result<bool, StoreError> {
    let full = |found: &Vec<(JobRevision, usize)>| {
        let bytes: usize = found.iter().map(|(_, bytes)| bytes).sum();
        found.len() >= limit || bytes >= MAX_REVISIONS_BYTES
    };
    // Read first: what changes meanwhile is then found twice rather than not at all.
    let current = records::job(store, job)?.map(|job| JobRevision::of(&job));
    let Range { start, end: mut last } = key::of_job(key::REVISION, job);
    if let Some(end) = end {
        last = key::revision(job, end);
    }
    if let Some(current) = current.as_ref().filter(|it| end.is_none_or(|end| it.revision < end)) {
        if full(found) {
            return Ok(false);
        }
        let bytes = current.spec.as_ref().map_or(0, |spec| spec.params.text().len());
        found.push((current.clone(), bytes));
    }
    for entry in walk(store, start..last, Order::Down) {
        if full(found) {
            return Ok(false);
        }
        let (key, value) = entry?;
        let revision: JobRevision = records::read("job revision", &key, &value)?;
        if current.as_ref().is_none_or(|current| revision.revision < current.revision) {
            found.push((revision, value.len()));
        }
    }
    Ok(!full(found))
}

/// Fills in what a revision changed. `before`: the one before it, if it is at hand.
fn compare(
    store: &dyn Store,
    revision: &mut JobRevision,
    before: Option<&JobRevision>,
) -> Result<(), StoreError> {
    let (RevisionChange::Changed, Some(spec)) = (revision.change, &revision.spec) else {
        return Ok(());
    };
    let stored;
    let before = if before.is_some() {
        before
    } else {
        stored = records::revision(store, revision.job, revision.revision.saturating_sub(1))?;
        stored.as_ref()
    };
    let before = before.and_then(|before| before.spec.as_ref());
    revision.diff = before.map(|before| job_diff::fields(Some(before), spec));
    Ok(())
}

/// One revision of a job, with what it changed.
pub fn revision(store: &dyn Store, job: JobId, no: u32) -> Result<Option<JobRevision>, StoreError> {
    let current = records::job(store, job)?.filter(|job| job.revision == no);
    let found = match current {
        Some(job) => Some(JobRevision::of(&job)),
        None => records::revision(store, job, no)?,
    };
    let Some(mut revision) = found else { return Ok(None) };
    compare(store, &mut revision, None)?;
    Ok(Some(revision))
}

/// Rows of missed firings of all jobs that have had a name, the newest first. `live` is the job
/// that has the name now.
pub fn missed(
    store: &dyn Store,
    name: &JobName,
    live: Option<JobId>,
    query: &PastQuery,
) -> Result<Vec<MissedRow>, StoreError> {
    let mut found = Vec::new();
    for job in jobs_named(store, name, live, query.before)? {
        let Range { start, mut end } = key::of_job(key::MISSED, job);
        if let Some(no) = query.end(job) {
            end = key::missed(job, no);
        }
        let room = query.limit() - found.len();
        for entry in walk(store, start..end, Order::Down).take(room) {
            let (key, value) = entry?;
            found.push(records::read("row of missed firings", &key, &value)?);
        }
    }
    Ok(found)
}

/// Jobs that were removed before a moment, the earliest first, `limit` at most: whose past
/// retention may forget.
pub fn removed_before(
    store: &dyn Store,
    moment: Timestamp,
    limit: usize,
) -> Result<Vec<RemovedJob>, StoreError> {
    walk(store, key::removed_before(moment), Order::Up)
        .take(limit)
        .map(|entry| {
            let (key, value) = entry?;
            records::read("removed job", &key, &value)
        })
        .collect()
}

/// The name of a removed job that was most likely meant by one that is not known.
pub fn nearest_removed(store: &dyn Store, name: &JobName) -> Result<Option<String>, StoreError> {
    let mut names = BTreeSet::new();
    for entry in walk(store, key::all(key::REMOVED), Order::Up).take(NAMES) {
        let (key, value) = entry?;
        names.insert(records::read::<RemovedJob>("removed job", &key, &value)?.name);
    }
    Ok(crate::suggest::nearest(name.as_str(), names.iter().map(JobName::as_str)))
}

#[cfg(test)]
mod tests;
