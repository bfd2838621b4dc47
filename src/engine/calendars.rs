//! The calendars in memory, and what their changes do to the jobs that use them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::applied::{CalendarChange, CalendarPlan, Moved};
use super::change::Change;
use super::core::Engine;
use super::effect::{JobAction, Reply, RequestError};
use super::event::What;
use super::input::{Apply, Page};
use super::jobs::Entry;
use super::{MAX_CALENDARS, MAX_MOVED, not_found};
use crate::calendar::{Calendar, CalendarRecord, CalendarView};
use crate::forecast;
use crate::id::{CalendarName, JobId, JobName};
use crate::job::JobSpec;
use crate::job_diff;
use crate::schedule::{Days, Rule};
use crate::time::Timestamp;

/// Jobs that a refusal to remove a calendar names, at most.
const USERS_NAMED: usize = 5;

/// Every calendar by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Calendars(BTreeMap<CalendarName, Stored>);

#[derive(Debug, Clone)]
struct Stored {
    record: Arc<CalendarRecord>,
    /// Shared by every rule that is bound to it.
    days: Arc<Days>,
}

impl Calendars {
    pub(super) fn put(&mut self, record: Arc<CalendarRecord>) {
        let days = Arc::new(record.spec.days().clone());
        self.0.insert(record.spec.name().clone(), Stored { record, days });
    }

    fn record(&self, name: &CalendarName) -> Option<&Arc<CalendarRecord>> {
        self.0.get(name).map(|stored| &stored.record)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(CalendarName::as_str)
    }

    /// Binds a rule to the days of its calendars.
    pub(super) fn bind(&self, rule: &mut Rule) {
        rule.bind(&|name| self.0.get(name).map(|stored| Arc::clone(&stored.days)));
    }

    /// Binds a definition's rule. Its calendars must be there and leave it an occurrence.
    pub(super) fn bind_checked(&self, spec: &mut JobSpec) -> Result<(), RequestError> {
        let calendars = spec.rule.calendars();
        if calendars.is_empty() {
            return Ok(());
        }
        let job = spec.name.as_str();
        if let Some(unknown) = calendars.into_iter().find(|name| !self.0.contains_key(*name)) {
            let unknown = not_found("calendar", unknown.as_str(), self.names());
            return Err(RequestError::Invalid(format!("job {job:?}: rule.exclude: {unknown}")));
        }
        self.bind(&mut spec.rule);
        let checked = spec.rule.clone().checked();
        checked.map(drop).map_err(|error| {
            let message = format!("job {job:?}: with the days of its calendars, {error}");
            RequestError::Invalid(message)
        })
    }
}

/// Calendars that change, and the jobs that they take along.
#[derive(Debug, Default)]
pub(super) struct Rebinding {
    /// All calendars, as they are to be.
    calendars: Calendars,
    /// The changes, without the jobs that move.
    changes: Vec<CalendarChange>,
    /// Those that are new or differ.
    records: Vec<Arc<CalendarRecord>>,
}

/// A job as it stands and as it would.
type Step = (Entry, Entry);

impl Rebinding {
    /// All calendars, as they are to be.
    pub(super) fn calendars(&self) -> &Calendars {
        &self.calendars
    }

    fn changes_days(&self, change: &CalendarChange) -> bool {
        change.action != JobAction::Keep && self.calendars.0.contains_key(&change.name)
    }
}

impl Engine {
    /// Compares definitions of calendars with those that are stored.
    pub(super) fn rebinding(&self, specs: &[Calendar]) -> Result<Rebinding, RequestError> {
        let mut to_be =
            Rebinding { calendars: self.jobs.calendars.clone(), ..Rebinding::default() };
        let mut names = BTreeSet::new();
        for spec in specs {
            let name = spec.name();
            if !names.insert(name) {
                let message = format!("calendar {:?} is defined twice", name.as_str());
                return Err(RequestError::Invalid(message));
            }
            let before = self.jobs.calendars.record(name);
            let fields = job_diff::calendar_fields(before.map(|record| &record.spec), spec);
            let action = match before {
                None => JobAction::Create,
                Some(_) if fields.is_empty() => JobAction::Keep,
                Some(_) => JobAction::Update,
            };
            if action != JobAction::Keep {
                let revision = before.map_or(0, |record| record.revision).saturating_add(1);
                let record = CalendarRecord { revision, updated_at: self.now, spec: spec.clone() };
                let record = Arc::new(record);
                to_be.calendars.put(Arc::clone(&record));
                to_be.records.push(record);
            }
            let (name, jobs) = (name.clone(), self.jobs.users(name).len() as u64);
            to_be.changes.push(CalendarChange {
                name,
                action,
                fields,
                jobs,
                moved: Vec::new(),
                more: 0,
            });
        }
        if to_be.calendars.0.len() > MAX_CALENDARS {
            let message = format!("the store would hold more than {MAX_CALENDARS} calendars");
            return Err(RequestError::Limit(message));
        }
        Ok(to_be)
    }

    /// The jobs that use the calendars that change: for each calendar, each job once in all.
    fn steps(&self, to_be: &Rebinding) -> Vec<Vec<Step>> {
        let mut seen = BTreeSet::new();
        let steps = |change: &CalendarChange| {
            let users = self.jobs.users(&change.name).iter();
            let users = users.filter(|_| to_be.changes_days(change));
            let new = users.filter(|id| seen.insert(**id)).filter_map(|id| self.jobs.get(*id));
            new.map(|entry| (entry.clone(), rebound(&entry, &to_be.calendars, self.now))).collect()
        };
        to_be.changes.iter().map(steps).collect()
    }

    /// What changes of calendars would do. `own` are the jobs that are not told of, since they
    /// get another rule or go.
    pub(super) fn calendar_plans(
        &self,
        to_be: Rebinding,
        own: &BTreeSet<JobName>,
    ) -> Vec<CalendarPlan> {
        let steps = self.steps(&to_be);
        let plan = |(mut change, steps): (CalendarChange, Vec<Step>)| {
            let moved = tell(&mut change, &steps, own);
            let outlook = |step: &&Step| (step.0.outlook(0), step.1.outlook(0));
            let outlooks = moved.iter().map(outlook).collect();
            CalendarPlan { change, outlooks, now: self.now }
        };
        to_be.changes.into_iter().zip(steps).map(plan).collect()
    }

    /// Takes changed calendars into use, from now on: rules are bound anew, and the jobs' next
    /// firings with them. Gives back the changes, and adds to the unit what is to be stored:
    /// whoever calls it has closed the units before, since jobs' standings are in this one.
    pub(super) fn rebind(
        &mut self,
        to_be: Rebinding,
        own: &BTreeSet<JobName>,
        unit: &mut Vec<Change>,
    ) -> Vec<CalendarChange> {
        let steps = self.steps(&to_be);
        self.jobs.calendars = to_be.calendars;
        unit.extend(to_be.records.into_iter().map(Change::PutCalendar));
        let mut changes = to_be.changes;
        for (change, steps) in changes.iter_mut().zip(steps) {
            tell(change, &steps, own);
            let word = match change.action {
                JobAction::Create => "created",
                _ => "updated",
            };
            if change.action != JobAction::Keep {
                self.notify_calendar(&change.name, word, change.moves());
            }
            for (before, after) in steps {
                self.take_step(&before, after, unit);
            }
        }
        changes
    }

    fn take_step(&mut self, before: &Entry, after: Entry, unit: &mut Vec<Change>) {
        let (was_due, due) = (before.state.next_due, after.state.next_due);
        if was_due != due {
            self.put_standing(unit, &after);
        }
        if was_due.is_some() && due.is_none() {
            self.notify_job(&after, "ended");
        }
        self.jobs.put(after);
    }

    /// Creates or changes one calendar.
    pub(super) fn put_calendar(&mut self, spec: Calendar) -> Result<Reply, RequestError> {
        let apply = Apply { calendars: vec![spec], ..Apply::default() };
        match self.apply(apply, 0)? {
            Reply::Applied(mut applied) => match applied.calendars.pop() {
                Some(change) => Ok(Reply::CalendarPut(Box::new(change))),
                None => Ok(Reply::Applied(applied)),
            },
            other => Ok(other),
        }
    }

    /// Removes a calendar that no job uses.
    pub(super) fn remove_calendar(&mut self, name: &CalendarName) -> Result<Reply, RequestError> {
        self.calendar(name)?;
        let users = self.jobs.users(name);
        if !users.is_empty() {
            return Err(RequestError::Conflict(self.in_use(name, users)));
        }
        self.jobs.calendars.0.remove(name);
        self.store(vec![Change::RemoveCalendar(name.clone())]);
        self.notify_calendar(name, "removed", 0);
        Ok(Reply::Done)
    }

    fn in_use(&self, name: &CalendarName, users: &BTreeSet<JobId>) -> String {
        let named = users.iter().filter_map(|id| self.jobs.get(*id)).take(USERS_NAMED);
        let named: Vec<JobName> = named.map(|entry| entry.job.spec.name.clone()).collect();
        let more = match users.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (name, count) = (name.as_str(), users.len());
        let named: Vec<&str> = named.iter().map(JobName::as_str).collect();
        let jobs = if count == 1 { "job" } else { "jobs" };
        format!("calendar {name:?} is used by {count} {jobs}: {}{more}", named.join(", "))
    }

    fn notify_calendar(&mut self, name: &CalendarName, change: &str, moved: u64) {
        let (calendar, change) = (name.clone(), change.to_owned());
        self.notify(What::Calendar { calendar, change, moved });
    }

    /// A calendar by name.
    pub(super) fn calendar(&self, name: &CalendarName) -> Result<CalendarView, RequestError> {
        let record = self.jobs.calendars.record(name);
        let record = record
            .ok_or_else(|| not_found("calendar", name.as_str(), self.jobs.calendars.names()))?;
        Ok(self.calendar_view(record))
    }

    /// Calendars in the order of their names.
    pub(super) fn list_calendars(&self, page: &Page<CalendarName>) -> Reply {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = page.after.as_ref().map_or(Unbounded, Excluded);
        let stored = self.jobs.calendars.0.range::<CalendarName, _>((start, Unbounded));
        let views = stored.map(|(_, stored)| self.calendar_view(&stored.record));
        Reply::Calendars(views.take(page.limit.min(Page::<()>::MAX)).collect())
    }

    fn calendar_view(&self, record: &CalendarRecord) -> CalendarView {
        let jobs = self.jobs.users(record.spec.name()).len() as u64;
        CalendarView { record: record.clone(), jobs }
    }
}

/// Tells which jobs move, and gives back their steps in the same order.
fn tell<'a>(
    change: &mut CalendarChange,
    steps: &'a [Step],
    own: &BTreeSet<JobName>,
) -> Vec<&'a Step> {
    let mut moved: Vec<&Step> = steps
        .iter()
        .filter(|(before, after)| before.state.next_due != after.state.next_due)
        .filter(|(before, _)| !own.contains(&before.job.spec.name))
        .collect();
    moved.sort_by_key(|(before, after)| (after.state.next_due.is_some(), &before.job.spec.name));
    change.more = moved.len().saturating_sub(MAX_MOVED) as u64;
    moved.truncate(MAX_MOVED);
    let told = |(before, after): &&Step| Moved {
        job: before.job.spec.name.clone(),
        before: before.state.next_due,
        after: after.state.next_due,
        next: None,
    };
    change.moved = moved.iter().map(told).collect();
    moved
}

/// A job with its rule bound anew, and its next firing by it.
fn rebound(entry: &Entry, calendars: &Calendars, now: Timestamp) -> Entry {
    let mut job = (*entry.job).clone();
    calendars.bind(&mut job.spec.rule);
    let mut state = entry.state.clone();
    // What is due already stays due, also while the job is paused: the days were others then,
    // and whoever changes a calendar for all must not drop what one job has to catch up.
    if state.next_due.is_none_or(|due| due > now) {
        let from = state.done_until.map_or(now, |done| done.max(now));
        state.next_due = forecast::following(&job, from, state.occurrences);
    }
    Entry { job: Arc::new(job), state }
}
