//! The past of a job as far as its firings go: its rules one after the other, its rows of missed
//! firings, and where it stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::expected::{Bound, Ended, Segment};
use super::fate::Known;
use super::query::Span;
use crate::calendar::CalendarRecord;
use crate::id::{CalendarName, JobId};
use crate::job::JobState;
use crate::job_past::{JobRevision, MissedRow};
use crate::schedule::{Days, Rule};
use crate::store::{Order, Store, StoreError, key, records, walk};
use crate::time::Timestamp;

/// What was read of all jobs that have had a name.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) segments: Vec<Segment>,
    pub(super) known: BTreeMap<JobId, Known>,
    /// The number of the last row of missed firings of each.
    pub(super) last_rows: BTreeMap<JobId, u64>,
    /// What is to be known of it.
    pub(super) notes: Vec<String>,
}

impl Past {
    /// Reads what bears on a span of some jobs, a later one before an earlier one.
    pub(super) fn read(store: &dyn Store, jobs: &[JobId], span: Span) -> Result<Self, StoreError> {
        let mut past = Self::default();
        let mut calendars = Calendars { store, known: BTreeMap::new() };
        for job in jobs.iter().copied() {
            // Before all else: whatever it tells is in what is read after it.
            let state = state(store, job)?;
            let (rows, last) = rows(store, job, span)?;
            let revisions = revisions(store, job, span)?;
            let removed = revisions.first().filter(|last| last.rule.is_none());
            if removed.is_some_and(|removed| removed.at < span.since) {
                continue;
            }
            past.note_gap(job, &revisions, span);
            past.last_rows.insert(job, last);
            past.known.insert(job, Known { state, rows });
            let mut segments = segments(job, revisions);
            for segment in &mut segments {
                segment.calendars = calendars.bind(&mut segment.rule)?;
            }
            past.segments.extend(segments);
        }
        for (calendar, changed) in calendars.known {
            let changed = changed.map(|(at, _)| at);
            past.note_calendar(&calendar, changed, span);
        }
        Ok(past)
    }

    fn note_gap(&mut self, job: JobId, revisions: &[Brief], span: Span) {
        if let Some(oldest) = revisions.last()
            && oldest.revision != 1
            && oldest.at > span.since
        {
            self.notes.push(format!(
                "revisions of job {job} before {} are no longer kept: what it was to fire before \
                 {} is not known",
                oldest.revision, oldest.at
            ));
        }
    }

    fn note_calendar(&mut self, calendar: &CalendarName, changed: Option<Timestamp>, span: Span) {
        match changed {
            Some(at) if at >= span.since => self.notes.push(format!(
                "calendar {calendar} was changed at {at}: what was due before is told by its days \
                 as they are now"
            )),
            Some(_) => {}
            None => self.notes.push(format!(
                "calendar {calendar} is no more: it is taken as one that closes no day"
            )),
        }
    }
}

fn state(store: &dyn Store, job: JobId) -> Result<Option<JobState>, StoreError> {
    let key = key::job_state(job);
    store.get(&key)?.map(|value| records::read("job state", &key, &value)).transpose()
}

/// The rows of missed firings that bear on a span, and the number of the last of all.
fn rows(store: &dyn Store, job: JobId, span: Span) -> Result<(Vec<MissedRow>, u64), StoreError> {
    let (mut found, mut last) = (Vec::new(), 0);
    for entry in walk(store, key::of_job(key::MISSED, job), Order::Up) {
        let (key, value) = entry?;
        let row: MissedRow = records::read("row of missed firings", &key, &value)?;
        last = row.no;
        if row.first < span.until && row.last >= span.since {
            found.push(row);
        }
    }
    Ok((found, last))
}

/// A revision as far as firings go.
struct Brief {
    revision: u32,
    at: Timestamp,
    /// `None`: the job was removed.
    rule: Option<Rule>,
}

impl From<JobRevision> for Brief {
    fn from(revision: JobRevision) -> Self {
        let JobRevision { revision, at, spec, .. } = revision;
        Self { revision, at, rule: spec.map(|spec| spec.rule) }
    }
}

/// The revisions of a job that bear on a span, the newest first: those after it too, since they
/// tell what ended a rule, and those before it down to the one that brought the rule in force.
fn revisions(store: &dyn Store, job: JobId, span: Span) -> Result<Vec<Brief>, StoreError> {
    let current = records::job(store, job)?.map(|job| Brief::from(JobRevision::of(&job)));
    let highest = current.as_ref().map_or(u32::MAX, |current| current.revision);
    let mut found: Vec<Brief> = current.into_iter().collect();
    for entry in walk(store, key::of_job(key::REVISION, job), Order::Down) {
        let (key, value) = entry?;
        let revision: JobRevision = records::read("job revision", &key, &value)?;
        if revision.revision >= highest {
            continue;
        }
        let revision = Brief::from(revision);
        if let Some(after) = found.last()
            && after.at < span.since
            && after.rule != revision.rule
        {
            break;
        }
        found.push(revision);
    }
    Ok(found)
}

/// The rules of a job, each for as long as it was in force.
fn segments(job: JobId, mut revisions: Vec<Brief>) -> Vec<Segment> {
    revisions.reverse();
    let mut segments: Vec<Segment> = Vec::new();
    for Brief { revision, at, rule } in revisions {
        match (segments.last_mut().filter(|last| last.ended.is_none()), rule) {
            (Some(last), Some(rule)) if last.rule == rule => last.revisions.push((at, revision)),
            (last, rule) => {
                if let Some(last) = last {
                    last.ended = Some(Ended { at, revision: rule.is_some().then_some(revision) });
                }
                segments.extend(rule.map(|rule| Segment {
                    job,
                    revisions: vec![(at, revision)],
                    ended: None,
                    rule,
                    calendars: Arc::new([]),
                }));
            }
        }
    }
    segments
}

/// The calendars that rules name, as they are now.
struct Calendars<'a> {
    store: &'a dyn Store,
    known: BTreeMap<CalendarName, Option<(Timestamp, Arc<Days>)>>,
}

impl Calendars<'_> {
    /// Binds a rule to them, and gives them with when each was changed last.
    fn bind(&mut self, rule: &mut Rule) -> Result<Bound, StoreError> {
        let names: Vec<CalendarName> = rule.calendars().into_iter().cloned().collect();
        let mut bound = Vec::with_capacity(names.len());
        for name in names {
            if !self.known.contains_key(&name) {
                let record = self.read(&name)?;
                self.known.insert(name.clone(), record);
            }
            let at = self.known.get(&name).and_then(Option::as_ref).map(|(at, _)| *at);
            bound.push((name, at));
        }
        let known = &self.known;
        rule.bind(&|name| known.get(name)?.as_ref().map(|(_, days)| Arc::clone(days)));
        Ok(bound.into())
    }

    fn read(&self, name: &CalendarName) -> Result<Option<(Timestamp, Arc<Days>)>, StoreError> {
        let key = key::calendar(name);
        let Some(value) = self.store.get(&key)? else { return Ok(None) };
        let record: CalendarRecord = records::read("calendar", &key, &value)?;
        Ok(Some((record.updated_at, Arc::new(record.spec.days().clone()))))
    }
}
