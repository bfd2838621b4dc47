//! What was to fire: the occurrences of a job's rules, one rule after the other.
//!
//! A rule is in force from the revision that brought it to the one that takes its place. What is
//! due at the moment of a change is due by the rule before it. Pure: no store, no clock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::query::Span;
use crate::id::{CalendarName, JobId, Serial};
use crate::schedule::{Rule, When};
use crate::time::Timestamp;

/// Occurrences before the span that are counted for a rule with a count, at most; beyond that the
/// count is taken as not used up.
pub const COUNTED: u64 = 200_000;

/// The calendars of a rule, with when each was changed last; `None`: it is no more.
pub(super) type Bound = Arc<[(CalendarName, Option<Timestamp>)]>;

/// One rule of a job for as long as it was in force.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// The job.
    pub(super) job: JobId,
    /// The revisions that had it, with when they came about, the earliest first.
    pub(super) revisions: Vec<(Timestamp, u32)>,
    /// What ended it; `None`: it is in force.
    pub(super) ended: Option<Ended>,
    /// The rule, bound to its calendars as they are now.
    pub(super) rule: Rule,
    /// Its calendars.
    pub(super) calendars: Bound,
}

/// The end of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// When.
    pub(super) at: Timestamp,
    /// The revision that changed it; `None`: the job was removed.
    pub(super) revision: Option<u32>,
}

/// A moment at which a job was to fire.
#[derive(Debug, Clone)]
pub(super) struct Occurrence {
    pub(super) at: Timestamp,
    pub(super) job: JobId,
    pub(super) serial: Serial,
    pub(super) revision: u32,
    pub(super) ended: Option<Ended>,
    pub(super) calendars: Bound,
}

impl Occurrence {
    /// A calendar that is another than it was then.
    pub(super) fn moved_calendar(&self) -> Option<(CalendarName, Option<Timestamp>)> {
        let moved = |changed: &Option<Timestamp>| changed.is_none_or(|at| at >= self.at);
        self.calendars.iter().find(|(_, changed)| moved(changed)).cloned()
    }
}

impl Segment {
    fn from(&self) -> Timestamp {
        self.revisions.first().map_or(Timestamp::MIN, |(at, _)| *at)
    }

    fn is_first(&self) -> bool {
        self.revisions.first().is_some_and(|(_, revision)| *revision == 1)
    }

    /// After which moment its first occurrence is. What a rule says of the time before it is not
    /// made up for, but a single moment is: it may have passed while its definition was on the
    /// way.
    fn first_after(&self) -> Timestamp {
        let now = |rule: &Rule| rule.when == When::Now;
        match &self.rule.when {
            When::At(_) => Timestamp::MIN,
            When::Now if self.is_first() => Timestamp::MIN,
            When::Any(rules) if self.is_first() && rules.iter().any(now) => {
                self.from().minus(Duration::from_millis(1))
            }
            _ => self.from(),
        }
    }

    /// The revision in force at a moment.
    fn revision_at(&self, at: Timestamp) -> u32 {
        let after = self.revisions.partition_point(|(begin, _)| *begin < at);
        self.revisions.get(after.saturating_sub(1)).map_or(0, |(_, revision)| *revision)
    }

    fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        // A job's number has the moment of its creation: the anchor of its rules.
        self.rule.next_after(at, self.job.time())
    }
}

/// The occurrences of one segment, from the begin of a span on.
#[derive(Debug)]
struct Walk {
    segment: Segment,
    next: Option<Timestamp>,
    /// How many come, this one included; `None`: as many as there are.
    left: Option<u64>,
}

impl Walk {
    fn new(segment: Segment, span: Span) -> (Self, bool) {
        let before = span.since.minus(Duration::from_millis(1));
        let first = segment.first_after();
        let Some(count) = segment.rule.count else {
            let next = segment.next_after(first.max(before));
            return (Self { segment, next, left: None }, true);
        };
        let (mut next, mut left, mut counted) = (segment.next_after(first), count, 0);
        while let Some(at) = next.filter(|at| *at < span.since) {
            (left, counted) = (left - 1, counted + 1);
            if left == 0 {
                next = None;
            } else if counted == COUNTED {
                next = segment.next_after(before);
                return (Self { segment, next, left: None }, false);
            } else {
                next = segment.next_after(at);
            }
        }
        (Self { segment, next, left: Some(left) }, true)
    }

    /// The next occurrence, if it is before `until` and the rule was still in force.
    fn peek(&self, until: Timestamp) -> Option<Timestamp> {
        let ended = self.segment.ended;
        self.next.filter(|at| *at < until && ended.is_none_or(|ended| *at <= ended.at))
    }

    fn pass(&mut self) {
        let Some(at) = self.next else { return };
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.next = if self.left == Some(0) { None } else { self.segment.next_after(at) };
    }
}

/// The occurrences of all rules of a job, and of all jobs that have had its name, in the order of
/// their serials.
#[derive(Debug)]
pub(super) struct Expected {
    walks: Vec<Walk>,
    /// The next of each that has one.
    ahead: BTreeSet<(Serial, usize)>,
    until: Timestamp,
    /// Whether the count of each rule was counted.
    pub(super) counted: bool,
}

impl Expected {
    pub(super) fn new(segments: Vec<Segment>, span: Span) -> Self {
        let until = span.until;
        let (mut walks, mut counted) = (Vec::new(), true);
        for segment in segments {
            let (walk, exactly) = Walk::new(segment, span);
            counted &= exactly;
            walks.push(walk);
        }
        let mut expected = Self { walks, ahead: BTreeSet::new(), until, counted };
        for no in 0..expected.walks.len() {
            expected.line_up(no);
        }
        expected
    }

    fn line_up(&mut self, no: usize) {
        if let Some(walk) = self.walks.get(no)
            && let Some(at) = walk.peek(self.until)
        {
            self.ahead.insert((Serial::of_firing(walk.segment.job, at), no));
        }
    }

    /// The next occurrence.
    pub(super) fn peek(&self) -> Option<Occurrence> {
        let (serial, no) = *self.ahead.first()?;
        let walk = self.walks.get(no)?;
        let (segment, at) = (&walk.segment, walk.next?);
        Some(Occurrence {
            at,
            job: segment.job,
            serial,
            revision: segment.revision_at(at),
            ended: segment.ended,
            calendars: Arc::clone(&segment.calendars),
        })
    }

    /// Goes on to the one after it. The same moment of two rules of one job is one firing.
    pub(super) fn pass(&mut self) {
        let Some((serial, _)) = self.ahead.first().copied() else { return };
        while let Some((next, no)) = self.ahead.first().copied()
            && next == serial
        {
            self.ahead.pop_first();
            if let Some(walk) = self.walks.get_mut(no) {
                walk.pass();
            }
            self.line_up(no);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn segment(rule: &str, from: i64, revision: u32, to: Option<i64>) -> Segment {
        Segment {
            job: JobId::from_parts(at(0), 1),
            revisions: vec![(at(from), revision)],
            ended: to.map(|to| Ended { at: at(to), revision: Some(revision + 1) }),
            rule: serde_json::from_str(rule).unwrap(),
            calendars: Arc::new([]),
        }
    }

    fn all(segments: Vec<Segment>, since: i64, until: i64) -> Vec<(i64, u32)> {
        let span = Span { since: at(since), until: at(until) };
        let mut expected = Expected::new(segments, span);
        let mut found = Vec::new();
        while let Some(due) = expected.peek() {
            found.push((due.at.millis() / 1_000, due.revision));
            expected.pass();
        }
        found
    }

    #[test]
    fn a_rule_is_walked_from_its_revision_to_the_next() {
        let tens = segment(r#"{"every": "10s"}"#, 0, 1, Some(30));
        let sevens = segment(r#"{"every": "7s"}"#, 30, 2, Some(45));
        let expected = [(10, 1), (20, 1), (30, 1), (35, 2), (42, 2)];
        assert_eq!(all(vec![tens.clone(), sevens], 0, 100), expected);
        assert_eq!(all(vec![tens], 20, 30), [(20, 1)], "the end of a span is not part of it");
    }

    #[test]
    fn a_count_is_counted_from_the_first_on_wherever_the_span_begins() {
        let rule = || segment(r#"{"every": "10s", "count": 4}"#, 0, 1, None);
        assert_eq!(all(vec![rule()], 25, 1_000), [(30, 1), (40, 1)]);
        assert_eq!(all(vec![rule()], 45, 1_000), []);
        let again = segment(r#"{"every": "10s", "count": 2}"#, 25, 2, None);
        let first = segment(r#"{"every": "10s", "count": 4}"#, 0, 1, Some(25));
        assert_eq!(all(vec![first, again], 0, 1_000), [(10, 1), (20, 1), (30, 2), (40, 2)]);
    }

    #[test]
    fn single_moments_may_lie_before_their_definition_and_now_is_of_the_first_revision() {
        let at_5 = r#"{"at": "1970-01-01T00:00:05Z"}"#;
        assert_eq!(all(vec![segment(at_5, 20, 2, None)], 0, 100).len(), 1);
        assert_eq!(all(vec![segment(at_5, 0, 1, Some(3))], 0, 100), [], "changed before it came");
        assert_eq!(all(vec![segment(r#""now""#, 0, 1, None)], 0, 100), [(0, 1)]);
        assert_eq!(all(vec![segment(r#""now""#, 20, 2, None)], 0, 100), []);
        let list = r#"["now", {"every": "30s"}]"#;
        assert_eq!(all(vec![segment(list, 0, 1, None)], 0, 61), [(0, 1), (30, 1), (60, 1)]);
    }

    #[test]
    fn a_moment_that_two_rules_have_is_one_firing() {
        let early = segment(r#"{"at": "1970-01-01T00:00:05Z"}"#, 0, 1, Some(20));
        let again = segment(r#"{"at": "1970-01-01T00:00:05Z"}"#, 30, 3, None);
        assert_eq!(all(vec![early, again], 0, 100).len(), 1);
    }
}
