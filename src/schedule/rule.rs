//! The rule of a job, as computed with.
//!
//! Promises: a rule that is read or made by its constructors is valid, and no moment, however
//! far, makes it panic or wrap. Imports times and [`super::cron`].

use std::time::Duration;

use super::cron::{Cron, InvalidCron};
use crate::time::Timestamp;

/// The shortest period of `every`.
pub const MIN_PERIOD: Duration = Duration::from_millis(100);

/// The longest period of `every`: 100 years of 365 days.
pub const MAX_PERIOD: Duration = Duration::from_secs(100 * 365 * 86_400);

/// When a job fires.
///
/// Written as `"now"`, or as a table with one of `at`, `every` (with optional `from`) or `cron`
/// (with optional `time_zone`), and optional `start`, `end` and `count`:
///
/// ```
/// # use fleetcron::Rule;
/// for rule in [
///     r#""now""#,
///     r#"{"at": "2026-12-01T02:00:00Z"}"#,
///     r#"{"every": "5m", "from": "2026-12-01T00:00:00Z", "count": 10}"#,
///     r#"{"cron": "30 6 * * mon-fri", "time_zone": "Europe/Berlin"}"#,
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
}

/// A rule that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// Not exactly one of the kinds.
    #[error("rule has {0}; write exactly one of at, every or cron, or \"now\"")]
    Kind(String),
    /// A field that its kind does not have.
    #[error("rule has {field} without {needs}")]
    Stray {
        /// The field.
        field: &'static str,
        /// The field that it belongs to.
        needs: &'static str,
    },
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
    /// A count of zero.
    #[error("count 0 is not valid: a rule fires at least once")]
    Count,
    /// A cron expression or time zone that is none.
    #[error(transparent)]
    Cron(#[from] InvalidCron),
}

impl From<When> for Rule {
    fn from(when: When) -> Self {
        Self { when, start: None, end: None, count: None }
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

    /// The rule, if its parts fit together.
    pub fn checked(self) -> Result<Self, InvalidRule> {
        if let When::Every { period, .. } = self.when
            && (!(MIN_PERIOD..=MAX_PERIOD).contains(&period)
                || period.subsec_nanos() % 1_000_000 != 0)
        {
            return Err(InvalidRule::Period(period));
        }
        if let (Some(start), Some(end)) = (self.start, self.end)
            && start > end
        {
            return Err(InvalidRule::Window { start, end });
        }
        if let When::At(at) = self.when
            && (self.start.is_some_and(|start| at < start) || self.end.is_some_and(|end| at > end))
        {
            return Err(InvalidRule::Outside { at });
        }
        if self.count == Some(0) {
            return Err(InvalidRule::Count);
        }
        Ok(self)
    }

    /// The first occurrence strictly after `after`, within start and end; the count is the
    /// caller's to keep. `anchor` is the job's creation: the moment of `now`, and the phase of an
    /// `every` without `from`.
    #[must_use]
    pub fn next_after(&self, after: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
        // One millisecond before the start: an occurrence at the start itself counts.
        let after = match self.start {
            Some(start) => after.max(start.minus(Duration::from_millis(1))),
            None => after,
        };
        let next = match &self.when {
            When::Now => Some(anchor).filter(|at| *at > after),
            When::At(at) => Some(*at).filter(|at| *at > after),
            When::Every { period, from } => next_in_phase(*period, from.unwrap_or(anchor), after),
            When::Cron(cron) => cron.next_after(after),
        }?;
        self.end.is_none_or(|end| next <= end).then_some(next)
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
