//! What becomes of occurrences that were not fired in time.
//!
//! Pure arithmetic over a job and two moments; every walk is bounded.
//!
//! # The table
//!
//! The job fires every 10 s and has fired at 10 s; what then happens is the row. The cell tells
//! which firings are made up for and, after `missed`, which are recorded as missed. Each cell has
//! a test of its name in `tests/policies`, such as `several_missed::latest`. In every cell a
//! further start of the server makes up for nothing again, and the next firing keeps its phase.
//!
//! | row | what happened | `latest` | `all` | `skip` |
//! | --- | --- | --- | --- | --- |
//! | `none_missed` | down from 12 to 18 s | none | none | none |
//! | `one_missed` | down to 25 s | 20 | 20 | none; missed 20 |
//! | `several_missed` | down to 55 s | 50; missed 20–40 | 20–50 | none; missed 20–50 |
//! | `longer_than_the_window` | the same, window 25 s | 50; missed 20–40 | 30–50; missed 20 | none; missed 20–50 |
//! | `all_before_the_window` | the same, window 4 s | none; missed 20–50 | none; missed 20–50 | none; missed 20–50 |
//! | `more_than_the_cap` | down to 12,005 s | 12,000; missed 20–11,990 | 2,010–12,000 (1,000 of them); missed 20–2,000 | none; missed 20–12,000 |
//! | `resumed_by_hand` | paused from 12 s, resumed at 55 s | 50; missed 20–40 | 20–50 | none; missed 20–50 |
//! | `pause_ended` | paused until 35 s | 30; missed 20 | 20–30 | none; missed 20–30 |
//! | `pause_ended_while_down` | paused until 35 s, down to 55 s | 50; missed 20–40 | 20–50 | none; missed 20–50 |
//! | `clock_jumped_forward` | the clock is set from 12 to 55 s; 50 is not [`LATE`] and fires as scheduled | 40 (and 50); missed 20–30 | 20–40 (and 50) | none (but 50); missed 20–40 |
//! | `defined_after_its_moment` | `at` 30 s before its definition | it fires | it fires | none; missed |
//! | `defined_after_its_start` | `every` with `from` 33 s before its definition | none; 7 is next | none; 7 is next | none; 7 is next |
//! | `rule_ended` | `end` at 35 s, down to 55 s | 30; missed 20; it has ended | 20–30; it has ended | none; missed 20–30; it has ended |
//! | `count_ran_out` | `count` of 4, down to 55 s | 40; missed 20–30; it has ended | 20–40; it has ended | none; missed 20–40; it has ended |
//!
//! The reason recorded is "the server was down", "the job was paused" (of the whole row, also
//! where the server was down after the pause's end), "the server was late", or "it had passed when
//! the job was defined".

use std::collections::VecDeque;
use std::time::Duration;

use super::jobs::Entry;
use crate::job::{CatchUp, Missed};
use crate::job_past::MissedRow;
use crate::time::Timestamp;

/// An occurrence found later than this is missed, although the server was up.
pub const LATE: Duration = Duration::from_secs(10);

/// The most missed firings of one job that `catch_up = "all"` fires; of more, the latest.
pub const MAX_CATCH_UP: usize = 1_000;

/// The most missed occurrences that are counted one by one; of more, only the first and last are
/// known.
const COUNTED: u64 = 10_000;

/// What a catch-up makes of occurrences.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CaughtUp {
    /// Those that fire, oldest first.
    pub(super) kept: Vec<Timestamp>,
    /// The row of the others, if there are any.
    pub(super) missed: Option<MissedRow>,
}

/// Deals with the occurrences of a job before `until`: gives back those that its policy fires,
/// and counts the others as missed in its standing; their row is to be stored with it. What fires
/// is still to be passed by the caller; occurrences after those are not touched.
pub(super) fn catch_up(
    entry: &mut Entry,
    now: Timestamp,
    until: Timestamp,
    reason: &str,
) -> CaughtUp {
    let keep = match entry.job.spec.catch_up {
        CatchUp::Latest => 1,
        CatchUp::All => MAX_CATCH_UP,
        CatchUp::Skip => 0,
    };
    let oldest = now.minus(entry.job.spec.catch_up_window);
    let mut walk = Walk { kept: VecDeque::new(), missed: None };
    let (mut counted, mut exactly) = (0, true);
    let mut at = next_before(entry, until);
    while let Some(occurrence) = at {
        counted += 1;
        // What is beyond the window does not fire, whatever the policy.
        let end = if keep > 1 { oldest.min(until) } else { until };
        if counted > COUNTED && occurrence < end {
            exactly &= !jump(entry, occurrence, end);
        }
        // After a jump the occurrence at hand is the latest.
        let occurrence = next_before(entry, until).unwrap_or(occurrence);
        entry.pass(occurrence);
        if keep > 0 && occurrence >= oldest {
            walk.keep(occurrence, keep);
        } else {
            walk.miss(occurrence);
        }
        at = next_before(entry, until);
    }
    let Walk { kept, missed } = walk;
    let missed = missed.map(|(count, first, last)| MissedRow {
        job: entry.job.id,
        no: entry.state.missed.as_ref().map_or(0, |missed| missed.row).saturating_add(1),
        count,
        counted_exactly: exactly,
        first,
        last,
        reason: reason.to_owned(),
        at: now,
        policy: entry.job.spec.catch_up,
        fired: kept.len() as u64,
    });
    if let Some(row) = &missed {
        count(entry, row);
    }
    rewind(entry, &kept);
    CaughtUp { kept: kept.into(), missed }
}

struct Walk {
    kept: VecDeque<Timestamp>,
    missed: Option<(u64, Timestamp, Timestamp)>,
}

impl Walk {
    fn keep(&mut self, occurrence: Timestamp, most: usize) {
        if self.kept.len() == most
            && let Some(oldest) = self.kept.pop_front()
        {
            self.miss(oldest);
        }
        self.kept.push_back(occurrence);
    }

    fn miss(&mut self, occurrence: Timestamp) {
        let (count, first, _) = self.missed.unwrap_or((0, occurrence, occurrence));
        self.missed = Some((count + 1, first, occurrence));
    }
}

fn next_before(entry: &Entry, until: Timestamp) -> Option<Timestamp> {
    entry.state.next_due.filter(|due| *due < until)
}

/// Leaves out occurrences up to the latest before `until`, found by looking back from there
/// further and further; tells whether any was left out.
fn jump(entry: &mut Entry, from: Timestamp, until: Timestamp) -> bool {
    let mut back = Duration::from_secs(1);
    let mut latest = from;
    while until.minus(back) > from {
        if let Some(found) = entry.next_after(until.minus(back)).filter(|at| *at < until) {
            latest = found;
            break;
        }
        back = back.saturating_mul(2);
    }
    while let Some(later) = entry.next_after(latest).filter(|at| *at < until) {
        latest = later;
    }
    entry.state.next_due = Some(latest);
    latest != from
}

fn count(entry: &mut Entry, row: &MissedRow) {
    let before = entry.state.missed.as_ref().map_or(0, |missed| missed.total);
    let total = before.saturating_add(row.count);
    let (first, last, reason) = (row.first, row.last, row.reason.clone());
    entry.state.missed = Some(Missed { total, first, last, reason, row: row.no });
}

/// Makes the first of the kept occurrences the next one again: they are passed when they fire.
fn rewind(entry: &mut Entry, kept: &VecDeque<Timestamp>) {
    let Some(first) = kept.front() else { return };
    entry.state.occurrences = entry.state.occurrences.saturating_sub(kept.len() as u64);
    entry.state.next_due = Some(*first);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::id::JobId;
    use crate::job::{Job, JobSpec, JobState};
    use crate::schedule::Rule;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn entry(catch_up: CatchUp, window: u64, count: Option<u64>) -> Entry {
        let mut rule = Rule::every(Duration::from_secs(10)).unwrap();
        rule.count = count;
        let mut spec = JobSpec::new(
            "tick".parse().unwrap(),
            crate::Target::All,
            "tick".parse().unwrap(),
            rule,
        );
        spec.catch_up = catch_up;
        spec.catch_up_window = Duration::from_secs(window);
        let job = Job {
            id: JobId::from_parts(at(0), 1),
            revision: 1,
            created_at: at(0),
            updated_at: at(0),
            spec,
        };
        let state = JobState { next_due: Some(at(10)), ..JobState::default() };
        Entry { job: Arc::new(job), state }
    }

    #[test]
    fn latest_keeps_one_and_records_the_others() {
        let mut entry = entry(CatchUp::Latest, 86_400, None);
        let caught = catch_up(&mut entry, at(55), at(55), "down");
        assert_eq!(caught.kept, [at(50)]);
        let row = MissedRow {
            job: entry.job.id,
            no: 1,
            count: 4,
            counted_exactly: true,
            first: at(10),
            last: at(40),
            reason: "down".into(),
            at: at(55),
            policy: CatchUp::Latest,
            fired: 1,
        };
        assert_eq!(caught.missed, Some(row));
        let missed = entry.state.missed.clone().unwrap();
        assert_eq!((missed.total, missed.first, missed.last), (4, at(10), at(40)));
        assert_eq!((entry.state.next_due, entry.state.occurrences), (Some(at(50)), 4));
        entry.pass(at(50));
        assert_eq!(entry.state.next_due, Some(at(60)));
        let caught = catch_up(&mut entry, at(85), at(85), "late");
        let row = caught.missed.unwrap();
        assert_eq!((row.no, row.count, row.first), (2, 2, at(60)));
        let missed = entry.state.missed.unwrap();
        assert_eq!((missed.total, missed.row), (6, 2), "the next row");
    }

    #[test]
    fn one_that_is_fired_late_and_none_besides_is_no_row() {
        let mut entry = entry(CatchUp::Latest, 86_400, None);
        let caught = catch_up(&mut entry, at(15), at(15), "down");
        assert_eq!(caught, CaughtUp { kept: vec![at(10)], missed: None });
        assert_eq!(entry.state.missed, None);
    }

    #[test]
    fn all_keeps_what_is_within_the_window() {
        let mut entry = entry(CatchUp::All, 20, None);
        assert_eq!(catch_up(&mut entry, at(55), at(55), "down").kept, [at(40), at(50)]);
        assert_eq!(entry.state.missed.map(|missed| missed.total), Some(3));
    }

    #[test]
    fn skip_keeps_none_and_the_count_counts_missed_ones() {
        let mut entry = entry(CatchUp::Skip, 86_400, Some(3));
        assert!(catch_up(&mut entry, at(55), at(55), "down").kept.is_empty());
        assert_eq!(entry.state.missed.as_ref().map(|missed| missed.total), Some(3));
        assert_eq!(entry.state.next_due, None, "the count is used up");
    }

    #[test]
    fn a_very_long_row_before_the_window_is_not_walked_either() {
        let mut entry = entry(CatchUp::All, 25, None);
        let end = 10 * 1_000_000_000;
        let caught = catch_up(&mut entry, at(end + 5), at(end + 5), "down");
        assert_eq!(caught.kept, [at(end - 20), at(end - 10), at(end)]);
        assert!(!caught.missed.unwrap().counted_exactly);
        let missed = entry.state.missed.unwrap();
        assert_eq!((missed.total, missed.last), (COUNTED + 1, at(end - 30)));
    }

    #[test]
    fn a_very_long_row_is_not_walked_to_its_end() {
        let mut entry = entry(CatchUp::Latest, 86_400, None);
        let now = at(10 * 1_000_000_000 + 5);
        let caught = catch_up(&mut entry, now, now, "down");
        assert_eq!(caught.kept, [at(10 * 1_000_000_000)]);
        let row = caught.missed.unwrap();
        assert_eq!((row.count, row.counted_exactly), (COUNTED, false));
        assert_eq!(entry.state.missed.map(|missed| missed.total), Some(COUNTED));
    }

    #[test]
    fn a_long_row_that_can_be_counted_is_counted_exactly() {
        let counted = i64::try_from(COUNTED).unwrap();
        for (occurrences, exactly) in [(counted + 1, true), (counted + 2, false)] {
            let mut entry = entry(CatchUp::Latest, 86_400, None);
            let now = at(occurrences * 10 + 5);
            let row = catch_up(&mut entry, now, now, "down").missed.unwrap();
            assert_eq!((row.count, row.counted_exactly), (COUNTED, exactly), "{occurrences}");
        }
    }
}
