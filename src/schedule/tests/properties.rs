//! What holds of every rule.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Datelike, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Timelike};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;
use crate::schedule::{MAX_PERIOD, When};

const ZONES: [Tz; 5] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Australia__Lord_Howe,
    Tz::Africa__Casablanca,
];

/// Days of 2026 at which one of the zones changes its clock, and one at which none does.
const DAYS: [&str; 9] = [
    "2026-03-29T00:00Z",
    "2026-10-25T00:00Z",
    "2026-03-08T06:00Z",
    "2026-11-01T05:00Z",
    "2026-10-03T14:00Z",
    "2026-04-04T13:00Z",
    "2026-02-15T01:00Z",
    "2026-03-22T01:00Z",
    "2026-06-10T00:00Z",
];

/// Minutes and hours of an expression; `None` is `*`.
#[derive(Debug, Clone)]
struct Simple {
    minutes: Option<BTreeSet<u32>>,
    hours: Option<BTreeSet<u32>>,
}

impl Simple {
    fn expression(&self) -> String {
        let field = |values: &Option<BTreeSet<u32>>| match values {
            None => "*".to_owned(),
            Some(values) => values.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        };
        format!("{} {} * * *", field(&self.minutes), field(&self.hours))
    }

    fn matches(&self, wall: NaiveDateTime) -> bool {
        self.minutes.as_ref().is_none_or(|minutes| minutes.contains(&wall.minute()))
            && self.hours.as_ref().is_none_or(|hours| hours.contains(&wall.hour()))
    }

    /// The occurrences in a window, found by looking at every minute.
    fn occurrences(&self, zone: Tz, from: Timestamp, minutes: i64) -> BTreeSet<Timestamp> {
        let start = from.to_chrono().unwrap();
        let all = (0..minutes).map(|minute| start + TimeDelta::minutes(minute));
        if self.minutes.is_none() || self.hours.is_none() {
            let local = |at: &DateTime<_>| at.with_timezone(&zone).naive_local();
            return all.filter(|at| self.matches(local(at))).map(Timestamp::from).collect();
        }
        // A day more on both sides: wall clocks differ from UTC by so much.
        let walls = (-1_440..minutes + 1_440)
            .map(|minute| start.naive_utc() + TimeDelta::minutes(minute))
            .filter(|wall| self.matches(*wall));
        let end = start + TimeDelta::minutes(minutes);
        walls
            .map(|wall| first_instant(zone, wall))
            .filter(|at| (start..end).contains(at))
            .map(Timestamp::from)
            .collect()
    }
}

/// The first instant at which a wall clock shows this time or, in a gap, a later one.
fn first_instant(zone: Tz, mut wall: NaiveDateTime) -> DateTime<Tz> {
    loop {
        match zone.from_local_datetime(&wall) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return at,
            LocalResult::None => wall += TimeDelta::minutes(1),
        }
    }
}

fn values(max: u32) -> impl Strategy<Value = Option<BTreeSet<u32>>> {
    prop_oneof![Just(None), proptest::collection::btree_set(0..=max, 1..4).prop_map(Some),]
}

fn simple() -> impl Strategy<Value = Simple> {
    // The hours around the changes, more often than the others.
    (values(59), prop_oneof![values(3), values(23)])
        .prop_map(|(minutes, hours)| Simple { minutes, hours })
}

proptest! {
    #[test]
    fn occurrences_are_those_found_by_looking_at_every_minute(
        simple in simple(), zone in proptest::sample::select(&ZONES), day in proptest::sample::select(&DAYS),
    ) {
        let from = at(day).minus(Duration::from_secs(12 * 3_600));
        let expected = simple.occurrences(zone, from, 36 * 60);
        let cron = Cron::new(&simple.expression(), zone.name()).unwrap();
        let end = from.plus(Duration::from_secs(36 * 3_600));
        let mut found = BTreeSet::new();
        let mut after = from.minus(Duration::from_millis(1));
        while let Some(next) = cron.next_after(after).filter(|next| *next < end) {
            prop_assert!(next > after);
            found.insert(next);
            after = next;
        }
        prop_assert_eq!(found, expected, "{} in {}", simple.expression(), zone);
    }

    #[test]
    fn the_next_occurrence_does_not_depend_on_where_one_asks(
        simple in simple(), zone in proptest::sample::select(&ZONES), day in proptest::sample::select(&DAYS),
        offset in 0_u64..36 * 3_600_000, fraction in 0.0..1.0_f64,
    ) {
        let cron = Cron::new(&simple.expression(), zone.name()).unwrap();
        let first = cron.next_after(at(day).plus(Duration::from_millis(offset))).unwrap();
        let second = cron.next_after(first).unwrap();
        prop_assert!(second > first);
        let between = first.plus(second.since(first).mul_f64(fraction));
        let between = between.min(second.minus(Duration::from_millis(1)));
        prop_assert_eq!(cron.next_after(between), Some(second));
    }

    #[test]
    fn every_keeps_its_phase(
        period in 100_u64..10_000_000_000, from in 0_i64..4_000_000_000_000, after in any::<i64>(),
    ) {
        let when = When::Every {
            period: Duration::from_millis(period),
            from: Some(Timestamp::from_millis(from)),
        };
        let after_at = Timestamp::from_millis(after);
        let next = Rule::from(when).next_after(after_at, Timestamp::MIN);
        if let Some(next) = next {
            let period = i128::from(period);
            let (next, after, from) =
                (i128::from(next.millis()), i128::from(after), i128::from(from));
            prop_assert!(next > after);
            prop_assert_eq!((next - from) % period, 0);
            prop_assert!(next == from || next - after <= period, "none is left out");
        } else {
            prop_assert!(after > i64::MAX - i64::try_from(period).unwrap(), "the end of time");
        }
    }

    #[test]
    fn no_moment_is_too_far(
        rule in rules(), after in extreme(), anchor in extreme(), start in proptest::option::of(extreme()),
        end in proptest::option::of(extreme()),
    ) {
        let rule = Rule { start, end, ..rule };
        if let Some(next) = rule.next_after(after, anchor) {
            prop_assert!(next > after);
            prop_assert!(start.is_none_or(|start| start <= next || start == Timestamp::MIN));
            prop_assert!(end.is_none_or(|end| next <= end));
            // What was found stays found from every moment before it.
            let near = next.minus(Duration::from_millis(1)).max(after);
            prop_assert_eq!(rule.next_after(near, anchor), Some(next));
        }
    }

    #[test]
    fn any_text_is_an_expression_or_an_error(text in "[0-9*/,LW#@?+a-z -]{0,24}|\\PC{0,40}") {
        if let Ok(cron) = Cron::new(&text, "Europe/Berlin") {
            let next = cron.next_after(at("2026-11-22T00:00Z")).unwrap();
            prop_assert!(next.to_chrono().unwrap().year() >= 2026);
        }
    }
}

fn extreme() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        any::<i64>(),
        Just(i64::MIN),
        Just(i64::MAX),
        -10_i64..10,
        1_700_000_000_000_i64..1_900_000_000_000,
        95_617_000_000_000_i64..95_618_000_000_000,
        8_210_266_000_000_000_i64..8_210_267_000_000_000,
    ]
    .prop_map(Timestamp::from_millis)
}

fn rules() -> impl Strategy<Value = Rule> {
    let cron = |expression, zone| Rule::cron(expression, zone).unwrap();
    prop_oneof![
        Just(Rule::now()),
        extreme().prop_map(Rule::at),
        Just(Rule::every(Duration::from_millis(100)).unwrap()),
        Just(Rule::every(MAX_PERIOD).unwrap()),
        Just(cron("*/7 * * * * *", "America/New_York")),
        Just(cron("30 2 * * *", "Europe/Berlin")),
        Just(cron("0 0 29 2 *", "Pacific/Apia")),
    ]
}
