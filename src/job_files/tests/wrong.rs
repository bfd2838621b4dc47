//! What is said of files that are wrong.

use super::*;

#[test]
fn every_error_of_a_toml_file_is_told_with_its_place() {
    let text = r#"
[[job]]
name = "disk-report"
target = "grp:web"
command = "disk report"
catchup = "latest"
time_zone = "UTC"
expires_after = "1 parsec"
params = { ratio = nan }
[job.rule]
cron = "61 * * * *"
coutn = 3

[[job]]
target = "all"
command = "x"
offline = "wait"
[job.rule]
every = "1s"
start = 2026-12-01T02:00:00
end = 2026-12-01
"#;
    assert_errors(
        toml(text),
        &[
            "jobs/a.toml:4: job \"disk-report\": target: target \"grp:web\" is not valid \
             at 1: unknown word \"grp\"; write all, group:NAME, client:ID or label.KEY = VALUE",
            "jobs/a.toml:5: job \"disk-report\": command: command name \"disk report\" is not valid",
            "jobs/a.toml:6: job \"disk-report\": catchup: is not a known field; \
             did you mean \"catch_up\"?",
            "jobs/a.toml:7: job \"disk-report\": time_zone: is not a field of a job; \
             write it in rule, as rule.time_zone",
            "jobs/a.toml:8: job \"disk-report\": expires_after: duration \"1 parsec\" is not valid",
            "jobs/a.toml:9: job \"disk-report\": params.ratio: number nan has no JSON form",
            "jobs/a.toml:11: job \"disk-report\": rule.cron: cron expression \"61 * * * *\" \
             is not valid: minute \"61\"",
            "jobs/a.toml:12: job \"disk-report\": rule.coutn: is not a known field; \
             did you mean \"count\"?",
            "jobs/a.toml:14: name: is missing",
            "jobs/a.toml:17: offline: unknown variant `wait`, expected one of `queue`, `latest`, \
             `drop`",
            "jobs/a.toml:20: rule.start: time 2026-12-01T02:00:00 has no offset; add one, such as \
             2026-12-01T02:00:00Z",
            "jobs/a.toml:21: rule.end: time 2026-12-01 is not a moment",
        ],
    );
}

#[test]
fn every_error_of_a_json_file_is_told_with_its_place() {
    let text = r#"[
  {
    "name": "a",
    "target": 5, "target": "all",
    "command": "x",
    "rule": {
      "every": "1s",
      "count": 0
    }
  },
  17,
  {"name": "b", "target": "all", "command": "x",
   "rule": {"zone": "UTC"}}
]"#;
    assert_errors(
        json(text),
        &[
            "jobs/a.json:4: job \"a\": target: invalid type: integer `5`, expected a string",
            "jobs/a.json:4: job \"a\": target: is written twice",
            "jobs/a.json:8: job \"a\": rule.count: count 0 is not valid",
            "jobs/a.json:11: invalid type: integer `17`, expected an object",
            "jobs/a.json:13: job \"b\": rule.zone: is not a known field; did you mean",
        ],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_the_line() {
    assert_errors(
        toml("name = \"a\"\ntarget = \"all\nrule = 'now\n"),
        &["jobs/a.toml:2: invalid basic string", "jobs/a.toml:3: invalid literal string"],
    );
    assert_errors(toml("name = 'a'\nname = 'b'\n"), &["jobs/a.toml:2: duplicate key"]);
    assert_errors(json("{\"name\":\n \"a\",\n}"), &["jobs/a.json:3: trailing comma"]);
    assert_errors(json(""), &["jobs/a.json:1: EOF while parsing a value"]);
    assert_errors(
        json("{\"params\": 1e999}"),
        &[
            "jobs/a.json:1: name: is missing",
            "jobs/a.json:1: target: is missing",
            "jobs/a.json:1: command: is missing",
            "jobs/a.json:1: rule: is missing",
            "jobs/a.json:1: params: number out of range",
        ],
    );
    for empty in [toml("# nothing"), toml("job = []")] {
        assert_errors(empty, &["jobs/a.toml: defines no job"]);
    }
    for empty in [json("{}"), json("[]"), json("{\"job\": []}")] {
        assert_errors(empty, &["jobs/a.json: defines no job"]);
    }
}

#[test]
fn a_list_of_jobs_stands_alone() {
    assert_errors(toml("name = 'a'\n[job]\n"), &["jobs/a.toml:2: job: stands beside"]);
    assert_errors(toml("[job]\nname = 'a'\n"), &["jobs/a.toml:1: job: is not a list"]);
    assert_errors(toml("job = [5]"), &["jobs/a.toml:1: job: is not a table"]);
    assert_errors(json("{\"x\": 1,\n\"job\": []}"), &["jobs/a.json:2: job: stands beside"]);
    assert_errors(json("{\"job\": 5}"), &["jobs/a.json:1: invalid type: integer `5`"]);
}

#[test]
fn a_rule_is_told_as_a_whole_when_no_field_of_it_is_wrong() {
    let job = |rule: &str| toml(&format!("name='a'\ntarget='all'\ncommand='x'\nrule={rule}"));
    assert_errors(
        job("{}"),
        &["jobs/a.toml:4: job \"a\": rule: rule has none of at, every, cron, rrule and any"],
    );
    assert_errors(
        job("'soon'"),
        &["jobs/a.toml:4: job \"a\": rule: invalid value: string \"soon\""],
    );
    assert_errors(
        job("{every='1s', cron='@daily'}"),
        &["jobs/a.toml:4: job \"a\": rule: rule has every and cron"],
    );
}

#[test]
fn params_above_the_limit_are_told() {
    let params = "x".repeat(crate::MAX_PARAMS);
    let text = format!("name='a'\ntarget='all'\ncommand='x'\nrule='now'\nparams={{a='{params}'}}");
    assert_errors(
        toml(&text),
        &[
            "jobs/a.toml:5: job \"a\": params: params of command x have 49160 bytes; the most is 49152",
        ],
    );
}

#[test]
fn a_name_is_taken_once() {
    let job =
        |name: &str| format!("[[job]]\nname='{name}'\ntarget='all'\ncommand='x'\nrule='now'\n");
    let text = format!("{}{}{}", job("a"), job("b"), job("a"));
    assert_errors(
        toml(&text),
        &["jobs/a.toml:12: job \"a\": name: job name \"a\" is taken already, at jobs/a.toml:1"],
    );
}

#[test]
fn reading_ends_at_the_limits() {
    let many = format!("[{}]", vec!["{}"; 2_000].join(","));
    let errors = json(&many).unwrap_err();
    assert!(errors.more);
    assert_eq!(errors.errors.len(), MAX_ERRORS);
    assert!(errors.to_string().ends_with("there may be more errors"));

    let large = " ".repeat(usize::try_from(MAX_FILE).unwrap() + 1);
    assert_errors(json(&large), &["jobs/a.json: has more than 1048576 bytes"]);

    let job = Path::new("a.json");
    let mut reading = Reading { seen: MAX_JOBS - 1, ..Reading::default() };
    for name in ["last", "beyond"] {
        let text = format!(r#"{{"name":"{name}","target":"all","command":"x","rule":"now"}}"#);
        reading.text(&text, job, Format::Json);
    }
    assert!(reading.stopped);
    let errors = reading.finish().unwrap_err();
    assert_eq!(errors.errors[0].to_string(), "a.json: defines more than 100000 jobs in all");
}

#[test]
fn nesting_without_end_is_an_error() {
    let keys = vec!["a"; 70].join(".");
    let mut value = "1".to_owned();
    for _ in 0..70 {
        value = format!("{{{keys} = {value}}}");
    }
    let text = format!("params={value}");
    assert!(toml(&text).unwrap_err().to_string().contains("nested more than 64 levels deep"));
    let text = format!("params=1\nparams={value}");
    assert!(toml(&text).unwrap_err().to_string().contains("duplicate key"));
    let text = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    assert!(json(&text).is_err());
    assert!(toml(&format!("a = {text}")).is_err());
    let text = format!("{{\"params\": {text}}}");
    assert!(json(&text).unwrap_err().to_string().contains("params: recursion limit exceeded"));
}

#[test]
fn the_known_fields_are_those_of_a_job() {
    let error = serde_json::from_str::<JobSpec>(r#"{"?": 1}"#).unwrap_err().to_string();
    let listed: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    assert_eq!(listed, check::JOB_FIELDS);
}

#[test]
fn what_is_wrong_in_a_list_of_rules_is_told_with_its_place() {
    let text = r#"
name = "a"
target = "all"
command = "x"
[[rule]]
every = "1s"
[[rule]]
exclude = { weekdays = ["sat"] }
cron = "61 * * * *"
"#;
    assert_errors(toml(text), &["jobs/a.toml:9: job \"a\": rule[1].cron: cron expression \"61"]);
    let text = text.replace("61", "1").replace("sat", "saturday");
    let expected = "jobs/a.toml:8: job \"a\": rule[1].exclude.weekdays: weekday \"saturday\"";
    assert_errors(toml(&text), &[expected]);
    let text = "name='a'\ntarget='all'\ncommand='x'\n[[rule]]\nevry='1s'\n[[rule]]\ncorn='x'";
    assert_errors(
        toml(text),
        &[
            "jobs/a.toml:5: job \"a\": rule[0].evry: is not a known field; did you mean \"every\"",
            "jobs/a.toml:7: job \"a\": rule[1].corn: is not a known field; did you mean \"cron\"",
        ],
    );
    let text = r#"{"name": "a", "target": "all", "command": "x", "rule": [
        {"every": "1s"},
        {"every": "1s",
         "count": 2},
        {"every": "1s", "every": "2s"}]}"#;
    assert_errors(json(text), &["jobs/a.json:5: job \"a\": rule[2].every: is written twice"]);
    let text = text.replace(r#"1s", "every": "2s"#, "2s");
    assert_errors(json(&text), &["jobs/a.json:3: job \"a\": rule[1]: count 2 stands in a list"]);
    let text = "name='a'\ntarget='all'\ncommand='x'\n[rule]\nevery='1s'\n\
                within=[{from=2026-01-01}]";
    assert_errors(toml(text), &["jobs/a.toml:6: job \"a\": rule.within[0].from: time 2026-01-01"]);
}
