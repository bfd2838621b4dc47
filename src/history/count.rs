//! Counting what the ledger tells into statistics.
//!
//! The ledger is followed in order. Each record of statistics says up to which event it counts, so
//! that what a crash has cut short is counted on, and nothing twice.

use std::collections::{BTreeMap, HashMap};

use crate::engine::What;
use crate::id::{JobId, Serial};
use crate::run::Cause;
use crate::statistics::{CLIENTS, Counted, Record, Slot, Span, Statistics, Subject};
use crate::store::ledger::{self, Entry, Item};
use crate::store::{Order, Store, StoreError, key, page, records, walk};
use crate::time::Timestamp;

/// Events after which one count ends, at most some hundreds later.
pub const COUNTED_EVENTS: u64 = 50_000;

/// Single statistics, of a job or of a client in a span, after which one count ends: some 30 MB.
pub const COUNTED_STATISTICS: usize = 65_536;

/// What a part of the ledger comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The number of its first event.
    pub from: u64,
    /// The number of the first event after it.
    pub until: u64,
    /// The time of its last event; of an empty part [`Timestamp::MIN`].
    pub at: Timestamp,
    /// Whether the ledger ends with it.
    pub is_last: bool,
    /// What is to be added to records; their `until` is this part's.
    pub records: BTreeMap<Slot, Record>,
}

/// Counts the events from `from` on: up to `end`, if it is given, and otherwise a bounded part.
pub fn count(store: &dyn Store, from: u64, end: Option<u64>) -> Result<Delta, StoreError> {
    let mut count = Count {
        store,
        runs: HashMap::new(),
        size: 0,
        delta: Delta {
            from,
            until: from,
            at: Timestamp::MIN,
            is_last: true,
            records: BTreeMap::new(),
        },
    };
    let mut keys = key::all(key::LEDGER);
    // The page that has the first event may have begun before it.
    let begin = store.scan(&keys.start..&key::ledger(from.saturating_add(1)), Order::Down, 1)?;
    if let Some((begin, _)) = begin.into_iter().next() {
        keys.start = begin;
    }
    if let Some(end) = end {
        keys.end = key::ledger(end);
    }
    for found in walk(store, keys, Order::Up) {
        let (key, value) = found?;
        let first = records::part_of(ledger::WHAT, &key, key::event_in)?;
        let corrupt = |problem| StoreError::corrupt(ledger::WHAT, &key, problem);
        for entry in ledger::entries(first, &value).map_err(corrupt)? {
            let entry = entry.map_err(corrupt)?;
            if entry.no < from {
                continue;
            }
            let full = end.is_none() && count.is_full();
            if full || end.is_some_and(|end| entry.no >= end) {
                count.delta.is_last = false;
                return Ok(count.finish(end));
            }
            count.entry(&entry)?;
        }
    }
    Ok(count.finish(end))
}

/// What is to be known of a run.
#[derive(Debug, Clone, Copy)]
struct Due {
    job: Option<JobId>,
    /// When it was due.
    at: Timestamp,
    fired_at: Timestamp,
}

/// A count under way.
struct Count<'a> {
    store: &'a dyn Store,
    /// The runs met so far.
    runs: HashMap<Serial, Option<Due>>,
    /// Single statistics so far.
    size: usize,
    delta: Delta,
}

impl Count<'_> {
    fn is_full(&self) -> bool {
        self.delta.until - self.delta.from >= COUNTED_EVENTS || self.size >= COUNTED_STATISTICS
    }

    fn finish(self, end: Option<u64>) -> Delta {
        let mut delta = self.delta;
        if let Some(end) = end {
            // What comes after it was not looked at.
            (delta.until, delta.is_last) = (end, false);
        }
        for record in delta.records.values_mut() {
            record.until = delta.until;
        }
        delta
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), StoreError> {
        self.delta.until = entry.no.saturating_add(entry.events());
        self.delta.at = entry.at;
        match &entry.item {
            Item::Nothing => Ok(()),
            Item::Rows { serial, page, .. } => self.rows(*serial, *page),
            Item::Event(what) => self.event(entry.at, what),
        }
    }

    fn event(&mut self, at: Timestamp, what: &What) -> Result<(), StoreError> {
        match what {
            What::RunStarted { serial, .. } => {
                if let Some(Due { job: Some(job), at: due, fired_at }) = self.run(*serial)? {
                    self.job(job, at, |it| it.add_fired(fired_at.since(due)));
                }
            }
            What::RunEnded { serial, counts, .. } => {
                if let Some(Due { job: Some(job), .. }) = self.run(*serial)? {
                    self.job(job, at, |it| it.add_ended(counts));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts a page of responses.
    fn rows(&mut self, serial: Serial, no: u32) -> Result<(), StoreError> {
        const WHAT: &str = "page of responses";
        let Some(Due { job, at: scheduled_at, .. }) = self.run(serial)? else { return Ok(()) };
        let keys = key::page(serial, no, 0)..key::page(serial, no.saturating_add(1), 0);
        for part in records::pages(self.store, keys) {
            let (key, value) = part?;
            let damaged = |problem| StoreError::corrupt(WHAT, &key, problem);
            for row in page::rows(&value).map_err(damaged)? {
                let row = row.map_err(damaged)?;
                let late = row.at.since(scheduled_at);
                let add = |it: &mut Statistics| {
                    if row.retried {
                        it.retried += 1;
                    } else {
                        it.add_delivery(row.state, late, row.ran_ms);
                    }
                };
                if let Some(job) = job {
                    self.job(job, row.at, add);
                }
                let place = u8::try_from(row.client.0 % CLIENTS).unwrap_or(0);
                self.add(Subject::Clients(row.client.0 / CLIENTS), place, row.at, add);
            }
        }
        Ok(())
    }

    fn job(&mut self, job: JobId, at: Timestamp, add: impl Fn(&mut Statistics)) {
        self.add(Subject::Job(job), 0, at, add);
    }

    fn add(&mut self, subject: Subject, place: u8, at: Timestamp, add: impl Fn(&mut Statistics)) {
        for span in [Span::Hour(Span::hour_of(at)), Span::Day(Span::day_of(at))] {
            let record = self.delta.records.entry(Slot { span, subject }).or_default();
            let before = record.of.len();
            add(record.of.entry(place).or_default());
            self.size += record.of.len() - before;
        }
    }

    /// The job of a run and when it was due; `None`: it is not known, somebody has forgotten it
    /// before it was counted.
    fn run(&mut self, serial: Serial) -> Result<Option<Due>, StoreError> {
        if let Some(known) = self.runs.get(&serial) {
            return Ok(*known);
        }
        let run = records::run(self.store, serial)?;
        // What a replay makes up for is as late as the replay wants it.
        let known = run.map(|run| {
            // What a replay makes up for is as late as the replay wants it.
            let made_up = matches!(run.cause, Cause::Replay | Cause::Backfill);
            let at = if made_up { run.fired_at } else { run.scheduled_at };
            Due { job: run.job_id, at, fired_at: run.fired_at }
        });
        self.runs.insert(serial, known);
        Ok(known)
    }
}

/// Where the count is to go on.
pub fn counted(store: &dyn Store) -> Result<Counted, StoreError> {
    let start = Counted { done: 1, until: 1, at: Timestamp::from_millis(0) };
    Ok(records::counted(store)?.unwrap_or(start))
}

/// Before which moment every run that has ended is counted; those that ended at it or later may
/// not be.
pub fn counted_before(store: &dyn Store) -> Result<Timestamp, StoreError> {
    let counted = counted(store)?;
    if counted.done == counted.until {
        let rest = count(store, counted.until, None)?;
        if rest.is_last && rest.records.is_empty() {
            return Ok(Timestamp::MAX);
        }
    }
    Ok(counted.at)
}

/// Adds counts to the records that are stored, those that have them already left out.
pub fn merged(
    store: &dyn Store,
    deltas: Vec<(Slot, Record)>,
) -> Result<Vec<(Slot, Record)>, StoreError> {
    let mut records = Vec::with_capacity(deltas.len());
    for (slot, delta) in deltas {
        let mut record = records::statistics(store, slot)?.unwrap_or_default();
        if record.until < delta.until {
            record.merge(&delta);
            records.push((slot, record));
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
