//! What a job keeps of its own past: the revisions of its definition, and the rows of firings
//! that were missed.
//!
//! Promises: numbers begin at 1 and go up by one; of each job the latest are kept, up to a limit.
//! Imports domain types.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{JobId, JobName};
use crate::job::{CatchUp, Job, JobSpec};
use crate::job_diff::FieldChange;
use crate::time::Timestamp;

/// Rows of missed firings that are kept of one job; a further one takes the oldest's place.
pub const MISSED_KEPT: u64 = 1_000;

/// Revisions that are kept of one job, the current one included; a further one takes the
/// oldest's place.
pub const REVISIONS_KEPT: u32 = 1_000;

/// A row of firings that were due and did not happen, all for one reason: what one catch-up left
/// out, however many they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedRow {
    /// The job.
    pub job: JobId,
    /// 1 for the job's first row, one more for each.
    pub no: u64,
    /// How many did not happen.
    pub count: u64,
    /// Whether they were counted one by one. If not, there were more than 10,000, and `count` is
    /// the least that it can be.
    pub counted_exactly: bool,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// Why.
    pub reason: String,
    /// When it was recorded.
    pub at: Timestamp,
    /// The job's policy at that time.
    pub policy: CatchUp,
    /// How many more the same catch-up fired late instead; they are runs, and not in `count`.
    pub fired: u64,
}

/// What made a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevisionChange {
    /// The job was defined.
    Created,
    /// Its definition was changed.
    Changed,
    /// It was removed.
    Removed,
}

/// One revision of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRevision {
    /// The job.
    pub job: JobId,
    /// 1 for the job's first, one more for each.
    pub revision: u32,
    /// When it came about.
    pub at: Timestamp,
    /// What made it.
    pub change: RevisionChange,
    /// The definition since then; `None`: there is none, the job was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<JobSpec>,
    /// The fields that differ from the revision before, see [`job_diff`](crate::job_diff). Made
    /// when it is read; `None`: there is nothing to compare, or it is no longer kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Vec<FieldChange>>,
}

impl JobRevision {
    /// The revision that a job is at.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        let first = job.revision == 1;
        Self {
            job: job.id,
            revision: job.revision,
            at: job.updated_at,
            change: if first { RevisionChange::Created } else { RevisionChange::Changed },
            spec: Some(job.spec.clone()),
            diff: None,
        }
    }

    /// The last revision of a job that is removed at `at`.
    #[must_use]
    pub fn removed(job: &Job, at: Timestamp) -> Self {
        let revision = job.revision.saturating_add(1);
        let change = RevisionChange::Removed;
        Self { job: job.id, revision, at, change, spec: None, diff: None }
    }

    /// Its place in the past of all jobs of its name.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { job: self.job, no: u64::from(self.revision) }
    }
}

impl MissedRow {
    /// Its place in the past of all jobs of its name.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { job: self.job, no: self.no }
    }
}

/// A job that is no more, but for its past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedJob {
    /// Its number.
    pub job: JobId,
    /// The name that it had; a later job may have it now.
    pub name: JobName,
    /// When it was removed.
    pub removed_at: Timestamp,
}

/// A record's place in the past of all jobs that have had one name: `JOB-ID.NUMBER`, where a list
/// is read on. Places sort by job, then number: a later job of the name is higher.
///
/// ```
/// # use fleetcron::Place;
/// let place: Place = "01JD0000000000000000000000.12".parse()?;
/// assert_eq!((place.no, place.to_string().as_str()), (12, "01JD0000000000000000000000.12"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    /// The job.
    pub job: JobId,
    /// The number of the revision or the row.
    pub no: u64,
}

/// A text that is not a [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a place in a job's past, such as 01JD0000000000000000000000.12")]
pub struct InvalidPlace(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.no)
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let parse = || {
            let (job, no) = text.split_once('.')?;
            Some(Self { job: job.parse().ok()?, no: no.parse().ok()? })
        };
        parse().ok_or_else(|| InvalidPlace(text.chars().take(160).collect()))
    }
}

impl TryFrom<String> for Place {
    type Error = InvalidPlace;

    fn try_from(text: String) -> Result<Self, InvalidPlace> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "01JD0000000000000000000000";

    #[test]
    fn places_sort_by_job_then_number() {
        let place = |text: &str| text.parse::<Place>().unwrap();
        let two = place(&format!("{JOB}.2"));
        assert!(two < place(&format!("{JOB}.10")));
        assert!(place(&format!("{JOB}.10")) < place("01JD0000000000000000000001.1"));
    }

    #[test]
    fn what_is_no_place_is_told_with_its_text() {
        for text in ["", ".", JOB, "x.1", &format!("{JOB}."), &format!("{JOB}.-1")] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is not a place")), "{error}");
        }
        assert!("x".repeat(10_000).parse::<Place>().unwrap_err().to_string().len() < 300);
    }
}
