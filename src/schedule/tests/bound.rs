//! Rules that name calendars, with and without their days.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::id::CalendarName;
use crate::schedule::{Days, Exclude};

fn rule(text: &str) -> Rule {
    serde_json::from_str(text).unwrap()
}

fn days(text: &str) -> Arc<Days> {
    let calendar = format!(r#"{{"name": "x", {text}}}"#);
    let calendar: crate::Calendar = serde_json::from_str(&calendar).unwrap();
    Arc::new(calendar.days().clone())
}

fn bound(text: &str, calendars: &[(&str, &str)]) -> Rule {
    let calendars: BTreeMap<CalendarName, Arc<Days>> =
        calendars.iter().map(|(name, text)| (name.parse().unwrap(), days(text))).collect();
    let mut rule = rule(text);
    rule.bind(&|name| calendars.get(name).cloned());
    rule
}

fn ats(texts: &[&str]) -> Vec<Timestamp> {
    texts.iter().map(|text| at(text)).collect()
}

const DAILY: &str = r#"{"cron": "0 6 * * *", "exclude": {"calendars": ["a", "b"]}}"#;

#[test]
fn an_unbound_calendar_excludes_nothing() {
    assert_eq!(first(&rule(DAILY), 2), ats(&["2026-01-01T06:00Z", "2026-01-02T06:00Z"]));
    let bound = bound(DAILY, &[("c", r#""weekdays": ["mon-sun"]"#)]);
    assert_eq!(first(&bound, 2), ats(&["2026-01-01T06:00Z", "2026-01-02T06:00Z"]));
}

#[test]
fn the_days_of_all_calendars_and_the_rules_own_are_left_out() {
    // 2026-01-01 is a Thursday. The dates of the two touch and interlock.
    let calendars = [
        ("a", r#""dates": ["2026-01-02", "2026-01-07..2026-01-08"], "weekdays": ["sat"]"#),
        ("b", r#""dates": ["2026-01-01", "2026-01-04..2026-01-06"]"#),
    ];
    assert_eq!(
        first(&bound(DAILY, &calendars), 2),
        ats(&["2026-01-09T06:00Z", "2026-01-11T06:00Z"])
    );
    let own = DAILY
        .replace("{\"calendars", r#"{"dates": ["2026-01-09"], "weekdays": ["sun"], "calendars"#);
    assert_eq!(
        first(&bound(&own, &calendars), 2),
        ats(&["2026-01-12T06:00Z", "2026-01-13T06:00Z"])
    );
}

#[test]
fn the_rules_of_a_list_are_bound_as_well() {
    let text = r#"{"any": [
        {"cron": "0 6 * * *", "exclude": {"calendars": ["a"]}}, {"cron": "0 9 * * *"}
    ], "exclude": {"calendars": ["b"]}}"#;
    let calendars = [("a", r#""dates": ["2026-01-01"]"#), ("b", r#""dates": ["2026-01-02"]"#)];
    let bound = bound(text, &calendars);
    assert_eq!(first(&bound, 2), ats(&["2026-01-01T09:00Z", "2026-01-03T06:00Z"]));
    let named: Vec<_> = bound.calendars().into_iter().map(CalendarName::as_str).collect();
    assert_eq!(named, ["a", "b"]);
}

#[test]
fn binding_changes_nothing_of_what_is_written() {
    let bound = bound(DAILY, &[("a", r#""weekdays": ["mon"]"#)]);
    assert_eq!(bound, rule(DAILY));
    let text = serde_json::to_string(&bound).unwrap();
    let written = r#"{"cron":"0 6 * * *","time_zone":"UTC","exclude":{"calendars":["a","b"]}}"#;
    assert_eq!(text, written);
    assert_ne!(bound, rule(&DAILY.replace(r#"["a", "b"]"#, r#"["a"]"#)));
}

#[test]
fn what_is_bound_can_be_bound_anew_and_shared_rules_stay() {
    let mut rule = bound(DAILY, &[("a", r#""dates": ["2026-01-01"]"#)]);
    let before = rule.clone();
    rule.bind(&|_| None);
    assert_eq!(first(&rule, 1), ats(&["2026-01-01T06:00Z"]));
    assert_eq!(first(&before, 1), ats(&["2026-01-02T06:00Z"]), "a clone keeps its own");
}

#[test]
fn a_rule_that_its_calendars_close_is_seen_as_never_firing() {
    let every_day = [("a", r#""weekdays": ["mon-sun"]"#)];
    let error = bound(DAILY, &every_day).checked().unwrap_err().to_string();
    assert_eq!(error, "exclude and within leave no weekday open");
    let at = r#"{"at": "2026-01-01T06:00:00Z", "exclude": {"calendars": ["a"]}}"#;
    let error = bound(at, &[("a", r#""dates": ["2026-01-01"]"#)]).checked().unwrap_err();
    assert!(error.to_string().contains("never fires"), "{error}");
    assert!(rule(at).checked().is_ok(), "unbound it does");
}

#[test]
fn names_are_written_once_and_not_too_many() {
    let read = |names: String| {
        serde_json::from_str::<Exclude>(&format!(r#"{{"calendars": {names}}}"#))
            .map_err(|error| error.to_string())
    };
    let names = |n: usize| format!("{:?}", (0..n).map(|n| format!("c{n}")).collect::<Vec<_>>());
    assert!(read(names(16)).is_ok());
    for (names, expected) in [
        (names(17), "exclude has 17 calendars; the most is 16"),
        ("[]".to_owned(), "exclude is empty; leave it out, or write dates, weekdays or calendars"),
        (r#"["a", "b", "a"]"#.to_owned(), "exclude has calendar \"a\" twice"),
        (r#"["a b"]"#.to_owned(), "calendar name \"a b\" is not valid"),
    ] {
        assert!(read(names.clone()).unwrap_err().starts_with(expected), "{names}");
    }
}
