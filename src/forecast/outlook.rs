//! One job's way ahead, and the step from an occurrence to the next.

use std::sync::Arc;

use super::{MAX_LOOKED_AT, NextFirings};
use crate::job::Job;
use crate::schedule::When;
use crate::time::Timestamp;

/// Occurrences that passed while a job was paused and are counted one by one, at most; of more,
/// the rule's count is taken as not used up.
const COUNTED: usize = 10_000;

/// What follows an occurrence that is dealt with, `occurrences` of them by now: the rule's next,
/// or nothing when its count is used up or it has ended. The engine and every forecast go by this
/// alone.
#[must_use]
pub fn following(job: &Job, occurrence: Timestamp, occurrences: u64) -> Option<Timestamp> {
    let rule = &job.spec.rule;
    let ended = rule.count.is_some_and(|count| occurrences >= count);
    if ended { None } else { rule.next_after(occurrence, job.created_at) }
}

/// Where a job stands, as far as a forecast needs it. Cheap to make: the definition is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The job.
    pub job: Arc<Job>,
    /// When it is due next; `None`: its rule has ended.
    pub next_due: Option<Timestamp>,
    /// Occurrences dealt with.
    pub occurrences: u64,
    /// When it was paused; `None`: it runs.
    pub paused_at: Option<Timestamp>,
    /// Deliveries of a firing, if its target has the clients that it has now.
    pub deliveries: u64,
}

impl Outlook {
    /// Takes the next occurrence.
    pub(super) fn step(&mut self) -> Option<Timestamp> {
        let at = self.next_due?;
        self.occurrences = self.occurrences.saturating_add(1);
        self.next_due = following(&self.job, at, self.occurrences);
        Some(at)
    }

    /// Leaves out what is due before `from`, or the first of it when each counts.
    pub(super) fn skip(&mut self, from: Timestamp) {
        if self.job.spec.rule.count.is_some() {
            self.step();
        } else {
            self.jump(from);
        }
    }

    fn jump(&mut self, from: Timestamp) {
        // One millisecond before: what is due at the moment itself is not left out.
        let before = from.minus(std::time::Duration::from_millis(1));
        self.next_due = self.job.spec.rule.next_after(before, self.job.created_at);
    }

    /// The time zone of the rule, if it has one.
    pub(super) fn time_zone(&self) -> Option<String> {
        match &self.job.spec.rule.when {
            When::Cron(cron) => Some(cron.time_zone().to_owned()),
            When::RRule(rrule) => Some(rrule.time_zone().to_owned()),
            _ => None,
        }
    }

    fn is_behind(&self, now: Timestamp) -> bool {
        self.next_due.is_some_and(|due| due <= now)
    }
}

/// The next `count` firings of a job. Of one that is paused, those after `now`.
#[must_use]
pub fn next_firings(mut outlook: Outlook, now: Timestamp, count: usize) -> NextFirings {
    if outlook.paused_at.is_some() {
        // A resume deals with them as missed; they count.
        let mut counted = 0;
        while outlook.is_behind(now) && counted < COUNTED {
            outlook.skip(now.plus(std::time::Duration::from_millis(1)));
            counted += 1;
        }
        if outlook.is_behind(now) {
            outlook.jump(now.plus(std::time::Duration::from_millis(1)));
        }
    }
    NextFirings {
        job: outlook.job.spec.name.clone(),
        paused_at: outlook.paused_at,
        time_zone: outlook.time_zone(),
        firings: std::iter::from_fn(|| outlook.step()).take(count).collect(),
    }
}

/// Keeps the outlooks that a forecast from `from` on can come to look at, when there are a good
/// many more: each that is due earlier takes one look at least. Their order is not kept.
pub fn earliest(outlooks: &mut Vec<Outlook>) {
    // One more than can be looked at shows that there are more, and when.
    let kept = MAX_LOOKED_AT + 1;
    if outlooks.len() < 2 * kept {
        return;
    }
    outlooks.select_nth_unstable_by_key(kept, |outlook| outlook.next_due);
    outlooks.truncate(kept);
    outlooks.shrink_to_fit();
}
