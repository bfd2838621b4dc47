//! Which jobs and runs an export is of.
//!
//! Imports the rest of the store.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{ExportError, ExportQuery};
use crate::id::{JobId, JobName, Serial};
use crate::job::Job;
use crate::job_past::RemovedJob;
use crate::run::Run;
use crate::store::{Order, Store, StoreError, key, records, walk};
use crate::suggest;

/// Names that are looked at for one that was meant.
const NAMES: usize = 10_000;

/// What an export is of.
pub(super) struct Selection {
    /// `None`: all jobs, and runs of none.
    jobs: Option<BTreeSet<JobId>>,
    /// The keys of the runs.
    pub(super) runs: Range<Vec<u8>>,
}

impl Selection {
    pub(super) fn new(store: &dyn Store, query: &ExportQuery) -> Result<Self, ExportError> {
        let all = key::all(key::RUN);
        // A run's serial begins with the time at which it was due.
        let at = |moment| key::run(Serial::from_parts(moment, 0));
        let runs = query.from.map_or(all.start, at)..query.to.map_or(all.end, at);
        if let (Some(from), Some(to)) = (query.from, query.to)
            && from >= to
        {
            return Err(ExportError::NoSpan { from, to });
        }
        let jobs = query.job.as_ref().map(|name| named(store, name)).transpose()?;
        Ok(Self { jobs, runs })
    }

    pub(super) fn has_job(&self, id: JobId) -> bool {
        self.jobs.as_ref().is_none_or(|jobs| jobs.contains(&id))
    }

    pub(super) fn has_run(&self, run: &Run) -> bool {
        match &self.jobs {
            None => true,
            Some(jobs) => run.job_id.is_some_and(|id| jobs.contains(&id)),
        }
    }
}

/// The jobs that have a name, or have had it.
fn named(store: &dyn Store, name: &JobName) -> Result<BTreeSet<JobId>, ExportError> {
    let mut found = BTreeSet::new();
    let mut others = Vec::new();
    for entry in walk(store, key::all(key::JOB), Order::Up) {
        let (key, value) = entry?;
        let job: Job = records::read("job", &key, &value)?;
        if job.spec.name == *name {
            found.insert(job.id);
        } else if others.len() < NAMES {
            others.push(job.spec.name);
        }
    }
    for entry in walk(store, key::removed_named(name), Order::Up) {
        let (key, value) = entry?;
        found.insert(records::read::<RemovedJob>("removed job", &key, &value)?.job);
    }
    if found.is_empty() {
        let others = others.iter().map(JobName::as_str);
        let suggestion = suggest::nearest(name.as_str(), others);
        return Err(ExportError::NoJob { name: name.clone(), suggestion });
    }
    Ok(found)
}

/// The jobs that were removed, in the order of their names.
pub(super) fn removed(
    store: &dyn Store,
) -> impl Iterator<Item = Result<RemovedJob, StoreError>> + '_ {
    walk(store, key::all(key::REMOVED), Order::Up).map(|entry| {
        let (key, value) = entry?;
        records::read("removed job", &key, &value)
    })
}
