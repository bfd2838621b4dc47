//! Expressions of all fields, held against a walk that looks at every moment, in any time zone,
//! 1970 to 2100.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{
    DateTime, Datelike, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike,
};
use chrono_tz::{TZ_VARIANTS, Tz};
use proptest::prelude::*;

use super::*;

/// A field; `None` is `*`.
type Field = Option<BTreeSet<u32>>;

/// An expression by the values of its fields.
#[derive(Debug, Clone)]
struct Fields {
    /// `None`: five fields.
    seconds: Option<Field>,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

impl Fields {
    fn expression(&self) -> String {
        let text = |field: &Field| match field {
            None => "*".to_owned(),
            Some(values) => values.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        };
        let five = [&self.minutes, &self.hours, &self.days, &self.months, &self.weekdays];
        self.seconds.iter().chain(five).map(text).collect::<Vec<_>>().join(" ")
    }

    fn is_interval(&self) -> bool {
        self.minutes.is_none() || self.hours.is_none() || self.seconds == Some(None)
    }

    fn matches(&self, wall: NaiveDateTime) -> bool {
        let has = |field: &Field, value| field.as_ref().is_none_or(|set| set.contains(&value));
        let second = match &self.seconds {
            None => wall.second() == 0,
            Some(seconds) => has(seconds, wall.second()),
        };
        let by_date = has(&self.days, wall.day());
        let by_weekday = has(&self.weekdays, wall.weekday().num_days_from_sunday());
        let day = if self.days.is_some() && self.weekdays.is_some() {
            by_date || by_weekday
        } else {
            by_date && by_weekday
        };
        let time = has(&self.minutes, wall.minute()) && has(&self.hours, wall.hour());
        second && time && day && has(&self.months, wall.month())
    }

    /// The occurrences in a span. All offsets since 1970 are whole half minutes.
    fn occurrences(&self, zone: Tz, start: DateTime<Tz>, span: TimeDelta) -> BTreeSet<Timestamp> {
        let step = TimeDelta::seconds(if self.seconds.is_some() { 1 } else { 30 });
        let end = start + span;
        if self.is_interval() {
            let moments = std::iter::successors(Some(start), |at| Some(*at + step));
            let moments = moments.take_while(|at| *at < end);
            let matching = moments.filter(|at| self.matches(at.naive_local()));
            return matching.map(Timestamp::from).collect();
        }
        // Walls from so much before that one in a gap that ends within the span is among them.
        let margin = span.max(TimeDelta::hours(3));
        let last = end.naive_local().max(start.naive_local() + span) + margin;
        let first = start.naive_local() - margin;
        let walls = std::iter::successors(Some(first), |wall| Some(*wall + step));
        walls
            .take_while(|wall| *wall < last)
            .filter(|wall| self.matches(*wall))
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
            // Gaps end at whole half minutes.
            LocalResult::None => {
                wall += TimeDelta::seconds(30 - i64::from(wall.second() % 30));
            }
        }
    }
}

/// `*` as often as a set of values.
fn values(range: std::ops::RangeInclusive<u32>, most: usize) -> impl Strategy<Value = Field> {
    proptest::option::of(proptest::collection::btree_set(range, 1..most))
}

fn fields(seconds: impl Strategy<Value = Option<Field>>) -> impl Strategy<Value = Fields> {
    let hours = prop_oneof![values(0..=4, 4), values(0..=23, 8)];
    (seconds, values(0..=59, 6), hours, values(1..=31, 20), values(1..=12, 9), values(0..=6, 4))
        .prop_map(|(seconds, minutes, hours, days, months, weekdays)| Fields {
            seconds,
            minutes,
            hours,
            days,
            months,
            weekdays,
        })
}

/// A zone, and a moment in it: half of them just before its next clock change.
fn moments() -> impl Strategy<Value = DateTime<Tz>> {
    let zone = proptest::sample::select(TZ_VARIANTS.to_vec());
    (zone, 0_i64..4_102_000_000 / 1_800, any::<bool>()).prop_map(|(zone, half_hours, at_change)| {
        let at = zone.timestamp_opt(half_hours * 1_800, 0).unwrap();
        let changed = |later: &DateTime<Tz>| later.offset().fix() != at.offset().fix();
        let day = (1..400).map(|days| at + TimeDelta::days(days)).find(changed);
        let hour = day
            .filter(|_| at_change)
            .and_then(|day| (0..24).map(|hours| day - TimeDelta::hours(23 - hours)).find(changed));
        hour.map_or(at, |change| change - TimeDelta::hours(2))
    })
}

fn check(fields: &Fields, start: DateTime<Tz>, span: TimeDelta) -> Result<(), TestCaseError> {
    let zone = start.timezone();
    let expected = fields.occurrences(zone, start, span);
    let cron = match Cron::new(&fields.expression(), zone.name()) {
        Ok(cron) => cron,
        Err(error) => {
            prop_assert!(error.to_string().contains("it never fires"), "{}", error);
            prop_assert!(expected.is_empty(), "{}", fields.expression());
            return Ok(());
        }
    };
    let end = Timestamp::from(start + span);
    let mut after = Timestamp::from(start).minus(Duration::from_millis(1));
    let mut found = BTreeSet::new();
    while let Some(next) = cron.next_after(after).filter(|next| *next < end) {
        prop_assert!(next > after, "{} in {} after {}", fields.expression(), zone, after);
        found.insert(next);
        after = next;
    }
    prop_assert_eq!(found, expected, "{} in {}", fields.expression(), zone);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn five_fields_fire_when_a_walk_by_minutes_says_so(
        fields in fields(Just(None)), start in moments(),
    ) {
        check(&fields, start, TimeDelta::days(2))?;
    }

    #[test]
    fn six_fields_fire_when_a_walk_by_seconds_says_so(
        fields in fields(values(0..=59, 5).prop_map(Some)), start in moments(),
    ) {
        // The walk's margin is three hours; the few changes of a whole day are in the tables.
        let shift = (start + TimeDelta::hours(4)).offset().fix().local_minus_utc()
            - start.offset().fix().local_minus_utc();
        prop_assume!(shift.abs() <= 3 * 3_600);
        check(&fields, start, TimeDelta::hours(4))?;
    }
}
