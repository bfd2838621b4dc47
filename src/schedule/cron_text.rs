//! Reading cron expressions, with errors that name the field.
//!
//! Promises: an expression that is read can fire. Imports [`super::cron`] and
//! [`super::shared`].

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime};
use croner::parser::{CronParser, Seconds, Year};

use super::cron::InvalidCron;
use super::shared;

/// The longest expression, in bytes.
pub const MAX_EXPRESSION: usize = 256;

/// How much of a bad value an error message repeats.
const SHOWN: usize = 160;

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The fields of an expression with seconds, and what they hold.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31, L and W"),
    ("month", "1 to 12 and jan to dec"),
    ("day of week", "0 to 7 (0 and 7 are Sunday), sun to sat, L and #"),
];

/// An expression as it is computed with.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// As written.
    pub(super) expression: Arc<str>,
    /// Whether it is an interval pattern: has a `*` in its seconds, minutes or hours.
    pub(super) interval: bool,
    parsed: Arc<croner::Cron>,
}

impl Pattern {
    /// Reads an expression.
    pub(super) fn read(expression: &str) -> Result<Self, InvalidCron> {
        parse_checked(expression)
            .map_err(|problem| InvalidCron::Expression { expression: shown(expression), problem })
    }

    /// The first match on a clock that never changes; UTC is such a clock. `from` itself counts
    /// if `inclusive` and it is a whole second.
    pub(super) fn next_wall(&self, from: NaiveDateTime, inclusive: bool) -> Option<NaiveDateTime> {
        next_wall(&self.parsed, from, inclusive)
    }
}

fn parse_checked(expression: &str) -> Result<Pattern, String> {
    if expression.len() > MAX_EXPRESSION {
        let length = expression.len();
        return Err(format!("it has {length} bytes; the most is {MAX_EXPRESSION}"));
    }
    let plain = without_nickname(expression.trim())?;
    let fields: Vec<&str> = plain.split_whitespace().collect();
    check_count(&fields)?;
    // All fields but the last three are those of the time of day.
    let interval = fields[..fields.len() - 3].iter().any(|field| field.contains('*'));
    let parsed = shared::get_or_make(&fields.join(" "), || {
        check_lists(&fields)?;
        let parsed = parse(&fields).map_err(|problem| blame(&fields, problem))?;
        match next_wall(&parsed, DateTime::UNIX_EPOCH.naive_utc(), true) {
            Some(_) => Ok(parsed),
            None => Err("it never fires: no month has such a day".to_owned()),
        }
    })?;
    Ok(Pattern { expression: expression.into(), interval, parsed })
}

fn next_wall(
    pattern: &croner::Cron,
    from: NaiveDateTime,
    inclusive: bool,
) -> Option<NaiveDateTime> {
    let next = pattern.find_next_occurrence(&from.and_utc(), inclusive);
    // The only error is that the search has come to its last year.
    next.ok().map(|at| at.naive_utc())
}

/// The beginning of a value, as much of it as an error message repeats.
pub(super) fn shown(value: &str) -> String {
    value.chars().take(SHOWN).collect()
}

fn without_nickname(expression: &str) -> Result<&str, String> {
    if !expression.starts_with('@') {
        return Ok(expression);
    }
    NICKNAMES
        .iter()
        .find(|(nickname, _)| nickname.eq_ignore_ascii_case(expression))
        .map(|(_, plain)| *plain)
        .ok_or_else(|| "known are @yearly, @monthly, @weekly, @daily and @hourly".to_owned())
}

fn check_count(fields: &[&str]) -> Result<(), String> {
    match fields.len() {
        5 | 6 => Ok(()),
        0 => Err("it is empty".into()),
        7 => Err("it has 7 fields; a field for years is not supported, use start and end".into()),
        1 => Err("it has 1 field; write 5, or 6 with leading seconds".into()),
        count => Err(format!("it has {count} fields; write 5, or 6 with leading seconds")),
    }
}

/// croner takes an empty item of a list for nothing at all.
fn check_lists(fields: &[&str]) -> Result<(), String> {
    let empty = |field: &str| field.split(',').any(str::is_empty);
    match fields.iter().position(|field| empty(field)) {
        Some(at) => Err(told(fields, at, "an item of the list is empty")),
        None => Ok(()),
    }
}

/// Finds the field that is wrong, by reading each among fields that are right.
fn blame(fields: &[&str], problem: String) -> String {
    let offset = FIELDS.len() - fields.len();
    let wrong = fields.iter().enumerate().find_map(|(at, field)| {
        let mut alone = ["0", "*", "*", "*", "*", "*"];
        alone[at + offset] = field;
        parse(&alone).err().map(|problem| told(fields, at, &problem))
    });
    wrong.unwrap_or(problem)
}

/// Names a field and what is wrong with it.
fn told(fields: &[&str], at: usize, problem: &str) -> String {
    let (name, holds) = FIELDS[at + FIELDS.len() - fields.len()];
    format!("{name} {:?}: {problem}; it holds {holds}", fields[at])
}

fn parse(fields: &[&str]) -> Result<croner::Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Optional).build();
    parser.parse(&fields.join(" ")).map_err(|error| {
        let text = error.to_string();
        // croner's kinds of error say nothing to the owner of a job.
        let text = text
            .trim_start_matches("Component error: ")
            .trim_start_matches("Pattern contains illegal characters: ")
            .trim_start_matches("Invalid pattern: ")
            .trim_end_matches('.');
        match text {
            _ if text.starts_with("CronPattern contains illegal character") => {
                "a character that it cannot have".into()
            }
            "Range out of bounds" | "Range is out of bounds in stepping" => {
                "range out of bounds or downwards".into()
            }
            _ => lower_first(text),
        }
    })
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
