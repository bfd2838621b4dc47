//! Days that are left out and windows of the day.

use std::time::Duration;

use chrono::{Datelike, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;
use crate::schedule::Weekdays;

fn rule(text: &str) -> Rule {
    serde_json::from_str(text).unwrap()
}

#[track_caller]
fn assert_first(text: &str, expected: &[&str]) {
    let expected: Vec<Timestamp> = expected.iter().map(|text| at(text)).collect();
    assert_eq!(first(&rule(text), expected.len()), expected, "{text}");
}

#[test]
fn occurrences_on_excluded_days_are_passed_over() {
    // 2026-01-01 is a Thursday.
    assert_first(
        r#"{"cron": "0 6 * * *", "exclude": {"weekdays": ["sat", "sun"], "dates": ["2026-01-05"]}}"#,
        &["2026-01-01T06:00Z", "2026-01-02T06:00Z", "2026-01-06T06:00Z"],
    );
    assert_first(
        r#"{"cron": "0 6 * * *", "exclude": {"dates": ["2026-01-01", "2026-01-02..2026-12-30"]}}"#,
        &["2026-12-31T06:00Z", "2027-01-01T06:00Z"],
    );
    // Of an `every`, the phase stays.
    assert_first(
        r#"{"every": "7h", "exclude": {"dates": ["2026-01-01"]}}"#,
        &["2026-01-02T04:00Z", "2026-01-02T11:00Z"],
    );
}

#[test]
fn a_window_has_its_beginning_and_not_its_end() {
    assert_first(
        r#"{"every": "30m", "within": [{"from": "08:00", "to": "09:00"}]}"#,
        &["2026-01-01T08:00Z", "2026-01-01T08:30Z", "2026-01-02T08:00Z"],
    );
    assert_first(
        r#"{"every": "1h", "within": [{"weekdays": ["sun"], "from": "22:00"}, {"to": "01:00"}]}"#,
        &[
            "2026-01-01T00:00Z",
            "2026-01-02T00:00Z",
            "2026-01-03T00:00Z",
            "2026-01-04T00:00Z",
            "2026-01-04T22:00Z",
            "2026-01-04T23:00Z",
            "2026-01-05T00:00Z",
        ],
    );
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    assert_first(
        r#"{"every": "2h", "within": [{"weekdays": ["fri"], "from": "22:00", "to": "04:00"}]}"#,
        &["2026-01-02T22:00Z", "2026-01-03T00:00Z", "2026-01-03T02:00Z", "2026-01-09T22:00Z"],
    );
    // An excluded day is left out of it.
    assert_first(
        r#"{"every": "2h", "within": [{"from": "22:00", "to": "04:00"}],
            "exclude": {"weekdays": ["sat"]}}"#,
        &[
            "2026-01-01T00:00Z",
            "2026-01-01T02:00Z",
            "2026-01-01T22:00Z",
            "2026-01-02T00:00Z",
            "2026-01-02T02:00Z",
            "2026-01-02T22:00Z",
            "2026-01-04T00:00Z",
        ],
    );
}

#[test]
fn the_local_wall_time_decides() {
    // Berlin is an hour ahead in winter: 08:00 to 10:00 there.
    assert_first(
        r#"{"every": "1h", "time_zone": "Europe/Berlin", "within": [{"from": "08:00", "to": "10:00"}]}"#,
        &["2026-01-01T07:00Z", "2026-01-01T08:00Z", "2026-01-02T07:00Z"],
    );
    // 29 March, 02:30 does not exist: it fires at 03:00 local time, which is outside.
    assert_first(
        r#"{"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "start": "2026-03-28T00:00:00Z",
            "within": [{"from": "02:00", "to": "03:00"}]}"#,
        &["2026-03-28T01:30Z", "2026-03-30T00:30Z"],
    );
    // 25 October, 02:00 to 03:00 occurs twice, and the window is open in both.
    assert_first(
        r#"{"every": "30m", "time_zone": "Europe/Berlin", "start": "2026-10-25T00:00:00Z",
            "within": [{"from": "02:00", "to": "02:30"}]}"#,
        &["2026-10-25T00:00Z", "2026-10-25T01:00Z", "2026-10-26T01:00Z"],
    );
    // Samoa had no 30 December 2011.
    assert_first(
        r#"{"every": "12h", "time_zone": "Pacific/Apia", "from": "2011-12-30T00:00:00Z",
            "exclude": {"dates": ["2011-12-29", "2011-12-30"]}}"#,
        &["2026-01-01T00:00Z"],
    );
    let apia = rule(
        r#"{"every": "5h", "time_zone": "Pacific/Apia", "from": "2011-12-29T12:00:00Z",
            "exclude": {"dates": ["2011-12-29", "2011-12-30"]}}"#,
    );
    // Local midnight, at which the 31st begins, is 10:00Z on the 30th.
    let next = apia.next_after(at("2011-12-29T11:00Z"), Timestamp::MIN);
    assert_eq!(next, Some(at("2011-12-30T13:00Z")));
}

#[test]
fn a_rule_that_its_filter_never_lets_fire_is_refused_with_the_reason() {
    for (text, problem) in [
        (
            r#"{"cron": "0 6 * * sat", "exclude": {"weekdays": ["sat"]}}"#,
            "rule never fires: exclude and within leave out every occurrence, 10000 times in a row",
        ),
        (
            r#"{"cron": "0 6 * * *", "end": "2026-06-01T00:00:00Z", "within": [{"from": "07:00"}]}"#,
            "rule never fires: exclude and within leave out every occurrence until its end",
        ),
        (
            r#"{"cron": "0 0 29 2 *", "start": "2026-03-01T00:00:00Z", "end": "2027-03-01T00:00:00Z"}"#,
            "rule never fires: it has no occurrence between start and end",
        ),
        (
            r#"{"at": "2026-12-24T23:30:00Z", "time_zone": "Europe/Berlin",
                "exclude": {"dates": ["2026-12-25"]}}"#,
            "rule never fires: exclude or within leave out at 2026-12-24T23:30:00.000Z, \
             Fri 2026-12-25 00:30:00",
        ),
        (
            r#"{"every": "1s", "exclude": {"weekdays": ["mon-sun"]}}"#,
            "exclude and within leave no weekday open",
        ),
        (
            r#"{"every": "1s", "within": [{"weekdays": ["sat"], "to": "06:00"}],
                "exclude": {"weekdays": ["sat"]}}"#,
            "exclude and within leave no weekday open",
        ),
        (
            r#"{"every": "1day", "from": "2026-01-01T12:00:00Z", "within": [{"to": "12:00"}]}"#,
            "rule never fires: exclude and within leave out every occurrence, 10000 times",
        ),
        (
            r#"{"any": [{"cron": "@daily"}, {"cron": "0 1 * * *"}], "within": [{"from": "02:00"}]}"#,
            "rule never fires",
        ),
        (
            r#"{"now": true, "within": [{"to": "12:00"}]}"#,
            "within without at, every, cron, rrule or any",
        ),
    ] {
        let error = serde_json::from_str::<Rule>(text).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
    let berlin = Rule::cron("@daily", "Europe/Berlin").unwrap();
    let weekend = serde_json::from_str(r#"{"weekdays": ["sat", "sun"]}"#).unwrap();
    let error = berlin.filtered("UTC", Some(weekend), vec![]).unwrap_err().to_string();
    assert!(error.contains("cron is in time zone Europe/Berlin"), "{error}");
}

#[test]
fn filters_over_filters_come_to_an_end() {
    // Each rule fires once in years, each time on a day that the list leaves out.
    let rare = r#"{"every": "25h", "from": "2000-01-01T00:30:00Z", "within": [{"to": "00:01"}],
        "exclude": {"weekdays": ["mon-sat"]}}"#;
    let never = format!(r#"{{"any": [{rare}, {rare}], "exclude": {{"weekdays": ["sun"]}}}}"#);
    let error = serde_json::from_str::<Rule>(&never).unwrap_err().to_string();
    assert!(error.contains("rule never fires"), "{error}");
    // Below a filter that is given up, another rule still fires.
    let both = format!(
        r#"{{"any": [{}, {{"cron": "0 9 * * *"}}], "exclude": {{"weekdays": ["sun"]}}}}"#,
        rare.replace("00:30:00Z", "00:00:00Z")
    );
    assert_first(
        &both,
        &["2026-01-01T09:00Z", "2026-01-02T09:00Z", "2026-01-03T09:00Z", "2026-01-05T09:00Z"],
    );
}

#[test]
fn bad_exclusions_and_windows_are_told_with_field_and_value() {
    for (part, field, problem) in [
        (r#""exclude": {}"#, "exclude", "exclude is empty"),
        (r#""exclude": {"days": []}"#, "exclude.days", "unknown field `days`"),
        (r#""exclude": {"dates": ["2026-02-30"]}"#, "exclude.dates[0]", "date \"2026-02-30\""),
        (r#""exclude": {"dates": ["26-2-3"]}"#, "exclude.dates[0]", "date \"26-2-3\""),
        (r#""exclude": {"dates": ["2026-02-03T00"]}"#, "exclude.dates[0]", "is not valid"),
        (
            r#""exclude": {"dates": ["2026-02-03", "2026-02-03..2026-02-02"]}"#,
            "exclude.dates[1]",
            "2026-02-03 is after 2026-02-02",
        ),
        (r#""exclude": {"weekdays": []}"#, "exclude.weekdays", "weekdays is empty"),
        (r#""exclude": {"weekdays": ["mo"]}"#, "exclude.weekdays", "weekday \"mo\" is not valid"),
        (r#""within": []"#, "within", "within is empty"),
        (r#""within": [{"from": "8"}]"#, "within[0].from", "time of day \"8\" is not valid"),
        (r#""within": [{}, {"to": "24:01"}]"#, "within[1].to", "time of day \"24:01\""),
        (r#""within": [{"to": "12:00:60"}]"#, "within[0].to", "time of day \"12:00:60\""),
        (r#""within": [{"from": "24:00"}]"#, "within[0]", "from 24:00 to 24:00 has no length"),
        (r#""within": [{"from": "09:00", "to": "09:00"}]"#, "within[0]", "has no length"),
    ] {
        let text = format!(r#"{{"every": "1s", {part}}}"#);
        let mut source = serde_json::Deserializer::from_str(&text);
        let error = serde_path_to_error::deserialize::<_, Rule>(&mut source).unwrap_err();
        assert_eq!(error.path().to_string(), field, "{text}: {error}");
        assert!(error.inner().to_string().contains(problem), "{text}: {error}");
    }
    let windows = vec![r#"{"to": "12:00"}"#; 33].join(",");
    let text = format!(r#"{{"every": "1s", "within": [{windows}]}}"#);
    let error = serde_json::from_str::<Rule>(&text).unwrap_err().to_string();
    assert!(error.contains("within has 33 windows; the most is 32"), "{error}");
    let dates = vec![r#""2026-01-01""#; 1_001].join(",");
    let text = format!(r#"{{"every": "1s", "exclude": {{"dates": [{dates}]}}}}"#);
    let error = serde_json::from_str::<Rule>(&text).unwrap_err().to_string();
    assert!(error.contains("exclude has 1001 dates; the most is 1000"), "{error}");
}

#[test]
fn weekdays_and_dates_have_one_written_form() {
    for (written, kept) in [
        (r#"["sun", "SAT"]"#, r#"["sat","sun"]"#),
        (r#"["mon", "wed", "tue"]"#, r#"["mon-wed"]"#),
        (r#"["sat-tue"]"#, r#"["mon","tue","sat","sun"]"#),
        (r#"["mon-sun"]"#, r#"["mon-sun"]"#),
    ] {
        let days: Weekdays = serde_json::from_str(written).unwrap();
        assert_eq!(serde_json::to_string(&days).unwrap(), kept);
    }
    let exclude = r#"{"dates":["2026-05-02..2026-05-04","2026-01-01","2026-05-01..2026-05-03"]}"#;
    let exclude: crate::schedule::Exclude = serde_json::from_str(exclude).unwrap();
    let kept = r#"{"dates":["2026-01-01","2026-05-01..2026-05-04"]}"#;
    assert_eq!(serde_json::to_string(&exclude).unwrap(), kept);
}

#[test]
fn a_short_period_jumps_over_what_is_closed() {
    // A hundred years of it are 3e10 occurrences: only a jump comes to an end.
    let text = r#"{"every": "100ms", "time_zone": "Europe/Berlin", "from": "2000-01-01T00:00:00Z",
        "exclude": {"dates": ["2000-01-01..2098-12-31"]},
        "within": [{"weekdays": ["mon"], "from": "23:59:59"}]}"#;
    let next = rule(text).next_after(at("2000-01-01T00:00Z"), Timestamp::MIN);
    assert_eq!(next, Some(at("2099-01-05T22:59:59Z")));
}

/// A filter as it is written, and the same by looking.
#[derive(Debug, Clone)]
struct Model {
    zone: Tz,
    /// Days after 1 January of the year, as ranges.
    dates: Vec<(u32, u32)>,
    weekdays: Vec<usize>,
    /// Weekdays, from and to in minutes.
    within: Vec<(Vec<usize>, u32, u32)>,
}

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Model {
    fn written(&self, year: i32) -> String {
        let first = chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        let names = |days: &[usize]| {
            let names: Vec<String> = days.iter().map(|day| format!("{:?}", NAMES[*day])).collect();
            names.join(",")
        };
        let date = |day: u32| first + TimeDelta::days(day.into());
        let dates: Vec<String> = self
            .dates
            .iter()
            .map(|(from, days)| format!("\"{}..{}\"", date(*from), date(from + days)))
            .collect();
        let time = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        let window = |(days, from, to): &(Vec<usize>, u32, u32)| {
            let (days, from, to) = (names(days), time(*from), time(*to));
            format!(r#"{{"weekdays": [{days}], "from": "{from}", "to": "{to}"}}"#)
        };
        let within: Vec<String> = self.within.iter().map(window).collect();
        let within = match within.len() {
            0 => String::new(),
            _ => format!(r#", "within": [{}]"#, within.join(",")),
        };
        format!(
            r#""time_zone": "{}", "exclude": {{"dates": [{}], "weekdays": [{}]}}{within}"#,
            self.zone.name(),
            dates.join(","),
            names(&self.weekdays)
        )
    }

    fn is_open(&self, year: i32, wall: NaiveDateTime) -> bool {
        let first = chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        let day = (wall.date() - first).num_days();
        let in_range =
            |(from, days): &(u32, u32)| (i64::from(*from)..=i64::from(from + days)).contains(&day);
        let weekday =
            |wall: NaiveDateTime| usize::try_from(wall.weekday().num_days_from_monday()).unwrap();
        let open = |(days, from, to): &(Vec<usize>, u32, u32)| {
            // Walks back to where the window would have begun.
            let minute = (wall - wall.date().and_time(chrono::NaiveTime::MIN)).num_minutes();
            let since = (minute - i64::from(*from)).rem_euclid(1_440);
            let length = (i64::from(*to) - i64::from(*from)).rem_euclid(1_440);
            since < length && days.contains(&weekday(wall - TimeDelta::minutes(since)))
        };
        !self.dates.iter().any(in_range)
            && !self.weekdays.contains(&weekday(wall))
            && (self.within.is_empty() || self.within.iter().any(open))
    }
}

fn models() -> impl Strategy<Value = Model> {
    let zones = [
        Tz::UTC,
        Tz::Europe__Stockholm,
        Tz::America__New_York,
        Tz::Australia__Lord_Howe,
        Tz::America__Sao_Paulo,
        Tz::Pacific__Apia,
        Tz::Africa__Casablanca,
    ];
    let days = |range| proptest::collection::vec(0..7_usize, range);
    let minute = || prop_oneof![0..240_u32, 0..1_440_u32];
    let window = (days(1..6), minute(), minute()).prop_filter("a length", |(_, a, b)| a != b);
    (
        proptest::sample::select(zones.to_vec()),
        proptest::collection::vec((0..365_u32, 0..40_u32), 0..6),
        days(1..3),
        proptest::collection::vec(window, 0..3),
    )
        .prop_map(|(zone, dates, weekdays, within)| Model { zone, dates, weekdays, within })
}

proptest! {
    #[test]
    fn a_filtered_rule_fires_when_a_walk_by_minutes_says_so(
        model in models(), year in prop_oneof![Just(2011), Just(2026), 1970..2100],
        day in 0_i64..340, period in 1_i64..3_000,
    ) {
        let start = chrono::Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap() + TimeDelta::days(day);
        let from = Timestamp::from(start);
        let text = format!(r#"{{"every": "{period}m", "from": "{from}", {}}}"#, model.written(year));
        let walk = (0..14 * 1_440 / period).map(|step| start + TimeDelta::minutes(step * period));
        let expected: Vec<Timestamp> = walk
            .filter(|at| model.is_open(year, at.with_timezone(&model.zone).naive_local()))
            .map(Timestamp::from)
            .collect();
        let rule = match serde_json::from_str::<Rule>(&text) {
            Ok(rule) => rule,
            // Refused for never firing: then the walk has found nothing as well.
            Err(error) => {
                prop_assert!(expected.is_empty(), "{}: {}", text, error);
                return Ok(());
            }
        };
        let last = Timestamp::from(start + TimeDelta::minutes((14 * 1_440 / period - 1) * period));
        let mut after = from.minus(Duration::from_millis(1));
        let next = || {
            after = rule.next_after(after, from).filter(|next| *next <= last)?;
            Some(after)
        };
        let found: Vec<Timestamp> = std::iter::from_fn(next).collect();
        prop_assert_eq!(found, expected, "{}", text);
    }
}
