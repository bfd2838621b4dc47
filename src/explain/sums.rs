//! The sums of an answer.

use serde::{Deserialize, Serialize};

use super::fate::Fate;
use super::item::{Delivery, Firing};
use super::query::Span;
use crate::run::{Counts, DeliveryState};
use crate::time::Timestamp;

/// How many there were, and what became of them; over all of the span, whatever was given of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// The begin of the span.
    pub since: Timestamp,
    /// The end of the span, which is not part of it.
    pub until: Timestamp,
    /// Firings that the rules had.
    pub expected: u64,
    /// Those of them that fired.
    pub fired: u64,
    /// Those of the fired that were made up for later.
    pub caught_up: u64,
    /// Recorded as missed.
    pub missed: u64,
    /// They wait for the end of a pause.
    pub paused: u64,
    /// They waited for the end of a pause when the rule changed, or the job was removed.
    pub dropped: u64,
    /// Due at this moment.
    pub due: u64,
    /// Not known, since a calendar of the rule was changed later.
    pub calendar: u64,
    /// Forgotten by retention.
    pub forgotten: u64,
    /// Nothing tells what became of them: a fault in fleetcron, or in its store.
    pub unexplained: u64,
    /// Runs that no rule had: triggers, submits, replays.
    pub others: u64,
    /// Runs that had nobody to go to.
    pub nobody: u64,
    /// Deliveries, and how they ended.
    pub deliveries: Counts,
    /// Firings, runs and deliveries that did not do what they were to do.
    pub problems: u64,
    /// For how long the client was away, in milliseconds, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_ms: Option<u64>,
    /// Where the answer ends before its span does; ask again with this as `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_at: Option<Timestamp>,
}

impl Sums {
    pub(super) fn new(span: Span) -> Self {
        Self {
            since: span.since,
            until: span.until,
            expected: 0,
            fired: 0,
            caught_up: 0,
            missed: 0,
            paused: 0,
            dropped: 0,
            due: 0,
            calendar: 0,
            forgotten: 0,
            unexplained: 0,
            others: 0,
            nobody: 0,
            deliveries: Counts::default(),
            problems: 0,
            away_ms: None,
            cut_at: None,
        }
    }

    pub(super) fn count(&mut self, firing: &Firing) {
        self.problems += u64::from(firing.problem);
        if let Some(counts) = &firing.counts {
            self.add(counts);
        }
        if matches!(firing.fate, Fate::Nobody { .. }) {
            self.nobody += 1;
        }
        if !firing.expected {
            self.others += 1;
            return;
        }
        self.expected += 1;
        *(match &firing.fate {
            Fate::Missed { .. } => &mut self.missed,
            Fate::Paused { .. } => &mut self.paused,
            Fate::Dropped { .. } => &mut self.dropped,
            Fate::Due => &mut self.due,
            Fate::Calendar { .. } => &mut self.calendar,
            Fate::Forgotten { .. } => &mut self.forgotten,
            Fate::Unexplained { .. } => &mut self.unexplained,
            Fate::Succeeded
            | Fate::NotSucceeded
            | Fate::Open
            | Fate::Nobody { .. }
            | Fate::NotForClient => &mut self.fired,
        }) += 1;
        if firing.cause == crate::run::Cause::CatchUp {
            self.caught_up += 1;
        }
    }

    /// Counts one delivery of a client.
    pub(super) fn count_delivery(&mut self, delivery: &Delivery, problem: bool) {
        self.problems += u64::from(problem);
        self.deliveries.total = self.deliveries.total.saturating_add(1);
        if delivery.state.is_end() {
            self.deliveries.add(delivery.state);
        }
    }

    fn add(&mut self, counts: &Counts) {
        let sums = &mut self.deliveries;
        sums.total = sums.total.saturating_add(counts.total);
        sums.retried = sums.retried.saturating_add(counts.retried);
        for state in DeliveryState::ALL {
            let sum = sums.of(state).saturating_add(counts.of(state));
            sums.set(state, sum);
        }
    }
}
