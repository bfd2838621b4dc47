//! Rules: when a job fires.
//!
//! Promises: the next firing is a pure function of the rule, the job's anchor and the last
//! scheduled time; it never depends on when it is asked. Imports identifiers, times and
//! suggestions.

mod cron;
mod cron_text;
mod days;
mod filter;
mod rule;
mod rule_check;
mod rule_serde;
mod shared;
#[cfg(test)]
mod tests;
mod window;

pub use cron::{Cron, InvalidCron};
pub use cron_text::MAX_EXPRESSION;
pub use days::{DateRange, MAX_DATES, Weekdays};
pub use filter::{Exclude, Filter};
pub use rule::{InvalidRule, MAX_PASSED_OVER, MAX_PERIOD, MAX_RULES, MIN_PERIOD, Rule, When};
pub(crate) use rule_serde::RULE_FIELDS;
pub use window::{MAX_WINDOWS, Window};
