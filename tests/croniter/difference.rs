//! The known differences: each class predicts what the two say of a case, and holds only if both
//! say exactly that.

use chrono::{Datelike, Months, TimeZone, Utc};
use chrono_tz::Tz;

use super::{Case, Said, ours};

/// A class by its name in the documentation, and whether it predicts a case.
pub(super) type Class = (&'static str, fn(&Case) -> bool);

pub(super) const CLASSES: [Class; 8] = [
    ("downward range", downward_range),
    ("number with a step", number_with_a_step),
    ("range of one", range_of_one),
    ("nth weekday and day", nth_weekday_and_day),
    ("7 beside seconds", seven_beside_seconds),
    ("every weekday", every_weekday),
    ("short month", short_month),
    ("clock change", clock_change),
];

fn refused(case: &Case, why: &str) -> bool {
    matches!(&case.ours, Said::Refused(reason) if reason.contains(why))
}

fn downward_range(case: &Case) -> bool {
    refused(case, "range out of bounds or downwards")
}

fn number_with_a_step(case: &Case) -> bool {
    refused(case, "single number steps")
}

/// The lowest and highest value of each field, from the last; croniter's weekdays end with 6.
const BOUNDS: [(u32, u32); 6] = [(0, 6), (1, 12), (1, 31), (0, 23), (0, 59), (0, 59)];

fn range_of_one(case: &Case) -> bool {
    let mut fields: Vec<String> = case.fields().into_iter().map(str::to_owned).collect();
    let mut found = false;
    for (field, (low, high)) in fields.iter_mut().rev().zip(BOUNDS) {
        let items = field.split(',').map(|item| match item.split_once('-') {
            Some((first, last)) if first == last => {
                found = true;
                format!("{low}-{high}")
            }
            _ => item.to_owned(),
        });
        let items: Vec<String> = items.collect();
        *field = items.join(",");
    }
    let wide = Case {
        ours: ours(&fields.join(" "), &case.zone, case.start, 5),
        expression: fields.join(" "),
        zone: case.zone.clone(),
        start: case.start,
        theirs: case.theirs.clone(),
    };
    // What croniter takes it for may fall under another class.
    found && (wide.ours == wide.theirs || CLASSES.iter().any(|(_, class)| class(&wide)))
}

/// The days of a day of month field, without those that January lacks.
fn days(field: &str) -> Vec<i64> {
    match ours(&format!("0 0 {field} 1 *"), "UTC", -1, 31) {
        Said::Fires(times) => {
            let first = times.into_iter().filter(|at| *at < 31 * 86_400);
            first.map(|at| at / 86_400 + 1).collect()
        }
        _ => Vec::new(),
    }
}

fn nth_weekday_and_day(case: &Case) -> bool {
    let (day, weekday) = case.days();
    let Some((_, nth)) = weekday.split_once('#').filter(|_| day != "*") else { return false };
    let week = 7 * (nth.parse::<i64>().unwrap() - 1);
    let meet = days(day).iter().any(|day| (week + 1..=week + 7).contains(day) && *day < 29);
    case.ours_with(2, "*") == case.theirs || (!meet && case.theirs == Said::Never)
}

fn seven_beside_seconds(case: &Case) -> bool {
    let (_, weekday) = case.days();
    let seven =
        weekday.split(',').any(|item| item.split('/').next().is_some_and(|i| i.contains('7')));
    case.fields().len() == 6 && seven && case.theirs == Said::Refused(String::new())
}

fn every_weekday(case: &Case) -> bool {
    let (day, weekday) = case.days();
    // A weekday of each kind, in a week that is one: then the field leaves none out.
    let week = ours(&format!("0 0 * * {weekday}"), "UTC", 0, 7);
    let all = Said::Fires((1..=7).map(|day| day * 86_400).collect());
    weekday != "*" && day.contains('*') && week == all && case.ours_with(0, "*") == case.theirs
}

fn short_month(case: &Case) -> bool {
    let (day, _) = case.days();
    if day == "*" || days(day).iter().all(|day| *day < 29) {
        return false;
    }
    match (&case.theirs, &case.ours) {
        // Days that no month has, beside weekdays: as if the days were not there.
        (Said::Never, Said::Fires(_)) => case.ours == case.ours_with(2, "*"),
        (Said::Fires(theirs), Said::Fires(_)) => {
            let Some(last) = theirs.last() else { return false };
            // Croniter may have left out days of a firing each second.
            let longer = [20, 2_000, 400_000].into_iter().map(|how_many| {
                match ours(&case.expression, &case.zone, case.start, how_many) {
                    Said::Fires(times) => times,
                    _ => Vec::new(),
                }
            });
            let Some(ours) = longer.into_iter().find(|times| times.last() >= Some(last)) else {
                return false;
            };
            let left_out = |at: &&i64| *at <= last && !theirs.contains(at);
            theirs.iter().all(|at| ours.contains(at))
                && ours.iter().filter(left_out).all(|at| follows_a_short_month(*at))
        }
        _ => false,
    }
}

fn follows_a_short_month(at: i64) -> bool {
    let at = Utc.timestamp_opt(at, 0).unwrap().date_naive();
    let month = at.with_day(1).unwrap() - Months::new(1);
    month.num_days_in_month() < 31
}

fn clock_change(case: &Case) -> bool {
    let zone: Tz = case.zone.parse().unwrap();
    let (Said::Fires(theirs), Said::Fires(ours_too)) = (&case.theirs, &case.ours) else {
        return false;
    };
    let wall = |at: i64| zone.timestamp_opt(at, 0).unwrap().naive_local().and_utc().timestamp();
    // As if the wall clock were UTC, which never changes.
    let shown = |at: &i64| {
        let wall = wall(*at);
        ours(&case.expression, "UTC", wall - 1, 1) == Said::Fires(vec![wall])
    };
    let mut wrong = theirs.iter().filter(|at| !shown(at));
    let last = theirs.last().copied().unwrap_or_default();
    let left_out = |at: &&i64| **at < last && !theirs.contains(at);
    let mut left_out = ours_too.iter().filter(left_out);
    let mut all = [&[case.start], &theirs[..], &ours_too[..]].concat();
    all.sort_unstable();
    all.dedup();
    // The change lies before this firing and after one of the two before it.
    let changed = |at: &i64| {
        let before = all.partition_point(|other| other < at);
        all[before.saturating_sub(2)..before]
            .iter()
            .any(|other| wall(*other) - other != wall(*at) - at)
    };
    let near = |at: &i64| theirs.iter().any(|theirs| (theirs - at).abs() <= 3_600);
    ours_too.iter().all(shown) && wrong.all(changed) && left_out.all(|at| changed(at) && near(at))
}
