//! What runs and deliveries come to: counts by state, and how long things took. This is what stays
//! of a run when it is forgotten.
//!
//! Promises: adding the statistics of two spans gives those of both; what was written comes back;
//! reading never panics, whatever the bytes. Imports domain types.
//!
//! A run is counted in the hour in which it fired, its end in the hour in which it ended, a delivery
//! in the hour in which its end was recorded.

mod histogram;
mod view;

use std::time::Duration;

use crate::bytes::{Damaged, Reader, put_bytes, put_varint};
use crate::delivery_state::DeliveryState;
use crate::id::JobId;
use crate::run::Counts;
use crate::time::Timestamp;

pub use histogram::{BUCKETS, Histogram};
pub use view::{
    Bar, ClientStatistics, Deliveries, JobStatistics, Period, Periods, Quantiles, Runs, Times,
};

/// Hours of which the statistics are kept hour by hour: 8 days.
pub const HOURS_KEPT: u32 = 8 * 24;

/// Days of which the statistics are kept day by day: 5 years.
pub const DAYS_KEPT: u32 = 5 * 366;

/// Clients whose statistics are stored together: those with the numbers `page * CLIENTS ..`.
pub const CLIENTS: u32 = 16;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// An hour or a day, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    /// The hour with this number, counted from 1970.
    Hour(u32),
    /// The day with this number, counted from 1970.
    Day(u32),
}

impl Span {
    /// The hour of a moment.
    #[must_use]
    pub fn hour_of(at: Timestamp) -> u32 {
        number(at, HOUR)
    }

    /// The day of a moment.
    #[must_use]
    pub fn day_of(at: Timestamp) -> u32 {
        number(at, DAY)
    }

    /// When it begins.
    #[must_use]
    pub fn begin(self) -> Timestamp {
        let zero = Timestamp::from_millis(0);
        match self {
            Self::Hour(hour) => zero.plus(HOUR * hour),
            Self::Day(day) => zero.plus(DAY * day),
        }
    }
}

fn number(at: Timestamp, length: Duration) -> u32 {
    let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    u32::try_from(at.millis().div_euclid(length)).unwrap_or(0)
}

/// Whose statistics one record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A job's.
    Job(JobId),
    /// Those of [`CLIENTS`] clients, by the number of their page.
    Clients(u32),
}

/// Which record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Of when.
    pub span: Span,
    /// Of whom.
    pub subject: Subject,
}

/// What the runs and deliveries of a span come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Runs that fired.
    pub fired: u64,
    /// Runs that ended.
    pub ended: u64,
    /// Those of them whose deliveries all succeeded, one at least.
    pub succeeded: u64,
    /// Deliveries that ended, by their state.
    states: [u64; STATES],
    /// Attempts that were followed by another.
    pub retried: u64,
    /// How long after it was due a run fired.
    pub fired_late: Histogram,
    /// How long after the run was due a delivery's end was recorded.
    pub recorded_late: Histogram,
    /// How long the handler of a delivery ran.
    pub ran: Histogram,
}

const STATES: usize = DeliveryState::ALL.len();

impl Statistics {
    /// A run fired, so long after it was due.
    pub fn add_fired(&mut self, late: Duration) {
        self.fired += 1;
        self.fired_late.add(millis(late));
    }

    /// A run ended.
    pub fn add_ended(&mut self, counts: &Counts) {
        self.ended += 1;
        self.succeeded += u64::from(counts.total > 0 && counts.succeeded == counts.total);
    }

    /// A delivery ended, so long after its run was due; its handler ran so long, if it did.
    pub fn add_delivery(&mut self, state: DeliveryState, late: Duration, ran: Option<u64>) {
        self.states[usize::from(state.code())] += 1;
        self.recorded_late.add(millis(late));
        if let Some(ran) = ran {
            self.ran.add(ran);
        }
    }

    /// Deliveries that ended in a state.
    #[must_use]
    pub fn deliveries_of(&self, state: DeliveryState) -> u64 {
        self.states[usize::from(state.code())]
    }

    /// Deliveries that ended.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.states.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Adds those of another span.
    pub fn merge(&mut self, other: &Self) {
        self.fired = self.fired.saturating_add(other.fired);
        self.ended = self.ended.saturating_add(other.ended);
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.retried = self.retried.saturating_add(other.retried);
        for (sum, count) in self.states.iter_mut().zip(&other.states) {
            *sum = sum.saturating_add(*count);
        }
        self.fired_late.merge(&other.fired_late);
        self.recorded_late.merge(&other.recorded_late);
        self.ran.merge(&other.ran);
    }

    /// The stored form: fired, ended, succeeded, tried again, how many states have a count, all
    /// varints; of each its code, one byte, and the count, varint; then the three histograms.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for count in [self.fired, self.ended, self.succeeded, self.retried] {
            put_varint(&mut out, count);
        }
        let counted = || (0_u8..).zip(&self.states).filter(|(_, count)| **count > 0);
        put_varint(&mut out, counted().count() as u64);
        for (code, count) in counted() {
            out.push(code);
            put_varint(&mut out, *count);
        }
        for histogram in [&self.fired_late, &self.recorded_late, &self.ran] {
            histogram.write(&mut out);
        }
        out
    }

    /// From the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes, "statistics");
        let mut found = Self {
            fired: reader.varint()?,
            ended: reader.varint()?,
            succeeded: reader.varint()?,
            retried: reader.varint()?,
            ..Self::default()
        };
        for _ in 0..reader.varint()? {
            let code = reader.byte()?;
            let state = found.states.get_mut(usize::from(code));
            *state.ok_or_else(|| Damaged(format!("state {code} is not known")))? =
                reader.varint()?;
        }
        found.fired_late = Histogram::read(&mut reader)?;
        found.recorded_late = Histogram::read(&mut reader)?;
        found.ran = Histogram::read(&mut reader)?;
        if reader.is_empty() { Ok(found) } else { Err(Damaged("there are bytes after it".into())) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What one record holds: the statistics of its job (under 0), or of each of its clients under its
/// place among them; and up to which event of the ledger they count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The number of the first event that is not counted here.
    pub until: u64,
    /// The statistics.
    pub of: std::collections::BTreeMap<u8, Statistics>,
}

impl Record {
    /// Adds what was counted.
    pub fn merge(&mut self, other: &Self) {
        for (place, statistics) in &other.of {
            self.of.entry(*place).or_default().merge(statistics);
        }
        self.until = self.until.max(other.until);
    }

    /// The stored form: `until`, varint; then for each its place, one byte, the length of its
    /// statistics, varint, and these.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.until);
        for (place, statistics) in &self.of {
            out.push(*place);
            put_bytes(&mut out, &statistics.to_bytes());
        }
        out
    }

    /// From the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes, "a record of statistics");
        let mut found = Self { until: reader.varint()?, ..Self::default() };
        while !reader.is_empty() {
            let place = reader.byte()?;
            found.of.insert(place, Statistics::from_bytes(reader.bytes()?)?);
        }
        Ok(found)
    }
}

/// Up to where the ledger is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counted {
    /// The number of the first event that is not counted in every record.
    pub done: u64,
    /// The number of the first event that is counted in no record. Above `done`: a crash has come
    /// between, and each record tells for itself.
    pub until: u64,
    /// The time of the last event before `done`.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests;
