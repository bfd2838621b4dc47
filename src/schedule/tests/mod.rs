//! Tests of the rules: tables, properties, and the written form.

mod bound;
mod clock_changes;
mod expressions;
mod filters;
mod lists;
mod properties;
mod rrule_rfc;
mod rrules;
mod walks;
mod written;
mod zones;

use super::{Cron, Rule};
use crate::time::Timestamp;

/// A moment, as `2026-11-22T06:00Z` without seconds or with them.
fn at(text: &str) -> Timestamp {
    let text = match text.strip_suffix('Z') {
        Some(minute) if minute.len() == 16 => format!("{minute}:00Z"),
        _ => text.to_owned(),
    };
    text.parse().unwrap()
}

/// Checks that the occurrences after a moment are exactly the next ones listed.
fn assert_series(expression: &str, zone: &str, after: &str, expected: &[&str]) {
    let cron = Cron::new(expression, zone).unwrap();
    let mut now = at(after);
    for (place, next) in expected.iter().enumerate() {
        let found = cron.next_after(now);
        assert_eq!(found, Some(at(next)), "{expression} in {zone}, occurrence {place} after {now}");
        now = at(next);
    }
}

/// The first occurrences of a rule that was created at the start of 2026.
fn first(rule: &Rule, how_many: usize) -> Vec<Timestamp> {
    let anchor = at("2026-01-01T00:00Z");
    let mut after = anchor.minus(std::time::Duration::from_millis(1));
    std::iter::from_fn(|| {
        after = rule.next_after(after, anchor)?;
        Some(after)
    })
    .take(how_many)
    .collect()
}
