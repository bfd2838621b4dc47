//! The jobs that are at hand, and where the others are read from.
//!
//! A store may have a million jobs, of which few are due soon. In memory is of each what tells when
//! it must be looked at ([`JobHead`]); its definition and its standing are read when they are
//! needed, and a bounded number of them stay at hand.
//!
//! Promises: what was changed stays at hand until it is durable, so that what is read is never
//! older than what was decided. What cannot be read is told by [`AtHand::failure`], and whoever
//! drives the engine must not let anything of its decisions out then. What is at hand changes no
//! decision. Imports the domain types.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::job_index::Slots;
use super::jobs::Entry;
use crate::id::{CalendarName, JobId, JobName};
use crate::job::{Job, JobState};
use crate::keep::Keep;
use crate::time::Timestamp;

/// Where jobs are read from that are not at hand: what was last made durable.
pub trait Definitions: fmt::Debug + Send + Sync {
    /// A job and where it stands.
    ///
    /// # Errors
    /// It cannot be read, or it is not there: the engine asks for stored jobs only.
    fn read(&self, id: JobId) -> Result<(Job, JobState), Unread>;
}

/// Why a job was not read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unread(#[source] pub Box<dyn Error + Send + Sync>);

/// What is in memory of every job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobHead {
    /// Its lasting number.
    pub id: JobId,
    /// Its unique name.
    pub name: JobName,
    /// When it is due, unless it is paused.
    pub due: Option<Timestamp>,
    /// When its pause ends by itself.
    pub wakes: Option<Timestamp>,
    /// The calendars that its rule names.
    pub calendars: Vec<CalendarName>,
    /// What of its history is kept, if it says so.
    pub history: Option<Keep>,
}

impl JobHead {
    /// What is in memory of a job that stands so.
    #[must_use]
    pub fn of(job: &Job, state: &JobState) -> Self {
        let Job { id, spec, .. } = job;
        Self {
            id: *id,
            name: spec.name.clone(),
            due: due(state),
            wakes: state.wakes(),
            calendars: spec.rule.calendars().into_iter().cloned().collect(),
            history: spec.history,
        }
    }
}

/// What is in memory of many jobs, packed: there can be millions.
#[derive(Debug, Default)]
pub struct JobHeads {
    pub(super) slots: Slots,
    /// Those that have what most jobs do not have, and a slot has no place for.
    pub(super) others: Vec<JobHead>,
}

impl JobHeads {
    /// Adds that of one more job, which must have another number and another name than all others.
    pub fn push(&mut self, head: JobHead) {
        self.slots.add(head.id, head.name.as_str(), head.due);
        if head.wakes.is_some() || !head.calendars.is_empty() || head.history.is_some() {
            self.others.push(head);
        }
    }

    /// Adds others, pushed in falling order of their numbers, without those up to a number.
    pub fn append(&mut self, others: Self, after: JobId) {
        self.slots.append(others.slots, after);
        self.others.extend(others.others.into_iter().filter(|head| head.id > after));
    }

    /// Of how many jobs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() as usize
    }

    /// Whether it is of none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that were added, in their order.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = JobHead> {
        (0..self.slots.len()).map(|slot| {
            let id = self.slots.id(slot);
            let (name, due) = (self.slots.name(slot).parse().unwrap(), self.slots.due(slot));
            if let Some(head) = self.others.iter().find(|head| head.id == id) {
                return JobHead { name, due, ..head.clone() };
            }
            JobHead { id, name, due, wakes: None, calendars: Vec::new(), history: None }
        })
    }
}

impl FromIterator<JobHead> for JobHeads {
    fn from_iter<I: IntoIterator<Item = JobHead>>(heads: I) -> Self {
        let mut all = Self::default();
        heads.into_iter().for_each(|head| all.push(head));
        all
    }
}

/// When a job that stands so must be looked at: never while it is paused.
pub(super) fn due(state: &JobState) -> Option<Timestamp> {
    state.next_due.filter(|_| state.paused.is_none())
}

/// The jobs that are at hand.
#[derive(Debug, Default)]
pub(super) struct AtHand {
    entries: BTreeMap<JobId, Kept>,
    /// Where the others are; `None`: there are no others.
    stored: Option<Arc<dyn Definitions>>,
    /// How many that are stored as they are stay at hand.
    limit: usize,
    /// What is changed now is durable with the decision of this number.
    decision: u64,
    failure: Option<Unread>,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    /// The decision by which it is durable; `None`: it is.
    changed: Option<u64>,
    /// Whether it was asked for since the last time that some were let go.
    used: bool,
}

impl AtHand {
    /// Lets jobs be read from a store; so many of them stay at hand.
    pub(super) fn read_from(&mut self, stored: Arc<dyn Definitions>, limit: usize) {
        self.stored = Some(stored);
        self.limit = limit;
    }

    /// A job; the caller knows that there is one of this number. `ready` makes what was read ready
    /// for use. Gives `None` if it cannot be read.
    pub(super) fn get(&mut self, id: JobId, ready: impl FnOnce(&mut Job)) -> Option<Entry> {
        if let Some(kept) = self.entries.get_mut(&id) {
            kept.used = true;
            return Some(kept.entry.clone());
        }
        let (mut job, state) = match self.stored.as_ref()?.read(id) {
            Ok(read) => read,
            Err(error) => {
                self.failure.get_or_insert(error);
                return None;
            }
        };
        ready(&mut job);
        let entry = Entry { job: Arc::new(job), state };
        // Questions alone let nothing go, and may ask for all jobs there are.
        if self.entries.len() < self.limit.saturating_mul(2) {
            self.entries.insert(id, Kept { entry: entry.clone(), changed: None, used: true });
        }
        Some(entry)
    }

    /// Whether this very definition is at hand.
    pub(super) fn has(&self, job: &Arc<Job>) -> bool {
        self.entries.get(&job.id).is_some_and(|kept| Arc::ptr_eq(&kept.entry.job, job))
    }

    /// Takes in a job that is stored as it is.
    pub(super) fn restore(&mut self, entry: Entry) {
        self.entries.insert(entry.job.id, Kept { entry, changed: None, used: true });
    }

    /// Takes in a job that is new or changed.
    pub(super) fn put(&mut self, entry: Entry) {
        let changed = Some(self.decision);
        self.entries.insert(entry.job.id, Kept { entry, changed, used: true });
    }

    pub(super) fn remove(&mut self, id: JobId) {
        self.entries.remove(&id);
    }

    /// What is changed from now on belongs to the next decision; gives the number of this one.
    pub(super) fn decided(&mut self) -> u64 {
        let decision = self.decision;
        self.decision += 1;
        decision
    }

    /// All decisions up to this one are durable. Lets jobs go that are too many.
    pub(super) fn durable(&mut self, decision: u64) {
        if self.stored.is_none() || self.entries.len() <= self.limit {
            return;
        }
        for kept in self.entries.values_mut() {
            let durable = |changed: &u64| *changed <= decision || bug!(LetGoUnsaved);
            kept.changed = kept.changed.filter(|changed| !durable(changed));
        }
        // First what nobody has asked for since the last time, then, if that is not enough, all.
        self.let_go(|kept| kept.used);
        self.let_go(|_| false);
    }

    fn let_go(&mut self, keep: impl Fn(&Kept) -> bool) {
        // Some room, so that this is not done for each job that comes.
        let mut excess = self.entries.len().saturating_sub(self.limit - self.limit / 4);
        self.entries.retain(|_, kept| {
            let stays = excess == 0 || kept.changed.is_some() || keep(kept);
            excess -= usize::from(!stays);
            kept.used = false;
            stays
        });
    }

    /// Why a job could not be read, if one could not: what was decided since must not be used.
    pub(super) fn failure(&mut self) -> Option<Unread> {
        self.failure.take()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
