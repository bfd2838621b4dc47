//! Changes of calendars and jobs: apply, remove.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::MAX_JOBS;
use super::applied::{Applied, Planned};
use super::change::Change;
use super::core::Engine;
use super::effect::{JobAction, JobChange, Plan, Reply, RequestError};
use super::event::{What, glimpse_of};
use super::input::Apply;
use super::jobs::{Entry, valid};
use crate::id::{JobId, JobName};
use crate::job::{CatchUp, Job, JobSpec, JobState, MAX_DESCRIPTION, MAX_SPREAD};
use crate::job_diff;
use crate::job_past::JobRevision;
use crate::run::DeliveryState;
use crate::schedule::When;
use crate::target::Target;
use crate::time::Timestamp;

impl Engine {
    /// Brings about a set of definitions: all of it or nothing.
    pub(super) fn apply(&mut self, mut apply: Apply, entropy: u128) -> Result<Reply, RequestError> {
        let wanted = check(&apply.jobs)?;
        let calendars = self.rebinding(&apply.calendars)?;
        for spec in &mut apply.jobs {
            calendars.calendars().bind_checked(spec)?;
        }
        let removed: Vec<JobName> = if apply.prune {
            let others = self.jobs.names().filter(|name| !wanted.contains(*name));
            others.filter_map(valid).collect()
        } else {
            Vec::new()
        };
        let changes = self.compare(&apply.jobs, &removed);
        let created = changes.iter().filter(|change| change.action == JobAction::Create).count();
        if self.jobs.len() + created - removed.len() > MAX_JOBS {
            let message = format!("the store would hold more than {MAX_JOBS} jobs");
            return Err(RequestError::Limit(message));
        }
        let own = self.with_other_rules(&apply.jobs, &changes);
        if apply.dry_run {
            let calendars = self.calendar_plans(calendars, &own);
            return Ok(Reply::Planned(Planned {
                calendars,
                jobs: self.plans(&apply.jobs, changes),
            }));
        }
        self.close();
        let mut unit = Vec::new();
        let calendars = self.rebind(calendars, &own, &mut unit);
        self.bring_about(apply.jobs, &changes, entropy, unit);
        Ok(Reply::Applied(Applied { calendars, jobs: changes }))
    }

    /// The stored jobs that get another rule or are removed.
    fn with_other_rules(&self, specs: &[JobSpec], changes: &[JobChange]) -> BTreeSet<JobName> {
        let specs = specs.iter().map(Some).chain(std::iter::repeat(None));
        let other = |(change, spec): &(&JobChange, Option<&JobSpec>)| {
            let stored = self.jobs.find(&change.name);
            spec.is_none_or(|spec| stored.is_some_and(|it| it.job.spec.rule != spec.rule))
        };
        changes.iter().zip(specs).filter(other).map(|(change, _)| change.name.clone()).collect()
    }

    /// The changes with the outlooks of those that are new or get another rule.
    fn plans(&self, specs: &[JobSpec], changes: Vec<JobChange>) -> Vec<Plan> {
        let now = self.now;
        // The changes of the definitions come first and in their order, then those removed.
        let specs = specs.iter().map(Some).chain(std::iter::repeat(None));
        let plan = |(change, spec): (JobChange, Option<&JobSpec>)| {
            let stored = self.jobs.find(&change.name);
            let entry = match (change.action, spec, &stored) {
                (JobAction::Create, Some(spec), _) => {
                    Some(self.created(JobId::from_parts(now, 0), spec.clone()))
                }
                (JobAction::Update, Some(spec), Some(stored))
                    if stored.job.spec.rule != spec.rule =>
                {
                    Some(self.updated(stored, spec.clone()))
                }
                _ => None,
            };
            let outlooks = entry
                .map(|entry| (stored.as_ref().map(|stored| stored.outlook(0)), entry.outlook(0)));
            Plan { change, outlooks, now }
        };
        changes.into_iter().zip(specs).map(plan).collect()
    }

    fn compare(&self, specs: &[JobSpec], removed: &[JobName]) -> Vec<JobChange> {
        let kept = specs.iter().map(|spec| {
            let before = self.jobs.find(&spec.name);
            let before = before.as_ref().map(|entry| &entry.job.spec);
            let fields = job_diff::fields(before, spec);
            let action = match before {
                None => JobAction::Create,
                Some(_) if fields.is_empty() => JobAction::Keep,
                Some(_) => JobAction::Update,
            };
            let warnings = self.warnings(spec, action);
            JobChange { name: spec.name.clone(), action, fields, warnings, next: None }
        });
        let removed = removed.iter().map(|name| JobChange {
            name: name.clone(),
            action: JobAction::Remove,
            fields: Vec::new(),
            warnings: Vec::new(),
            next: None,
        });
        kept.chain(removed).collect()
    }

    fn warnings(&self, spec: &JobSpec, action: JobAction) -> Vec<String> {
        let mut warnings = Vec::new();
        let groups = spec.target.groups().filter(|group| !self.registry.has_group(group));
        let clients = spec.target.clients().filter(|id| self.registry.find(id).is_none());
        let missing = groups.cloned().map(Target::Group).chain(clients.cloned().map(Target::One));
        warnings.extend(missing.map(|missing| {
            let why = self.registry.why_nobody(&missing);
            format!("target {}: {why} yet", spec.target)
        }));
        if action == JobAction::Keep {
            return warnings;
        }
        if let (Some(spread), When::Every { period, .. }) = (spec.spread, &spec.rule.when)
            && spread >= *period
        {
            warnings.push("spread: it is not shorter than the period of the rule".into());
        }
        match spec.rule.when {
            When::At(at) if at < self.now => {
                let caught =
                    spec.catch_up != CatchUp::Skip && at >= self.now.minus(spec.catch_up_window);
                let then = if caught { "it is caught up at once" } else { "it never fires" };
                warnings.push(format!("rule: {at} has passed; {then}"));
            }
            _ if spec.rule.end.is_some_and(|end| end < self.now) => {
                warnings.push("rule: its end has passed; it never fires".into());
            }
            _ => {}
        }
        warnings
    }

    /// Adds to the unit what the jobs' changes store, and stores it.
    fn bring_about(
        &mut self,
        specs: Vec<JobSpec>,
        changes: &[JobChange],
        entropy: u128,
        mut unit: Vec<Change>,
    ) {
        let specs: BTreeMap<JobName, JobSpec> =
            specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        let mut gone = Vec::new();
        for (change, n) in changes.iter().zip(0_u128..) {
            let spec = specs.get(&change.name).cloned();
            let stored = self.jobs.find(&change.name);
            let entry = match (change.action, spec, stored) {
                (JobAction::Create, Some(spec), _) => {
                    let id = JobId::from_parts(self.now, entropy.wrapping_add(n));
                    self.created(id, spec)
                }
                (JobAction::Update, Some(spec), Some(stored)) => {
                    unit.push(Change::PutRevision(Box::new(JobRevision::of(&stored.job))));
                    self.updated(&stored, spec)
                }
                (JobAction::Remove, _, Some(stored)) => {
                    gone.push(stored.job.id);
                    self.put_removal(&mut unit, &stored.job);
                    self.jobs.remove(stored.job.id);
                    self.notify_job(&stored, "removed");
                    continue;
                }
                _ => continue,
            };
            unit.push(Change::PutJob(Arc::clone(&entry.job)));
            self.put_standing(&mut unit, &entry);
            self.notify_defined(&entry, change);
            self.jobs.put(entry);
        }
        if !unit.is_empty() {
            self.store(unit);
        }
        for id in gone {
            self.end_queued_of(id);
        }
    }

    /// Tells of a job that is new or has another definition, and of what is other.
    fn notify_defined(&mut self, entry: &Entry, change: &JobChange) {
        let created = change.action == JobAction::Create;
        let fields = if created { Vec::new() } else { glimpse_of(&change.fields) };
        self.notify(What::Job {
            job: change.name.clone(),
            id: entry.job.id,
            change: if created { "created" } else { "updated" }.into(),
            revision: Some(entry.job.revision),
            fields,
            reason: None,
            until: None,
        });
    }

    fn created(&self, id: JobId, spec: JobSpec) -> Entry {
        let now = self.now;
        let job = Job { id, revision: 1, created_at: now, updated_at: now, spec };
        first_due(Entry { job: Arc::new(job), state: JobState::default() }, now)
    }

    fn updated(&self, stored: &Entry, spec: JobSpec) -> Entry {
        let rule_changed = stored.job.spec.rule != spec.rule;
        let job = Job {
            revision: stored.job.revision.saturating_add(1),
            updated_at: self.now,
            spec,
            ..*stored.job
        };
        let mut state = stored.state.clone();
        if stored.job.spec.pause_on_failure != job.spec.pause_on_failure {
            state.failures = 0;
        }
        let entry = Entry { job: Arc::new(job), state };
        if !rule_changed {
            return entry;
        }
        let state = JobState { occurrences: 0, done_until: None, ..entry.state };
        first_due(Entry { state, ..entry }, self.now)
    }

    /// Removes a job; its queued deliveries end.
    pub(super) fn remove_job(&mut self, name: &JobName) -> Result<Reply, RequestError> {
        let entry = self.job(name)?;
        let job = Arc::clone(&entry.job);
        let id = job.id;
        self.close();
        self.jobs.remove(id);
        let mut unit = Vec::new();
        self.put_removal(&mut unit, &job);
        self.store(unit);
        self.notify_job(&entry, "removed");
        self.end_queued_of(id);
        Ok(Reply::Done)
    }

    fn end_queued_of(&mut self, job: JobId) {
        for serial in self.runs.of_job(job) {
            self.end_unsent(serial, DeliveryState::Removed, "the job was removed", false);
        }
    }
}

/// Sets when a new rule is due first. What it says of the time before is not made up for, but a
/// single moment is: it may have passed while its definition was on the way.
fn first_due(mut entry: Entry, now: Timestamp) -> Entry {
    let after = match entry.job.spec.rule.when {
        When::At(_) => Timestamp::MIN,
        When::Now if entry.job.revision == 1 => Timestamp::MIN,
        // A `now` in a list: this moment itself is one of its occurrences.
        When::Any(ref rules)
            if entry.job.revision == 1 && rules.iter().any(|rule| rule.when == When::Now) =>
        {
            now.minus(Duration::from_millis(1))
        }
        When::Now | When::Every { .. } | When::Cron(_) | When::RRule(_) | When::Any(_) => now,
    };
    let is_new = |due: &Timestamp| {
        !(matches!(entry.job.spec.rule.when, When::At(_)) && entry.state.shots.contains(due))
    };
    entry.state.next_due = entry.next_after(after).filter(is_new);
    entry
}

/// Checks what types alone cannot: names once, parameters within their limit.
fn check(specs: &[JobSpec]) -> Result<BTreeSet<JobName>, RequestError> {
    let mut names = BTreeSet::new();
    for spec in specs {
        if !names.insert(spec.name.clone()) {
            let message = format!("job {:?} is defined twice", spec.name.as_str());
            return Err(RequestError::Invalid(message));
        }
        let described = spec.description.as_ref().map_or(0, String::len);
        if described > MAX_DESCRIPTION {
            return Err(RequestError::Invalid(format!(
                "job {:?}: description has {described} bytes; the most is {MAX_DESCRIPTION}",
                spec.name.as_str()
            )));
        }
        for (field, value) in [("spread", spec.spread), ("jitter", spec.jitter)] {
            if value.is_some_and(|value| value > MAX_SPREAD) {
                let name = spec.name.as_str();
                let message = format!("job {name:?}: {field} is longer than one day, the most");
                return Err(RequestError::Invalid(message));
            }
        }
        let invalid = |error: &dyn std::fmt::Display| {
            RequestError::Invalid(format!("job {:?}: {error}", spec.name.as_str()))
        };
        spec.command().map_err(|error| invalid(&error))?;
        spec.target.check().map_err(|error| invalid(&error))?;
        spec.policy().check().map_err(|error| invalid(&error))?;
        super::rollout::check(spec.rollout.as_ref(), spec.membership)
            .map_err(|error| invalid(&error))?;
        spec.policy().check_overlap(spec.overlap).map_err(|error| invalid(&error))?;
        spec.check_size().map_err(|error| invalid(&error))?;
    }
    Ok(names)
}
