//! Rules: when a job fires.
//!
//! Promises: the next firing is a pure function of the rule, the job's anchor and the last
//! scheduled time; it never depends on when it is asked. Imports identifiers and times.

mod cron;
mod rule;

pub use cron::{Cron, InvalidCron};
pub use rule::{InvalidRule, MIN_PERIOD, Rule, When};
