//! The judgement of firings: what was due, what fired, and what `explain` tells of both.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{Book, Fault, Offender};
use crate::explain::{Fate, Firing};
use crate::id::Serial;
use crate::time::Timestamp;

/// Reasons that are counted each, at most; those beyond are counted together.
const REASONS: usize = 32;

impl Book {
    /// A job has fired by its rule.
    pub(super) fn fired(&mut self, job: u32, at: i64, serial: Serial) {
        let name = || Some(self.plan.jobs[job as usize].spec.name.to_string());
        if at < self.settled[job as usize] {
            let why = "fired after it was told what had become of this moment";
            let offender = Offender::new(Fault::Doubled, why);
            self.list(Offender {
                serial: Some(serial),
                job: name(),
                due: Some(moment(at)),
                ..offender
            });
        } else if !self.fired[job as usize].insert(at) {
            let offender = Offender::new(Fault::Doubled, "fired twice for one moment");
            self.list(Offender {
                serial: Some(serial),
                job: name(),
                due: Some(moment(at)),
                ..offender
            });
        }
    }

    /// Looks at what `explain` tells of a job's firings in a span, in milliseconds: what is wrong
    /// may be so for the moment only.
    pub(in crate::cli::soak) fn look(
        &self,
        job: usize,
        span: Range<i64>,
        told: &[Firing],
    ) -> Vec<Offender> {
        let due_at: BTreeSet<i64> = self.plan.jobs[job].due(span.clone()).collect();
        let fired = &self.fired[job];
        let by_rule = told.iter().filter(|firing| firing.expected);
        let told: BTreeMap<i64, &Firing> =
            by_rule.map(|firing| (firing.at.millis(), firing)).collect();
        let mut wrong = Vec::new();
        let mut accuse = |at: i64, why: String| {
            let serial = told.get(&at).map(|firing| firing.serial);
            let job = Some(self.plan.jobs[job].spec.name.to_string());
            let offender = Offender::new(Fault::Unexplained, why);
            wrong.push(Offender { serial, job, due: Some(moment(at)), ..offender });
        };
        for at in &due_at {
            let problem = match told.get(at) {
                Some(firing) => problem(&firing.fate, fired.contains(at)),
                None if fired.contains(at) => Some("fired, and explain does not tell of it".into()),
                None => Some("due; it did not fire, and explain does not tell of it".into()),
            };
            if let Some(problem) = problem {
                accuse(*at, problem);
            }
        }
        for at in told.keys().filter(|at| !due_at.contains(at)) {
            accuse(*at, "explain tells of a firing that was not due".into());
        }
        for at in fired.range(span).filter(|at| !due_at.contains(at)) {
            accuse(*at, "fired, and was not due".into());
        }
        wrong
    }

    /// Settles a span of a job's firings: what is wrong stays so, the rest is counted and put
    /// away.
    pub(in crate::cli::soak) fn close(
        &mut self,
        job: usize,
        span: Range<i64>,
        told: &[Firing],
        wrong: Vec<Offender>,
    ) {
        self.sums.firings_due += self.plan.jobs[job].due(span.clone()).count() as u64;
        for firing in told.iter().filter(|firing| firing.expected) {
            let reason = match &firing.fate {
                Fate::Missed { reason, .. } => reason.clone(),
                Fate::Paused { .. } => "the job is paused".to_owned(),
                Fate::Dropped { .. } => "dropped with a pause".to_owned(),
                fate if ran(fate) => {
                    self.sums.firings_ran += 1;
                    continue;
                }
                _ => "unexplained".to_owned(),
            };
            let reasons = &mut self.sums.firings_not_run;
            let full = reasons.len() >= REASONS && !reasons.contains_key(&reason);
            let reason = if full { "other reasons".to_owned() } else { reason };
            *reasons.entry(reason).or_default() += 1;
        }
        for offender in wrong {
            self.list(offender);
        }
        self.fired[job] = self.fired[job].split_off(&span.end);
        self.settled[job] = span.end;
    }
}

fn moment(at: i64) -> String {
    Timestamp::from_millis(at).to_string()
}

/// Whether a fate says that there was a run.
fn ran(fate: &Fate) -> bool {
    matches!(
        fate,
        Fate::Succeeded
            | Fate::NotSucceeded
            | Fate::Open
            | Fate::Nobody { .. }
            | Fate::Forgotten { .. }
    )
}

/// What is wrong with what is told of a moment at which the job was due.
fn problem(fate: &Fate, fired: bool) -> Option<String> {
    match fate {
        Fate::Unexplained { reason } => Some(format!("explain cannot explain it: {reason}")),
        Fate::Due => Some("explain tells of it as still due".into()),
        Fate::Calendar { .. } | Fate::NotForClient => {
            Some(format!("explain gives a fate that this job cannot have: {fate:?}"))
        }
        Fate::Missed { reason, .. } if reason.is_empty() => {
            Some("explain tells of it as missed, without a reason".into())
        }
        Fate::Missed { .. } | Fate::Paused { .. } | Fate::Dropped { .. } if fired => {
            Some(format!("it fired, and explain gives another fate: {fate:?}"))
        }
        Fate::Missed { .. } | Fate::Paused { .. } | Fate::Dropped { .. } => None,
        _ if !fired => Some("explain tells of its run, and no event does".into()),
        _ => None,
    }
}
