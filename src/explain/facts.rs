//! What the ledger tells of a job, read once when its records do not tell enough.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use super::ledger::{self, Looked};
use crate::engine::What;
use crate::id::{JobId, JobName, Serial};
use crate::job::Missed;
use crate::job_past::MISSED_KEPT;
use crate::run::{Counts, Run};
use crate::store::ledger::{Entry, Item};
use crate::store::{Store, StoreError};
use crate::time::Timestamp;

/// Runs that are kept of one job, at most; of later ones nothing is known.
const MAX_STARTED: usize = 400_000;

/// Renewed pauses and rows of missed firings that are kept, at most.
const MAX_EVENTS: usize = 100_000;

/// A run that the ledger tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Started {
    /// When it fired.
    pub(super) at: Timestamp,
    /// When it ended, and how.
    pub(super) ended: Option<(Timestamp, Counts)>,
}

/// Whether a job is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Since then.
    Paused(Timestamp),
    /// Since before what was looked at.
    PausedBefore,
    Runs,
    /// What was looked at does not tell.
    Unknown,
}

/// What the ledger tells of a job.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// When the ledger begins; `None`: it is empty.
    pub(super) begins: Option<Timestamp>,
    runs: HashMap<Serial, Started>,
    /// How each job stands at the entry that was read last.
    standing: BTreeMap<JobId, Standing>,
    /// How each job stood when a revision changed it, or it was removed (`None`).
    ends: BTreeMap<(JobId, Option<u32>), Standing>,
    /// When it was recorded, and what.
    missed: Vec<(Timestamp, Missed)>,
    /// The number of the last row of each job that has had the name.
    last_rows: BTreeMap<JobId, u64>,
    /// Whether not all could be read or kept.
    pub(super) cut: bool,
}

impl Facts {
    /// Reads what the ledger has of a name from a moment on. `last_rows` has the jobs that have
    /// had it, with the number of the last row of missed firings of each.
    pub(super) fn read(
        store: &dyn Store,
        name: &JobName,
        from: Timestamp,
        last_rows: BTreeMap<JobId, u64>,
    ) -> Result<Self, StoreError> {
        let begins = ledger::begins(store)?;
        let mut facts = Self { begins, last_rows, ..Self::default() };
        facts.look_back(store, name, from)?;
        let span = (from, Timestamp::MAX);
        let looked = ledger::forward(store, span, &[name.as_str()], |entry| {
            facts.see(name, entry);
            ControlFlow::Continue(())
        })?;
        facts.cut |= looked == Looked::Cut;
        Ok(facts)
    }

    /// Whether the job was paused when the span begins.
    fn look_back(
        &mut self,
        store: &dyn Store,
        name: &JobName,
        from: Timestamp,
    ) -> Result<(), StoreError> {
        let before = Timestamp::from_millis(from.millis().saturating_sub(1));
        let mut latest: Vec<(JobId, Timestamp)> = Vec::new();
        ledger::back(store, (before, Timestamp::MIN), &[name.as_str()], |entry| {
            match change_of(name, &entry) {
                // The pause may have been renewed: it began with the first after a resume.
                Some((job, _, "paused")) => latest.push((job, entry.at)),
                Some((_, _, "resumed" | "created")) => return ControlFlow::Break(()),
                _ => {}
            }
            if latest.len() < MAX_EVENTS {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if let Some((job, at)) = latest.pop() {
            self.standing.insert(job, Standing::Paused(at));
        }
        Ok(())
    }

    fn see(&mut self, name: &JobName, entry: Entry) {
        if let Some((job, revision, change)) = change_of(name, &entry) {
            self.see_change(entry.at, job, revision, change);
        }
        let Item::Event(what) = entry.item else { return };
        match *what {
            What::RunStarted { serial, job: Some(job), .. } if job == *name => {
                if self.runs.len() < MAX_STARTED {
                    self.runs.insert(serial, Started { at: entry.at, ended: None });
                } else {
                    self.cut = true;
                }
            }
            What::RunEnded { serial, counts, .. } => {
                if let Some(run) = self.runs.get_mut(&serial) {
                    run.ended = Some((entry.at, counts));
                }
            }
            What::Missed { job, missed } if job == *name => {
                if self.missed.len() < MAX_EVENTS {
                    self.missed.push((entry.at, missed));
                } else {
                    self.cut = true;
                }
            }
            _ => {}
        }
    }

    fn see_change(&mut self, at: Timestamp, job: JobId, revision: Option<u32>, change: &str) {
        let before = self.standing.get(&job).copied().unwrap_or(Standing::Unknown);
        match change {
            "created" => _ = self.standing.insert(job, Standing::Runs),
            // One that is paused may be paused anew, for another reason.
            "paused" if matches!(before, Standing::Unknown | Standing::Runs) => {
                self.standing.insert(job, Standing::Paused(at));
            }
            "resumed" => {
                if before == Standing::Unknown {
                    // It was paused all the time.
                    let ends = self.ends.range_mut((job, None)..=(job, Some(u32::MAX)));
                    ends.for_each(|(_, standing)| *standing = Standing::PausedBefore);
                }
                self.standing.insert(job, Standing::Runs);
            }
            "updated" => _ = self.ends.insert((job, revision), before),
            "removed" => _ = self.ends.insert((job, None), before),
            _ => {}
        }
    }

    /// A run of the job.
    pub(super) fn started(&self, serial: Serial) -> Option<&Started> {
        self.runs.get(&serial)
    }

    /// A row of missed firings that had a moment and gave its place to later rows.
    pub(super) fn row_no_longer_kept(
        &self,
        job: JobId,
        at: Timestamp,
    ) -> Option<(Timestamp, &Missed)> {
        let last = *self.last_rows.get(&job)?;
        self.missed.iter().map(|(recorded, row)| (*recorded, row)).find(|(recorded, row)| {
            let owner = self.last_rows.keys().rev().find(|job| job.time() <= *recorded);
            owner == Some(&job)
                && row.row.saturating_add(MISSED_KEPT) <= last
                && row.first <= at
                && at <= row.last
        })
    }

    /// How the job stood when a revision changed it, or when it was removed (`None`).
    pub(super) fn standing_at_end(&self, job: JobId, revision: Option<u32>) -> Standing {
        self.ends.get(&(job, revision)).copied().unwrap_or(Standing::Unknown)
    }
}

/// When the job was resumed between a run's moment and its firing: then it was made up for after a
/// pause.
pub(super) fn resumed_before(
    store: &dyn Store,
    name: &JobName,
    run: &Run,
) -> Result<Option<Timestamp>, StoreError> {
    let mut found = None;
    ledger::back(store, (run.fired_at, run.scheduled_at), &[name.as_str()], |entry| {
        if let Item::Event(what) = &entry.item
            && let What::Job { job, id, change, .. } = &**what
            && change == "resumed"
            && job == name
            && Some(*id) == run.job_id
        {
            found = Some(entry.at);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// A change of a job of the name: which, the revision that it has since then, and the change.
fn change_of<'a>(name: &JobName, entry: &'a Entry) -> Option<(JobId, Option<u32>, &'a str)> {
    let Item::Event(what) = &entry.item else { return None };
    let What::Job { job, id, revision, change, .. } = &**what else { return None };
    (job == name).then_some((*id, *revision, change.as_str()))
}
