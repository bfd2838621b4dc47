//! The jobs in memory and the index of their due times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::forecast::{self, Outlook};
use crate::id::{CalendarName, JobId, JobName};
use crate::job::{Job, JobState, JobView, SHOTS_KEPT};
use crate::keep::Keep;
use crate::schedule::When;
use crate::time::Timestamp;

/// A job in memory.
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

    /// When it must be looked at: never while it is paused.
    fn due(&self) -> Option<Timestamp> {
        self.state.next_due.filter(|_| self.state.paused.is_none())
    }

    /// When its pause ends by itself.
    fn wakes(&self) -> Option<Timestamp> {
        self.state.paused.as_ref()?.until
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
    entries: BTreeMap<JobId, Entry>,
    names: BTreeMap<JobName, JobId>,
    due: BTreeSet<(Timestamp, JobId)>,
    waking: BTreeSet<(Timestamp, JobId)>,
    /// The jobs whose rules name a calendar.
    users: BTreeMap<CalendarName, BTreeSet<JobId>>,
    /// The jobs that say what of their history is kept.
    keeping: BTreeMap<JobId, Keep>,
}

/// What a calendar that no job uses has.
static NOBODY: BTreeSet<JobId> = BTreeSet::new();

impl Jobs {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Jobs in the due index.
    pub(super) fn active(&self) -> usize {
        self.due.len()
    }

    pub(super) fn contains(&self, id: JobId) -> bool {
        self.entries.contains_key(&id)
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn find(&self, name: &JobName) -> Option<&Entry> {
        self.entries.get(self.names.get(name)?)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(JobName::as_str)
    }

    /// Jobs in the order of their names, those after a name only.
    pub(super) fn after(&self, after: Option<&JobName>) -> impl Iterator<Item = &Entry> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, |name| Excluded(name.clone()));
        self.names.range((start, Unbounded)).filter_map(|(_, id)| self.entries.get(id))
    }

    /// Jobs in the order of their names, from a name on.
    pub(super) fn starting_at(&self, first: &JobName) -> impl Iterator<Item = &Entry> {
        self.names.range::<JobName, _>(first..).filter_map(|(_, id)| self.entries.get(id))
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
        self.unindex(id);
        self.put_user(&entry.job);
        match entry.job.spec.history {
            Some(keep) => drop(self.keeping.insert(id, keep)),
            None => drop(self.keeping.remove(&id)),
        }
        self.names.insert(entry.job.spec.name.clone(), id);
        if let Some(due) = entry.due() {
            self.due.insert((due, id));
        }
        if let Some(wakes) = entry.wakes() {
            self.waking.insert((wakes, id));
        }
        self.entries.insert(id, entry);
    }

    pub(super) fn remove(&mut self, id: JobId) -> Option<Entry> {
        self.unindex(id);
        let entry = self.entries.remove(&id)?;
        self.remove_user(&entry.job);
        self.keeping.remove(&id);
        self.names.remove(&entry.job.spec.name);
        Some(entry)
    }

    fn unindex(&mut self, id: JobId) {
        let Some(entry) = self.entries.get(&id) else { return };
        if let Some(due) = entry.due() {
            self.due.remove(&(due, id));
        }
        if let Some(wakes) = entry.wakes() {
            self.waking.remove(&(wakes, id));
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

    fn put_user(&mut self, job: &Arc<Job>) {
        let before = self.entries.get(&job.id).map(|entry| Arc::clone(&entry.job));
        // A change of its standing alone, as with every firing.
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, job)) {
            return;
        }
        if let Some(before) = before {
            self.remove_user(&before);
        }
        for calendar in job.spec.rule.calendars() {
            self.users.entry(calendar.clone()).or_default().insert(job.id);
        }
    }

    fn remove_user(&mut self, job: &Job) {
        for calendar in job.spec.rule.calendars() {
            if let Some(users) = self.users.get_mut(calendar) {
                users.remove(&job.id);
                if users.is_empty() {
                    self.users.remove(calendar);
                }
            }
        }
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
