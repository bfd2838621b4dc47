//! What croniter, a cron library of Python, says of the same expressions.
//!
//! `FLEETCRON_CRONITER_CASES` names a file of cases as `cases.py` writes them, which
//! `tests/croniter.test.sh` does; without it, those of `sample.tsv` beside this file are read.
//! Every difference must be the one that a class predicts. The documentation of
//! `fleetcron::schedule` explains each class under its name; any other difference fails.

#![expect(clippy::unwrap_used, reason = "the cases are written by our own script")]

mod difference;

use std::collections::BTreeMap;
use std::{env, fs};

use difference::CLASSES;
use fleetcron::Timestamp;
use fleetcron::schedule::Cron;

/// With so many cases, every class must occur: one that no longer does is out of date.
const MANY: usize = 3_000;

/// What somebody says of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// The next moments, in seconds since 1970.
    Fires(Vec<i64>),
    Never,
    /// It is no expression, and why.
    Refused(String),
}

/// One expression, and what croniter says of it.
struct Case {
    expression: String,
    zone: String,
    /// In seconds since 1970.
    start: i64,
    theirs: Said,
    ours: Said,
}

impl Case {
    fn read(line: &str) -> Self {
        let [expression, zone, start, theirs] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not a case: {line:?}");
        };
        let start = start.parse().expect("a start in seconds");
        let theirs = match theirs {
            "never" => Said::Never,
            "refused" => Said::Refused(String::new()),
            times => Said::Fires(times.split(',').map(|at| at.parse().unwrap()).collect()),
        };
        let ours = ours(expression, zone, start, 5);
        Self { expression: expression.into(), zone: zone.into(), start, theirs, ours }
    }

    fn fields(&self) -> Vec<&str> {
        self.expression.split(' ').collect()
    }

    /// Day of month and day of week.
    fn days(&self) -> (&str, &str) {
        let fields = self.fields();
        (fields[fields.len() - 3], fields[fields.len() - 1])
    }

    /// What we say when one field, counted from the last, is another.
    fn ours_with(&self, from_last: usize, field: &str) -> Said {
        let mut fields = self.fields();
        let at = fields.len() - 1 - from_last;
        fields[at] = field;
        ours(&fields.join(" "), &self.zone, self.start, 5)
    }
}

/// What fleetcron says.
fn ours(expression: &str, zone: &str, start: i64, how_many: usize) -> Said {
    let cron = match Cron::new(expression, zone) {
        Ok(cron) => cron,
        Err(error) if error.to_string().contains("never fires") => return Said::Never,
        Err(error) => return Said::Refused(error.to_string()),
    };
    let mut at = Timestamp::from_millis(start * 1_000);
    let next = || {
        at = cron.next_after(at)?;
        Some(at.millis() / 1_000)
    };
    Said::Fires(std::iter::from_fn(next).take(how_many).collect())
}

#[test]
fn croniter_says_the_same_but_for_the_differences_that_are_explained() {
    let path = env::var("FLEETCRON_CRONITER_CASES").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/croniter/sample.tsv").into()
    });
    let text = fs::read_to_string(&path).expect("the file of cases can be read");
    let mut counts: BTreeMap<&str, usize> = CLASSES.iter().map(|(name, _)| (*name, 0)).collect();
    let (mut same, mut unexplained) = (0, Vec::new());
    for case in text.lines().map(Case::read) {
        if case.ours == case.theirs {
            same += 1;
            continue;
        }
        match CLASSES.iter().find(|(_, predicts)| predicts(&case)) {
            Some((name, _)) => *counts.entry(name).or_default() += 1,
            None => unexplained.push(format!(
                "{:?} in {} after {}\n  croniter:  {:?}\n  fleetcron: {:?}",
                case.expression, case.zone, case.start, case.theirs, case.ours
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
        "30 6 * * *\tUTC\t0\t23400,109801",
        "30 6 * * *\tUTC\t0\tnever",
        "30 6 * * *\tUTC\t0\trefused",
        "0 0 30 2 *\tUTC\t0\t86400",
        "0 0 1 * 1#1\tUTC\t0\t86400,172800,259200,345600,432000",
        "30 6 * * *\tEurope/Berlin\t0\t19800,106200,192600,279000,365401",
    ] {
        let case = Case::read(line);
        assert_ne!(case.ours, case.theirs, "{line}");
        let class = CLASSES.iter().find(|(_, predicts)| predicts(&case));
        assert!(class.is_none(), "{line}: {:?}", class.map(|(name, _)| name));
    }
}
