//! What fuzzing feeds: a function for each parser of bytes that come from a network, a file or a
//! disk.
//!
//! Each takes any bytes, and panics if a promise is broken. That nothing panics is the least of
//! them: what is read is written again and reads as the same, an error names what is wrong and is
//! no longer than what it is about, and no few bytes ask for much memory. The functions stand
//! beside their parsers, in files named `fuzz`.
//!
//! Compiled for tests and with the feature `fuzzing` alone, and no interface for anybody:
//! `tests/fuzz` has the fuzzer, its corpora and findings, `tests/fuzz.sh` runs it, and a test here
//! plays every file that is kept. May import every module that parses.

use std::path::Path;

use crate::fuzz::told;
use crate::job_files::{self, Format, Loaded};
use crate::schedule::{Cron, RRule, Rule};
use crate::target::{InvalidTarget, MAX_TARGET, Target};
use crate::time::{Timestamp, duration};
use crate::{agent, api, client, recording, store, wire};

/// A parser under its name.
#[derive(Debug, Clone, Copy)]
pub struct Parser {
    /// The name, and that of its folder in `tests/fuzz/corpus`.
    pub name: &'static str,
    /// Reads any bytes; panics if a promise is broken.
    pub check: fn(&[u8]),
}

/// Every parser.
pub const PARSERS: &[Parser] = &[
    of("agent", agent::fuzz::agent),
    of("backup", store::backup::fuzz::backup),
    of("body", api::fuzz::body),
    of("cron", cron),
    of("fjall_journal", store::fuzz::fjall_journal),
    of("fjall_note", store::fuzz::fjall_note),
    of("frame", wire::fuzz::frame),
    of("import", store::exchange::fuzz::import),
    of("job_json", |data| job_file(data, Format::Json)),
    of("job_toml", |data| job_file(data, Format::Toml)),
    of("journal", client::fuzz_journal),
    of("key", store::fuzz::key),
    of("ledger", store::fuzz::ledger),
    of("line", store::exchange::fuzz::line),
    of("message", wire::fuzz::message),
    of("open_set", store::fuzz::open_set),
    of("page", store::fuzz::page),
    of("query", api::fuzz::query),
    of("record", store::fuzz::record),
    of("recording", recording::fuzz::recording),
    of("rrule", rrule),
    of("rule", rule),
    of("sled_log", store::fuzz::sled_log),
    of("sled_mark", store::fuzz::sled_mark),
    of("sled_snapshot", store::fuzz::sled_snapshot),
    of("statistics", store::fuzz::statistics),
    of("store", store::fuzz::entries),
    of("target", target),
    of("word", word),
];

const fn of(name: &'static str, check: fn(&[u8])) -> Parser {
    Parser { name, check }
}

/// The parser of a name.
#[must_use]
pub fn named(name: &str) -> Option<Parser> {
    PARSERS.iter().find(|parser| parser.name == name).copied()
}

/// The lines of a text, the last with all that follows; those that are missing are empty.
fn lines<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let mut lines = std::str::from_utf8(data).ok()?.splitn(N, '\n');
    Some(std::array::from_fn(|_| lines.next().unwrap_or_default()))
}

/// A moment as RFC 3339 or in milliseconds; anything else is one in 2026.
fn moment(text: &str) -> Timestamp {
    let millis = text.parse::<i64>().map(Timestamp::from_millis);
    millis.or_else(|_| text.parse()).unwrap_or(Timestamp::from_millis(1_764_000_000_000))
}

/// Occurrences rise, and each is found from every moment before it.
fn rises(next: impl Fn(Timestamp) -> Option<Timestamp>, after: Timestamp) {
    let mut at = after;
    for _ in 0..3 {
        let Some(found) = next(at) else { return };
        assert!(found > at, "{found} is not after {at}");
        let last = Timestamp::from_millis(found.millis() - 1);
        let middle = Timestamp::from_millis(at.millis().midpoint(last.millis()));
        for between in [middle, last] {
            assert_eq!(next(between), Some(found), "asked from {between}, not from {at}");
        }
        at = found;
    }
}

/// An expression, a time zone and a moment, a line each.
fn cron(data: &[u8]) {
    let Some([expression, zone, after]) = lines(data) else { return };
    let zone = if zone.is_empty() { "Europe/Berlin" } else { zone };
    match Cron::new(expression, zone) {
        Ok(cron) => {
            let again = Cron::new(cron.expression(), cron.time_zone());
            assert_eq!(again.as_ref(), Ok(&cron));
            assert!(cron.next_after(Timestamp::MIN).is_some(), "it can fire");
            rises(|after| cron.next_after(after), moment(after));
        }
        Err(error) => drop(told(&error, 160)),
    }
}

/// A recurrence rule, its beginning, a time zone and a moment, a line each.
fn rrule(data: &[u8]) {
    let Some([text, from, zone, after]) = lines(data) else { return };
    let from = if from.is_empty() { "2026-01-13T09:00" } else { from };
    let zone = if zone.is_empty() { "Europe/Berlin" } else { zone };
    match RRule::new(text, from, zone) {
        Ok(rrule) => {
            let again = RRule::new(&rrule.to_string(), &rrule.from(), rrule.time_zone());
            assert_eq!(again.as_ref(), Ok(&rrule), "{rrule}");
            rises(|after| rrule.next_after(after), moment(after));
        }
        // A part is repeated whole.
        Err(error) => drop(told(&error, text.len())),
    }
}

/// A moment in the first line, and the JSON of a rule.
fn rule(data: &[u8]) {
    let Some([after, json]) = lines(data) else { return };
    let Ok(rule) = serde_json::from_str::<Rule>(json).map_err(|error| told(&error, json.len()))
    else {
        return;
    };
    let written = serde_json::to_string(&rule).expect("a rule can be written");
    let again: Rule = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(again, rule, "{written}");
    assert_eq!(serde_json::to_string(&again).expect("again"), written);
    assert_eq!(rule.clone().checked().as_ref(), Ok(&rule), "what is read is valid");
    rises(|after| rule.next_after(after, Timestamp::from_millis(1_700_000_000_000)), moment(after));
}

fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<Target>() {
        Ok(target) => {
            let printed = target.to_string();
            assert!(printed.len() <= MAX_TARGET, "{printed}");
            assert_eq!(printed.parse::<Target>().as_ref(), Ok(&target), "{printed}");
            assert_eq!(target.check(), Ok(()));
            let json = serde_json::to_string(&target).expect("a target can be written");
            assert_eq!(serde_json::from_str::<Target>(&json).ok(), Some(target));
        }
        Err(error) => {
            // A name is repeated whole, in a word of at most so many bytes.
            told(&error, text.len().min(MAX_TARGET));
            if let InvalidTarget::At { at, .. } = error {
                assert!((1..=text.chars().count() + 1).contains(&at), "at {at} of {text:?}");
            }
        }
    }
}

/// A file that is read holds what the same jobs and calendars written as JSON hold; a bad one is
/// told with lines that it has.
fn job_file(data: &[u8], format: Format) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match job_files::parse(text, Path::new("x"), format) {
        Ok(loaded) => {
            let (jobs, calendars) = specs(&loaded);
            let file = serde_json::json!({ "calendar": calendars, "job": jobs }).to_string();
            let again = job_files::parse(&file, Path::new("x"), Format::Json);
            let again = again.unwrap_or_else(|errors| panic!("{errors}: {file}"));
            assert_eq!(specs(&again), (jobs, calendars), "{file}");
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            let lines = text.matches('\n').count() + 1;
            for error in errors.errors {
                assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error}");
                told(&error, text.len());
            }
        }
    }
}

fn specs(loaded: &Loaded) -> (Vec<&crate::JobSpec>, Vec<&crate::Calendar>) {
    let jobs = loaded.jobs.iter().map(|job| &job.spec);
    (jobs.collect(), loaded.calendars.iter().map(|calendar| &calendar.spec).collect())
}

/// A text as each of the words that the command line, the HTTP interface and files take.
fn word(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    same::<crate::ClientId>(text);
    same::<crate::GroupName>(text);
    same::<crate::CommandName>(text);
    same::<crate::JobName>(text);
    same::<crate::CalendarName>(text);
    same::<crate::JobId>(text);
    same::<crate::Serial>(text);
    same::<crate::ReplayId>(text);
    same::<crate::Actor>(text);
    same::<crate::IdempotencyKey>(text);
    same::<crate::LabelKey>(text);
    same::<crate::LabelValue>(text);
    same::<crate::JobSelection>(text);
    same::<crate::history::Cursor>(text);
    same::<Timestamp>(text);
    match duration::parse(text) {
        Ok(read) => {
            let written = duration::format(read);
            assert_eq!(duration::parse(&written), Ok(read), "{text:?} is written {written:?}");
        }
        Err(error) => drop(told(&error, text.len())),
    }
}

/// A word that is read is written as one that is read as the same.
fn same<T>(text: &str)
where
    T: std::str::FromStr<Err: std::fmt::Display> + std::fmt::Display + PartialEq,
{
    match text.parse::<T>() {
        Ok(read) => {
            let written = read.to_string();
            assert!(written.parse().is_ok_and(|again: T| again == read), "{text:?}: {written:?}");
        }
        Err(error) => drop(told(&error, text.len())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::panic;
    use std::path::PathBuf;

    use super::*;

    /// Files of a folder of `tests/fuzz`, each with the parser that its own folder names.
    fn kept(folder: &str) -> Vec<(Parser, PathBuf)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(folder);
        let entries = |path: &Path| -> BTreeSet<PathBuf> {
            let read = fs::read_dir(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            read.map(|entry| entry.unwrap().path()).collect()
        };
        let mut files = Vec::new();
        for directory in entries(&root) {
            let name = directory.file_name().unwrap().to_string_lossy().into_owned();
            let parser = named(&name).unwrap_or_else(|| panic!("{folder}/{name} is no parser's"));
            files.extend(entries(&directory).into_iter().map(|path| (parser, path)));
        }
        files
    }

    /// What was once found, and what shows a parser's ways: without a fuzzer, on any toolchain.
    #[test]
    fn every_kept_input_keeps_the_promises() {
        let files = [kept("corpus"), kept("found")].concat();
        let broken: Vec<String> = files
            .iter()
            .filter(|(parser, path)| {
                let data = fs::read(path).unwrap();
                panic::catch_unwind(|| (parser.check)(&data)).is_err()
            })
            .map(|(_, path)| path.display().to_string())
            .collect();
        assert!(broken.is_empty(), "broken by\n{}", broken.join("\n"));
        let names: BTreeSet<&str> = files.iter().map(|(parser, _)| parser.name).collect();
        let all: BTreeSet<&str> = PARSERS.iter().map(|parser| parser.name).collect();
        assert_eq!(names, all, "every parser has a corpus");
    }

    #[test]
    fn what_holds_no_longer_is_seen() {
        let wrong = panic::catch_unwind(|| told(&"x".repeat(5_000), 5)).is_err();
        let falls = panic::catch_unwind(|| rises(Some, Timestamp::from_millis(5))).is_err();
        assert!(wrong && falls);
    }
}
