//! Which occurrences of a rule fire: days that are left out, and times of the day within which.
//!
//! Promises: only the local wall time of an occurrence decides; a search jumps over what is
//! closed instead of walking through it, and skips no moment that is open, also where clocks
//! change. Imports identifiers, times, [`super::days`] and [`super::window`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Offset, TimeDelta};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::days::{DateRange, Days, Weekdays};
use super::window::{self, MAX_WINDOWS, Window};
use crate::id::CalendarName;
use crate::time::Timestamp;

/// The most calendars that a rule names.
pub const MAX_RULE_CALENDARS: usize = 16;

/// Days on which a rule does not fire: its own, and those of the calendars that it names.
///
/// Written `{ dates = ["2026-12-24..2027-01-06"], weekdays = ["sat", "sun"], calendars = ["se"] }`,
/// with at least one of the three, at most [`MAX_DATES`](super::MAX_DATES) dates and ranges and at
/// most [`MAX_RULE_CALENDARS`] calendars.
///
/// What days a calendar has is not written in the rule: they are bound to it, see
/// [`Rule::bind`](super::Rule::bind). Until then, a calendar excludes nothing. Bound or not, rules
/// that are written alike are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenExclude")]
pub struct Exclude {
    #[serde(flatten)]
    own: Days,
    /// Each once, in the order in which they are written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    calendars: Vec<CalendarName>,
    #[serde(skip)]
    bound: Bound,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExclude {
    #[serde(default)]
    dates: Vec<DateRange>,
    weekdays: Option<Weekdays>,
    #[serde(default)]
    calendars: Vec<CalendarName>,
}

impl TryFrom<WrittenExclude> for Exclude {
    type Error = String;

    fn try_from(written: WrittenExclude) -> Result<Self, String> {
        let WrittenExclude { dates, weekdays, calendars } = written;
        if dates.is_empty() && weekdays.is_none() && calendars.is_empty() {
            let instead = "leave it out, or write dates, weekdays or calendars";
            return Err(format!("exclude is empty; {instead}"));
        }
        if calendars.len() > MAX_RULE_CALENDARS {
            let count = calendars.len();
            return Err(format!("exclude has {count} calendars; the most is {MAX_RULE_CALENDARS}"));
        }
        let mut once = BTreeSet::new();
        if let Some(twice) = calendars.iter().find(|name| !once.insert(*name)) {
            return Err(format!("exclude has calendar {:?} twice", twice.as_str()));
        }
        let own = Days::new("exclude", dates, weekdays.unwrap_or_default())?;
        let bound = Bound { weekdays: own.weekdays(), days: Vec::new() };
        Ok(Self { own, calendars, bound })
    }
}

/// The days of an exclusion's calendars. It is no part of what is written, and so none of what
/// makes two rules equal.
#[derive(Debug, Clone, Default)]
struct Bound {
    /// The weekdays of all calendars, and the exclusion's own.
    weekdays: Weekdays,
    /// Shared by all rules that name the calendar.
    days: Vec<Arc<Days>>,
}

impl PartialEq for Bound {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Bound {}

impl Exclude {
    /// The calendars that it names.
    #[must_use]
    pub fn calendars(&self) -> &[CalendarName] {
        &self.calendars
    }

    /// Takes the days of its calendars, in place of those that it had.
    pub(super) fn bind(&mut self, days: &dyn Fn(&CalendarName) -> Option<Arc<Days>>) {
        let days: Vec<Arc<Days>> = self.calendars.iter().filter_map(days).collect();
        let weekdays = days.iter().fold(self.own.weekdays(), |all, one| all.with(one.weekdays()));
        self.bound = Bound { weekdays, days };
    }

    /// The first date from `date` on that is not left out by a date, and whether it is another.
    fn after_dates(&self, date: NaiveDate) -> Option<(NaiveDate, bool)> {
        let mut open = date;
        loop {
            let before = open;
            for days in std::iter::once(&self.own).chain(self.bound.days.iter().map(Arc::as_ref)) {
                open = days.after_dates(open)?;
            }
            // A day that one calendar leaves open may be the other's.
            if open == before || self.bound.days.is_empty() {
                return Some((open, open != date));
            }
        }
    }

    fn has_weekday_of(&self, date: NaiveDate) -> bool {
        self.bound.weekdays.has_date(date)
    }
}

impl fmt::Display for Exclude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = Some(self.own.to_string()).filter(|own| !own.is_empty());
        let calendars = self.calendars.iter().map(|name| format!("calendar:{name}"));
        let all: Vec<String> = own.into_iter().chain(calendars).collect();
        write!(f, "except {}", all.join(","))
    }
}

/// What an occurrence is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub(super) time_zone: Tz,
    pub(super) exclude: Option<Exclude>,
    /// Empty: at any time of the day.
    pub(super) within: Vec<Window>,
}

/// A time that no two offsets of a time zone are apart.
const MOST_SHIFT: TimeDelta = TimeDelta::days(2);

/// How far a search goes at once before it knows that no clock change makes it miss anything.
const HOP: TimeDelta = TimeDelta::days(1);

/// So many hops are more than any search needs; a search that took them goes on in the next one.
const MAX_HOPS: usize = 100;

impl Filter {
    /// Whether a moment's local wall time is open.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.local(at).is_some_and(|local| {
            let wall = local.naive_local();
            self.opening(wall) == Some(wall)
        })
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.within.len() > MAX_WINDOWS {
            let count = self.within.len();
            return Err(format!("within has {count} windows; the most is {MAX_WINDOWS}"));
        }
        match self.opening(NaiveDateTime::MIN) {
            Some(_) => Ok(()),
            None => Err("exclude and within leave no weekday open".into()),
        }
    }

    /// The moment in local time; `None` far outside of any calendar.
    pub(super) fn local(&self, at: Timestamp) -> Option<DateTime<Tz>> {
        // chrono panics where the offset carries a moment over the end of its calendar.
        let calendar = Timestamp::from_millis(-Timestamp::MAX.millis())..=Timestamp::MAX;
        calendar.contains(&at).then(|| at.to_chrono())?.map(|at| at.with_timezone(&self.time_zone))
    }

    /// The first wall time at or after `wall` that is open.
    fn opening(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let (mut date, mut since) = (wall.date(), window::millis(wall.time()));
        let mut days = 0;
        // A day of which a part is over, and every weekday: after them, nothing new comes.
        while days <= 8 {
            if let Some(exclude) = &self.exclude {
                let (open, moved) = exclude.after_dates(date)?;
                if moved {
                    (date, since, days) = (open, 0, 0);
                }
            }
            if let Some(open) = self.opening_on(date, since) {
                let start = date.and_time(chrono::NaiveTime::MIN);
                return Some(start + TimeDelta::milliseconds(open.into())).map(|at| at.max(wall));
            }
            (date, since, days) = (date.succ_opt()?, 0, days + 1);
        }
        None
    }

    /// The first time of a day, in milliseconds, that is open; dates are not looked at.
    fn opening_on(&self, date: NaiveDate, since: u32) -> Option<u32> {
        if self.exclude.as_ref().is_some_and(|exclude| exclude.has_weekday_of(date)) {
            return None;
        }
        if self.within.is_empty() {
            return Some(since);
        }
        self.within.iter().filter_map(|window| window.opening(date, since)).min()
    }

    /// The first moment from `at` on that is open, or one before it from which to go on. `None`:
    /// there is none.
    pub(super) fn next_open(&self, at: Timestamp) -> Option<Timestamp> {
        let first = self.local(at)?;
        let mut now = first;
        for _ in 0..MAX_HOPS {
            let wall = now.naive_local();
            let closed = self.opening(wall)? - wall;
            if closed.is_zero() {
                break;
            }
            // The walls of the last days are known to be closed as well: wherever clocks are put
            // until shortly before the opening, they show something closed.
            let far = now.signed_duration_since(first) > MOST_SHIFT && closed > MOST_SHIFT + HOP;
            if far {
                now = now.checked_add_signed(closed - MOST_SHIFT)?;
                continue;
            }
            let next = now.checked_add_signed(closed.min(HOP))?;
            now =
                if next.offset().fix() == now.offset().fix() { next } else { change(&now, &next) };
        }
        Some(Timestamp::from(now))
    }
}

/// The moment at which the offset changes between two moments, at most a day apart.
fn change(first: &DateTime<Tz>, last: &DateTime<Tz>) -> DateTime<Tz> {
    let before = first.offset().fix();
    let (mut low, mut high) = (first.timestamp(), last.timestamp());
    let at = |second| {
        let at = DateTime::from_timestamp(second, 0);
        at.map(|at| at.with_timezone(&first.timezone()))
    };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        // Moments between two valid ones are valid; `None` would end the search as well.
        if at(middle).is_some_and(|at| at.offset().fix() == before) {
            low = middle;
        } else {
            high = middle;
        }
    }
    at(high).unwrap_or(*last)
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(exclude) = &self.exclude {
            parts.push(exclude.to_string());
        }
        if !self.within.is_empty() {
            let windows: Vec<String> = self.within.iter().map(Window::to_string).collect();
            parts.push(format!("within {}", windows.join(" or ")));
        }
        write!(f, "{} {}", parts.join(", "), self.time_zone)
    }
}
