//! The rule of a job, as computed with.
//!
//! Promises: a rule that is read or made by its constructors is valid, and no moment, however
//! far, makes it panic or wrap. Imports times, [`super::cron`],
//! [`super::rrule`] and [`super::filter`].

use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

use super::cron::{Cron, InvalidCron};
use super::filter::{Exclude, Filter};
use super::rrule::{InvalidRRule, RRule};
use super::window::Window;
use crate::time::Timestamp;

/// The shortest period of `every`.
pub const MIN_PERIOD: Duration = Duration::from_millis(100);

/// The longest period of `every`: 100 years of 365 days.
pub const MAX_PERIOD: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The most rules in a list.
pub const MAX_RULES: usize = 32;

/// A rule is given up after so many stretches in a row that its filter closes, each with an
/// occurrence in it and none between: for a daily rule some 27 years. A list is given so many for
/// each of its rules.
pub const MAX_PASSED_OVER: usize = 10_000;

/// When a job fires.
///
/// Written as `"now"`, or as a table with one of `at`, `every` (with optional `from`), `cron`
/// (with optional `time_zone`), `rrule` (with `from` and optional `time_zone`) or `any` (a list of
/// rules), and optional `start`, `end`, `count`, `exclude` and `within`; a list of rules alone
/// stands for a table with `any`:
///
/// ```
/// # use fleetcron::Rule;
/// for rule in [
///     r#""now""#,
///     r#"{"at": "2026-12-01T02:00:00Z"}"#,
///     r#"{"every": "5m", "from": "2026-12-01T00:00:00Z", "count": 10}"#,
///     r#"{"cron": "30 6 * * mon-fri", "time_zone": "Europe/Berlin"}"#,
///     r#"{"rrule": "FREQ=MONTHLY;BYDAY=2TU", "from": "2026-01-13T09:00"}"#,
///     r#"[{"cron": "0 6 * * mon-fri"}, {"cron": "0 9 * * sat,sun"}]"#,
///     r#"{"every": "5m", "within": [{"weekdays": ["mon-fri"], "from": "08:00", "to": "18:00"}],
///         "exclude": {"dates": ["2026-12-24..2027-01-06"]}, "time_zone": "Europe/Berlin"}"#,
/// ] {
///     serde_json::from_str::<Rule>(rule)?;
/// }
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The occurrences.
    pub when: When,
    /// No occurrence before this moment.
    pub start: Option<Timestamp>,
    /// No occurrence after this moment.
    pub end: Option<Timestamp>,
    /// At most so many occurrences.
    pub count: Option<u64>,
    /// Occurrences that it closes are passed over; they do not count.
    pub filter: Option<Arc<Filter>>,
}

/// The occurrences of a rule, before its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Once, when the job is created.
    Now,
    /// Once, at a moment.
    At(Timestamp),
    /// Again and again, a fixed time apart.
    Every {
        /// The time between two firings: whole milliseconds, 100 ms to 100 years.
        period: Duration,
        /// The phase: a moment at which it fires, or would. Default: the job's creation.
        from: Option<Timestamp>,
    },
    /// By the calendar.
    Cron(Cron),
    /// By a recurrence rule of RFC 5545.
    RRule(RRule),
    /// At the occurrences of any of several rules, 1 to [`MAX_RULES`], each moment once. None of
    /// them has a count, or a list within.
    Any(Vec<Rule>),
}

/// A rule that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// Not exactly one of the kinds.
    #[error("rule has {0}; write exactly one of at, every, cron, rrule or any, or \"now\"")]
    Kind(String),
    /// A field that its kind does not have.
    #[error("rule has {field} without {needs}")]
    Stray {
        /// The field.
        field: &'static str,
        /// The field that it belongs to.
        needs: &'static str,
    },
    /// A recurrence rule without its beginning.
    #[error("rrule has no from; write the local time at which it begins, such as 2026-01-13T09:00")]
    NoFrom,
    /// A phase of `every` that is no moment.
    #[error("from {0} has no offset; every needs a moment, such as {0}Z")]
    LocalFrom(String),
    /// A period below [`MIN_PERIOD`], above [`MAX_PERIOD`] or with a fraction of a millisecond.
    #[error("every {0:?} is not valid: write whole milliseconds, 100ms to 100 years")]
    Period(Duration),
    /// A moment that start and end leave out.
    #[error("at {at} never fires: it is not between start and end")]
    Outside {
        /// The moment.
        at: Timestamp,
    },
    /// A start after the end.
    #[error("start {start} is after end {end}")]
    Window {
        /// The start.
        start: Timestamp,
        /// The end.
        end: Timestamp,
    },
    /// A rule that has no occurrence.
    #[error("rule never fires: {0}")]
    Never(String),
    /// Exclusions and windows that cannot be.
    #[error("{0}")]
    Filter(String),
    /// A list of no rule or of more than [`MAX_RULES`].
    #[error("rule is a list of {0} rules; write 1 to {MAX_RULES}")]
    Rules(usize),
    /// A rule in a list that has a count.
    #[error(
        "count {0} stands in a list of rules, which are counted together; write it beside the \
         list: {{ any = [ … ], count = {0} }}"
    )]
    CountInList(u64),
    /// A rule in a list that is a list itself.
    #[error("a list of rules stands in a list of rules; write one list")]
    ListInList,
    /// A count of zero.
    #[error("count 0 is not valid: a rule fires at least once")]
    Count,
    /// A cron expression or time zone that is none.
    #[error(transparent)]
    Cron(#[from] InvalidCron),
    /// A recurrence rule that is none, or never fires.
    #[error(transparent)]
    RRule(#[from] InvalidRRule),
}

impl From<When> for Rule {
    fn from(when: When) -> Self {
        Self { when, start: None, end: None, count: None, filter: None }
    }
}

impl Rule {
    /// Fires once, when the job is created.
    #[must_use]
    pub fn now() -> Self {
        When::Now.into()
    }

    /// Fires once, at a moment.
    #[must_use]
    pub fn at(at: Timestamp) -> Self {
        When::At(at).into()
    }

    /// Fires again and again, `period` apart.
    pub fn every(period: Duration) -> Result<Self, InvalidRule> {
        let rule = Self::from(When::Every { period, from: None });
        rule.checked()
    }

    /// Fires by the calendar; `time_zone` is an IANA name such as `Europe/Berlin`.
    pub fn cron(expression: &str, time_zone: &str) -> Result<Self, InvalidRule> {
        Ok(When::Cron(Cron::new(expression, time_zone)?).into())
    }

    /// Fires by a recurrence rule of RFC 5545 that begins at a local time such as
    /// `2026-01-13T09:00`; `time_zone` is an IANA name such as `Europe/Berlin`.
    pub fn rrule(rrule: &str, from: &str, time_zone: &str) -> Result<Self, InvalidRule> {
        Ok(When::RRule(RRule::new(rrule, from, time_zone)?).into())
    }

    /// Fires at the occurrences of each of the rules, each moment once.
    pub fn any(rules: Vec<Self>) -> Result<Self, InvalidRule> {
        Self::from(When::Any(rules)).checked()
    }

    /// The rule with its occurrences held against the local time in a time zone: none on days
    /// that are excluded, and, if there is any window, none outside of all windows.
    pub fn filtered(
        self,
        time_zone: &str,
        exclude: Option<Exclude>,
        within: Vec<Window>,
    ) -> Result<Self, InvalidRule> {
        let time_zone = super::cron::zone(time_zone)?;
        self.with_filter(time_zone, exclude, within).checked()
    }

    pub(super) fn with_filter(
        self,
        time_zone: Tz,
        exclude: Option<Exclude>,
        within: Vec<Window>,
    ) -> Self {
        let none = exclude.is_none() && within.is_empty();
        let filter = (!none).then(|| Arc::new(Filter { time_zone, exclude, within }));
        Self { filter, ..self }
    }

    /// The first occurrence strictly after `after`, within start and end and held against the
    /// filter; the count is the caller's to keep. `anchor` is the job's creation: the moment of
    /// `now`, and the phase of an `every` without `from`.
    #[must_use]
    pub fn next_after(&self, after: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
        self.search(after, anchor, &mut 0)
    }

    /// The next occurrence; counts in `passed` the stretches that it passed over, those of the
    /// rules in a list with them, so that a filter over filters does not multiply the bounds.
    fn search(&self, after: Timestamp, anchor: Timestamp, passed: &mut usize) -> Option<Timestamp> {
        // One millisecond before the start: an occurrence at the start itself counts.
        let mut after = match self.start {
            Some(start) => after.max(start.minus(Duration::from_millis(1))),
            None => after,
        };
        let rules = if let When::Any(rules) = &self.when { rules.len() } else { 1 };
        let most = passed.saturating_add(MAX_PASSED_OVER * rules);
        loop {
            let next = self.when.search(after, anchor, passed)?;
            if self.end.is_some_and(|end| next > end) {
                return None;
            }
            let Some(filter) = &self.filter else { return Some(next) };
            let open = filter.next_open(next)?;
            if open == next {
                return Some(next);
            }
            *passed += 1;
            if *passed >= most {
                return None;
            }
            after = open.minus(Duration::from_millis(1));
        }
    }
}

impl When {
    fn search(&self, after: Timestamp, anchor: Timestamp, passed: &mut usize) -> Option<Timestamp> {
        match self {
            Self::Now => Some(anchor).filter(|at| *at > after),
            Self::At(at) => Some(*at).filter(|at| *at > after),
            Self::Every { period, from } => next_in_phase(*period, from.unwrap_or(anchor), after),
            Self::Cron(cron) => cron.next_after(after),
            Self::RRule(rrule) => rrule.next_after(after),
            Self::Any(rules) => {
                rules.iter().filter_map(|rule| rule.search(after, anchor, passed)).min()
            }
        }
    }
}

/// The first moment after `after` that is `from` plus a whole number (0 or more) of periods, by
/// division: a gap of years costs no more than one of a second.
fn next_in_phase(period: Duration, from: Timestamp, after: Timestamp) -> Option<Timestamp> {
    if after < from {
        return Some(from);
    }
    // The difference of two moments may need one bit more than a moment.
    let period = i128::try_from(period.as_millis()).ok().filter(|period| *period > 0)?;
    let (from, after) = (i128::from(from.millis()), i128::from(after.millis()));
    let next = ((after - from) / period + 1).checked_mul(period)?.checked_add(from)?;
    i64::try_from(next).ok().map(Timestamp::from_millis)
}
