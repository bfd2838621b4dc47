//! Runs: one, many, and those that have ended.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::id::{JobId, JobName, Serial};
use crate::run::Run;
use crate::store::{Order, Store, StoreError, key, records, walk};

/// Runs that a query gives when it does not say.
pub const DEFAULT_RUNS: usize = 100;

/// The most runs that a query gives.
pub const MAX_RUNS: usize = 1_000;

/// The most records that one query looks at. In a store whose ended runs are not listed by job yet
/// (housekeeping does it once, after an update), a query for a job that is rarer than one run in
/// so many gives fewer runs than there are: narrow it with `before`.
pub const RUNS_LOOKED_AT: usize = 100_000;

/// Which runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", default, deny_unknown_fields)]
pub struct RunQuery {
    /// Only runs of the job that had this name when they fired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// Only runs with a lower serial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Serial>,
    /// Only runs with a higher serial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Serial>,
    /// The most runs. Default [`DEFAULT_RUNS`], at most [`MAX_RUNS`].
    pub limit: usize,
}

impl Default for RunQuery {
    fn default() -> Self {
        Self { job: None, before: None, after: None, limit: DEFAULT_RUNS }
    }
}

/// A run; one of which a part is forgotten is not known any more. The counts of an open one are made by reading all its responses.
pub fn run(store: &dyn Store, serial: Serial) -> Result<Option<Run>, StoreError> {
    let Some(mut run) = records::run(store, serial)?.filter(|run| !run.forgotten) else {
        return Ok(None);
    };
    if run.ended_at.is_none() {
        run.counts = records::ended(store, &run)?.counts;
    }
    Ok(Some(run))
}

/// Runs, the newest first. An open run comes as it fired: its counts have the total alone. Use
/// [`run`], or ask the node, for how it stands.
///
/// Looks at [`RUNS_LOOKED_AT`] records at most, and gives those that it has found by then.
pub fn runs(store: &dyn Store, query: &RunQuery) -> Result<Vec<Run>, StoreError> {
    runs_within(store, query, RUNS_LOOKED_AT)
}

/// The ended runs of some jobs, the newest first, found by the list that each job has of them;
/// `None`: the lists are not complete yet. The query's name is not looked at.
pub fn ended_of_jobs(
    store: &dyn Store,
    jobs: &[JobId],
    query: &RunQuery,
) -> Result<Option<Vec<Run>>, StoreError> {
    if store.get(&key::ended_runs_listed())?.is_none() {
        return Ok(None);
    }
    let limit = query.limit.min(MAX_RUNS);
    let mut serials = Vec::new();
    for job in jobs {
        let Range { mut start, mut end } = key::ended_of(Some(*job));
        if let Some(after) = query.after {
            start = key::ended(Some(*job), after.next());
        }
        if let Some(before) = query.before {
            end = key::ended(Some(*job), before);
        }
        for entry in walk(store, start..end, Order::Down).take(limit) {
            serials.push(records::part_of("ended run", &entry?.0, key::ended_in)?.1);
        }
    }
    serials.sort_unstable_by(|a, b| b.cmp(a));
    serials.truncate(limit);
    // One that is forgotten meanwhile is not known any more.
    let known = serials.into_iter().filter_map(|serial| run(store, serial).transpose());
    known.collect::<Result<_, _>>().map(Some)
}

pub(super) fn runs_within(
    store: &dyn Store,
    query: &RunQuery,
    looked_at: usize,
) -> Result<Vec<Run>, StoreError> {
    let Range { mut start, mut end } = key::all(key::RUN);
    if let Some(after) = query.after {
        // The smallest key above it.
        start = key::run(after);
        start.push(0);
    }
    if let Some(before) = query.before {
        end = key::run(before);
    }
    let limit = query.limit.min(MAX_RUNS);
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    for entry in walk(store, start..end, Order::Down).take(looked_at) {
        let (key, value) = entry?;
        let run: Run = records::read("run", &key, &value)?;
        if !run.forgotten && (query.job.is_none() || query.job == run.job) {
            found.push(run);
            if found.len() == limit {
                break;
            }
        }
    }
    Ok(found)
}
