//! Recurrence rules of RFC 5545 (iCalendar).
//!
//! Promises: the occurrences of a rule are a fixed, strictly increasing series of moments, and a
//! search goes straight to the period it asks for: it costs the same however long ago the rule
//! began. What clocks' changes do to local times is decided in [`super::wall`], as for cron.
//! Imports times, [`super::cron`], [`super::rrule_text`], [`super::rrule_set`] and
//! [`super::wall`].

use std::fmt;
use std::sync::Arc;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use chrono_tz::Tz;

use super::cron::{self, InvalidCron};
use super::rrule_set::{ByDay, Freq, Parts};
use super::rrule_text::{Limit, Written, quoted};
use super::wall::{self, END_OF_SEARCH};
use crate::time::Timestamp;

/// The years in which a recurrence may begin.
const FROM_YEARS: std::ops::RangeInclusive<i32> = 1900..=4999;

/// The last year in which a wall can show an occurrence.
const LAST_YEAR: i32 = 5000;

/// A recurrence rule, the local time at which it begins, and the time zone in which both are
/// meant.
///
/// The rule is one of `FREQ=DAILY`, `WEEKLY`, `MONTHLY` or `YEARLY` with any of the parts of RFC
/// 5545, section 3.3.10, as far as that allows them together. What the parts do not say is that
/// of `from`, which is DTSTART: the time of the day, and the day of the week, month or year. `from`
/// itself is an occurrence only if the parts name it.
///
/// `COUNT` counts occurrences from `from` on, those before the job's creation included. `UNTIL`
/// is inclusive: a moment if it ends in `Z`, else a local time; a day is part of it as a whole.
///
/// **Clock changes.** A local time that does not exist is the first instant after the gap; of one
/// that occurs twice, the first counts; as for fixed cron expressions ([`super::Cron`]).
///
/// Occurrences lie in the years 1970 to 4999.
#[derive(Debug, Clone)]
pub struct RRule {
    shared: Arc<Shared>,
    from: NaiveDateTime,
    time_zone: Tz,
}

#[derive(Debug)]
struct Shared {
    written: Written,
    /// With what is taken from the beginning.
    parts: Parts,
    /// The last time that the wall may show.
    last_wall: NaiveDateTime,
    /// The last moment.
    last: Timestamp,
}

/// A recurrence rule that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRRule {
    /// The rule.
    #[error("rrule {rrule:?} is not valid: {problem}")]
    Rule {
        /// What was written; of a very long one the beginning.
        rrule: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Its beginning.
    #[error(
        "from {0:?} is not valid beside rrule; write a local time of the years {first} to {last} \
         without offset, such as 2026-01-13T09:00, or a day",
        first = FROM_YEARS.start(),
        last = FROM_YEARS.end()
    )]
    From(String),
    /// The time zone.
    #[error(transparent)]
    TimeZone(#[from] InvalidCron),
}

impl PartialEq for RRule {
    fn eq(&self, other: &Self) -> bool {
        self.shared.written == other.shared.written
            && self.from == other.from
            && self.time_zone == other.time_zone
    }
}

impl Eq for RRule {}

/// Writes the rule's parts in the order of the standard: `FREQ=MONTHLY;BYDAY=2TU`.
impl fmt::Display for RRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.written.fmt(f)
    }
}

impl RRule {
    /// Reads a rule, with or without `RRULE:` before it, a local date-time or date such as
    /// `2026-01-13T09:00`, and an IANA time zone name. A rule that can never fire is not valid.
    pub fn new(rrule: &str, from: &str, time_zone: &str) -> Result<Self, InvalidRRule> {
        let written = read(rrule)?;
        let from = read_from(from)?;
        Self::from_parts(written, from, cron::zone(time_zone)?)
    }

    pub(super) fn from_parts(
        written: Written,
        from: NaiveDateTime,
        time_zone: Tz,
    ) -> Result<Self, InvalidRRule> {
        let parts = derived(written.parts.clone(), from);
        let mut shared = Shared {
            written,
            parts,
            last_wall: NaiveDateTime::MAX,
            last: Timestamp::from_millis(END_OF_SEARCH - 1),
        };
        let refuse = |shared: &Shared, problem: &str| InvalidRRule::Rule {
            rrule: quoted(&shared.written.to_string()),
            problem: format!("it never fires: {problem}"),
        };
        if shared.next_wall(from, from).is_none() {
            return Err(refuse(&shared, "no day has all that its parts ask for"));
        }
        match shared.written.limit {
            Limit::None => {}
            Limit::Count(count) => shared.last_wall = shared.nth_wall(from, count),
            Limit::UntilDay(day) => {
                shared.last_wall = day.and_time(NaiveTime::MIN) + TimeDelta::seconds(86_399);
            }
            Limit::UntilLocal(at) => shared.last_wall = at,
            Limit::UntilUtc(at) => shared.last = shared.last.min(at.and_utc().into()),
        }
        let rule = Self { shared: Arc::new(shared), from, time_zone };
        if rule.next_after(Timestamp::MIN).is_none() {
            let problem = match rule.shared.written.limit {
                Limit::None => "it has no occurrence before the year 5000",
                Limit::Count(_) => "its last occurrence is before 1970",
                _ => "UNTIL is before its first occurrence since 1970",
            };
            return Err(refuse(&rule.shared, problem));
        }
        Ok(rule)
    }

    pub(super) fn written(&self) -> &Written {
        &self.shared.written
    }

    pub(super) fn zone(&self) -> Tz {
        self.time_zone
    }

    /// The local time at which it begins, as it is written: `2026-01-13T09:00`.
    #[must_use]
    pub fn from(&self) -> String {
        write_from(self.from)
    }

    pub(super) fn local_from(&self) -> NaiveDateTime {
        self.from
    }

    /// The time zone's IANA name.
    #[must_use]
    pub fn time_zone(&self) -> &'static str {
        self.time_zone.name()
    }

    /// The first occurrence strictly after `after`; `None` when there is none before the year
    /// 5000.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        if after >= self.shared.last {
            return None;
        }
        // Moments before 1970 have no serial, so the series begins there.
        let after = after.max(Timestamp::from_millis(-1));
        let after = after.to_chrono()?.with_timezone(&self.time_zone);
        let next = wall::next_fixed(&after, |wall, inclusive| {
            let whole = wall.with_nanosecond(0)?;
            let earliest =
                if inclusive && whole == wall { wall } else { whole + TimeDelta::seconds(1) };
            self.shared.next_wall(self.from, earliest)
        });
        next.map(Timestamp::from).filter(|at| *at <= self.shared.last)
    }
}

impl Shared {
    /// The first time at or after `earliest`, which has no fraction of a second.
    fn next_wall(&self, from: NaiveDateTime, earliest: NaiveDateTime) -> Option<NaiveDateTime> {
        let earliest = earliest.max(from);
        if earliest > self.last_wall || self.parts.is_beyond_positions() {
            return None;
        }
        let first = self.parts.period_of(from.date());
        let interval = i64::from(self.written.interval);
        let since = self.parts.period_of(earliest.date()) - first;
        // Rounded up: when none of its periods has `earliest` in it, all times of the next count.
        let mut period = first + (since + interval - 1).div_euclid(interval) * interval;
        for _ in 0..=self.parts.freq.cycle() {
            let times = self.parts.times_of(period)?;
            if let Some(next) = times.get(times.before(earliest)) {
                return Some(next).filter(|next| *next <= self.last_wall);
            }
            period += interval;
            if self.is_over(period) {
                return None;
            }
        }
        None
    }

    fn is_over(&self, period: i64) -> bool {
        let end =
            NaiveDate::from_ymd_opt(LAST_YEAR, 1, 2).map(|end| end.min(self.last_wall.date()));
        end.is_none_or(|end| period > self.parts.period_of(end))
    }

    /// The last of the first `count` times; when there are fewer, the end of time. Counts the
    /// times of a period without looking at each.
    fn nth_wall(&self, from: NaiveDateTime, count: u32) -> NaiveDateTime {
        let mut left = count as usize;
        let mut period = self.parts.period_of(from.date());
        while !self.is_over(period) {
            let Some(times) = self.parts.times_of(period) else { break };
            let passed = times.before(from);
            if let Some(last) = times.get(passed + left - 1) {
                return last;
            }
            left -= times.len() - passed;
            period += i64::from(self.written.interval);
        }
        NaiveDateTime::MAX
    }
}

/// The parts with what the standard takes from the beginning: a time of the day always, a day if
/// no part names any.
pub(super) fn derived(mut parts: Parts, from: NaiveDateTime) -> Parts {
    if parts.hours == 0 {
        parts.hours = 1 << from.hour();
    }
    if parts.minutes == 0 {
        parts.minutes = 1 << from.minute();
    }
    if parts.seconds == 0 {
        parts.seconds = 1 << from.second();
    }
    if !(parts.days.is_empty() && parts.month_days.is_empty() && parts.year_days.is_empty()) {
        return parts;
    }
    let weekday = ByDay { nth: None, weekday: from.weekday() };
    match parts.freq {
        Freq::Daily => {}
        Freq::Weekly => parts.days.push(weekday),
        Freq::Yearly if !parts.week_numbers.is_empty() => parts.days.push(weekday),
        Freq::Yearly if parts.months.is_empty() => {
            parts.months.push(from.month().cast_signed());
            parts.month_days.push(from.day().cast_signed());
        }
        Freq::Monthly | Freq::Yearly => parts.month_days.push(from.day().cast_signed()),
    }
    parts
}

pub(super) fn read(rrule: &str) -> Result<Written, InvalidRRule> {
    Written::read(rrule).map_err(|problem| InvalidRRule::Rule { rrule: quoted(rrule), problem })
}

/// Reads a local date-time without offset, or a date, which is its midnight.
pub(super) fn read_from(text: &str) -> Result<NaiveDateTime, InvalidRRule> {
    let shape = |length: usize| text.len() == length && text.is_ascii();
    let time = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let read = if shape(10) {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
        day.map(|day| day.and_time(NaiveTime::MIN))
    } else if shape(16) {
        time("%Y-%m-%dT%H:%M").or_else(|| time("%Y-%m-%d %H:%M"))
    } else if shape(19) {
        time("%Y-%m-%dT%H:%M:%S").or_else(|| time("%Y-%m-%d %H:%M:%S"))
    } else {
        None
    };
    // chrono reads a leap second, which no wall of ours shows.
    read.filter(|at| at.nanosecond() == 0 && FROM_YEARS.contains(&at.year()))
        .ok_or_else(|| InvalidRRule::From(quoted(text)))
}

pub(super) fn write_from(from: NaiveDateTime) -> String {
    let format = if from.second() == 0 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" };
    from.format(format).to_string()
}
