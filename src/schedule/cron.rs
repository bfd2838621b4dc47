//! Cron expressions with a time zone.

use std::str::FromStr;
use std::sync::Arc;

use chrono_tz::Tz;

use crate::time::Timestamp;

/// A cron expression and the time zone in which it is meant.
#[derive(Debug, Clone)]
pub struct Cron {
    expression: Arc<str>,
    time_zone: Tz,
    pattern: Arc<croner::Cron>,
}

/// A cron expression or time zone that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCron {
    /// The expression.
    #[error("cron expression {expression:?} is not valid: {problem}")]
    Expression {
        /// What was written.
        expression: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The time zone.
    #[error("time zone {0:?} is not known; write an IANA name such as Europe/Berlin or UTC")]
    TimeZone(String),
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.time_zone == other.time_zone
    }
}

impl Eq for Cron {}

impl Cron {
    /// Reads an expression and an IANA time zone name.
    pub fn new(expression: &str, time_zone: &str) -> Result<Self, InvalidCron> {
        let tz: Tz = time_zone.parse().map_err(|_| InvalidCron::TimeZone(time_zone.to_owned()))?;
        let pattern =
            croner::Cron::from_str(expression).map_err(|error| InvalidCron::Expression {
                expression: expression.to_owned(),
                problem: error.to_string(),
            })?;
        Ok(Self { expression: expression.into(), time_zone: tz, pattern: Arc::new(pattern) })
    }

    /// The expression as written.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The time zone's IANA name.
    #[must_use]
    pub fn time_zone(&self) -> &'static str {
        self.time_zone.name()
    }

    /// The first occurrence strictly after `after`.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let local = after.to_chrono()?.with_timezone(&self.time_zone);
        self.pattern.find_next_occurrence(&local, false).ok().map(Timestamp::from)
    }
}
