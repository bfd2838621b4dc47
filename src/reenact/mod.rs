//! Re-enacting: what the engine was told, told to it once more, on a clock of its own and without
//! sending anything.
//!
//! Promises: [`verify()`] decides again on all that a store has recorded and compares every page
//! of the ledger, and by its digest every write, with what was written then; [`what_if()`] decides
//! with other definitions of jobs and tells which firings and deliveries would have been others.
//! Both only read the store, and hold in memory what the engine does, not what history has. May
//! import the domain types, `engine`, `recording`, `store` and `history`.
//!
//! Recorded inputs begin where a server was started on a new store, or, once older ones were
//! removed, at a later start: then [`Source::base`] gives the store as it was before that start,
//! such as a backup that was taken while the server was down.

mod clients;
mod difference;
mod inputs;
mod kept;
mod scratch;
#[cfg(test)]
mod tests;
mod verify;
mod what_if;

pub use difference::{Change, FiringKey, WhatIf};
pub use verify::{Difference, Verified, verify};
pub use what_if::{Changed, MAX_DELIVERIES, what_if};

use crate::recording::Found;
use crate::store::{Store, StoreError};

/// What is re-enacted.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The store with the records.
    pub store: &'a dyn Store,
    /// The store as it was before the first record; `None`: it was new.
    pub base: Option<&'a dyn Store>,
}

/// Why nothing can be re-enacted.
#[derive(Debug, thiserror::Error)]
pub enum ReenactError {
    /// A store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No inputs were recorded.
    #[error(
        "nothing is recorded in this store: the server runs with --no-recording, or has not been started"
    )]
    NothingRecorded,
    /// The records begin later than the store, and there is no base.
    #[error(
        "the records begin with commit {commit}: older ones were removed; give as base a backup that was taken before that commit, while the server was down"
    )]
    NoBeginning {
        /// The first commit that is recorded.
        commit: u64,
    },
    /// The base is not what was there before a start.
    #[error(
        "the base ends before commit {next}, and no start of the server is recorded there; it must have been taken while the server was down"
    )]
    WrongBase {
        /// The commit that would follow the base.
        next: u64,
    },
    /// The store that a server was started on was another.
    #[error(
        "the server that was started with commit {commit} found {recorded:?} in its store, and here are {here:?}: the store is older than its records; give as base a backup from before that start"
    )]
    Elsewhere {
        /// The first commit of that server.
        commit: u64,
        /// What it found.
        recorded: Found,
        /// What is there now.
        here: Found,
    },
    /// A record is missing among others.
    #[error(
        "the inputs of commit {commit} are not recorded, yet those of a later one are: the server ran with --no-recording meanwhile"
    )]
    Gap {
        /// The commit.
        commit: u64,
    },
    /// There is more than is compared at once.
    #[error("there are more than {most} deliveries in the span; choose a shorter one")]
    TooMuch {
        /// The most.
        most: usize,
    },
    /// A changed definition is refused.
    #[error("the changed definitions are refused: {0}")]
    Refused(String),
}
