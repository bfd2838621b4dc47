//! The rule of a job, as written and as computed with.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cron::{Cron, InvalidCron};
use crate::time::{self, Timestamp};

/// The shortest period of `every`.
pub const MIN_PERIOD: Duration = Duration::from_millis(100);

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
        /// The time between two firings; at least 100 ms.
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
    /// A period below the least.
    #[error("every {0:?} is too short: the least is 100ms")]
    Period(Duration),
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
            && period < MIN_PERIOD
        {
            return Err(InvalidRule::Period(period));
        }
        if let (Some(start), Some(end)) = (self.start, self.end)
            && start > end
        {
            return Err(InvalidRule::Window { start, end });
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

/// The first moment after `after` that is `from` plus a whole number (0 or more) of periods.
fn next_in_phase(period: Duration, from: Timestamp, after: Timestamp) -> Option<Timestamp> {
    if after < from {
        return Some(from);
    }
    let period = i64::try_from(period.as_millis()).ok().filter(|period| *period > 0)?;
    let passed = (after.millis() - from.millis()) / period;
    let next = passed.checked_add(1)?.checked_mul(period)?.checked_add(from.millis())?;
    Some(Timestamp::from_millis(next))
}

/// The rule as a table.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", with = "time::duration::optional")]
    every: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

impl TryFrom<Table> for Rule {
    type Error = InvalidRule;

    fn try_from(table: Table) -> Result<Self, InvalidRule> {
        let kinds: Vec<&str> = [
            ("now", table.now == Some(true)),
            ("at", table.at.is_some()),
            ("every", table.every.is_some()),
            ("cron", table.cron.is_some()),
        ]
        .into_iter()
        .filter_map(|(kind, present)| present.then_some(kind))
        .collect();
        match kinds.as_slice() {
            [_] => {}
            [] => return Err(InvalidRule::Kind("none of at, every and cron".into())),
            several => return Err(InvalidRule::Kind(several.join(" and "))),
        }
        if table.from.is_some() && table.every.is_none() {
            return Err(InvalidRule::Stray { field: "from", needs: "every" });
        }
        if table.time_zone.is_some() && table.cron.is_none() {
            return Err(InvalidRule::Stray { field: "time_zone", needs: "cron" });
        }
        let when = if let Some(at) = table.at {
            When::At(at)
        } else if let Some(period) = table.every {
            When::Every { period, from: table.from }
        } else if let Some(expression) = table.cron {
            When::Cron(Cron::new(&expression, table.time_zone.as_deref().unwrap_or("UTC"))?)
        } else {
            When::Now
        };
        Self { when, start: table.start, end: table.end, count: table.count }.checked()
    }
}

impl From<&Rule> for Table {
    fn from(rule: &Rule) -> Self {
        let mut table =
            Self { start: rule.start, end: rule.end, count: rule.count, ..Self::default() };
        match &rule.when {
            When::Now => table.now = Some(true),
            When::At(at) => table.at = Some(*at),
            When::Every { period, from } => {
                table.every = Some(*period);
                table.from = *from;
            }
            When::Cron(cron) => {
                table.cron = Some(cron.expression().to_owned());
                table.time_zone = Some(cron.time_zone().to_owned());
            }
        }
        table
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::now() {
            return serializer.serialize_str("now");
        }
        Table::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RuleVisitor)
    }
}

struct RuleVisitor;

impl<'de> serde::de::Visitor<'de> for RuleVisitor {
    type Value = Rule;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"now\" or a table with one of at, every or cron")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Rule, E> {
        match text {
            "now" => Ok(Rule::now()),
            other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
        let table = Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Rule::try_from(table).map_err(serde::de::Error::custom)
    }
}
