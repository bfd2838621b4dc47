//! Cron expressions with a time zone.
//!
//! Promises: the occurrences of an expression are a fixed, strictly increasing series of moments;
//! asking from any moment between two of them gives the same next one. `croner` reads the
//! expression and finds matching times on a wall clock without time zone; what a time zone's
//! changes do to them is decided here, because croner counts lists and ranges such as `0,30` as
//! interval patterns and gives up in gaps of more than two hours. Imports times, suggestions and
//! [`super::wall`].

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::cron_text::{self, Pattern};
use super::wall::{self, END_OF_SEARCH, Fold, gap_end};
use crate::suggest;
use crate::time::Timestamp;

/// A cron expression and the time zone in which it is meant.
///
/// Five fields: minute, hour, day of month, month, day of week; six with leading seconds; or one
/// of `@yearly` (`@annually`), `@monthly`, `@weekly`, `@daily` (`@midnight`) and `@hourly`. A
/// seventh field (years) is refused. Fields take `*`, numbers, ranges `1-5`, lists `1,3`, steps
/// `*/15` and `10-50/10`; months and weekdays also English names of three letters. Weekdays are 0
/// to 7, where both 0 and 7 are Sunday. Beyond that: `L` (last day of the month; `5L`: last
/// Friday), `15W` (weekday nearest to the 15th), `2#1` (first Tuesday).
///
/// **Days.** When day of month and day of week are both restricted (not `*`), a day fires when
/// either matches, as in Unix. A `+` before the day of week asks that both match.
///
/// **Clock changes.** An expression with a `*` in seconds, minutes or hours is an interval
/// pattern; any other is a fixed one.
///
/// | | fixed: `30 2 * * *`, `0,30 2 * * *` | interval: `*/15 * * * *`, `30 * * * *` |
/// | --- | --- | --- |
/// | local time does not exist (spring) | once, at the first instant after the gap | not at all |
/// | local time occurs twice (autumn) | once, at the first | at both |
///
/// Occurrences lie in the years 1970 to 4999.
#[derive(Debug, Clone)]
pub struct Cron {
    pattern: Pattern,
    time_zone: Tz,
}

/// A cron expression or time zone that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCron {
    /// The expression.
    #[error("cron expression {expression:?} is not valid: {problem}")]
    Expression {
        /// What was written; of a very long one the beginning.
        expression: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The time zone.
    #[error("time zone {0:?} is not known; write an IANA name such as Europe/Berlin or UTC{hint}",
        hint = suggest::hint(nearest_zone(.0).as_deref()))]
    TimeZone(String),
}

fn nearest_zone(name: &str) -> Option<String> {
    suggest::nearest(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()))
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.expression() == other.expression() && self.time_zone == other.time_zone
    }
}

impl Eq for Cron {}

impl Cron {
    /// Reads an expression and an IANA time zone name. An expression that can never fire, such
    /// as `0 0 30 2 *`, is not valid.
    pub fn new(expression: &str, time_zone: &str) -> Result<Self, InvalidCron> {
        Ok(Self::from_parts(Pattern::read(expression)?, zone(time_zone)?))
    }

    pub(super) fn from_parts(pattern: Pattern, time_zone: Tz) -> Self {
        Self { pattern, time_zone }
    }

    pub(super) fn parts(&self) -> (&Pattern, Tz) {
        (&self.pattern, self.time_zone)
    }

    /// The expression as written.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.pattern.expression
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
        if after.millis() >= END_OF_SEARCH {
            return None;
        }
        // Moments before 1970 have no serial, so the series begins there.
        let after = after.max(Timestamp::from_millis(-1));
        let after = after.to_chrono()?.with_timezone(&self.time_zone);
        let next = if self.pattern.interval {
            self.next_interval(&after)
        } else {
            wall::next_fixed(&after, |wall, inclusive| self.pattern.next_wall(wall, inclusive))
        };
        next.map(Timestamp::from).filter(|at| at.millis() < END_OF_SEARCH)
    }

    /// Every instant whose wall clock time matches is an occurrence.
    fn next_interval(&self, after: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        let onward = self.next_interval_onward(after);
        // In the first half of a repeated range, the second half still lies ahead; its wall clock
        // times are earlier, so the search onward does not see them.
        let again = match self.time_zone.from_local_datetime(&after.naive_local()) {
            LocalResult::Ambiguous(first, second) if *after < second => {
                let wall = self.wall_from(Fold::between(&first, &second).wall_start);
                wall.and_then(|wall| self.time_zone.from_local_datetime(&wall).latest())
            }
            _ => None,
        };
        match (onward, again) {
            (Some(onward), Some(again)) => Some(onward.min(again)),
            (onward, again) => onward.or(again),
        }
    }

    fn next_interval_onward(&self, after: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        let mut wall = self.wall_after(after.naive_local())?;
        loop {
            match self.time_zone.from_local_datetime(&wall) {
                LocalResult::Single(at) if at > *after => return Some(at),
                LocalResult::Ambiguous(first, _) if first > *after => return Some(first),
                LocalResult::Ambiguous(_, second) if second > *after => return Some(second),
                LocalResult::None => {
                    wall = match gap_end(wall, self.time_zone) {
                        Some(end) => self.wall_from(end.naive_local())?,
                        None => self.wall_after(wall)?,
                    };
                }
                _ => wall = self.wall_after(wall)?,
            }
        }
    }

    /// The first matching wall clock time after `wall`.
    fn wall_after(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        self.pattern.next_wall(wall, false)
    }

    /// The first matching wall clock time at or after `wall`, which has no fraction of a second.
    fn wall_from(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        self.pattern.next_wall(wall, true)
    }
}

/// Reads the name of a time zone.
pub(super) fn zone(name: &str) -> Result<Tz, InvalidCron> {
    name.parse().map_err(|_| InvalidCron::TimeZone(cron_text::shown(name)))
}
