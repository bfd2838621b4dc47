//! Every job, and the indexes of their names and due times.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::calendars::Calendars;
use super::definitions::{AtHand, Definitions, JobHead, Unread, due};
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
    /// When each job is due.
    places: BTreeMap<JobId, Option<Timestamp>>,
    names: BTreeMap<JobName, JobId>,
    due: BTreeSet<(Timestamp, JobId)>,
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
        heads: Vec<JobHead>,
        stored: Arc<dyn Definitions>,
        limit: usize,
    ) {
        self.at_hand.get_mut().read_from(stored, limit);
        let mut names = Vec::with_capacity(heads.len());
        let mut places = Vec::with_capacity(heads.len());
        let mut due = Vec::new();
        for head in heads {
            places.push((head.id, head.due));
            due.extend(head.due.map(|at| (at, head.id)));
            self.index_wakes(head.id, head.wakes);
            self.note(&head);
            names.push((head.name, head.id));
        }
        // Built at once they take half the memory, and a tenth of the time.
        join(&mut self.places, places);
        join(&mut self.names, names);
        due.extend(std::mem::take(&mut self.due));
        self.due = due.into_iter().collect();
    }

    /// Takes in a job that is stored as it is.
    pub(super) fn restore(&mut self, mut job: Job, state: JobState) {
        self.calendars.bind(&mut job.spec.rule);
        self.index(&JobHead::of(&job, &state));
        self.at_hand.get_mut().restore(Entry { job: Arc::new(job), state });
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Jobs in the due index.
    pub(super) fn active(&self) -> usize {
        self.due.len()
    }

    pub(super) fn contains(&self, id: JobId) -> bool {
        self.places.contains_key(&id)
    }

    /// A job. `None`, too, if it cannot be read: see [`Jobs::failure`].
    pub(super) fn get(&self, id: JobId) -> Option<Entry> {
        let there = self.contains(id);
        let bind = |job: &mut Job| self.calendars.bind(&mut job.spec.rule);
        there.then(|| self.at_hand.borrow_mut().get(id, bind)).flatten()
    }

    pub(super) fn find(&self, name: &JobName) -> Option<Entry> {
        self.get(*self.names.get(name)?)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &JobName> {
        self.names.keys()
    }

    /// Jobs in the order of their names, those after a name only.
    pub(super) fn after(&self, after: Option<&JobName>) -> impl Iterator<Item = Entry> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, |name| Excluded(name.clone()));
        self.names.range((start, Unbounded)).filter_map(|(_, id)| self.get(*id))
    }

    /// Jobs in the order of their names, from a name on.
    pub(super) fn starting_at(&self, first: &JobName) -> impl Iterator<Item = Entry> {
        self.names.range::<JobName, _>(first..).filter_map(|(_, id)| self.get(*id))
    }

    /// The names that begin with `prefix`, in their order.
    pub(super) fn beginning<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a JobName> {
        use std::ops::Bound::{Included, Unbounded};
        let from = self.names.range::<str, _>((Included(prefix), Unbounded));
        from.map(|(name, _)| name).take_while(move |name| name.as_str().starts_with(prefix))
    }

    /// Puts a job, new or changed, and indexes when it is due.
    pub(super) fn put(&mut self, entry: Entry) {
        let id = entry.job.id;
        // A change of its standing alone, as with every firing.
        if self.at_hand.get_mut().has(&entry.job) {
            self.index_times(id, due(&entry.state), entry.state.wakes());
        } else {
            self.unindex(id);
            self.index(&JobHead::of(&entry.job, &entry.state));
        }
        self.at_hand.get_mut().put(entry);
    }

    pub(super) fn remove(&mut self, id: JobId) -> Option<Entry> {
        let entry = self.get(id)?;
        self.unindex(id);
        self.at_hand.get_mut().remove(id);
        self.names.remove(&entry.job.spec.name);
        Some(entry)
    }

    fn index(&mut self, head: &JobHead) {
        let id = head.id;
        self.index_times(id, head.due, head.wakes);
        if self.names.get(&head.name) != Some(&id) {
            self.names.insert(head.name.clone(), id);
        }
        self.note(head);
    }

    /// Indexes times in place of those that it had.
    fn index_times(&mut self, id: JobId, due: Option<Timestamp>, wakes: Option<Timestamp>) {
        let before = self.places.insert(id, due).flatten();
        if before != due {
            self.due.extend(due.map(|at| (at, id)));
            if let Some(at) = before {
                self.due.remove(&(at, id));
            }
        }
        self.index_wakes(id, wakes);
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
    fn note(&mut self, head: &JobHead) {
        let id = head.id;
        if let Some(keep) = head.history {
            self.keeping.insert(id, keep);
        }
        if !head.calendars.is_empty() {
            for calendar in &head.calendars {
                self.users.entry(calendar.clone()).or_default().insert(id);
            }
            self.uses.insert(id, head.calendars.clone());
        }
    }

    fn unindex(&mut self, id: JobId) {
        self.index_times(id, None, None);
        self.places.remove(&id);
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
        use std::ops::Bound::{Excluded, Unbounded};
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
        self.due.first().map(|(due, _)| *due)
    }

    /// At most `limit` jobs that are due, the earliest first; they stay indexed until put again.
    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<JobId> {
        up_to(&self.due, now, limit)
    }

    /// When the first pause ends by itself.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.waking.first().map(|(wakes, _)| *wakes)
    }

    /// At most `limit` jobs whose pauses have come to their end, the earliest first.
    pub(super) fn waking(&self, now: Timestamp, limit: usize) -> Vec<JobId> {
        up_to(&self.waking, now, limit)
    }
}

fn up_to(index: &BTreeSet<(Timestamp, JobId)>, now: Timestamp, limit: usize) -> Vec<JobId> {
    index.iter().take_while(|(at, _)| *at <= now).take(limit).map(|(_, id)| *id).collect()
}

/// Adds what has other keys to a map.
fn join<K: Ord, V>(map: &mut BTreeMap<K, V>, mut more: Vec<(K, V)>) {
    more.extend(std::mem::take(map));
    *map = more.into_iter().collect();
}
