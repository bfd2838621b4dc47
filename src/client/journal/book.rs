//! What a journal's records come to: the commands that were begun and whose ends are not
//! acknowledged. Pure: no I/O, no time.
//!
//! Promises: the same records in the same order come to the same; an end that stands is not
//! replaced, except by a later attempt at the same run. Imports the records.

use std::collections::BTreeMap;

use super::record::{Ended, Record, Taken};
use crate::id::Serial;
use crate::run::{Attempt, Outcome};

/// The commands that a journal knows, each with its latest attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Book {
    entries: BTreeMap<Serial, Entry>,
    live: u64,
}

/// One command, and the bytes of the record that says how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) attempt: u32,
    pub(super) standing: Standing,
    size: u64,
}

/// How a command stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was begun.
    Taken(Taken),
    /// It has ended.
    Ended(Outcome),
}

impl Book {
    /// Takes in a record of `size` bytes.
    pub(super) fn apply(&mut self, record: Record, size: u64) {
        match record {
            Record::Header(_) => {}
            Record::Taken(taken) => {
                let (serial, attempt) = (taken.command.serial, taken.command.attempt);
                let standing = Standing::Taken(taken);
                self.put(serial, Entry { attempt, standing, size });
            }
            Record::Ended(Ended { serial, attempt, outcome }) => {
                let standing = Standing::Ended(outcome);
                self.put(serial, Entry { attempt, standing, size });
            }
            Record::Acknowledged(acknowledged) => {
                let later = |entry: &Entry| entry.attempt > acknowledged.attempt;
                if !self.get(acknowledged.serial).is_some_and(later) {
                    self.remove(acknowledged.serial);
                }
            }
        }
    }

    fn put(&mut self, serial: Serial, entry: Entry) {
        let stays = self.get(serial).is_some_and(|old| {
            let has_ended = matches!(old.standing, Standing::Ended(_));
            old.attempt > entry.attempt || old.attempt == entry.attempt && has_ended
        });
        if !stays {
            self.restore(serial, Some(entry));
        }
    }

    fn remove(&mut self, serial: Serial) {
        if let Some(entry) = self.entries.remove(&serial) {
            self.live -= entry.size;
        }
    }

    /// Makes a command stand as it did before: what was to be written about it was not.
    pub(super) fn restore(&mut self, serial: Serial, before: Option<Entry>) {
        self.remove(serial);
        if let Some(entry) = before {
            self.live += entry.size;
            self.entries.insert(serial, entry);
        }
    }

    pub(super) fn get(&self, serial: Serial) -> Option<&Entry> {
        self.entries.get(&serial)
    }

    /// The commands, in serial order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Attempt, &Standing)> {
        self.entries.iter().map(|(serial, entry)| {
            let attempt = Attempt { serial: *serial, number: entry.attempt };
            (attempt, &entry.standing)
        })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the records that say how the commands stand.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// The records that come to this book.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        self.entries().map(|(Attempt { serial, number: attempt }, standing)| match standing {
            Standing::Taken(taken) => Record::Taken(taken.clone()),
            Standing::Ended(outcome) => {
                Record::Ended(Ended { serial, attempt, outcome: outcome.clone() })
            }
        })
    }
}
