//! Rules: when a job fires.
//!
//! Promises: the next firing is a pure function of the rule, the job's anchor and the last
//! scheduled time; it never depends on when it is asked. Imports identifiers, times and
//! suggestions.
//!
//! # Exclusions and windows
//!
//! A rule's [`Filter`] looks at the local wall time of an occurrence, in the rule's time zone, and
//! at nothing else. An occurrence that it closes is passed over: it does not fire, is not missed
//! and does not count. So a fixed cron expression whose local time does not exist fires after the
//! gap only if that later time is open; and in the hour that occurs twice, a window is open twice.
//! A window has its beginning but not its end, may go on past midnight, and then belongs to the
//! day on which it begins; an excluded day is closed altogether, windows or not.
//!
//! An exclusion may name calendars, whose days are kept elsewhere. They are bound to the rule by
//! whoever has them ([`Rule::bind`]); in a rule that is not bound, a calendar excludes nothing.
//!
//! # How it differs from croniter
//!
//! `tests/croniter.test.sh` compares thousands of random expressions with croniter 6, a library of
//! Python that was written independently. These are all the differences, under the names that the
//! test counts them by:
//!
//! | difference | here | croniter |
//! | --- | --- | --- |
//! | downward range: `50-10`, `fri-mon` | refused: mostly a slip, and two ranges say it as well | goes on over the end of the field |
//! | number with a step: `5/15` | refused: some read it as `5`, some as `5-59/15` | `5-59/15` |
//! | range of one: `5-5` | 5 | every value of the field |
//! | nth weekday and day: `0 0 13 * 5#1` | either matches, as for any weekday | the day of month is not looked at, and if no month has both, it never fires |
//! | 7 beside seconds: `0 0 0 * * 7` | Sunday | refused, though it takes a 7 in five fields |
//! | every weekday: `0 0 */2 * sun-sat` | each day, since each matches | as if the weekday were `*`: every other day |
//! | short month: `0 0 1,30 * *`, `0 0 31 2 fri` | each day that matches | leaves out days at the beginning of the month after one that has no 30th; never fires, weekdays or not, when no month has the day |
//! | clock change: `0 12 1 * *` in Stockholm | at 12:00 | on the day of a change, or when one lies since the last firing, an hour off, or twice |
//!
//! # How recurrence rules differ from dateutil
//!
//! `tests/dateutil.test.sh` compares thousands of random rules with the `rrule` of dateutil 2.9, in
//! the same way. All differences:
//!
//! | difference | here | dateutil |
//! | --- | --- | --- |
//! | parts that do not go together: `FREQ=WEEKLY;BYMONTHDAY=1`, `FREQ=DAILY;BYSETPOS=1` | refused, as RFC 5545 forbids them | read as it may be |
//! | week without a day: `FREQ=YEARLY;BYWEEKNO=20` | the weekday of the beginning, from which the RFC takes what is not written | each day of the week |
//! | weekday with a number and without: `BYDAY=FR,1MO` | each that is either | those that are both, so none |
//! | position in the first week: `FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=1` from a Wednesday | counted in the whole week: next Monday | counted from the beginning: that Wednesday |
//! | day as the end: `UNTIL=20261224` | the day is part of it | its midnight is the end |
//! | week at the turn of the year: `BYWEEKNO=53`, `BYWEEKNO=-52` | numbered in its own year, whose weeks are counted | days of January before the first week may take a wrong number, and those of December that belong to the first week have none from the end |

mod bound;
mod cron;
mod cron_text;
mod days;
mod filter;
mod rrule;
mod rrule_set;
mod rrule_text;
mod rule;
mod rule_check;
mod rule_serde;
mod shared;
#[cfg(test)]
mod tests;
mod wall;
mod window;

pub use cron::{Cron, InvalidCron};
pub use cron_text::MAX_EXPRESSION;
pub use days::{DateRange, Days, MAX_DATES, Weekdays};
pub use filter::{Exclude, Filter, MAX_RULE_CALENDARS};
pub use rrule::{InvalidRRule, RRule};
pub use rrule_text::{MAX_INTERVAL, MAX_RRULE};
pub use rule::{InvalidRule, MAX_PASSED_OVER, MAX_PERIOD, MAX_RULES, MIN_PERIOD, Rule, When};
pub(crate) use rule_serde::RULE_FIELDS;
pub use window::{MAX_WINDOWS, Window};
