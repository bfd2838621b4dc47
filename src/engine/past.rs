//! What jobs keep of their past, and how it is written so that a crash cannot part it from what
//! it explains: a row of missed firings goes into the unit of the standing that counts it, a
//! revision into the unit of the change that ends it.

use super::change::Change;
use super::core::Engine;
use super::effect::Reply;
use super::jobs::Entry;
use crate::id::JobId;
use crate::job::Job;
use crate::job_past::{JobRevision, MissedRow, RemovedJob};

impl Engine {
    /// Notes a row of missed firings. It is written with the job's standing, wherever that is
    /// written next.
    pub(super) fn note_missed(&mut self, row: MissedRow) {
        let id = row.job;
        self.missed_rows.entry(id).or_default().push(row);
        self.standing_changed(id, None);
    }

    /// Writes a job's standing, and with it the rows of missed firings that it counts. The only
    /// way in which a standing is written.
    pub(super) fn put_standing(&mut self, unit: &mut Vec<Change>, entry: &Entry) {
        let Entry { job, state } = entry.clone();
        let id = job.id;
        unit.push(Change::PutJobState(job, state));
        self.put_missed(unit, id);
    }

    /// Writes that a job is no more. What it kept of its past stays.
    pub(super) fn put_removal(&mut self, unit: &mut Vec<Change>, job: &Job) {
        unit.push(Change::RemoveJob(job.id));
        self.put_missed(unit, job.id);
        unit.push(Change::PutRevision(Box::new(JobRevision::of(job))));
        unit.push(Change::PutRevision(Box::new(JobRevision::removed(job, self.now))));
        let (name, removed_at) = (job.spec.name.clone(), self.now);
        unit.push(Change::PutRemoved(RemovedJob { job: job.id, name, removed_at }));
    }

    fn put_missed(&mut self, unit: &mut Vec<Change>, id: JobId) {
        let rows = self.missed_rows.remove(&id).unwrap_or_default();
        unit.extend(rows.into_iter().map(Change::PutMissed));
    }

    /// Forgets a bounded part of the past of these removed jobs; called again and again, all of
    /// it.
    pub(super) fn forget_jobs(&mut self, jobs: Vec<RemovedJob>) -> Reply {
        let gone = jobs.into_iter().filter(|job| !self.jobs.contains(job.job));
        let unit: Vec<Change> = gone.map(Change::ForgetJob).collect();
        if !unit.is_empty() {
            self.store(unit);
        }
        Reply::Done
    }
}
