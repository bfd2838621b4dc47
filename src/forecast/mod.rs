//! Forecasts: when jobs fire next, and how much that is.
//!
//! Promises: an occurrence follows another here as it does in the engine, by [`following`];
//! the work and the memory of a forecast are bounded, by the constants of this module, and a
//! forecast that a limit has cut says where and why. Pure: it reads no clock and changes nothing.
//! Jobs that are defined, changed, paused or removed later are not foreseen, nor are firings that
//! are missed. Imports identifiers, jobs, rules, targets and times.

mod load;
mod outlook;
mod query;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::JobName;
use crate::target::Target;
use crate::time::{Timestamp, duration};

pub use load::forecast;
pub use outlook::{Outlook, earliest, following, next_firings};
pub use query::{ForecastQuery, InvalidForecast, Span, check_count};

/// Firings of one job that can be asked for, at most.
pub const MAX_NEXT: usize = 1_000;

/// Firings of one job that are told when the request does not say.
pub const DEFAULT_NEXT: usize = 10;

/// The longest span of a forecast: 366 days.
pub const MAX_SPAN: Duration = Duration::from_secs(366 * 86_400);

/// The span of a forecast when the request does not say: one day.
pub const DEFAULT_SPAN: Duration = Duration::from_secs(86_400);

/// Firings that a forecast lists, at most; all are counted.
pub const MAX_LISTED: usize = 10_000;

/// Firings that a forecast lists when the request does not say.
pub const DEFAULT_LISTED: usize = 100;

/// Minutes that a forecast names as its busiest, at most.
pub const BUSIEST: usize = 10;

/// Occurrences that one forecast looks at, at most: it ends there, and says so.
pub const MAX_LOOKED_AT: usize = 200_000;

/// When one job fires next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextFirings {
    /// The job.
    pub job: JobName,
    /// When it was paused. What follows is then what it would fire were it resumed now, without
    /// what it would catch up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// The time zone of its rule, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The moments, the earliest first; fewer than were asked for when the rule ends.
    pub firings: Vec<Timestamp>,
}

/// All that fires in a span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// The begin of the span: what was asked for, or the moment of asking if that is later.
    pub from: Timestamp,
    /// The end of the span; what is due then is not part of it.
    pub to: Timestamp,
    /// All of it.
    pub total: Load,
    /// Jobs that fire at least once.
    pub jobs: u64,
    /// Jobs that are left out because they are paused.
    pub paused: u64,
    /// The length of a bucket: 1 minute up to a day, 30 minutes up to 31 days, 12 hours above.
    #[serde(with = "duration")]
    pub bucket: Duration,
    /// The load in each bucket, without gaps, up to the end or the cut; each begins at a multiple
    /// of its length in UTC.
    pub buckets: Vec<Bucket>,
    /// The minutes with most deliveries, then most firings, then the earliest; [`BUSIEST`] at
    /// most, those without a firing left out.
    pub busiest: Vec<Bucket>,
    /// The first firings, the earliest first; of those at the same moment by name.
    pub firings: Vec<Firing>,
    /// What cut it short; `None`: it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
}

/// How much fires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Firings.
    pub firings: u64,
    /// Deliveries, if every target has the clients that it has now.
    pub deliveries: u64,
}

impl Load {
    fn add(&mut self, deliveries: u64) {
        self.firings += 1;
        self.deliveries = self.deliveries.saturating_add(deliveries);
    }
}

/// A stretch of time and what fires in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Its begin.
    pub at: Timestamp,
    /// What fires in it.
    #[serde(flatten)]
    pub load: Load,
}

/// One firing that is to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// When.
    pub at: Timestamp,
    /// The job.
    pub job: JobName,
    /// Whom it is for.
    pub target: Target,
    /// Deliveries, if the target has the clients that it has now.
    pub deliveries: u64,
    /// The time zone of the job's rule, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// Where a forecast ends before its span does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// What is due before this moment is complete. Of the moment itself a part may be told, of
    /// later ones nothing.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}
