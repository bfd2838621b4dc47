//! Young runs: those for one client whose set of open deliveries is not stored.
//!
//! Most commands are answered within moments. Until then the record of a run for one client tells
//! all: it is open, and its target is who has not answered. So no set is stored for it, and none
//! has to be deleted. At a start such runs are found by a look at the records of the youngest runs,
//! those from one serial on, the border; so the border has to follow. Each time [`STEP`] runs have
//! begun, it moves up to where the serials stood a step ago, and of runs below it that are still
//! open, of clients that are away, the sets are stored first.

use std::collections::BTreeSet;

use super::change::Change;
use super::runs::Runs;
use crate::id::Serial;
use crate::run::Run;
use crate::target::Target;

/// Runs that begin between two moves of the border: so many twice are looked at at a start.
const STEP: u32 = 8_192;

/// The open runs that are young, and where youth begins.
#[derive(Debug)]
pub(super) struct Young {
    border: Serial,
    open: BTreeSet<Serial>,
    /// The highest serial of all so far, and as it was when the border moved last.
    highest: Serial,
    before: Serial,
    begun: u32,
}

impl Young {
    /// None so far, above a border.
    pub(super) fn new(border: Serial, highest: Serial) -> Self {
        Self { border, open: BTreeSet::new(), highest, before: border, begun: 0 }
    }

    /// Takes note of a run that begins; tells whether it is young.
    pub(super) fn begin(&mut self, run: &Run) -> bool {
        self.highest = self.highest.max(run.serial);
        self.begun = self.begun.saturating_add(1);
        run.serial >= self.border && run.counts.total == 1 && matches!(run.target, Target::One(_))
    }

    /// A young run is open.
    pub(super) fn enter(&mut self, serial: Serial) {
        self.open.insert(serial);
    }

    /// A run is no longer open.
    pub(super) fn remove(&mut self, serial: Serial) {
        self.open.remove(&serial);
    }

    /// Moves the border if it is time for it. Gives the runs below it, which are young no more.
    fn advance(&mut self) -> Option<(Serial, BTreeSet<Serial>)> {
        if self.begun < STEP {
            return None;
        }
        self.begun = 0;
        let border = std::mem::replace(&mut self.before, self.highest);
        if border <= self.border {
            return None;
        }
        self.border = border;
        let still_young = self.open.split_off(&border);
        Some((border, std::mem::replace(&mut self.open, still_young)))
    }
}

impl Runs {
    /// Moves the border if it is time for it: the change to be stored after the units of all runs.
    pub(super) fn move_border(&mut self) -> Option<Change> {
        let (border, grown) = self.young.advance()?;
        for serial in grown {
            if let Some(run) = self.change(serial) {
                run.grow_up();
            }
        }
        Some(Change::PutBorder(border))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::records::tests::{a_run, serial};

    fn for_one(n: i64) -> Run {
        Run { target: "client:a".parse().unwrap(), ..a_run(n, 1) }
    }

    #[test]
    fn only_a_run_for_one_client_from_the_border_on_is_young() {
        let mut young = Young::new(serial(10), serial(20));
        assert!(young.begin(&for_one(10)) && !young.begin(&for_one(9)));
        assert!(!young.begin(&a_run(30, 1)), "its target is not one client");
        assert!(!young.begin(&Run { counts: crate::run::Counts::default(), ..for_one(31) }));
    }

    #[test]
    fn the_border_follows_a_step_behind_and_what_is_open_below_it_is_young_no_more() {
        let mut young = Young::new(serial(0), serial(0));
        let step = i64::from(STEP);
        let mut moves = Vec::new();
        for n in 1..=4 * step {
            assert!(young.begin(&for_one(n)));
            young.enter(serial(n));
            if n % 1_000 != 0 {
                young.remove(serial(n));
            }
            if let Some((border, grown)) = young.advance() {
                assert!(grown.iter().all(|serial| *serial < border));
                assert!(young.open.iter().all(|serial| *serial >= border));
                moves.push((n, border, grown.len()));
            }
        }
        let at = |n: i64, border: i64, grown| (n * step, serial(border * step), grown);
        assert_eq!(moves, [at(2, 1, 8), at(3, 2, 8), at(4, 3, 8)]);
    }
}
