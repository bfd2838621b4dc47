//! Recurrence rules: clock changes, errors, limits, and what holds of every rule.

use std::time::Duration;

use chrono::{LocalResult, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;
use crate::schedule::rrule::read_from;
use crate::schedule::rrule_text::Written;
use crate::schedule::{InvalidRRule, MAX_RRULE, RRule};

fn rule(rrule: &str, from: &str, zone: &str) -> RRule {
    RRule::new(rrule, from, zone).unwrap_or_else(|error| panic!("{error}"))
}

fn series(rule: &RRule, after: &str, how_many: usize) -> Vec<Timestamp> {
    let mut now = at(after);
    let next = || {
        now = rule.next_after(now)?;
        Some(now)
    };
    std::iter::from_fn(next).take(how_many).collect()
}

fn assert_next(rrule: &str, from: &str, zone: &str, after: &str, expected: &[&str]) {
    let found = series(&rule(rrule, from, zone), after, expected.len());
    let expected: Vec<Timestamp> = expected.iter().map(|text| at(text)).collect();
    assert_eq!(found, expected, "{rrule} from {from} in {zone}");
}

#[test]
fn a_time_in_a_gap_fires_after_it_and_one_that_occurs_twice_at_the_first() {
    let stockholm = "Europe/Stockholm";
    // 29 March 2026: 02:00 becomes 03:00. 25 October: 03:00 becomes 02:00.
    let spring = ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"];
    assert_next("FREQ=DAILY", "2026-01-01T02:30", stockholm, "2026-03-28T00:00Z", &spring);
    let autumn = ["2026-10-24T00:30Z", "2026-10-25T00:30Z", "2026-10-26T01:30Z"];
    assert_next("FREQ=DAILY", "2026-01-01T02:30", stockholm, "2026-10-24T00:00Z", &autumn);
    // Two times in one gap are one firing.
    let twice = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=2;BYMINUTE=0,30";
    let once = ["2026-03-29T01:00Z", "2026-04-05T00:00Z", "2026-04-05T00:30Z"];
    assert_next(twice, "2026-01-01", stockholm, "2026-03-23T00:00Z", &once);
    assert_next(twice, "2026-01-01", stockholm, "2026-10-25T00:30Z", &["2026-11-01T01:00Z"]);
    // 8 March 2026: 02:00 becomes 03:00. 1 November: 02:00 becomes 01:00.
    let new_york = "America/New_York";
    let second_sunday = ["2026-02-08T07:30Z", "2026-03-08T07:00Z", "2026-04-12T06:30Z"];
    let rrule = "FREQ=MONTHLY;BYDAY=2SU";
    assert_next(rrule, "2026-01-11T02:30", new_york, "2026-02-01T00:00Z", &second_sunday);
    let first = ["2026-11-01T05:30Z", "2026-12-06T06:30Z"];
    assert_next(
        "FREQ=MONTHLY;BYDAY=1SU",
        "2026-01-04T01:30",
        new_york,
        "2026-10-31T00:00Z",
        &first,
    );
    // By half an hour: 4 October 2026, 02:00 becomes 02:30; 5 April, 02:00 becomes 01:30.
    let lord_howe = "Australia/Lord_Howe";
    let gap = ["2026-10-02T15:45Z", "2026-10-03T15:30Z", "2026-10-04T15:15Z"];
    assert_next("FREQ=DAILY", "2026-01-01T02:15", lord_howe, "2026-10-02T00:00Z", &gap);
    let fold = ["2026-04-03T14:45Z", "2026-04-04T14:45Z", "2026-04-05T15:15Z"];
    assert_next("FREQ=DAILY", "2026-01-01T01:45", lord_howe, "2026-04-03T00:00Z", &fold);
}

#[test]
fn count_is_from_the_beginning_and_until_is_inclusive() {
    let counted = rule("FREQ=DAILY;COUNT=3", "2026-01-01T09:00", "Europe/Stockholm");
    assert_eq!(series(&counted, "2026-01-01T12:00Z", 9), series(&counted, "2026-01-01T08:00Z", 2));
    assert_eq!(counted.next_after(at("2026-01-03T08:00Z")), None);
    for (until, last) in [
        ("20260103T090000", "2026-01-03T08:00Z"),
        ("20260103T085959", "2026-01-02T08:00Z"),
        ("20260103T080000Z", "2026-01-03T08:00Z"),
        ("20260103T075959Z", "2026-01-02T08:00Z"),
        ("20260103", "2026-01-03T08:00Z"),
    ] {
        let rrule = format!("FREQ=DAILY;UNTIL={until}");
        let found =
            series(&rule(&rrule, "2026-01-01T09:00", "Europe/Stockholm"), "2025-01-01T00:00Z", 9);
        assert_eq!(found.last(), Some(&at(last)), "{rrule}");
    }
    // Occurrences before 1970 count, but do not fire.
    let old = rule("FREQ=YEARLY;COUNT=72", "1900-01-01", "UTC");
    let expected = [at("1970-01-01T00:00Z"), at("1971-01-01T00:00Z")];
    assert_eq!(series(&old, "1970-01-01T00:00Z", 9), expected[1..]);
    assert_eq!(old.next_after(Timestamp::MIN), Some(expected[0]));
}

#[test]
fn what_is_not_written_is_that_of_the_beginning() {
    for (rrule, from, expected) in [
        ("FREQ=MONTHLY", "2026-01-31T08:07:06", "2026-03-31T08:07:06Z"),
        ("FREQ=YEARLY", "2024-02-29T00:00", "2028-02-29T00:00Z"),
        ("FREQ=YEARLY;BYMONTH=5", "2026-05-17T00:00", "2027-05-17T00:00Z"),
        ("FREQ=YEARLY;BYWEEKNO=20", "2026-05-13T00:00", "2027-05-19T00:00Z"),
        ("FREQ=WEEKLY;BYMONTH=5", "2026-05-31T00:00", "2027-05-02T00:00Z"),
        ("FREQ=DAILY;BYHOUR=3", "2026-05-31T03:04", "2026-06-01T03:04Z"),
    ] {
        let rule = rule(rrule, from, "UTC");
        let first = read_from(from).unwrap().and_utc().into();
        assert_eq!(rule.next_after(Timestamp::MIN), Some(first), "{rrule}");
        assert_eq!(rule.next_after(first), Some(at(expected)), "{rrule}");
    }
}

#[test]
fn weekdays_with_and_without_a_number_are_either_of_them() {
    let days = rule("FREQ=MONTHLY;BYDAY=FR,1TU,-5MO", "2026-03-01", "UTC");
    let found: Vec<String> = series(&days, "2026-03-01T00:00Z", 6)
        .iter()
        .map(|at| at.to_string()[5..10].to_owned())
        .collect();
    assert_eq!(found, ["03-02", "03-03", "03-06", "03-13", "03-20", "03-27"]);
}

#[test]
fn an_error_names_the_part_and_its_value() {
    let long = format!("FREQ=DAILY;BYHOUR={}", "1,".repeat(MAX_RRULE / 2));
    for (rrule, problem) in [
        ("", "it is empty; write one such as FREQ"),
        ("RRULE:", "it is empty"),
        (&long, "bytes; the most is 1024"),
        ("INTERVAL=2", "FREQ is missing; write FREQ=DAILY"),
        ("FREQ=HOURLY", "FREQ=HOURLY is shorter than a day; write every or cron instead"),
        ("freq=minutely", "FREQ=minutely is shorter than a day"),
        ("FREQ=SECONDLY", "FREQ=SECONDLY is shorter than a day"),
        ("FREQ=FORTNIGHTLY", "FREQ=FORTNIGHTLY is not valid; write DAILY"),
        ("FREQ=DAILY;", "a part is empty: there is a ; too many"),
        ("FREQ=DAILY;BYHOUR", "part \"BYHOUR\" has no value"),
        ("FREQ=DAILY;BYHOUR=", "BYHOUR has no value"),
        ("FREQ=DAILY;BYHOUR=1,,2", "BYHOUR has \"\"; write numbers of 0 to 23"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR has \"24\"; write numbers of 0 to 23"),
        ("FREQ=DAILY;BYHOUR=+1", "BYHOUR has \"+1\""),
        ("FREQ=DAILY;BYSECOND=60", "BYSECOND has \"60\"; write numbers of 0 to 59"),
        ("FREQ=DAILY;BYMONTHDAY=0", "BYMONTHDAY has \"0\"; write numbers of 1 to 31 or -1 to -31"),
        ("FREQ=DAILY;BYMONTHDAY=999999999999", "BYMONTHDAY has \"999999999999\""),
        ("FREQ=DAILY;BYMONTH=13", "BYMONTH has \"13\"; write numbers of 1 to 12"),
        ("FREQ=DAILY;BYDAY=XX", "BYDAY has \"XX\"; write days such as MO, 2TU or -1FR"),
        ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY has \"0MO\""),
        ("FREQ=MONTHLY;BYDAY=2é", "BYDAY has \"2é\""),
        ("FREQ=MONTHLY;BYDAY=6MO", "BYDAY=6MO: a weekday with a number counts within a month"),
        ("FREQ=WEEKLY;BYDAY=2MO", "BYDAY=2MO: a weekday with a number needs FREQ=MONTHLY or"),
        ("FREQ=YEARLY;BYWEEKNO=2;BYDAY=2MO", "with a number does not go with BYWEEKNO"),
        ("FREQ=WEEKLY;BYMONTHDAY=2", "BYMONTHDAY does not go with FREQ=WEEKLY"),
        ("FREQ=MONTHLY;BYYEARDAY=2", "BYYEARDAY does not go with FREQ=MONTHLY"),
        ("FREQ=DAILY;BYWEEKNO=2", "BYWEEKNO does not go with FREQ=DAILY"),
        ("FREQ=DAILY;BYSETPOS=1", "BYSETPOS needs another BY part"),
        ("FREQ=DAILY;WKST=MON", "WKST=MON is not valid"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL=0 is not valid; write 1 to 36525"),
        ("FREQ=DAILY;INTERVAL=-1", "INTERVAL=-1 is not valid"),
        ("FREQ=DAILY;COUNT=0", "COUNT=0 is not valid"),
        ("FREQ=DAILY;COUNT=99999999999", "COUNT=99999999999 is not valid"),
        ("FREQ=DAILY;UNTIL=soon", "UNTIL=soon is not valid; write a day such as 20261224"),
        ("FREQ=DAILY;UNTIL=20260230", "UNTIL=20260230 is not valid"),
        ("FREQ=DAILY;UNTIL=20260203T000060", "UNTIL=20260203T000060 is not valid"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20270101", "UNTIL=20270101 and COUNT=2 do not go together"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ is written twice"),
        ("FREQ=DAILY;BYHOURS=2", "\"BYHOURS\" is not a known part; did you mean \"BYHOUR\"?"),
        ("FREQ=DAILY;X-PART=2", "\"X-PART\" is not a known part; known are FREQ, INTERVAL"),
        ("DTSTART:20260101T000000\nRRULE:FREQ=DAILY", "DTSTART is not a part of it; write it as"),
        ("RRULE:FREQ=DAILY\r\nEXDATE:20260101", "EXDATE is not a part of it; write exclude"),
        ("FREQ=DAILY;RDATE=20260101", "RDATE is not a part of it; write a list of rules"),
        ("FREQ=DAILY\nFREQ=DAILY", "it has several lines"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "it never fires: no day has all"),
        ("FREQ=DAILY;INTERVAL=7;BYDAY=TU", "it never fires: no day has all"),
        ("FREQ=MONTHLY;BYDAY=1MO;BYSETPOS=2", "it never fires: no day has all"),
        ("FREQ=DAILY;UNTIL=20260101T085959", "it never fires: UNTIL is before its first"),
    ] {
        let error = RRule::new(rrule, "2026-01-01T09:00", "UTC").unwrap_err();
        assert!(matches!(error, InvalidRRule::Rule { .. }), "{rrule}: {error}");
        assert!(error.to_string().contains(problem), "{rrule}: {error}");
    }
    let bad_from = RRule::new("FREQ=DAILY", "2026-01-01T09:00:60", "UTC").unwrap_err();
    assert!(bad_from.to_string().contains("from \"2026-01-01T09:00:60\" is not valid"));
    let past = RRule::new("FREQ=DAILY;COUNT=9", "1960-01-01", "UTC").unwrap_err();
    assert!(past.to_string().contains("its last occurrence is before 1970"), "{past}");
    assert!(RRule::new("FREQ=DAILY", "2026-01-01", "Mars").is_err());
}

#[test]
fn it_is_one_rule_among_others() {
    let list: Rule = serde_json::from_str(
        r#"{"any": [
            {"rrule": "FREQ=MONTHLY;BYDAY=-1FR", "from": "2026-01-01T09:00",
             "time_zone": "Europe/Stockholm", "exclude": {"dates": ["2026-02-27"]}},
            {"rrule": "rrule:freq=weekly;byday=mo", "from": "2026-01-01T09:00",
             "start": "2026-02-01T00:00:00Z", "end": "2026-02-10T00:00:00Z",
             "time_zone": "UTC", "within": [{"from": "08:00", "to": "12:00"}]}
        ], "count": 4}"#,
    )
    .unwrap();
    let expected = ["2026-01-30T08:00Z", "2026-02-02T09:00Z", "2026-02-09T09:00Z"];
    assert_eq!(first(&list, 3), expected.map(at));
    assert_eq!(first(&list, 4)[3], at("2026-03-27T08:00Z"));
    let other_zone = Rule::rrule("FREQ=DAILY", "2026-01-01", "UTC").unwrap().filtered(
        "Asia/Tokyo",
        serde_json::from_str(r#"{"weekdays": ["sun"]}"#).unwrap(),
        vec![],
    );
    let error = other_zone.unwrap_err().to_string();
    assert!(error.contains("rrule is in time zone UTC"), "{error}");
}

/// Rules at random, most of which can fire; those that the standard forbids are not among them.
fn rrules() -> impl Strategy<Value = String> {
    let list = |values: Vec<i32>| {
        proptest::collection::vec(proptest::sample::select(values), 1..4)
            .prop_map(|values| values.iter().map(i32::to_string).collect::<Vec<_>>().join(","))
    };
    let signed = |most: i32| (-most..=most).filter(|value| *value != 0).collect::<Vec<_>>();
    let maybe = |name: &'static str, share: f64, list: BoxedStrategy<String>| {
        let part = list.prop_map(move |list| format!(";{name}={list}"));
        proptest::option::weighted(share, part).prop_map(Option::unwrap_or_default)
    };
    let weekday = proptest::sample::select(vec!["MO", "TU", "WE", "TH", "FR", "SA", "SU"]);
    let nth = proptest::option::of(proptest::sample::select(signed(5)));
    let day = (nth, weekday.clone());
    let days = proptest::collection::vec(day, 1..4);
    let freq = proptest::sample::select(vec!["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]);
    let dates = (
        maybe("BYMONTH", 0.3, list((1..=12).collect()).boxed()),
        maybe("BYMONTHDAY", 0.3, list(signed(31)).boxed()),
        maybe("BYYEARDAY", 0.2, list(signed(366)).boxed()),
        maybe("BYWEEKNO", 0.2, list(signed(53)).boxed()),
        proptest::option::weighted(0.5, days),
    );
    let times = (
        maybe("BYHOUR", 0.4, list((0..=23).collect()).boxed()),
        maybe("BYMINUTE", 0.3, list((0..=59).collect()).boxed()),
        maybe("BYSETPOS", 0.3, list(signed(6)).boxed()),
        maybe("WKST", 0.3, weekday.prop_map(str::to_owned).boxed()),
        maybe("COUNT", 0.1, list((1..2_000).collect()).boxed()),
    );
    let interval = proptest::sample::select(vec![1, 1, 1, 2, 3, 4, 5, 7, 12, 13, 40, 100]);
    (freq, interval, dates, times).prop_map(|(freq, interval, dates, times)| {
        let (months, month_days, year_days, weeks, days) = dates;
        let (hours, minutes, positions, week_start, count) = times;
        let yearly = freq == "YEARLY";
        let weeks = if yearly { weeks } else { String::new() };
        let with_nth = weeks.is_empty() && (yearly || freq == "MONTHLY");
        let days = days.map_or_else(String::new, |days| {
            let days = days.into_iter().map(|(nth, weekday)| match nth {
                Some(nth) if with_nth => format!("{nth}{weekday}"),
                _ => weekday.to_owned(),
            });
            format!(";BYDAY={}", days.collect::<Vec<_>>().join(","))
        });
        let month_days = if freq == "WEEKLY" { String::new() } else { month_days };
        let year_days = if yearly { year_days } else { String::new() };
        let by = [months, month_days, year_days, weeks, days, hours, minutes].concat();
        let positions = if by.is_empty() { String::new() } else { positions };
        let count = count.split(',').next().unwrap_or_default();
        format!("FREQ={freq};INTERVAL={interval}{by}{positions}{week_start}{count}")
    })
}

/// The first instant at which a wall clock shows this time or, in a gap, a later one.
fn instant(zone: Tz, mut wall: NaiveDateTime) -> Timestamp {
    loop {
        match zone.from_local_datetime(&wall) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return at.into(),
            LocalResult::None => wall += TimeDelta::seconds(1),
        }
    }
}

/// Every time of every period from the first on, in order.
fn walk(written: &Written, from: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> {
    let parts = crate::schedule::rrule::derived(written.parts.clone(), from);
    let first = parts.period_of(from.date());
    let interval = usize::try_from(written.interval).unwrap();
    let end = parts.period_of("2130-01-01".parse().unwrap());
    let count = match written.limit {
        crate::schedule::rrule_text::Limit::Count(count) => count as usize,
        _ => usize::MAX,
    };
    (first..=end)
        .step_by(interval)
        .flat_map(move |period| {
            let times = parts.times_of(period).unwrap();
            (0..times.len()).map(|index| times.get(index).unwrap()).collect::<Vec<_>>()
        })
        .filter(move |wall| *wall >= from)
        .take(count)
}

const ZONES: [Tz; 5] = [
    Tz::UTC,
    Tz::Europe__Stockholm,
    Tz::America__New_York,
    Tz::Australia__Lord_Howe,
    Tz::Africa__Casablanca,
];

fn is_never(error: &InvalidRRule) -> bool {
    error.to_string().contains("it never fires")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn a_search_finds_what_a_walk_from_the_beginning_finds(
        rrule in rrules(),
        from in -2_000_000_000_i64..4_000_000_000,
        moments in proptest::collection::vec(0_i64..4_102_444_800_000, 4),
        zone in proptest::sample::select(ZONES.to_vec()),
    ) {
        let from = chrono::DateTime::from_timestamp(from, 0).unwrap().naive_utc();
        let written = Written::read(&rrule).unwrap();
        let rule = match RRule::from_parts(written.clone(), from, zone) {
            Ok(rule) => rule,
            Err(error) => {
                prop_assert!(is_never(&error), "{}", error);
                prop_assert_eq!(walk(&written, from).map(|wall| instant(zone, wall)).find(|at| at.millis() >= 0), None);
                return Ok(());
            }
        };
        for moment in moments.into_iter().map(Timestamp::from_millis) {
            let local = moment.to_chrono().unwrap().with_timezone(&zone).naive_local();
            let near = walk(&written, from).skip_while(|wall| *wall < local - TimeDelta::days(2));
            // The walk ends with the period of the first day of 2130, whatever its length.
            let walked = |at: &Timestamp| *at < super::at("2129-12-30T00:00Z");
            let expected = near.map(|wall| instant(zone, wall)).find(|at| *at > moment);
            let expected = expected.filter(walked);
            let found = rule.next_after(moment).filter(walked);
            prop_assert_eq!(found, expected, "{} from {} in {} after {}", rrule, from, zone, moment);
            if let Some(found) = found {
                prop_assert_eq!(rule.next_after(found.minus(Duration::from_millis(1))), Some(found));
            }
        }
    }

    #[test]
    fn what_is_read_is_written_back(rrule in rrules()) {
        let written = Written::read(&rrule).unwrap();
        let text = written.to_string();
        prop_assert_eq!(&Written::read(&text).unwrap(), &written, "{}", text);
        prop_assert_eq!(Written::read(&text.to_lowercase()).unwrap().to_string(), text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}", from in "[0-9T:-]{0,20}") {
        drop(RRule::new(&text, &from, "UTC"));
        drop(RRule::new(&text, "2026-01-01", "UTC"));
    }

    #[test]
    fn any_pieces_are_read_or_refused(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "FREQ=", "DAILY", "YEARLY", "MONTHLY", "WEEKLY", ";", ";", "=", ",", "-", "+", "1", "53", "366",
            "BYDAY=", "MO", "SU", "BYSETPOS=", "BYWEEKNO=", "BYYEARDAY=", "BYMONTHDAY=", "INTERVAL=",
            "36525", "COUNT=", "4294967295", "UNTIL=", "20261224", "T090000", "Z", "WKST=", "RRULE:", "é",
        ]), 0..14),
    ) {
        drop(RRule::new(&pieces.concat(), "4999-12-31T23:59:59", "Pacific/Apia"));
        drop(RRule::new(&format!("FREQ=YEARLY;{}", pieces.concat()), "1900-01-01", "Asia/Tokyo"));
    }
}
