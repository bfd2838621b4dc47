//! What a forecast starts from: where jobs stand now.
//!
//! The engine gives snapshots and computes no firing: a forecast may look at very many, and
//! whoever asks for it does that on a thread of its own, by [`crate::forecast`].

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::core::Engine;
use super::effect::{Outlooks, Reply, RequestError};
use super::jobs::Entry;
use super::resolve::Salt;
use crate::forecast::{ForecastQuery, InvalidForecast};
use crate::id::JobName;
use crate::job::Job;
use crate::target::Target;

/// Jobs that one request for outlooks looks at, at most; the next goes on from there.
pub const OUTLOOKS: usize = 4_096;

impl From<InvalidForecast> for RequestError {
    fn from(error: InvalidForecast) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl Engine {
    /// Where a job stands.
    pub(super) fn outlook(&self, name: &JobName) -> Result<Reply, RequestError> {
        let entry = self.job(name)?;
        let deliveries =
            self.registry.resolve(&entry.job.spec.target, Salt::of_job(entry.job.id)).len();
        Ok(Reply::Outlook(self.now, entry.outlook(deliveries)))
    }

    /// Where jobs stand, a bounded part of them.
    pub(super) fn outlooks(
        &self,
        query: &ForecastQuery,
        after: Option<&JobName>,
    ) -> Result<Reply, RequestError> {
        let span = query.span(self.now)?;
        if let Some(target) = &query.target {
            self.check_target(target)?;
        }
        let entries: Vec<Entry> = match (after, &query.prefix) {
            (None, Some(prefix)) => self.jobs.starting_at(prefix).take(OUTLOOKS).collect(),
            (after, _) => self.jobs.after(after).take(OUTLOOKS).collect(),
        };
        let prefix = query.prefix.as_ref().map_or("", JobName::as_str);
        let is_within = |entry: &Entry| entry.job.spec.name.as_str().starts_with(prefix);
        // Names with a prefix stand together: one without it ends them.
        let more = entries.len() == OUTLOOKS && entries.last().is_some_and(is_within);
        let after = entries.last().filter(|_| more).map(|entry| entry.job.spec.name.clone());
        let mut reach = Reach::new(self, query.target.as_ref());
        let (mut outlooks, mut paused) = (Vec::new(), 0);
        for entry in entries.iter().take_while(|entry| is_within(entry)) {
            let Some(due) = entry.state.next_due else { continue };
            let Some(deliveries) = reach.of(&entry.job) else { continue };
            if entry.state.paused.is_some() {
                paused += 1;
            } else if due < span.to {
                outlooks.push(entry.outlook(deliveries));
            }
        }
        Ok(Reply::Outlooks(Outlooks { span, outlooks, paused, after }))
    }
}

/// How many clients of the target that is asked for each job reaches; jobs share targets.
struct Reach<'a> {
    engine: &'a Engine,
    only: Option<(&'a Target, RoaringBitmap)>,
    known: HashMap<&'a Target, Option<u64>>,
}

impl<'a> Reach<'a> {
    fn new(engine: &'a Engine, target: Option<&'a Target>) -> Self {
        let only = target.map(|target| (target, engine.registry.resolve(target, Salt::NONE)));
        Self { engine, only, known: HashMap::new() }
    }

    /// `None`: nobody of the target that is asked for.
    fn of(&mut self, job: &'a Job) -> Option<u64> {
        let target = &job.spec.target;
        if matches!(target, Target::Where(expr) if expr.is_drawn()) {
            // Each job draws its own sample.
            return self.count(job);
        }
        if let Some(known) = self.known.get(target) {
            return *known;
        }
        let count = self.count(job);
        self.known.insert(target, count);
        count
    }

    fn count(&self, job: &Job) -> Option<u64> {
        let target = &job.spec.target;
        let reached = self.engine.registry.resolve(target, Salt::of_job(job.id));
        match &self.only {
            None => Some(reached.len()),
            Some((same, _)) if *same == target => Some(reached.len()),
            Some((_, wanted)) => {
                Some(reached.intersection_len(wanted)).filter(|clients| *clients > 0)
            }
        }
    }
}
