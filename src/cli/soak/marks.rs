//! When which fault was injected, and how the server's clock stood: what the plots show as marks,
//! and by which lateness is told.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::args::FaultKind;

/// How long after the end of a fault what happens is taken as touched by it, in milliseconds:
/// clients come back after three seconds at most, and what had waited for them is then delivered.
const AFTER: i64 = 10_000;

/// Spans that are looked through for a moment: those that began last.
const LOOKED_AT: usize = 256;

/// A fault that was injected.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Mark {
    #[serde(skip)]
    pub(super) kind: FaultKind,
    /// What was done, in a few words.
    pub(super) what: String,
    /// When it began and ended, by the machine's clock in milliseconds; a fault that goes on has
    /// no end yet.
    pub(super) from: i64,
    pub(super) until: Option<i64>,
}

#[derive(Debug, Default)]
struct Inner {
    marks: Vec<Mark>,
    /// From when on the server's clock differed by how much.
    clock: Vec<(i64, i64)>,
}

/// All marks.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<Inner>);

impl Marks {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fault begins. Gives its place, to tell its end.
    pub(super) fn begin(&self, kind: FaultKind, what: String, at: i64) -> usize {
        let mut inner = self.inner();
        inner.marks.push(Mark { kind, what, from: at, until: None });
        inner.marks.len() - 1
    }

    pub(super) fn end(&self, place: usize, at: i64) {
        if let Some(mark) = self.inner().marks.get_mut(place) {
            mark.until = Some(at);
        }
    }

    /// The server's clock was set.
    pub(super) fn clock(&self, at: i64, offset: i64) {
        self.inner().clock.push((at, offset));
    }

    /// By how much the server's clock differed at a moment of the machine's.
    pub(super) fn offset_at(&self, at: i64) -> i64 {
        let inner = self.inner();
        let set = inner.clock.iter().rev().find(|(from, _)| *from <= at);
        set.or(inner.clock.first()).map_or(0, |(_, offset)| *offset)
    }

    /// Whether no fault touched a span.
    pub(super) fn is_quiet(&self, from: i64, until: i64) -> bool {
        let touches =
            |mark: &&Mark| mark.from <= until && mark.until.is_none_or(|end| end + AFTER >= from);
        !self.inner().marks.iter().rev().take(LOOKED_AT).any(|mark| touches(&mark))
    }

    /// Those that began after the first `known`.
    pub(super) fn after(&self, known: usize) -> Vec<Mark> {
        self.inner().marks[known..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_quiet_when_no_fault_touched_it() {
        let marks = Marks::default();
        let place = marks.begin(FaultKind::Pause, "a".into(), 100_000);
        assert!(marks.is_quiet(0, 99_999));
        assert!(!marks.is_quiet(99_000, 100_000) && !marks.is_quiet(500_000, 600_000));
        marks.end(place, 105_000);
        assert!(!marks.is_quiet(115_000, 116_000) && marks.is_quiet(115_001, 116_000));
    }

    #[test]
    fn the_clock_is_as_it_was_set_last() {
        let marks = Marks::default();
        for (at, offset) in [(10, 0), (100, 5_000), (200, -7_000)] {
            marks.clock(at, offset);
        }
        let at = [5, 99, 100, 199, 200, 900].map(|at| marks.offset_at(at));
        assert_eq!(at, [0, 0, 5_000, 5_000, -7_000, -7_000]);
    }
}
