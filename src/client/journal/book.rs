//! What a journal's records come to: the commands that were begun and whose ends are not
//! acknowledged, and the last of those that are. Pure: no I/O, no time.
//!
//! Promises: the same records in the same order come to the same; an end that stands is not
//! replaced, except by a later attempt at the same run. Imports the records.

use std::collections::{BTreeMap, VecDeque};

use super::super::RECENT;
use super::super::recent::once_acknowledged;
use super::INTERRUPTED;
use super::record::{self, Acknowledged, Ended, Record, Taken};
use crate::id::Serial;
use crate::run::{Attempt, DeliveryState, Outcome};

/// The commands that a journal knows, each with its latest attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Book {
    entries: BTreeMap<Serial, Entry>,
    live: u64,
    /// The last that were acknowledged with their ends, and the bytes of their records; the oldest
    /// first, at most [`RECENT`].
    recent: VecDeque<(Attempt, Outcome, u64)>,
    recent_bytes: u64,
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
                    self.acknowledge(acknowledged.serial);
                }
            }
        }
    }

    /// Moves a command that has ended among the recent ones.
    fn acknowledge(&mut self, serial: Serial) {
        let Some(Entry { attempt, standing, .. }) = self.remove(serial) else { return };
        let outcome = match standing {
            Standing::Ended(outcome) => once_acknowledged(outcome),
            // It was cut short, and that was answered.
            Standing::Taken(_) => Outcome::ended(DeliveryState::Failed, INTERRUPTED),
        };
        let attempt = Attempt { serial, number: attempt };
        let size = recent_records(attempt, &outcome).iter().map(size).sum();
        self.recent.push_back((attempt, outcome, size));
        self.recent_bytes += size;
        if self.recent.len() > RECENT
            && let Some((_, _, size)) = self.recent.pop_front()
        {
            self.recent_bytes -= size;
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

    fn remove(&mut self, serial: Serial) -> Option<Entry> {
        let entry = self.entries.remove(&serial)?;
        self.live -= entry.size;
        Some(entry)
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

    /// The last that were acknowledged, the oldest first.
    pub(super) fn recent(&self) -> impl Iterator<Item = (Attempt, &Outcome)> {
        self.recent.iter().map(|(attempt, outcome, _)| (*attempt, outcome))
    }

    /// Bytes of the records that say how the commands stand.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Bytes of all records that come to this book.
    pub(super) fn bytes(&self) -> u64 {
        self.live + self.recent_bytes
    }

    /// The records that come to this book.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let recent = self.recent().flat_map(|(attempt, outcome)| recent_records(attempt, outcome));
        recent.chain(self.open_records())
    }

    /// Those of them that say how commands stand that are not acknowledged.
    pub(super) fn open_records(&self) -> impl Iterator<Item = Record> {
        self.entries().map(|(Attempt { serial, number: attempt }, standing)| match standing {
            Standing::Taken(taken) => Record::Taken(taken.clone()),
            Standing::Ended(outcome) => {
                Record::Ended(Ended { serial, attempt, outcome: outcome.clone() })
            }
        })
    }
}

/// The records that come to a command that is remembered after its acknowledgement.
fn recent_records(attempt: Attempt, outcome: &Outcome) -> [Record; 2] {
    let Attempt { serial, number: attempt } = attempt;
    let outcome = outcome.clone();
    [
        Record::Ended(Ended { serial, attempt, outcome }),
        Record::Acknowledged(Acknowledged { serial, attempt }),
    ]
}

/// The bytes of a record. One that cannot be written takes none.
fn size(record: &Record) -> u64 {
    record::encode(record, &mut Vec::new()).unwrap_or(0)
}
