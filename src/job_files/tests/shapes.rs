//! One job a file or several, in both formats.

use super::*;
use crate::Rule;

#[test]
fn a_toml_file_holds_one_job_at_the_top() {
    let text = r#"
# What it is for.
name = "disk-report"
target = "all"
command = "disk.report"
expires_after = "2h"

[params]
path = "/"
limits = [80, 9.5, 0x10]
since = 2026-12-01

[rule]
cron = "30 6 * * *"
time_zone = "Europe/Berlin"
"#;
    let jobs = toml(text).unwrap();
    assert_eq!(places(&jobs), [("disk-report", 3)]);
    assert_eq!(jobs[0].file, Path::new("jobs/a.toml"));
    let spec = &jobs[0].spec;
    assert_eq!(spec.rule, Rule::cron("30 6 * * *", "Europe/Berlin").unwrap());
    let params = r#"{"limits":[80,9.5,16],"path":"/","since":"2026-12-01"}"#;
    assert_eq!(spec.params.text(), params);
}

#[test]
fn a_toml_file_holds_several_jobs_as_tables() {
    let text = r#"
[[job]]
name = "b"
target = "all"
command = "x"
rule = "now"

[[job]]
name = "a"
target = "client:db-01"
command = "x"
rule.every = "10s"
"#;
    assert_eq!(places(&toml(text).unwrap()), [("b", 2), ("a", 8)]);
}

#[test]
fn toml_times_need_no_quotes() {
    for (written, read) in [
        ("2026-12-01T02:00:00Z", "2026-12-01T02:00:00Z"),
        ("2026-12-01 02:00:00.250+01:00", "2026-12-01T01:00:00.250Z"),
        ("2026-12-01T02:00Z", "2026-12-01T02:00:00Z"),
        ("\"2026-12-01T02:00:00-05:00\"", "2026-12-01T07:00:00Z"),
    ] {
        let text = format!(
            "name='a'\ntarget='all'\ncommand='x'\n[rule]\nevery='1s'\nfrom={written}\nend={written}"
        );
        let jobs = toml(&text).unwrap();
        assert_eq!(jobs[0].spec.rule.end, Some(read.parse().unwrap()), "{written}");
    }
}

#[test]
fn a_json_file_holds_one_job_a_list_or_a_list_under_job() {
    let job = |name: &str| {
        format!(
            "{{\n\"name\": \"{name}\",\n\"target\": \"all\", \"command\": \"x\", \"rule\": \"now\"}}"
        )
    };
    let (a, b) = (job("a"), job("b"));
    assert_eq!(places(&json(&format!("\n {a}")).unwrap()), [("a", 2)]);
    assert_eq!(places(&json(&format!("[{a},\n{b}]")).unwrap()), [("a", 1), ("b", 4)]);
    let under = format!("\u{feff}{{\"job\": [\n{a},\n\n{b}]}}");
    assert_eq!(places(&json(&under).unwrap()), [("a", 2), ("b", 6)]);
}

#[test]
fn both_formats_give_the_same_job() {
    let in_toml = toml(
        "name='a'\ndescription='d'\ntarget='group:web'\ncommand='x'\ncatch_up='all'\n\
         catch_up_window='2h'\noffline='drop'\nexpires_after='1m'\nparams={b=1, a='x'}\n\
         rule={every='1s', count=3}",
    );
    let in_json = json(
        r#"{"name":"a","description":"d","target":"group:web","command":"x","catch_up":"all",
            "catch_up_window":"2h","offline":"drop","expires_after":"1m","params":{"b":1,"a":"x"},
            "rule":{"every":"1s","count":3}}"#,
    );
    assert_eq!(in_toml.unwrap()[0].spec, in_json.unwrap()[0].spec);
}

#[test]
fn a_rule_is_a_list_in_both_formats() {
    let in_toml = toml(
        r#"
name = "a"
target = "all"
command = "x"
[[rule]]
cron = "0 9 * * mon-fri"
time_zone = "Europe/Berlin"
exclude = { dates = [2026-12-24, "2026-12-26..2027-01-06"], weekdays = ["sat-sun"] }
within = [{ from = 08:00:00, to = "18:00" }]
[[rule]]
every = "PT1H"
end = 2027-01-01T00:00:00Z
"#,
    );
    let in_json = json(
        r#"{"name":"a","target":"all","command":"x","rule":[
            {"cron":"0 9 * * mon-fri","time_zone":"Europe/Berlin",
             "exclude":{"dates":["2026-12-24","2026-12-26..2027-01-06"],"weekdays":["sat","sun"]},
             "within":[{"from":"08:00","to":"18:00"}]},
            {"every":"1h","end":"2027-01-01T00:00:00Z"}]}"#,
    );
    assert_eq!(in_toml.unwrap()[0].spec, in_json.unwrap()[0].spec);
}

#[test]
fn the_rules_of_the_readme_are_read() {
    let readme = include_str!("../../../README.md");
    let section = readme.split("\n### Rules\n").nth(1).unwrap().split("\n### ").next().unwrap();
    let examples: Vec<&str> =
        section.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let text = format!("name='a'\ntarget='all'\ncommand='x'\n{example}");
        assert!(toml(&text).is_ok(), "{example}: {}", toml(&text).unwrap_err());
    }
}

#[test]
fn the_beginning_of_a_recurrence_rule_is_a_local_time_or_a_day() {
    let job = |rule: &str| {
        toml(&format!("name='a'\ntarget='all'\ncommand='x'\n{rule}")).map(|jobs| {
            let spec = jobs[0].spec.clone();
            spec.rule
        })
    };
    let daily = |from| Rule::rrule("FREQ=DAILY", from, "UTC").unwrap();
    for (written, from) in [
        ("2026-01-13T09:00:00", "2026-01-13T09:00"),
        ("2026-01-13 09:00:07", "2026-01-13T09:00:07"),
        ("2026-01-13", "2026-01-13"),
        ("'2026-01-13T09:00'", "2026-01-13T09:00"),
    ] {
        let rule = job(&format!("[rule]\nfrom={written}\nrrule='FREQ=DAILY'")).unwrap();
        assert_eq!(rule, daily(from), "{written}");
        let list = format!("rule.any=[{{rrule='FREQ=DAILY', from={written}}}, {{every='1h'}}]");
        assert!(job(&list).is_ok(), "{list}");
    }
    for bad in [
        "[rule]\nfrom=09:00:00\nrrule='FREQ=DAILY'",
        "[rule]\nfrom=2026-01-13T09:00:00Z\nrrule='FREQ=DAILY'",
        "[rule]\nfrom=2026-01-13T09:00:00\nevery='1h'",
        "[rule]\nfrom=2026-01-13\nend=2026-01-14T00:00:00\nrrule='FREQ=DAILY'",
    ] {
        assert!(job(bad).is_err(), "{bad}");
    }
}
