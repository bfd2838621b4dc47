//! What dateutil, a calendar library of Python, says of the same recurrence rules.
//!
//! `FLEETCRON_DATEUTIL_CASES` names a file of cases as `cases.py` writes them, which
//! `tests/dateutil.test.sh` does; without it, those of `sample.tsv` beside this file are read.
//! Every difference must be the one that a class predicts. The documentation of
//! `fleetcron::schedule` explains each class under its name; any other difference fails.

#![expect(clippy::unwrap_used, reason = "the cases are written by our own script")]

use std::collections::BTreeMap;
use std::{env, fs};

use chrono::{Datelike, Days, NaiveDateTime, NaiveTime, Weekday};
use fleetcron::Timestamp;
use fleetcron::schedule::RRule;

/// With so many cases, every class must occur: one that no longer does is out of date.
const MANY: usize = 2_000;

/// How many firings a case has at most.
const FIRINGS: usize = 5;

/// What somebody says of a rule: the next local times, none if it has ended or never fires; or
/// that it is no rule, and why.
type Said = Result<Vec<NaiveDateTime>, String>;

/// One rule, and what dateutil says of it.
struct Case {
    rrule: String,
    from: NaiveDateTime,
    moment: NaiveDateTime,
    horizon: NaiveDateTime,
    theirs: Said,
    ours: Said,
}

impl Case {
    fn read(line: &str) -> Self {
        let [rrule, from, moment, horizon, theirs] = line.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("not a case: {line:?}");
        };
        let theirs = match theirs {
            "refused" => Err(String::new()),
            "" => Ok(Vec::new()),
            times => Ok(times.split(',').map(|at| at.parse().unwrap()).collect()),
        };
        let [from, moment, horizon] = [from, moment, horizon].map(|at| at.parse().unwrap());
        let ours = Ok(Vec::new());
        let mut case = Self { rrule: rrule.into(), from, moment, horizon, theirs, ours };
        case.ours = case.ours_of(rrule, moment, FIRINGS);
        case
    }

    fn is_same(&self) -> bool {
        match (&self.ours, &self.theirs) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (ours, theirs) => ours.is_err() && theirs.is_err(),
        }
    }

    /// The value of a part; empty if it is not written.
    fn part(&self, name: &str) -> &str {
        let values = self.rrule.split(';').filter_map(|part| part.split_once('='));
        values.filter(|(part, _)| *part == name).map(|(_, value)| value).next().unwrap_or_default()
    }

    /// What fleetcron says of another rule, until the horizon.
    fn ours_of(&self, rrule: &str, moment: NaiveDateTime, how_many: usize) -> Said {
        let from = self.from.format("%Y-%m-%dT%H:%M:%S").to_string();
        let found = match RRule::new(rrule, &from, "UTC") {
            Ok(found) => found,
            Err(error) if error.to_string().contains("never fires") => return Ok(Vec::new()),
            Err(error) => return Err(error.to_string()),
        };
        let mut at = Timestamp::from(moment.and_utc());
        let next = || {
            at = found.next_after(at)?;
            Some(at.to_chrono()?.naive_utc()).filter(|at| *at <= self.horizon)
        };
        Ok(std::iter::from_fn(next).take(how_many).collect())
    }

    /// What fleetcron says when one part has another value.
    fn ours_with(&self, name: &str, value: &str, how_many: usize) -> Vec<NaiveDateTime> {
        let rrule = self.rrule.replace(&format!("{name}={}", self.part(name)), value);
        self.ours_of(&rrule, self.moment, how_many).unwrap_or_default()
    }
}

/// A class by its name in the documentation, and whether it predicts a case.
type Class = (&'static str, fn(&Case) -> bool);

const CLASSES: [Class; 6] = [
    ("parts that do not go together", |case| {
        let why = ["does not go with", "counts within a month", "needs another BY part"];
        matches!(&case.ours, Err(problem) if why.iter().any(|why| problem.contains(why)))
    }),
    ("week without a day", week_without_a_day),
    ("weekday with a number and without", weekday_with_a_number_and_without),
    ("position in the first week", position_in_the_first_week),
    ("day as the end", day_as_the_end),
    ("week at the turn of the year", week_at_the_turn_of_the_year),
];

fn week_without_a_day(case: &Case) -> bool {
    let days = ["BYDAY", "BYMONTHDAY", "BYYEARDAY"];
    let none = !case.part("BYWEEKNO").is_empty() && days.iter().all(|d| case.part(d).is_empty());
    // What dateutil takes it for may fall under another class.
    none && predicted(case, &format!("{};BYDAY=MO,TU,WE,TH,FR,SA,SU", case.rrule))
}

/// Whether dateutil says of a case what it would be expected to say of another rule.
fn predicted(case: &Case, rrule: &str) -> bool {
    let other = Case {
        rrule: rrule.into(),
        ours: case.ours_of(rrule, case.moment, FIRINGS),
        theirs: case.theirs.clone(),
        ..*case
    };
    other.is_same() || CLASSES.iter().any(|(_, class)| class(&other))
}

fn weekday_with_a_number_and_without(case: &Case) -> bool {
    let (plain, numbered): (Vec<&str>, Vec<&str>) =
        case.part("BYDAY").split(',').partition(|day| day.len() == 2);
    if plain.is_empty() || numbered.is_empty() {
        return false;
    }
    let either =
        |days: &[&str]| case.ours_with("BYDAY", &format!("BYDAY={}", days.join(",")), 99_999);
    let numbered = either(&numbered);
    let both = either(&plain).into_iter().filter(|at| numbered.contains(at)).take(FIRINGS);
    case.theirs == Ok(both.collect())
}

fn position_in_the_first_week(case: &Case) -> bool {
    if case.part("FREQ") != "WEEKLY" || case.part("BYSETPOS").is_empty() {
        return false;
    }
    let names = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
    let start = names.iter().position(|name| *name == case.part("WKST")).unwrap_or(0);
    let start = Weekday::try_from(u8::try_from(start).unwrap()).unwrap();
    let into = case.from.weekday().days_since(start);
    let next = case.from.date() + Days::new(7 - u64::from(into));
    let last = next.and_time(NaiveTime::MIN) - chrono::TimeDelta::seconds(1);
    let Ok(theirs) = &case.theirs else { return false };
    let theirs: Vec<_> = theirs.iter().filter(|at| **at > last).copied().collect();
    let full = case.theirs.as_ref().is_ok_and(|all| all.len() == FIRINGS);
    let ours = case.ours_of(&case.rrule, case.moment.max(last), FIRINGS).unwrap_or_default();
    case.moment < last && if full { ours.starts_with(&theirs) } else { ours == theirs }
}

fn day_as_the_end(case: &Case) -> bool {
    let until = case.part("UNTIL");
    until.len() == 8 && predicted(case, &case.rrule.replace(until, &format!("{until}T000000")))
}

fn week_at_the_turn_of_the_year(case: &Case) -> bool {
    let mut weeks = case.part("BYWEEKNO").split(',');
    if !weeks.any(|week| ["52", "53", "-52", "-53"].contains(&week)) {
        return false;
    }
    let ours = case.ours_of(&case.rrule, case.moment, 500);
    let (Ok(theirs), Ok(ours)) = (&case.theirs, ours) else { return false };
    let at_turn = |at: &NaiveDateTime| at.ordinal() < 4 || (at.month() == 12 && at.day() > 28);
    // dateutil leaves out some days there and has others too many; the rest is the same.
    let full = theirs.len() == FIRINGS;
    let last = theirs.last().filter(|_| full).copied().unwrap_or(case.horizon);
    let theirs = theirs.iter().filter(|at| !at_turn(at));
    ours.iter().filter(|at| **at <= last && !at_turn(at)).eq(theirs)
}

#[test]
fn dateutil_says_the_same_but_for_the_differences_that_are_explained() {
    let path = env::var("FLEETCRON_DATEUTIL_CASES").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dateutil/sample.tsv").into()
    });
    let text = fs::read_to_string(&path).expect("the file of cases can be read");
    let mut counts: BTreeMap<&str, usize> = CLASSES.iter().map(|(name, _)| (*name, 0)).collect();
    let (mut same, mut unexplained) = (0, Vec::new());
    for case in text.lines().map(Case::read) {
        if case.is_same() {
            same += 1;
            continue;
        }
        match CLASSES.iter().find(|(_, predicts)| predicts(&case)) {
            Some((name, _)) => *counts.entry(name).or_default() += 1,
            None => unexplained.push(format!(
                "{:?} from {} after {}\n  dateutil:  {:?}\n  fleetcron: {:?}",
                case.rrule, case.from, case.moment, case.theirs, case.ours
            )),
        }
    }
    println!("{same} cases are the same; differences: {counts:?}");
    assert!(same >= 100, "only {same} cases are the same");
    let found = unexplained.len();
    assert!(unexplained.is_empty(), "{found} unexplained:\n{}", unexplained.join("\n"));
    let missing: Vec<_> = counts.iter().filter(|(_, count)| **count == 0).collect();
    assert!(same < MANY || missing.is_empty(), "no case of {missing:?}: is it still so?");
}

#[test]
fn a_difference_that_no_class_predicts_is_seen() {
    for line in [
        "FREQ=DAILY\t2026-01-01T09:00:00\t2026-01-01T09:00:00\t2026-01-03T09:00:00\t2026-01-02T09:00:00",
        "FREQ=DAILY\t2026-01-01T09:00:00\t2026-01-01T09:00:00\t2026-01-03T09:00:00\t",
        "FREQ=DAILY\t2026-01-01T09:00:00\t2026-01-01T09:00:00\t2026-01-03T09:00:00\trefused",
        "FREQ=MONTHLY;BYDAY=MO,1MO\t2026-01-01T09:00:00\t2026-01-01T09:00:00\t2026-02-01T09:00:00\t2026-01-12T09:00:00",
        "FREQ=YEARLY;BYWEEKNO=-52\t2026-01-01T09:00:00\t2026-01-01T09:00:00\t2027-02-01T09:00:00\t2026-01-12T09:00:00",
    ] {
        let case = Case::read(line);
        assert!(!case.is_same(), "{line}");
        let class = CLASSES.iter().find(|(_, predicts)| predicts(&case));
        assert!(class.is_none(), "{line}: {:?}", class.map(|(name, _)| name));
    }
}
