//! Calendars in job files.

use super::*;

const BOTH: &str = r#"
[[calendar]]
name = "holidays-se"
description = "Public holidays in Sweden"
dates = [2026-12-24, "2026-12-26..2027-01-06"]
weekdays = ["sun"]

[[job]]
name = "a"
target = "all"
command = "x"
rule = { every = "1h", exclude = { calendars = ["holidays-se"] } }

[[calendar]]
name = "freeze"
dates = [2026-12-24]
"#;

fn calendars(loaded: &Loaded) -> Vec<(&str, usize)> {
    loaded.calendars.iter().map(|one| (one.spec.name().as_str(), one.line)).collect()
}

#[test]
fn calendars_stand_beside_jobs_in_both_formats() {
    let in_toml = toml_file(BOTH).unwrap();
    assert_eq!(calendars(&in_toml), [("holidays-se", 2), ("freeze", 14)]);
    assert_eq!(places(&in_toml.jobs), [("a", 8)]);
    let in_json = json_file(
        r#"{"job": [{"name": "a", "target": "all", "command": "x",
                "rule": {"every": "1h", "exclude": {"calendars": ["holidays-se"]}}}],
            "calendar": [
                {"name": "holidays-se", "description": "Public holidays in Sweden",
                 "dates": ["2026-12-24", "2026-12-26..2027-01-06"], "weekdays": ["sun"]},
                {"name": "freeze", "dates": ["2026-12-24"]}]}"#,
    );
    let in_json = in_json.unwrap();
    let specs = |loaded: &Loaded| -> Vec<Calendar> {
        loaded.calendars.iter().map(|one| one.spec.clone()).collect()
    };
    assert_eq!(specs(&in_toml), specs(&in_json));
    assert_eq!(in_toml.jobs[0].spec, in_json.jobs[0].spec);
}

#[test]
fn a_file_may_hold_calendars_alone() {
    let alone = toml_file("[[calendar]]\nname = 'a'\nweekdays = ['sat']").unwrap();
    assert_eq!((calendars(&alone), alone.jobs.len()), (vec![("a", 1)], 0));
    let alone = json_file(r#"{"calendar": [{"name": "a", "weekdays": ["sat"]}]}"#).unwrap();
    assert_eq!(calendars(&alone), [("a", 1)]);
}

#[test]
fn every_error_of_a_calendar_is_told_with_its_place() {
    let text = r#"
[[calendar]]
name = "holidays se"
dates = [2026-12-24, "2026-12-32"]
weekday = ["sat"]

[[calendar]]
weekdays = ["saturday"]
dates = [2026-12-24T10:00:00]

[[calendar]]
name = "none"

[[calendar]]
name = "none"
weekdays = []
"#;
    let told = [
        "jobs/a.toml:3: calendar \"holidays se\": name: calendar name \"holidays se\" is not valid",
        "jobs/a.toml:4: calendar \"holidays se\": dates[1]: date \"2026-12-32\" is not valid",
        "jobs/a.toml:5: calendar \"holidays se\": weekday: is not a known field; \
         did you mean \"weekdays\"?",
        "jobs/a.toml:7: name: is missing",
        "jobs/a.toml:8: weekdays: weekday \"saturday\" is not valid",
        "jobs/a.toml:9: dates[0]: time 2026-12-24T10:00:00 has no offset",
        "jobs/a.toml:11: calendar \"none\": calendar \"none\": it has no day",
        "jobs/a.toml:16: calendar \"none\": weekdays: weekdays is empty",
    ];
    assert_errors(toml(text), &told);
    let long = "x".repeat(crate::MAX_DESCRIPTION + 1);
    let text = format!("[[calendar]]\nname='a'\nweekdays=['sat']\ndescription='{long}'");
    let expected = "jobs/a.toml:4: calendar \"a\": description: calendar \"name\": description has";
    assert_errors(toml(&text), &[expected]);
    assert_errors(
        json("{\"calendar\": [\n{\"name\": \"a\", \"dates\": [5]}, 17]}"),
        &["jobs/a.json:2: invalid type: integer `17`", "jobs/a.json:2: calendar \"a\": dates[0]: "],
    );
}

#[test]
fn a_calendar_is_defined_once_and_a_list_of_them_stands_alone() {
    let text = format!("{BOTH}\n[[calendar]]\nname = 'freeze'\ndates = [2026-12-24]\n");
    let taken = "jobs/a.toml:19: calendar \"freeze\": name: calendar name \"freeze\" is taken \
                 already, at jobs/a.toml:14";
    assert_errors(toml(&text), &[taken]);
    let beside = "jobs/a.toml:5: calendar: stands beside other fields";
    let text = "name='a'\ntarget='all'\ncommand='x'\nrule='now'\n[[calendar]]\nname='c'";
    assert_errors(toml(text), &[beside]);
    assert_errors(toml("[calendar]\nname='c'"), &["jobs/a.toml:1: calendar: is not a list"]);
    let twice = r#"{"calendar": [], "calendar": []}"#;
    assert_errors(json(twice), &["jobs/a.json:1: calendar: is written twice"]);
    assert_errors(json("{\"calendar\": []}"), &["jobs/a.json: defines no job and no calendar"]);
}

#[test]
fn calendars_of_a_rule_are_checked_where_they_are_written() {
    let job = |names: &str| {
        let rule = format!("rule={{every='1h', exclude={{calendars={names}}}}}");
        toml(&format!("name='a'\ntarget='all'\ncommand='x'\n{rule}"))
    };
    assert!(job("['not-defined-here']").is_ok(), "the server may have it");
    let bad = "jobs/a.toml:4: job \"a\": rule.exclude.calendars[0]: calendar name \"a b\" is not";
    assert_errors(job("['a b']"), &[bad]);
    let twice = "jobs/a.toml:4: job \"a\": rule.exclude: exclude has calendar \"a\" twice";
    assert_errors(job("['a', 'a']"), &[twice]);
}

#[test]
fn the_calendar_of_the_readme_is_read() {
    let readme = include_str!("../../../README.md");
    let section = readme.split("\n### Calendars\n").nth(1).unwrap();
    let example = section.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let loaded = toml_file(example).unwrap();
    assert_eq!((loaded.calendars.len(), loaded.jobs.len()), (1, 1));
    let named = loaded.jobs[0].spec.rule.calendars();
    assert_eq!(named.into_iter().collect::<Vec<_>>(), [loaded.calendars[0].spec.name()]);
}
