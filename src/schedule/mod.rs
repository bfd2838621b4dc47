//! Rules: when a job fires.
//!
//! Promises: the next firing is a pure function of the rule, the job's anchor and the last
//! scheduled time; it never depends on when it is asked. Imports identifiers, times and
//! suggestions.

mod cron;
mod cron_text;
mod rule;
mod rule_serde;
mod shared;
#[cfg(test)]
mod tests;

pub use cron::{Cron, InvalidCron};
pub use cron_text::MAX_EXPRESSION;
pub use rule::{InvalidRule, MAX_PERIOD, MIN_PERIOD, Rule, When};
pub(crate) use rule_serde::RULE_FIELDS;
