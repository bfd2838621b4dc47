//! Commits as the node writes them: units of changes gathered into batches, each with its page of
//! the ledger, and the recorded inputs that led to them.
//!
//! Promises: each unit is written as a whole or not at all, together with the events that tell of
//! it; the inputs are there as soon as anything of their commit is; how units are gathered depends
//! on them alone, so that whoever decides again from the same inputs gets the same pages. Imports
//! the engine's changes and events, and the rest of the store.
//!
//! A page's digest is the CRC-32 of what its batch writes beside it, in the order in which it is
//! written: of each operation the key and the value. Of standings it lacks the heads, of results it
//! has the lengths only, and of what forgets or deletes by searching the store, what was asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ledger::{Builder, Head};
use super::{Batch, MAX_OPS, Op, Store, StoreError, key, records, staging};
use crate::bytes::put_varint;
use crate::engine::{Change, Decision, Effect, Event, PageEntry, What};
use crate::id::{ClientId, JobId, JobName, Serial};
use crate::run::Outcome;
use crate::time::Timestamp;

/// Operations of the units of one batch, at most; what it leaves is for pages of the ledger and for
/// inputs.
const ROOM: usize = MAX_OPS - 16;

/// Bytes of a piece of recorded inputs.
pub const INPUTS_PIECE: usize = 48 * 1024;

/// What one commit writes.
#[derive(Debug, Default)]
pub struct Commit {
    /// Each unit is written as a whole or not at all, in this order.
    pub units: Vec<Vec<Change>>,
    /// What they tell of, in the order in which it happened.
    pub events: Vec<Arc<Event>>,
    /// The inputs that led to them, encoded; empty: they are not recorded.
    pub inputs: Vec<u8>,
    /// What was worked out from what is stored, such as an index: written after all else, without
    /// the ledger's knowing. Each batch has at most [`MAX_OPS`] operations.
    pub derived: Vec<Batch>,
}

impl Commit {
    /// What a decision writes, with the events that it notifies of; and what waits for it. Ends
    /// of deliveries are told by the pages of responses that have them.
    #[must_use]
    pub fn of(Decision { mut units, effects, .. }: Decision) -> (Self, Vec<Effect>) {
        if bug!(UnitForgotten) && units.len() > 1 {
            units.pop();
        }
        let told = effects.iter().filter_map(|effect| match effect {
            Effect::Notify(event) if is_told(&event.what) => Some(Arc::clone(event)),
            _ => None,
        });
        (Self { events: told.collect(), units, ..Self::default() }, effects)
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_silent() && self.derived.is_empty()
    }

    /// Whether it decides nothing: there is nothing for the ledger to tell.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.units.is_empty() && self.events.is_empty() && self.inputs.is_empty()
    }
}

/// Writes commits one after the other, and their ledger.
#[derive(Debug)]
pub struct Writer {
    head: Head,
}

impl Writer {
    /// A writer that goes on with a store's ledger.
    pub fn open(store: &dyn Store) -> Result<Self, StoreError> {
        Ok(Self { head: Head::of(store)? })
    }

    /// Where the ledger goes on.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Writes a commit; all of it is durable when it returns. Units share one flush, unless one
    /// is large, or forgets what one before it has written. An empty commit writes nothing.
    ///
    /// After an error it is not known what of it is there: stop, and open the store again.
    pub fn write(&mut self, store: &dyn Store, commit: &Commit) -> Result<(), StoreError> {
        self.write_parts(store, commit, usize::MAX).map(drop)
    }

    /// Writes the first `most` parts of a commit, as a crash within it leaves it, and tells how
    /// many there are in all. A part is one batch, or one large unit. The ledger goes on as if
    /// all had been written.
    pub fn write_parts(
        &mut self,
        store: &dyn Store,
        commit: &Commit,
        most: usize,
    ) -> Result<usize, StoreError> {
        if commit.is_silent() {
            staging::write_units(store, commit.derived.clone())?;
            return Ok(0);
        }
        let mut gather = Gather::new(self.head, commit, most);
        let mut homes = homes(commit).into_iter();
        let mut written = 0;
        for (at, changes) in commit.units.iter().enumerate() {
            let searches = records::searches(changes);
            if searches {
                gather.close();
                // What it searches for must be there to be found.
                if records::looks_at_any_of(changes, &commit.units[written..at]) {
                    gather.flush(store)?;
                    written = at;
                }
            }
            let unit = encode(store, changes, homes.next().unwrap_or_default())?;
            let alone = searches || unit.ops.len() > ROOM;
            if alone || gather.part.ops.len() + unit.ops.len() > ROOM {
                gather.close();
            }
            gather.add(unit);
            if alone {
                gather.close();
            }
        }
        if commit.units.is_empty() {
            let events = homes.next().unwrap_or_default();
            gather.add(Unit { events, ..Unit::default() });
        }
        gather.close();
        if most == usize::MAX {
            gather.ready.extend(commit.derived.iter().cloned());
        }
        gather.flush(store)?;
        self.head = Head { next_commit: self.head.next_commit + 1, ..gather.head };
        Ok(gather.parts)
    }
}

/// A unit as it is written.
#[derive(Default)]
struct Unit {
    ops: Vec<Op>,
    digest: u32,
    rows: Vec<Rows>,
    /// The events that tell of it, by their places in the commit.
    events: Vec<usize>,
}

/// A page of responses that a unit puts.
struct Rows {
    serial: Serial,
    job: Option<JobName>,
    page: u32,
    count: u32,
    at: Timestamp,
}

/// Units that are written together.
#[derive(Default)]
struct Part {
    units: usize,
    ops: Vec<Op>,
    digest: crc32fast::Hasher,
    rows: BTreeMap<Serial, Vec<Rows>>,
    events: Vec<usize>,
}

/// A commit on its way to the store.
struct Gather<'a> {
    commit: &'a Commit,
    head: Head,
    part: Part,
    /// Closed parts, that are not written yet.
    ready: Vec<Vec<Op>>,
    /// Parts closed so far.
    parts: usize,
    /// Parts that are written; the others are left out.
    most: usize,
}

impl<'a> Gather<'a> {
    fn new(head: Head, commit: &'a Commit, most: usize) -> Self {
        let (part, ready) = (Part::default(), Vec::new());
        Self { commit, head, part, ready, parts: 0, most }
    }

    fn add(&mut self, unit: Unit) {
        self.part.units += 1;
        self.part.ops.extend(unit.ops);
        self.part.digest.update(&unit.digest.to_le_bytes());
        self.part.events.extend(unit.events);
        for rows in unit.rows {
            self.part.rows.entry(rows.serial).or_default().push(rows);
        }
    }

    /// Ends the part at hand, if anything is in it: its pages of the ledger follow what it writes.
    fn close(&mut self) {
        if self.part.units == 0 {
            return;
        }
        let Part { mut ops, digest, mut rows, mut events, .. } = std::mem::take(&mut self.part);
        let no = u32::try_from(self.parts).unwrap_or(u32::MAX);
        let mut builder = Builder::new(self.head, no);
        if self.parts == 0 {
            let begins = self.head.next_event;
            let pieces = pieces(self.head.next_commit, begins, &self.commit.inputs);
            let mut pieces = pieces.into_iter();
            ops.extend(pieces.next());
            // The first says how many there are; without it they are nothing.
            self.ready.extend(pieces.map(|piece| vec![piece]));
        }
        // In the order in which they happened; a run's responses before its end.
        events.sort_unstable();
        for event in events.into_iter().map(|place| &self.commit.events[place]) {
            if let What::RunEnded { serial, .. } = &event.what {
                add_rows(&mut builder, rows.remove(serial).unwrap_or_default());
            }
            builder.event(event);
        }
        for rows in rows.into_values() {
            add_rows(&mut builder, rows);
        }
        let (pages, head) = builder.finish(digest.finalize());
        ops.extend(pages);
        self.head = head;
        if self.parts < self.most {
            self.ready.push(ops);
        }
        self.parts += 1;
    }

    fn flush(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        staging::write_units(store, std::mem::take(&mut self.ready))
    }
}

fn add_rows(builder: &mut Builder, rows: Vec<Rows>) {
    for Rows { serial, job, page, count, at } in rows {
        builder.rows(serial, job.as_ref(), (page, count), at);
    }
}

/// Recorded inputs as operations, the first piece first. It begins with how many pieces there are
/// and the number of the commit's first event.
fn pieces(commit: u64, first_event: u64, inputs: &[u8]) -> Vec<Op> {
    if inputs.is_empty() {
        return Vec::new();
    }
    let count = inputs.len().div_ceil(INPUTS_PIECE);
    let mut head = Vec::new();
    put_varint(&mut head, count as u64);
    put_varint(&mut head, first_event);
    let pieces = inputs.chunks(INPUTS_PIECE).zip(0_u16..);
    pieces
        .map(|(piece, no)| {
            let value = if no == 0 { [&head, piece].concat() } else { piece.to_vec() };
            Op::Put(key::inputs(commit, no), value)
        })
        .collect()
}

/// Whether an event has an entry of its own in the ledger.
fn is_told(what: &What) -> bool {
    !matches!(what, What::DeliveryEnded { .. } | What::AttemptEnded { .. })
}

fn encode(store: &dyn Store, changes: &[Change], events: Vec<usize>) -> Result<Unit, StoreError> {
    let mut unit = Unit { events, ops: Vec::with_capacity(changes.len()), ..Unit::default() };
    let mut digest = crc32fast::Hasher::new();
    let job = changes.iter().find_map(|change| match change {
        Change::PutRun(run) => run.job.clone(),
        _ => None,
    });
    let inline = records::run_of(changes);
    for change in changes {
        let begun = unit.ops.len();
        records::encode_change(store, &mut unit.ops, change, inline)?;
        digest_change(&mut digest, change, &unit.ops[begun..]);
        if let Change::PutPage { serial, page, entries } = change
            && let Some(last) = entries.last()
        {
            let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let (serial, page, job, at) = (*serial, *page, job.clone(), last.at);
            unit.rows.push(Rows { serial, job, page, count, at });
        }
    }
    unit.digest = digest.finalize();
    Ok(unit)
}

fn digest_change(digest: &mut crc32fast::Hasher, change: &Change, ops: &[Op]) {
    match change {
        Change::PutPage { serial, page, entries } => {
            digest.update(&serial.to_bytes());
            digest.update(&page.to_le_bytes());
            for PageEntry { client, at, attempt, retried, outcome } in entries {
                digest.update(&client.0.to_le_bytes());
                digest.update(&at.millis().to_le_bytes());
                digest.update(&attempt.to_le_bytes());
                digest.update(&[u8::from(*retried)]);
                digest_outcome(digest, outcome);
            }
        }
        Change::PutLate { serial, client, answer } => {
            digest.update(&serial.to_bytes());
            digest.update(&client.0.to_le_bytes());
            digest.update(&answer.at.millis().to_le_bytes());
            digest.update(&answer.attempt.to_le_bytes());
            digest_outcome(digest, &answer.outcome);
        }
        Change::ForgetRun(serial) => digest.update(&serial.to_bytes()),
        Change::ForgetJob(removed) => digest.update(&removed.job.to_bytes()),
        Change::ForgetReplay(id) => digest.update(&id.to_bytes()),
        _ => {
            for op in ops {
                digest.update(op.key());
                if let Op::Put(_, value) = op {
                    // A standing's head is told by the rest, and those who wrote the digest may not
                    // have had it.
                    let is_standing = matches!(change, Change::PutJobState(..));
                    digest.update(if is_standing { records::split(value).0 } else { value });
                }
            }
        }
    }
}

fn digest_outcome(digest: &mut crc32fast::Hasher, outcome: &Outcome) {
    let Outcome { state, reason, result, ran_ms } = outcome;
    digest.update(&[state.code()]);
    digest.update(reason.as_deref().unwrap_or_default().as_bytes());
    let length = result.as_ref().map_or(0, |result| result.text().len() as u64);
    digest.update(&length.to_le_bytes());
    digest.update(&ran_ms.map_or(0, |ran| ran.wrapping_add(1)).to_le_bytes());
}

/// What changes and events can have in common.
#[derive(PartialEq, Eq, Hash)]
enum Home<'a> {
    Run(Serial),
    Job(JobId),
    Client(&'a ClientId),
}

/// For each unit the events that tell of it, by their places in the commit; one list if there are
/// no units. What belongs to none is told with the last.
fn homes(commit: &Commit) -> Vec<Vec<usize>> {
    let last = commit.units.len().saturating_sub(1);
    let mut homes = vec![Vec::new(); last + 1];
    let mut known: HashMap<Home<'_>, usize> = HashMap::new();
    if last > 0 {
        for (unit, changes) in commit.units.iter().enumerate() {
            known.extend(changes.iter().filter_map(home_of_change).map(|home| (home, unit)));
        }
    }
    for (place, event) in commit.events.iter().enumerate() {
        let unit = home_of_event(&event.what).and_then(|home| known.get(&home).copied());
        homes[unit.unwrap_or(last)].push(place);
    }
    homes
}

fn home_of_change(change: &Change) -> Option<Home<'_>> {
    Some(match change {
        Change::PutRun(run) => Home::Run(run.serial),
        Change::PutOpen { serial, .. }
        | Change::PutMarks { serial, .. }
        | Change::PutPage { serial, .. }
        | Change::PutLate { serial, .. } => Home::Run(*serial),
        Change::PutJob(job) | Change::PutJobState(job, _) => Home::Job(job.id),
        Change::RemoveJob(id) => Home::Job(*id),
        Change::PutClient(record) => Home::Client(&record.id),
        _ => return None,
    })
}

fn home_of_event(what: &What) -> Option<Home<'_>> {
    Some(match what {
        What::RunStarted { serial, .. }
        | What::RunEnded { serial, .. }
        | What::RunChanged { serial, .. }
        | What::Rollout { serial, .. }
        | What::LateAnswer { serial, .. } => Home::Run(*serial),
        What::Job { id, .. } => Home::Job(*id),
        What::Client { client, .. } => Home::Client(client),
        _ => return None,
    })
}
