//! Pauses of jobs: they begin, and end when somebody says so or their time has come.

use super::core::Engine;
use super::effect::{Reply, RequestError};
use super::event::What;
use super::input::Pause;
use super::jobs::{Entry, valid};
use super::not_found;
use crate::id::{JobId, JobName, Serial};
use crate::pause::{JobSelection, PauseTerms, Paused, SelectionChange};
use crate::run::Counts;

/// Jobs that one call of the deadline resumes, at most.
const RESUMED_AT_ONCE: usize = 1_024;

/// Firings caught up after which one call of the deadline resumes no further job.
const FIRINGS_AT_ONCE: usize = 4_096;

/// A run of a job that has ended.
#[derive(Debug)]
pub(super) struct EndedRun {
    pub(super) job: JobId,
    pub(super) serial: Serial,
    pub(super) counts: Counts,
}

impl Engine {
    /// Stops a job's rule from firing. One that is paused already stays so since then, with the
    /// new reason and end.
    pub(super) fn pause(&mut self, pause: &Pause) -> Result<Reply, RequestError> {
        let mut entry = self.job(&pause.job)?;
        let mut paused = self.begin_pause(&pause.terms)?;
        let before = entry.state.paused.take();
        if let Some(before) = &before {
            paused.at = before.at;
        }
        if before.as_ref() != Some(&paused) {
            entry.state.paused = Some(paused);
            self.standing_changed(entry.job.id, None);
            self.notify_job(&entry, "paused");
            self.jobs.put(entry);
        }
        self.job_reply(&pause.job)
    }

    fn begin_pause(&self, terms: &PauseTerms) -> Result<Paused, RequestError> {
        terms.begin(self.now).map_err(|error| RequestError::Invalid(error.to_string()))
    }

    /// Pauses the jobs of a selection, all or none. Those that are paused already stay as they
    /// are: an end of this pause must not resume what somebody has paused for another reason.
    pub(super) fn pause_all(
        &mut self,
        jobs: &JobSelection,
        terms: &PauseTerms,
    ) -> Result<Reply, RequestError> {
        let paused = self.begin_pause(terms)?;
        let names = self.selected(jobs)?;
        let (unchanged, changed): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| self.is_paused(name));
        self.change_pauses(&changed, |state| *state = Some(paused.clone()));
        for name in &changed {
            if let Some(entry) = self.jobs.find(name) {
                self.notify_job(&entry, "paused");
            }
        }
        Ok(Reply::Selection(SelectionChange { changed, unchanged }))
    }

    /// Lets the paused jobs of a selection fire again, all or none. Their pauses get an end that
    /// has come, so that what they missed is caught up in bounded parts.
    pub(super) fn resume_all(&mut self, jobs: &JobSelection) -> Result<Reply, RequestError> {
        let names = self.selected(jobs)?;
        let (changed, unchanged): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| self.is_paused(name));
        let now = self.now;
        self.change_pauses(&changed, |paused| {
            if let Some(paused) = paused {
                paused.until = Some(now);
            }
        });
        Ok(Reply::Selection(SelectionChange { changed, unchanged }))
    }

    /// The names of a selection; that there are none is a mistake.
    fn selected(&self, jobs: &JobSelection) -> Result<Vec<JobName>, RequestError> {
        let names: Vec<JobName> = self.jobs.beginning(jobs.prefix()).filter_map(valid).collect();
        if names.is_empty() {
            let begun = self.jobs.names();
            let begun = begun.filter_map(|name| Some(&name[..=name.rfind('/')?]));
            return Err(not_found("group of jobs", &jobs.to_string(), begun));
        }
        Ok(names)
    }

    fn is_paused(&self, name: &JobName) -> bool {
        self.jobs.find(name).is_some_and(|entry| entry.state.paused.is_some())
    }

    /// Changes jobs in one unit, so that a crash leaves all or none of it.
    fn change_pauses(&mut self, names: &[JobName], change: impl Fn(&mut Option<Paused>)) {
        self.close();
        let mut unit = Vec::with_capacity(names.len());
        for name in names {
            let Some(mut entry) = self.jobs.find(name) else { continue };
            change(&mut entry.state.paused);
            self.put_standing(&mut unit, &entry);
            self.jobs.put(entry);
        }
        if !unit.is_empty() {
            self.store(unit);
        }
    }

    /// Lets a paused job's rule fire again. A job that is not paused stays as it is.
    pub(super) fn resume(&mut self, name: &JobName) -> Result<Reply, RequestError> {
        let entry = self.job(name)?;
        if entry.state.paused.is_some() {
            self.end_pause(entry.job.id);
        }
        self.job_reply(name)
    }

    /// Resumes the jobs whose pauses have come to their end, a bounded part of them.
    pub(super) fn resume_due(&mut self) {
        let mut fired = 0;
        for id in self.jobs.waking(self.now, RESUMED_AT_ONCE) {
            if fired >= FIRINGS_AT_ONCE {
                // The others stay due, and the next call looks at them.
                break;
            }
            fired += self.end_pause(id);
        }
    }

    /// Ends a job's pause and catches up; tells how many firings that makes.
    fn end_pause(&mut self, id: JobId) -> usize {
        let Some(mut entry) = self.jobs.get(id) else { return 0 };
        let Some(paused) = entry.state.paused.take() else { return 0 };
        entry.state.failures = 0;
        self.standing_changed(id, None);
        self.notify_job(&entry, "resumed");
        self.jobs.put(entry);
        self.catch_up_after_pause(id, paused.until)
    }

    /// Counts the failed runs in a row of jobs that pause by them, and pauses those that have
    /// enough of them. Runs that neither failed nor succeeded everywhere count as nothing.
    pub(super) fn count_failures(&mut self) {
        for EndedRun { job, serial, counts } in std::mem::take(&mut self.ended) {
            let Some(mut entry) = self.jobs.get(job) else { continue };
            let Some(limit) = entry.job.spec.pause_on_failure else { continue };
            let before = entry.state.failures;
            if counts.failed > 0 || counts.timed_out > 0 {
                entry.state.failures = before.saturating_add(1);
            } else if counts.total > 0 && counts.succeeded == counts.total {
                entry.state.failures = 0;
            }
            let failures = entry.state.failures;
            if failures == before {
                continue;
            }
            let pauses = failures >= limit.get() && entry.state.paused.is_none();
            if pauses {
                let reason = format!("{failures} failed runs in a row, the last {serial}");
                entry.state.paused =
                    Some(Paused { at: self.now, reason: Some(reason), until: None });
            }
            self.standing_changed(job, Some(serial));
            if pauses {
                let name = &entry.job.spec.name;
                tracing::warn!(job = %name, %serial, failures, "the job pauses itself");
                self.notify_job(&entry, "paused");
            }
            self.jobs.put(entry);
        }
    }

    fn job_reply(&self, name: &JobName) -> Result<Reply, RequestError> {
        Ok(Reply::Job(Box::new(self.job(name)?.view())))
    }

    /// Tells of a change of a job, as it is after it.
    pub(super) fn notify_job(&mut self, entry: &Entry, change: &str) {
        let paused = entry.state.paused.as_ref().filter(|_| change == "paused");
        self.notify(What::Job {
            job: entry.job.spec.name.clone(),
            id: entry.job.id,
            change: change.into(),
            revision: Some(entry.job.revision),
            fields: Vec::new(),
            reason: paused.and_then(|paused| paused.reason.clone()),
            until: paused.and_then(|paused| paused.until),
        });
    }
}
