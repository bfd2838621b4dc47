//! Every job, and the indexes of their names and due times.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use super::calendars::Calendars;
use super::definitions::{AtHand, Definitions, JobHead, JobHeads, Unread, due};
use super::job_index::JobIndex;
use crate::forecast::{self, Outlook};
use crate::id::{CalendarName, JobId, JobName};
use crate::job::{Job, JobState, JobView, SHOTS_KEPT};
use crate::keep::Keep;
use crate::schedule::When;
use crate::time::Timestamp;

/// A job that is at hand. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) job: Arc<Job>,
    pub(super) state: JobState,
}

impl Entry {
    /// The job as a list shows it.
    pub(super) fn view(&self) -> JobView {
        JobView { job: (*self.job).clone(), state: self.state.clone() }
    }

    /// Deals with an occurrence: the next one is computed from its scheduled time.
    pub(super) fn pass(&mut self, occurrence: Timestamp) {
        self.state.done_until = Some(occurrence);
        self.state.occurrences = self.state.occurrences.saturating_add(1);
        self.state.next_due = forecast::following(&self.job, occurrence, self.state.occurrences);
    }

    /// Notes that a single moment has fired.
    pub(super) fn note_shot(&mut self, occurrence: Timestamp) {
        if matches!(self.job.spec.rule.when, When::At(_)) {
            let shots = &mut self.state.shots;
            shots.push(occurrence);
            let excess = shots.len().saturating_sub(SHOTS_KEPT);
            shots.drain(..excess);
        }
    }

    /// Where the job stands, for a forecast; `deliveries` is the size of its target.
    pub(super) fn outlook(&self, deliveries: u64) -> Outlook {
        Outlook {
            job: Arc::clone(&self.job),
            next_due: self.state.next_due,
            occurrences: self.state.occurrences,
            paused_at: self.state.paused.as_ref().map(|paused| paused.at),
            deliveries,
        }
    }

    /// The rule's first occurrence after a moment.
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.job.spec.rule.next_after(after, self.job.created_at)
    }
}

/// Every job by number and name, and the indexes of when they are due and when pauses end.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    all: JobIndex,
    waking: BTreeSet<(Timestamp, JobId)>,
    /// When pauses end by themselves.
    wakes: BTreeMap<JobId, Timestamp>,
    /// The jobs whose rules name a calendar, and the calendars.
    users: BTreeMap<CalendarName, BTreeSet<JobId>>,
    uses: BTreeMap<JobId, Vec<CalendarName>>,
    /// The jobs that say what of their history is kept.
    keeping: BTreeMap<JobId, Keep>,
    /// Every calendar: the rules of jobs that are at hand are bound to them.
    pub(super) calendars: Calendars,
    /// In a cell, since questions take jobs to hand as well.
    at_hand: RefCell<AtHand>,
}

/// What a calendar that no job uses has.
static NOBODY: BTreeSet<JobId> = BTreeSet::new();

impl Jobs {
    /// Takes in jobs that are stored and not at hand.
    pub(super) fn restore_stored(
        &mut self,
        heads: JobHeads,
        stored: Arc<dyn Definitions>,
        limit: usize,
    ) {
        self.at_hand.get_mut().read_from(stored, limit);
        self.all.restore(heads.slots);
        for JobHead { id, wakes, calendars, history, .. } in heads.others {
            self.index_wakes(id, wakes);
            self.note(id, history, calendars);
        }
    }

    /// Takes in a job that is stored as it is.
    pub(super) fn restore(&mut self, mut job: Job, state: JobState) {
        self.calendars.bind(&mut job.spec.rule);
        self.index(JobHead::of(&job, &state));
        self.at_hand.get_mut().restore(Entry { job: Arc::new(job), state });
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Jobs in the due index.
    pub(super) fn active(&self) -> usize {
        self.all.active()
    }

    pub(super) fn contains(&self, id: JobId) -> bool {
        self.all.contains(id)
    }

    /// A job. `None`, too, if it cannot be read: see [`Jobs::failure`].
    pub(super) fn get(&self, id: JobId) -> Option<Entry> {
        let there = self.contains(id);
        let bind = |job: &mut Job| self.calendars.bind(&mut job.spec.rule);
        there.then(|| self.at_hand.borrow_mut().get(id, bind)).flatten()
    }

    pub(super) fn find(&self, name: &JobName) -> Option<Entry> {
        self.get(self.all.find(name.as_str())?)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.from(Unbounded).map(|(name, _)| name)
    }

    /// Jobs in the order of their names, those after a name only.
    pub(super) fn after(&self, after: Option<&JobName>) -> impl Iterator<Item = Entry> {
        let start = after.map_or(Unbounded, |name| Excluded(name.as_str()));
        self.all.from(start).filter_map(|(_, id)| self.get(id))
    }

    /// Jobs in the order of their names, from a name on.
    pub(super) fn starting_at(&self, first: &JobName) -> impl Iterator<Item = Entry> {
        self.all.from(Included(first.as_str())).filter_map(|(_, id)| self.get(id))
    }

    /// The names that begin with `prefix`, in their order.
    pub(super) fn beginning(&self, prefix: &str) -> impl Iterator<Item = &str> {
        let names = self.all.from(Included(prefix)).map(|(name, _)| name);
        names.take_while(move |name| name.starts_with(prefix))
    }

    /// Puts a job, new or changed, and indexes when it is due.
    pub(super) fn put(&mut self, entry: Entry) {
        let id = entry.job.id;
        // A change of its standing alone, as with every firing.
        if self.at_hand.get_mut().has(&entry.job) {
            self.all.set_due(id, due(&entry.state));
            self.index_wakes(id, entry.state.wakes());
        } else {
            self.forget(id);
            self.index(JobHead::of(&entry.job, &entry.state));
        }
        self.at_hand.get_mut().put(entry);
    }

    pub(super) fn remove(&mut self, id: JobId) -> Option<Entry> {
        let entry = self.get(id)?;
        self.all.remove(id);
        self.index_wakes(id, None);
        self.forget(id);
        self.at_hand.get_mut().remove(id);
        Some(entry)
    }

    fn index(&mut self, head: JobHead) {
        let JobHead { id, name, due, wakes, calendars, history } = head;
        self.all.put(id, name.as_str(), due);
        self.index_wakes(id, wakes);
        self.note(id, history, calendars);
    }

    fn index_wakes(&mut self, id: JobId, wakes: Option<Timestamp>) {
        let before = match wakes {
            Some(at) => self.wakes.insert(id, at),
            None => self.wakes.remove(&id),
        };
        if before != wakes {
            self.waking.extend(wakes.map(|at| (at, id)));
            if let Some(at) = before {
                self.waking.remove(&(at, id));
            }
        }
    }

    /// Indexes what of the definition most jobs do not have.
    fn note(&mut self, id: JobId, history: Option<Keep>, calendars: Vec<CalendarName>) {
        if let Some(keep) = history {
            self.keeping.insert(id, keep);
        }
        if !calendars.is_empty() {
            for calendar in &calendars {
                self.users.entry(calendar.clone()).or_default().insert(id);
            }
            self.uses.insert(id, calendars);
        }
    }

    /// Forgets what of the definition most jobs do not have.
    fn forget(&mut self, id: JobId) {
        self.keeping.remove(&id);
        for calendar in self.uses.remove(&id).unwrap_or_default() {
            if let Some(users) = self.users.get_mut(&calendar) {
                users.remove(&id);
                if users.is_empty() {
                    self.users.remove(&calendar);
                }
            }
        }
    }

    /// The jobs that say what of their history is kept, those after a number only.
    pub(super) fn keeping(&self, after: Option<JobId>, limit: usize) -> Vec<(JobId, Keep)> {
        let start = after.map_or(Unbounded, Excluded);
        let found = self.keeping.range((start, Unbounded)).take(limit);
        found.map(|(id, keep)| (*id, *keep)).collect()
    }

    /// The jobs whose rules name a calendar.
    pub(super) fn users(&self, calendar: &CalendarName) -> &BTreeSet<JobId> {
        self.users.get(calendar).unwrap_or(&NOBODY)
    }

    /// What is changed from now on belongs to the next decision; gives the number of this one.
    pub(super) fn decided(&mut self) -> u64 {
        self.at_hand.get_mut().decided()
    }

    /// All decisions up to this one are durable.
    pub(super) fn durable(&mut self, decision: u64) {
        self.at_hand.get_mut().durable(decision);
    }

    /// Why a job could not be read, if one could not.
    pub(super) fn failure(&mut self) -> Option<Unread> {
        self.at_hand.get_mut().failure()
    }

    #[cfg(test)]
    pub(super) fn at_hand(&self) -> usize {
        self.at_hand.borrow().len()
    }

    /// When the first job is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.all.next_due()
    }

    /// At most `limit` jobs that are due, the earliest first; they stay indexed until put again.
    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<JobId> {
        self.all.due(now).take(limit).collect()
    }

    /// When the first pause ends by itself.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.waking.first().map(|(wakes, _)| *wakes)
    }

    /// At most `limit` jobs whose pauses have come to their end, the earliest first.
    pub(super) fn waking(&self, now: Timestamp, limit: usize) -> Vec<JobId> {
        let waking = self.waking.iter().take_while(|(at, _)| *at <= now);
        waking.take(limit).map(|(_, id)| *id).collect()
    }
}

/// A name of a job; only valid ones come to be names of jobs.
pub(super) fn valid(name: &str) -> Option<JobName> {
    JobName::new(name).ok()
}
