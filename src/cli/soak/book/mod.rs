//! The comparison: what the outside ledger has, what the server's history tells, and what the
//! rules demand of both.
//!
//! Pure: lines, events and moments are given. Memory is bounded: a run is judged, and put away,
//! when it has ended and all that may still come has had its time. The definitions:
//!
//! - **lost**: a submit was acknowledged, or a run fired, and at one of its clients it was neither
//!   executed nor ended with a reason; or it is told as succeeded, and the client has no complete
//!   execution; or it reached fewer clients than its target has.
//! - **doubled**: a client executed a serial more often than is permitted. Permitted is one
//!   execution for each attempt that the history has, by its number. A command that is to be run
//!   again when its client is killed (`on_client_crash = "retry"`) is permitted one more for each
//!   execution that a kill may have caught before the journal had its end: one without a complete
//!   effect, or whose effect was complete no longer than [`JOURNAL`] before the kill, not counting
//!   the time for which the process stood still. A client is never permitted two executions of a
//!   serial for other reasons. Also: two runs for one idempotency key, a serial that fired twice,
//!   a delivery that ended twice, an execution long after its run had ended.
//! - **unexplained**: a firing was due by the job's phase and period, and did neither run nor is
//!   told by `explain` with a reason; or the two histories, events and `explain`, differ about it;
//!   or a delivery ended otherwise than succeeded without a reason; or a client executed what the
//!   history does not know, or has as `skipped`, or as open to the last.

mod firings;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;

use super::ledger::Line;
use super::plan::{Expects, Plan, client_number};
use crate::engine::{Event, What};
use crate::id::{JobName, Serial};
use crate::run::{DeliveryState, Response};

/// How long after its end a run may still be executed somewhere, in milliseconds: what was on its
/// way when the server ended the delivery by itself.
const GRACE: i64 = 90_000;

/// How long the journal may take to have an end on the disk, in milliseconds.
const JOURNAL: i64 = 2_000;

/// Runs that are remembered as judged, at most; an execution of an older one is told as one that
/// the history does not know.
const JUDGED: usize = 100_000;

/// Submits whose runs are remembered by their numbers, at most.
const KEYS: usize = 100_000;

/// Offenders that are listed, at most; all are counted.
const LISTED: usize = 10_000;

/// A life of a client process: which process, and how often it was started before.
pub(super) type Life = (u32, u32);

/// What is wrong with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    Lost,
    Doubled,
    Unexplained,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Offender {
    pub(super) fault: Fault,
    /// What is wrong, in a sentence.
    pub(super) why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) serial: Option<Serial>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    /// Of a submit, its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) submit: Option<u64>,
    /// Of a firing, when it was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) due: Option<String>,
    /// The executions that the outside ledger has of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) executions: Vec<String>,
}

impl Offender {
    fn new(fault: Fault, why: impl Into<String>) -> Self {
        let (serial, job, client, submit, due) = (None, None, None, None, None);
        Self { fault, why: why.into(), serial, job, client, submit, due, executions: Vec::new() }
    }
}

/// What was counted.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Sums {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) unexplained: u64,
    /// Firings that were due.
    pub(super) firings_due: u64,
    /// Those that ran.
    pub(super) firings_ran: u64,
    /// Those that did not, by the reason that is told.
    pub(super) firings_not_run: BTreeMap<String, u64>,
    /// Spans of a job that were looked at a second time before they were as they should be.
    pub(super) second_looks: u64,
    pub(super) submits_acknowledged: u64,
    /// Of these, acknowledged with the run of an earlier request.
    pub(super) submits_repeated: u64,
    pub(super) runs: u64,
    /// How deliveries ended.
    pub(super) deliveries: BTreeMap<&'static str, u64>,
    /// Attempts that were followed by another.
    pub(super) retried: u64,
    pub(super) executions: u64,
    /// Executions beyond the first that a kill or a further attempt permitted.
    pub(super) permitted_again: u64,
}

/// The kill that ended a life of a client process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Killed {
    /// Effects that were complete after this moment may be missing in the journal.
    pub(super) since: i64,
}

impl Killed {
    /// A kill at a moment, of a process that was made to stand still last for this time.
    pub(super) fn at(at: i64, paused: Option<(i64, i64)>) -> Self {
        let since = at - JOURNAL;
        let paused = paused.filter(|(_, until)| *until > since);
        Self { since: paused.map_or(since, |(from, _)| since.min(from - JOURNAL)) }
    }
}

/// One execution of a serial at a client.
#[derive(Debug, Clone, Copy)]
struct Execution {
    life: Life,
    begun: i64,
    ended: Option<i64>,
}

#[derive(Debug, Default)]
struct Delivery {
    executions: Vec<Execution>,
    /// The highest number of an attempt that has ended.
    attempts: u32,
    /// How it ended, and whether a reason is told.
    end: Option<(DeliveryState, bool)>,
}

#[derive(Debug, Default)]
struct Entry {
    /// The number of a submit.
    number: Option<u64>,
    acknowledged: bool,
    /// How many deliveries the run began with; `None`: no event has told of it.
    total: Option<u32>,
    job: Option<u32>,
    ended: bool,
    /// When something was last heard of it.
    changed: i64,
    deliveries: BTreeMap<u32, Delivery>,
}

/// The comparison.
#[derive(Debug)]
pub(super) struct Book {
    plan: Arc<Plan>,
    jobs: HashMap<JobName, u32>,
    open: BTreeMap<Serial, Entry>,
    judged: BTreeSet<Serial>,
    kills: HashMap<Life, Killed>,
    keys: BTreeMap<u64, Serial>,
    /// The moments by the rule at which each job has fired, as far as they are not put away.
    fired: Vec<BTreeSet<i64>>,
    /// Up to when it is settled for each job what became of its firings.
    settled: Vec<i64>,
    pub(super) sums: Sums,
    pub(super) offenders: Vec<Offender>,
}

impl Book {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let names = plan.jobs.iter().map(|job| job.spec.name.clone());
        Self {
            jobs: names.zip(0..).collect(),
            open: BTreeMap::new(),
            judged: BTreeSet::new(),
            kills: HashMap::new(),
            keys: BTreeMap::new(),
            fired: vec![BTreeSet::new(); plan.jobs.len()],
            settled: vec![i64::MIN; plan.jobs.len()],
            sums: Sums::default(),
            offenders: Vec::new(),
            plan,
        }
    }

    /// A life of a client process was ended by a kill.
    pub(super) fn killed(&mut self, life: Life, killed: Killed) {
        self.kills.insert(life, killed);
    }

    /// Takes a line of the outside ledger, which that life of a client process wrote. It gives a
    /// run's serial and the moment at which a client began it, if that is the first time for this
    /// client, and a job's rule was due then.
    pub(super) fn take(&mut self, writer: Life, line: &Line, now: i64) -> Option<(Serial, i64)> {
        match line {
            Line::Begun { at, serial, client, number } => {
                self.sums.executions += 1;
                if let Some(number) = number {
                    self.key(*number, *serial);
                }
                let client = client_number(client)?;
                let entry = self.entry(*serial, now);
                entry.number = entry.number.or(*number);
                let delivery = entry.deliveries.entry(client).or_default();
                delivery.executions.push(Execution { life: writer, begun: *at, ended: None });
                let first = delivery.executions.len() == 1;
                (first && number.is_none()).then_some((*serial, *at))
            }
            Line::Ended { at, serial, client } => {
                let client = client_number(client)?;
                let entry = self.entry(*serial, now);
                let delivery = entry.deliveries.entry(client).or_default();
                let open = |execution: &&mut Execution| {
                    execution.life == writer && execution.ended.is_none()
                };
                if let Some(execution) = delivery.executions.iter_mut().find(open) {
                    execution.ended = Some(*at);
                }
                None
            }
            Line::Acknowledged { serial, number, repeated, .. } => {
                self.sums.submits_acknowledged += 1;
                self.sums.submits_repeated += u64::from(*repeated);
                self.key(*number, *serial);
                let entry = self.entry(*serial, now);
                entry.acknowledged = true;
                entry.number = Some(*number);
                None
            }
        }
    }

    /// Takes an event of the server's history.
    pub(super) fn event(&mut self, event: &Event, now: i64) {
        match &event.what {
            What::RunStarted { serial, job, cause, scheduled_at, total, .. } => {
                self.sums.runs += 1;
                let number = job.as_ref().and_then(|name| self.jobs.get(name)).copied();
                if let (Some(number), true) = (number, cause.is_by_rule()) {
                    self.fired(number, scheduled_at.millis(), *serial);
                }
                let entry = self.entry(*serial, now);
                let twice = entry.total.is_some();
                (entry.total, entry.job) = (Some(*total), number);
                if twice {
                    self.accuse(*serial, None, Fault::Doubled, "its run has started twice");
                }
            }
            What::RunEnded { serial, .. } => self.entry(*serial, now).ended = true,
            What::AttemptEnded { response, .. } => {
                self.sums.retried += 1;
                self.response(response, false, now);
            }
            What::DeliveryEnded { response, .. } => self.response(response, true, now),
            _ => {}
        }
    }

    fn response(&mut self, response: &Response, is_end: bool, now: i64) {
        let Some(client) = client_number(&response.client) else { return };
        let outcome = &response.outcome;
        let delivery = self.entry(response.serial, now).deliveries.entry(client).or_default();
        delivery.attempts = delivery.attempts.max(response.attempt);
        if !is_end {
            return;
        }
        let reason = outcome.reason.as_ref().is_some_and(|reason| !reason.is_empty());
        let before = delivery.end.replace((outcome.state, reason));
        *self.sums.deliveries.entry(outcome.state.name()).or_default() += 1;
        if let Some((state, _)) = before {
            let why = format!("its delivery has ended twice, as {state} and as {}", outcome.state);
            self.accuse(response.serial, Some(client), Fault::Doubled, why);
        }
    }

    fn entry(&mut self, serial: Serial, now: i64) -> &mut Entry {
        let entry = self.open.entry(serial).or_default();
        entry.changed = now;
        entry
    }

    /// One idempotency key has one run.
    fn key(&mut self, number: u64, serial: Serial) {
        let known = *self.keys.entry(number).or_insert(serial);
        if known != serial {
            let why = format!("submit {number} has two runs under one key, {known} and this one");
            let offender = Offender::new(Fault::Doubled, why);
            self.list(Offender { serial: Some(serial), submit: Some(number), ..offender });
        }
        if self.keys.len() > KEYS {
            self.keys.pop_first();
        }
    }

    fn expects(&self, entry: &Entry) -> Option<Expects> {
        match (entry.job, entry.number) {
            (Some(job), _) => Some(self.plan.jobs[job as usize].expects),
            (None, Some(number)) => Some(self.plan.expects(number)),
            (None, None) => None,
        }
    }

    /// Runs that are not judged yet.
    pub(super) fn waiting(&self) -> usize {
        self.open.len()
    }

    fn list(&mut self, offender: Offender) {
        match offender.fault {
            Fault::Lost => self.sums.lost += 1,
            Fault::Doubled => self.sums.doubled += 1,
            Fault::Unexplained => self.sums.unexplained += 1,
        }
        if self.offenders.len() < LISTED {
            self.offenders.push(offender);
        }
    }
}
