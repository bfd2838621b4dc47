//! Rules as they are written, and their limits.

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize, serde::Serialize)]
struct Holder {
    rule: Rule,
}

const RULES: [&str; 16] = [
    r#""now""#,
    r#"{"now":true,"end":"2027-01-01T00:00:00.000Z"}"#,
    r#"{"at":"2026-12-01T02:00:00.000Z"}"#,
    r#"{"every":"100ms"}"#,
    r#"{"every":"1h 30m","from":"2026-12-01T00:00:00.000Z","count":10}"#,
    r#"{"cron":"30 6 * * mon-fri","time_zone":"Europe/Berlin"}"#,
    r#"{"cron":"@hourly","time_zone":"UTC","start":"2026-12-01T00:00:00.000Z"}"#,
    r#"{"every":"10s","start":"2026-01-01T00:00:00.000Z","end":"2026-01-01T00:00:20.000Z"}"#,
    r#"["now",{"every":"1h"},{"cron":"0 6 * * *","time_zone":"UTC"}]"#,
    r#"{"any":[{"every":"1h"},{"at":"2026-12-01T02:00:00.000Z"}],"count":5}"#,
    r#"{"every":"5m","time_zone":"UTC","exclude":{"dates":["2026-12-24","2026-12-26..2027-01-06"]}}"#,
    r#"{"cron":"@hourly","time_zone":"Europe/Berlin","exclude":{"weekdays":["mon-wed","sat","sun"]},"within":[{"weekdays":["thu","fri"],"from":"08:00","to":"18:00"},{"from":"22:30:15"},{"to":"02:00"}]}"#,
    r#"{"any":[{"every":"1h"},{"every":"7m","time_zone":"Asia/Tokyo","within":[{"from":"22:00","to":"06:00"}]}],"time_zone":"UTC","exclude":{"weekdays":["sun"]}}"#,
    r#"{"from":"2026-01-13T09:00","rrule":"FREQ=MONTHLY;BYDAY=2TU","time_zone":"Europe/Stockholm"}"#,
    r#"{"from":"2026-01-13T00:00:07","rrule":"FREQ=YEARLY;INTERVAL=2;BYMONTH=1,12;BYMONTHDAY=-1,5;BYDAY=MO,-1FR,2TU;BYHOUR=0,23;BYMINUTE=0,59;BYSECOND=1;BYSETPOS=-1,1;WKST=SU;UNTIL=20301224T235959Z","time_zone":"UTC","exclude":{"dates":["2026-12-24"]}}"#,
    r#"[{"every":"1h"},{"from":"1999-01-01T00:00","rrule":"FREQ=YEARLY;BYWEEKNO=-1,20;UNTIL=20990101","time_zone":"UTC"}]"#,
];

#[test]
fn a_rule_is_read_back_as_it_was_written() {
    for text in RULES {
        let rule: Rule = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        let holder = Holder { rule };
        let as_toml = toml::to_string(&holder).unwrap();
        assert_eq!(toml::from_str::<Holder>(&as_toml).unwrap(), holder, "{as_toml}");
    }
}

#[test]
fn a_bad_rule_is_told_with_its_field_and_value() {
    for (text, field, problem) in [
        (r#""soon""#, ".", "invalid value: string \"soon\", expected \"now\", a table with"),
        ("17", ".", "invalid type: integer `17`"),
        ("{}", ".", "rule has none of at, every, cron, rrule and any"),
        (r#"{"now": false}"#, ".", "rule has none of at, every, cron, rrule and any"),
        (r#"{"every": "1s", "cron": "@daily"}"#, ".", "rule has every and cron; write exactly one"),
        (r#"{"evry": "1s"}"#, "evry", "unknown field `evry`"),
        (r#"{"every": "99ms"}"#, "every", "every 99ms is not valid"),
        (r#"{"every": "200years"}"#, "every", "duration \"200years\" is not valid"),
        (r#"{"every": "5 parsecs"}"#, "every", "duration \"5 parsecs\" is not valid"),
        (r#"{"every": 5}"#, "every", "invalid type: integer `5`"),
        (r#"{"at": "tomorrow"}"#, "at", "time \"tomorrow\" is not valid"),
        (r#"{"cron": "61 * * * *"}"#, "cron", "cron expression \"61 * * * *\" is not valid"),
        (r#"{"cron": "@daily", "time_zone": "Mars"}"#, "time_zone", "time zone \"Mars\""),
        (r#"{"every": "1s", "count": 0}"#, "count", "count 0 is not valid"),
        (r#"{"every": "1s", "time_zone": "UTC"}"#, ".", "rule has time_zone without cron"),
        (r#"{"cron": "@daily", "from": "2026-12-01T00:00:00Z"}"#, ".", "from without every"),
        (
            r#"{"every": "1s", "start": "2027-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}"#,
            ".",
            "start 2027-01-01T00:00:00.000Z is after end 2026-01-01T00:00:00.000Z",
        ),
        (
            r#"{"at": "2027-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}"#,
            ".",
            "at 2027-01-01T00:00:00.000Z never fires",
        ),
        (r#"[{"every": "1s"}, {"cron": "x"}]"#, "[1].cron", "cron expression \"x\" is not valid"),
        (r#"{"any": [{"evry": "1s"}]}"#, "any[0].evry", "unknown field `evry`"),
        ("[]", ".", "rule is a list of 0 rules; write 1 to 32"),
        (r#"[{"every": "1s"}, [{"every": "2s"}]]"#, "[1]", "a list of rules stands in a list"),
        (r#"[{"any": [{"every": "2s"}]}]"#, "[0]", "a list of rules stands in a list"),
        (
            r#"[{"every": "1s", "count": 3}]"#,
            "[0]",
            "count 3 stands in a list of rules, which are counted together; write it beside the \
             list: { any = [ … ], count = 3 }",
        ),
        (r#"{"rrule": "FREQ=DAILY"}"#, ".", "rrule has no from; write the local time"),
        (
            r#"{"rrule": "FREQ=DAILY", "from": "2026-01-13T09:00:00Z"}"#,
            ".",
            "from \"2026-01-13T09:00:00.000Z\" is not valid beside rrule; write a local time",
        ),
        (
            r#"{"every": "1h", "from": "2026-01-13T09:00"}"#,
            ".",
            "from 2026-01-13T09:00:00 has no offset; every needs a moment, such as \
             2026-01-13T09:00:00Z",
        ),
        (r#"{"rrule": "FREQ=DAILY", "from": "soon"}"#, "from", "time \"soon\" is not valid"),
        (r#"{"rrule": "FREQ=DAILY", "from": "1899-01-01"}"#, "from", "of the years 1900 to 4999"),
        (r#"{"rrule": "FREQ=DAYLY", "from": "2026-01-13"}"#, "rrule", "FREQ=DAYLY is not valid"),
        (
            r#"{"rrule": "FREQ=DAILY", "from": "2026-01-13", "cron": "@daily"}"#,
            ".",
            "rule has cron and rrule",
        ),
        (
            r#"{"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "from": "2026-01-13"}"#,
            ".",
            "it never fires: no day has all that its parts ask for",
        ),
        (
            r#"{"rrule": "FREQ=DAILY", "from": "2026-01-13", "end": "2026-01-01T00:00:00Z"}"#,
            ".",
            "rule never fires: it has no occurrence between start and end",
        ),
        (r#"{"any": {"every": "1s"}}"#, "any", "invalid type: map, expected a list of rules"),
    ] {
        let mut source = serde_json::Deserializer::from_str(text);
        let error = serde_path_to_error::deserialize::<_, Rule>(&mut source).unwrap_err();
        assert_eq!(error.path().to_string(), field, "{text}: {error}");
        assert!(error.inner().to_string().contains(problem), "{text}: {error}");
    }
}

#[test]
fn periods_that_cannot_be_written_are_refused() {
    use std::time::Duration;
    assert!(Rule::every(Duration::from_micros(100_500)).is_err());
    assert!(Rule::every(crate::schedule::MAX_PERIOD).is_ok());
    assert!(Rule::every(crate::schedule::MAX_PERIOD + Duration::from_millis(1)).is_err());
}

#[test]
fn start_and_end_are_part_of_the_window() {
    let rule: Rule = serde_json::from_str(RULES[7]).unwrap();
    assert_eq!(
        first(&rule, 9),
        [at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:10Z"), at("2026-01-01T00:00:20Z")]
    );
    let monthly =
        r#"{"cron":"@monthly","start":"2026-03-01T00:00:00Z","end":"2026-04-30T00:00:00Z"}"#;
    let rule: Rule = serde_json::from_str(monthly).unwrap();
    assert_eq!(first(&rule, 9), [at("2026-03-01T00:00Z"), at("2026-04-01T00:00Z")]);
}

#[test]
fn now_and_at_fire_once() {
    assert_eq!(first(&Rule::now(), 9), [at("2026-01-01T00:00Z")]);
    assert_eq!(first(&Rule::at(at("2026-02-01T00:00Z")), 9), [at("2026-02-01T00:00Z")]);
    assert_eq!(first(&Rule::at(at("2025-02-01T00:00Z")), 9), []);
}

#[test]
fn the_known_fields_are_those_of_the_table() {
    let error = serde_json::from_str::<Rule>(r#"{"?": 1}"#).unwrap_err().to_string();
    let listed: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    assert_eq!(listed, crate::schedule::RULE_FIELDS);
}

#[test]
fn a_list_has_at_most_32_rules() {
    let list = |length: usize| format!("[{}]", vec![r#"{"every": "1s"}"#; length].join(","));
    assert!(serde_json::from_str::<Rule>(&list(32)).is_ok());
    let error = serde_json::from_str::<Rule>(&list(33)).unwrap_err().to_string();
    assert!(error.contains("rule is a list of 33 rules"), "{error}");
    let rule = |count| Rule { count, ..Rule::every(std::time::Duration::from_secs(1)).unwrap() };
    assert!(Rule::any(vec![rule(None); 32]).is_ok());
    assert!(Rule::any(vec![rule(None); 33]).is_err());
    assert!(Rule::any(vec![rule(None), rule(Some(2))]).is_err());
    assert!(Rule::any(vec![]).is_err());
    let list = Rule::any(vec![rule(None)]).unwrap();
    assert!(Rule::any(vec![rule(None), list]).is_err());
}
