//! Times of the day within which a rule may fire.
//!
//! Promises: a window has a length; what is read is written back in one form. Imports
//! [`super::days`].

use std::fmt;

use chrono::{NaiveDate, NaiveTime, Timelike};
use serde::{Deserialize, Serialize};

use super::days::{Weekdays, shown};

/// The most windows of a rule.
pub const MAX_WINDOWS: usize = 32;

/// A day, in milliseconds of a wall clock.
pub(super) const DAY: u32 = 86_400_000;

/// A part of the day, on some weekdays.
///
/// Written `{ weekdays = ["mon-fri"], from = "08:00", to = "18:00" }`. Defaults: every day, from
/// `00:00`, to `24:00`. `from` is part of it, `to` is not. When `to` is earlier than `from`, it
/// goes on past midnight; the weekdays are those on which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Window {
    weekdays: Weekdays,
    /// Milliseconds since midnight.
    from: u32,
    /// Milliseconds since midnight, not equal to `from`.
    to: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weekdays: Option<Weekdays>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<TimeOfDay>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<TimeOfDay>,
}

impl TryFrom<Written> for Window {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let from = written.from.unwrap_or(TimeOfDay(0));
        let to = written.to.unwrap_or(TimeOfDay(DAY));
        if from == to || from == TimeOfDay(DAY) {
            return Err(format!("a window from {from} to {to} has no length"));
        }
        let weekdays = written.weekdays.unwrap_or(Weekdays::ALL);
        Ok(Self { weekdays, from: from.0, to: to.0 })
    }
}

impl From<Window> for Written {
    fn from(window: Window) -> Self {
        Self {
            weekdays: Some(window.weekdays).filter(|days| *days != Weekdays::ALL),
            from: Some(TimeOfDay(window.from)).filter(|from| from.0 > 0),
            to: Some(TimeOfDay(window.to)).filter(|to| to.0 < DAY),
        }
    }
}

impl Window {
    /// When it next is open on a date, at or after a time of that day, in milliseconds.
    pub(super) fn opening(&self, date: NaiveDate, since: u32) -> Option<u32> {
        let begins =
            |date: Option<NaiveDate>| date.is_some_and(|date| self.weekdays.has_date(date));
        let over_midnight = self.to < self.from;
        let end = if over_midnight { DAY } else { self.to };
        if over_midnight && since < self.to && begins(date.pred_opt()) {
            return Some(since);
        }
        (since < end && begins(Some(date))).then_some(since.max(self.from))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.weekdays != Weekdays::ALL {
            write!(f, "{} ", self.weekdays)?;
        }
        write!(f, "{}-{}", TimeOfDay(self.from), TimeOfDay(self.to))
    }
}

/// A time of the day, `00:00` to `24:00`, with seconds if need be; milliseconds since midnight.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct TimeOfDay(u32);

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let shape = text.len() == 5 || text.len() == 8;
        let read = |format| NaiveTime::parse_from_str(&text, format).ok();
        let time = if shape { read("%H:%M").or_else(|| read("%H:%M:%S")) } else { None };
        match time {
            _ if text == "24:00" || text == "24:00:00" => Ok(Self(DAY)),
            // chrono reads a leap second, which no day of ours has.
            Some(time) if time.nanosecond() == 0 => Ok(Self(millis(time))),
            _ => {
                let text = shown(&text);
                Err(format!("time of day {text:?} is not valid; write 00:00 to 24:00"))
            }
        }
    }
}

/// Milliseconds since midnight.
pub(super) fn millis(time: NaiveTime) -> u32 {
    time.num_seconds_from_midnight() * 1_000 + time.nanosecond() / 1_000_000
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000;
        write!(f, "{:02}:{:02}", seconds / 3_600, seconds / 60 % 60)?;
        if seconds.is_multiple_of(60) { Ok(()) } else { write!(f, ":{:02}", seconds % 60) }
    }
}
