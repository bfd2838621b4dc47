//! Statistics as they are told.

use serde::{Deserialize, Serialize};

use super::{Histogram, Statistics};
use crate::delivery_state::DeliveryState;
use crate::id::{ClientId, JobName};
use crate::time::Timestamp;

/// A time in milliseconds that 50, 95 and 99 of a hundred do not exceed, and the longest. Rounded up
/// by an eighth at most, but for the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many times it was measured.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// 95 of a hundred are at most this.
    pub p95: u64,
    /// 99 of a hundred are at most this.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

impl Quantiles {
    fn of(histogram: &Histogram) -> Option<Self> {
        let of = |percent| histogram.percentile(percent);
        Some(Self {
            count: histogram.count(),
            p50: of(50)?,
            p95: of(95)?,
            p99: of(99)?,
            max: histogram.max()?,
        })
    }
}

/// Counts of runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// Runs that fired.
    pub fired: u64,
    /// Runs that ended.
    pub ended: u64,
    /// Those of them whose deliveries all succeeded, one at least.
    pub succeeded: u64,
}

/// Counts of deliveries that ended, by state; states that none has are left out.
pub type Deliveries = std::collections::BTreeMap<DeliveryState, u64>;

/// How long things took; `None`: nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// How long the handlers of deliveries ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_ms: Option<Quantiles>,
    /// How long after they were due runs fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_late_ms: Option<Quantiles>,
    /// How long after their runs were due the ends of deliveries were recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_late_ms: Option<Quantiles>,
}

/// What a period comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// When it begins; it lasts until `as_of`.
    pub from: Timestamp,
    /// Runs; of a client none are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Runs>,
    /// Deliveries that ended.
    pub deliveries: u64,
    /// The same by state.
    pub states: Deliveries,
    /// Attempts that were followed by another.
    pub retried: u64,
    /// The share of deliveries that succeeded, 0 to 1; `None`: none ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<f64>,
    /// How long things took.
    #[serde(flatten)]
    pub times: Times,
}

impl Period {
    /// From the statistics of a period.
    #[must_use]
    pub fn of(from: Timestamp, statistics: &Statistics, with_runs: bool) -> Self {
        let deliveries = statistics.deliveries();
        let states = DeliveryState::ALL.into_iter().map(|state| {
            let count = statistics.deliveries_of(state);
            (state, count)
        });
        let succeeded = statistics.deliveries_of(DeliveryState::Succeeded);
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
        let rate = succeeded as f64 / deliveries as f64;
        let Statistics { fired, ended, succeeded, .. } = *statistics;
        Self {
            from,
            runs: with_runs.then_some(Runs { fired, ended, succeeded }),
            deliveries,
            states: states.filter(|(_, count)| *count > 0).collect(),
            retried: statistics.retried,
            success_rate: (deliveries > 0).then_some(rate),
            times: Times {
                ran_ms: Quantiles::of(&statistics.ran),
                fired_late_ms: Quantiles::of(&statistics.fired_late).filter(|_| with_runs),
                recorded_late_ms: Quantiles::of(&statistics.recorded_late),
            },
        }
    }
}

/// The three periods that are told: so many whole hours before this one, and what has passed of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Periods {
    /// The last whole hour, and what has passed of this one.
    pub hour: Period,
    /// The last 24 whole hours, and what has passed of this one.
    pub day: Period,
    /// The last 168 whole hours, and what has passed of this one.
    pub week: Period,
}

/// The deliveries of one hour or one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// When it begins.
    pub from: Timestamp,
    /// Deliveries that succeeded.
    pub succeeded: u64,
    /// Deliveries that ended otherwise.
    pub others: u64,
}

impl Bar {
    /// From the statistics of an hour or a day.
    #[must_use]
    pub fn of(from: Timestamp, statistics: &Statistics) -> Self {
        let succeeded = statistics.deliveries_of(DeliveryState::Succeeded);
        Self { from, succeeded, others: statistics.deliveries().saturating_sub(succeeded) }
    }
}

/// The statistics of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStatistics {
    /// The job.
    pub job: JobName,
    /// All that was recorded before this moment is counted.
    pub as_of: Timestamp,
    /// What the periods come to.
    #[serde(flatten)]
    pub periods: Periods,
    /// The last 24 whole hours and this one, the oldest first.
    pub hours: Vec<Bar>,
    /// The last 30 whole days in UTC and this one, the oldest first.
    pub days: Vec<Bar>,
}

/// The statistics of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientStatistics {
    /// The client.
    pub client: ClientId,
    /// All that was recorded before this moment is counted.
    pub as_of: Timestamp,
    /// What the periods come to.
    #[serde(flatten)]
    pub periods: Periods,
    /// The last 24 whole hours and this one, the oldest first.
    pub hours: Vec<Bar>,
    /// The last 30 whole days in UTC and this one, the oldest first.
    pub days: Vec<Bar>,
}
