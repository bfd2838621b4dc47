//! A count that many add to, and of which one at a time tells.
//!
//! Promises: of all that were added, each is taken exactly once, by those who were told to take,
//! however their steps fall between each other. Built of atomic numbers alone, so a model checker
//! goes through all orders of the steps: `tests/loom`, which compiles this very file. Imports
//! nothing of fleetcron.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many there were, and how many of them were taken.
#[derive(Debug)]
pub(super) struct Tally {
    all: AtomicU64,
    taken: AtomicU64,
    taking: AtomicBool,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { all: AtomicU64::new(0), taken: AtomicU64::new(0), taking: AtomicBool::new(false) }
    }

    /// One more.
    pub(super) fn add(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
    }

    /// How many were added so far.
    pub(super) fn all(&self) -> u64 {
        self.all.load(Ordering::SeqCst)
    }

    /// Whether the caller, who has added, is the one to [`take`](Self::take): nobody else is
    /// about to.
    pub(super) fn begin(&self) -> bool {
        !self.taking.swap(true, Ordering::SeqCst)
    }

    /// How many were added that nobody has taken.
    pub(super) fn take(&self) -> u64 {
        // Before the count is read, so that who adds after this finds nobody about to take; and a
        // swap, which sees all that was added by those who have found this one.
        self.taking.swap(false, Ordering::SeqCst);
        let all = self.all.load(Ordering::SeqCst);
        // The highest, for another may have taken more in between.
        all.saturating_sub(self.taken.fetch_max(all, Ordering::SeqCst))
    }
}
