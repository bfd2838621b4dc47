//! Days that a rule or a calendar leaves out: dates, ranges of dates, weekdays.
//!
//! Promises: what is read is written back in one form, whatever the order in which it was
//! written. Imports nothing of fleetcron.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, Weekday};
use serde::{Deserialize, Serialize};

/// The most dates and ranges of dates that a rule or a calendar excludes.
pub const MAX_DATES: usize = 1_000;

/// How much of a bad value an error message repeats.
const SHOWN: usize = 80;

/// The beginning of a value, as much of it as an error message repeats.
pub(super) fn shown(value: &str) -> String {
    value.chars().take(SHOWN).collect()
}

/// Dates and weekdays: the days that a rule excludes itself, or those of a calendar.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Days {
    /// Sorted; none overlap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dates: Vec<DateRange>,
    #[serde(skip_serializing_if = "is_empty")]
    weekdays: Weekdays,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_empty(days: &Weekdays) -> bool {
    days.is_empty()
}

impl Days {
    /// Takes dates, in any order, and weekdays; `what` has them, for the error at more than
    /// [`MAX_DATES`] dates.
    pub(crate) fn new(
        what: &str,
        dates: Vec<DateRange>,
        weekdays: Weekdays,
    ) -> Result<Self, String> {
        if dates.len() > MAX_DATES {
            let count = dates.len();
            return Err(format!("{what} has {count} dates; the most is {MAX_DATES}"));
        }
        Ok(Self { dates: joined(dates), weekdays })
    }

    /// Whether there is no day.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dates.is_empty() && self.weekdays.is_empty()
    }

    /// The dates, sorted; none overlap.
    #[must_use]
    pub fn dates(&self) -> &[DateRange] {
        &self.dates
    }

    /// The weekdays.
    #[must_use]
    pub fn weekdays(&self) -> Weekdays {
        self.weekdays
    }

    /// The first date from `date` on that is none of the dates; weekdays are not looked at.
    pub(super) fn after_dates(&self, date: NaiveDate) -> Option<NaiveDate> {
        let after = self.dates.partition_point(|range| range.last < date);
        let mut open = date;
        // Ranges that touch are not joined: 24 December, 25 December.
        for range in &self.dates[after..] {
            if range.first > open {
                break;
            }
            open = range.last.succ_opt()?;
        }
        Some(open)
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dates = self.dates.iter().map(DateRange::to_string);
        let all: Vec<String> = dates.chain(Vec::from(self.weekdays)).collect();
        f.write_str(&all.join(","))
    }
}

/// A date, or all dates from one to another, both included.
///
/// Written `2026-12-24` or `2026-12-24..2027-01-06`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DateRange {
    pub(super) first: NaiveDate,
    pub(super) last: NaiveDate,
}

impl FromStr for DateRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = (date(first)?, date(last)?);
        if first > last {
            return Err(format!("dates {text:?} are not valid: {first} is after {last}"));
        }
        Ok(Self { first, last })
    }
}

fn date(text: &str) -> Result<NaiveDate, String> {
    // chrono alone would take a month of one digit and a year of six.
    let dashes = text.bytes().map(|byte| byte == b'-');
    let shape = dashes.eq((0..10).map(|at| at == 4 || at == 7));
    let read = if shape { NaiveDate::parse_from_str(text, "%Y-%m-%d").ok() } else { None };
    read.ok_or_else(|| {
        let text = shown(text);
        format!("date {text:?} is not valid; write 2026-12-24, or 2026-12-24..2027-01-06")
    })
}

impl TryFrom<String> for DateRange {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DateRange> for String {
    fn from(range: DateRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for DateRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.first == self.last { Ok(()) } else { write!(f, "..{}", self.last) }
    }
}

/// Sorts ranges of dates and joins those that overlap.
fn joined(mut ranges: Vec<DateRange>) -> Vec<DateRange> {
    ranges.sort_unstable();
    let mut joined: Vec<DateRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(before) if range.first <= before.last => before.last = before.last.max(range.last),
            _ => joined.push(range),
        }
    }
    joined
}

/// A set of weekdays, written as a list of names and ranges: `["mon-fri", "sun"]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Weekdays(u8);

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Weekdays {
    /// Every day of the week.
    pub const ALL: Self = Self(0x7F);

    /// Whether no day is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a day is in it.
    #[must_use]
    pub fn has(self, day: Weekday) -> bool {
        self.0 & (1 << day.num_days_from_monday()) != 0
    }

    /// The days that are in it or in the other one.
    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the weekday of a date is in it.
    pub(super) fn has_date(self, date: NaiveDate) -> bool {
        self.has(date.weekday())
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (Some(first), Some(last)) = (place(first), place(last)) else {
            let text = shown(text);
            return Err(format!("weekday {text:?} is not valid; write mon to sun, or mon-fri"));
        };
        // A range may go over the end of the week: sat-mon.
        let days = (last + 7 - first) % 7;
        for day in first..=first + days {
            self.0 |= 1 << (day % 7);
        }
        Ok(())
    }
}

/// The place of a weekday's name in the week.
fn place(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| known.eq_ignore_ascii_case(name.trim()))
}

impl TryFrom<Vec<String>> for Weekdays {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        let mut days = Self::default();
        for name in names {
            days.add(&name)?;
        }
        if days.is_empty() {
            return Err("weekdays is empty; leave it out, or write mon to sun".into());
        }
        Ok(days)
    }
}

impl From<Weekdays> for Vec<String> {
    fn from(days: Weekdays) -> Self {
        let mut names = Vec::new();
        let mut day = 0;
        while day < NAMES.len() {
            let length = (day..NAMES.len()).take_while(|day| days.0 & (1 << day) != 0).count();
            match length {
                0 => {}
                1 | 2 => {
                    names.extend(NAMES[day..day + length].iter().map(|name| (*name).to_owned()));
                }
                _ => names.push(format!("{}-{}", NAMES[day], NAMES[day + length - 1])),
            }
            day += length.max(1);
        }
        names
    }
}

impl fmt::Display for Weekdays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Vec::from(*self).join(","))
    }
}
