//! The check of a store: every rule of the key layout, and what breaks it.
//!
//! Promises: it writes nothing; its memory is bounded by the clients, the jobs and one run, not by
//! how many runs there are; each fault names the key, the rule, the problem and a way out. Imports
//! the rest of the store and the domain types.
//!
//! First every key and value is looked at by itself (see [`kinds`](super::kinds)), then each
//! relation between kinds, one file and one function each, listed in `RELATIONS`.

mod calendars;
mod clients;
mod cursor;
mod ended;
mod jobs;
mod ledger;
mod removed;
mod replays;
mod report;
mod runs;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::kinds::Kind;
use super::stats::Counting;
use super::{AsOpened, Order, Store, StoreError, everything, key, walk};
use crate::id::JobId;

pub use report::{Fault, MAX_FAULTS, Report};

/// A relation between kinds.
type Relation = fn(&dyn Store, &mut Known, &mut Report) -> Result<(), StoreError>;

/// Every relation, those that others build on first.
const RELATIONS: &[Relation] = &[
    clients::check,
    calendars::check,
    removed::check,
    jobs::check,
    runs::check,
    ended::check,
    ledger::check,
    replays::check,
];

/// What one relation finds for those after it.
#[derive(Debug, Default)]
struct Known {
    /// The numbers of the registry.
    clients: RoaringBitmap,
    /// The jobs that were removed, rising.
    removed: Vec<JobId>,
}

/// Checks a store that nobody writes to. A unit that a crash has cut short is a note, not a fault:
/// the store is looked at as the next start will leave it.
pub fn check(store: Arc<dyn Store>) -> Result<Report, StoreError> {
    let store = AsOpened::look(store)?;
    let mut report = Report::default();
    report.notes.extend(store.note());
    each_alone(&store, &mut report)?;
    let mut known = Known::default();
    for relation in RELATIONS {
        relation(&store, &mut known, &mut report)?;
    }
    report.sound = report.faults_total == 0;
    Ok(report)
}

/// Every key and value by itself.
fn each_alone(store: &dyn Store, report: &mut Report) -> Result<(), StoreError> {
    let mut counting = Counting::default();
    for entry in walk(store, everything(), Order::Up) {
        let (key, value) = entry?;
        counting.add(&key, &value);
        if let Some(kind) = Kind::of(&key) {
            if let Err(problem) = kind.check(&key, &value) {
                report.broken(&key, kind.name, problem);
            }
        } else {
            let problem = "no kind of keys has its first byte";
            report.fault(&key, "kinds of keys", problem, report::VERSION);
        }
    }
    if store.get(&key::format())?.is_none() {
        report.broken(&key::format(), "facts about the store", "the format's number is missing");
    }
    report.kinds = counting.kinds();
    Ok(())
}
