//! What can be asked of a forecast, and what cannot.

use serde::{Deserialize, Serialize};

use super::{DEFAULT_SPAN, MAX_LISTED, MAX_NEXT, MAX_SPAN};
use crate::id::JobName;
use crate::target::Target;
use crate::time::Timestamp;

/// Which firings to foresee. By default all of the next day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForecastQuery {
    /// The begin of the span. Default: now; a moment that has passed means now, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The end of the span, which is not part of it. Default: a day after the begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Only firings that reach a client of this target, and of their deliveries only those to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Only jobs whose names begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<JobName>,
    /// Firings to list, at most [`MAX_LISTED`]. Default: [`super::DEFAULT_LISTED`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// The span of a forecast: `from` is part of it, `to` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The begin.
    pub from: Timestamp,
    /// The end, after the begin.
    pub to: Timestamp,
}

/// A forecast that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidForecast {
    /// A begin at the end or after it.
    #[error("from {from} is not before to {to}")]
    Order {
        /// The begin.
        from: Timestamp,
        /// The end.
        to: Timestamp,
    },
    /// An end that has passed.
    #[error("to {to} has passed: a forecast is of what is to come; it is {now}")]
    Passed {
        /// The end.
        to: Timestamp,
        /// The moment of asking.
        now: Timestamp,
    },
    /// A span above [`MAX_SPAN`].
    #[error("from {from} to {to} is too long: the longest span is {} days", MAX_SPAN.as_secs() / 86_400)]
    Long {
        /// The begin.
        from: Timestamp,
        /// The end.
        to: Timestamp,
    },
    /// A limit of 0 or above [`MAX_LISTED`].
    #[error("limit {0} is not valid: it is 1 to {MAX_LISTED}")]
    Limit(usize),
    /// A count of 0 or above [`MAX_NEXT`].
    #[error("count {0} is not valid: it is 1 to {MAX_NEXT}")]
    Count(usize),
}

impl ForecastQuery {
    /// The span that is asked for at a moment, if all that is asked for can be.
    pub fn span(&self, now: Timestamp) -> Result<Span, InvalidForecast> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(InvalidForecast::Order { from, to });
        }
        let from = self.from.unwrap_or(now).max(now);
        let to = self.to.unwrap_or_else(|| from.plus(DEFAULT_SPAN));
        if from >= to {
            return Err(InvalidForecast::Passed { to, now });
        }
        if to.since(from) > MAX_SPAN {
            return Err(InvalidForecast::Long { from, to });
        }
        match self.limit {
            Some(limit) if !(1..=MAX_LISTED).contains(&limit) => Err(InvalidForecast::Limit(limit)),
            _ => Ok(Span { from, to }),
        }
    }
}

/// Whether so many firings of a job can be asked for: 1 to [`MAX_NEXT`].
pub fn check_count(count: usize) -> Result<(), InvalidForecast> {
    if (1..=MAX_NEXT).contains(&count) { Ok(()) } else { Err(InvalidForecast::Count(count)) }
}
