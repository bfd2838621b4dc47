//! The index of the ledger: for each segment of event numbers, where in it the events are of a
//! client, a job, a run, a state, a kind or an actor.
//!
//! Promises: it only saves looks. What it gives is checked by whoever reads it, and a segment that
//! it does not have, or of which anything is missing or damaged, is read as a whole: so it never
//! changes what a query answers. It is made from what is stored alone, segment after segment, once
//! a segment is complete; no value is above [`PART`] bytes and a little.
//!
//! Which lists and buckets a segment has is one value: the version byte 1, 32 bytes for each of the
//! [`List`]s in their order, a bit for each bucket, the lowest first, and the CRC-32 of these bytes.
//! A part of a bucket is the version byte 1, the CRC-32 of what follows, how many parts there are,
//! and then term after term: its bytes with their length before them, and its places, see
//! [`places`].
//!
//! How far the index goes is the version byte 1, the size of a segment and the number of the next
//! segment, varints.

mod build;
pub(super) mod candidates;
mod forget;
mod places;
#[cfg(test)]
mod tests;

use crate::actor::Actor;
use crate::bytes::{Reader, put_varint};
use crate::engine::What;
use crate::history::events::kind::{About, EventKind};
use crate::id::{ClientNo, JobName, Serial};
use crate::run::DeliveryState;
use crate::store::page::Row;
use crate::store::{Store, StoreError, key};

pub use build::IndexStep;
pub(super) use forget::old_index;

/// Event numbers to a segment.
pub const SEGMENT: u64 = 16 * 1024;

/// Bytes after which a part of a bucket is full.
const PART: usize = 24 * 1024;

const VERSION: u8 = 1;

/// Bytes of the set of a list's buckets.
const BUCKETS: usize = 32;

/// By what events are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum List {
    Run = b'r',
    Client = b'c',
    Job = b'j',
    Actor = b'a',
    State = b's',
    Kind = b'k',
}

impl List {
    /// All, those first that leave most out.
    const ALL: [Self; 6] =
        [Self::Run, Self::Client, Self::Job, Self::Actor, Self::State, Self::Kind];

    fn place(self) -> usize {
        Self::ALL.into_iter().position(|list| list == self).unwrap_or(0)
    }
}

/// Something by which events are found, and in which bucket of its list it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Term {
    list: List,
    bucket: u8,
    name: Vec<u8>,
}

impl Term {
    fn hashed(list: List, buckets: u8, name: &[u8]) -> Self {
        let bucket = (crc32fast::hash(name) % u32::from(buckets)).to_le_bytes()[0];
        Self { list, bucket, name: name.to_vec() }
    }

    /// A run; others may have the same term.
    pub(super) fn run(serial: Serial) -> Self {
        let hash = crc32fast::hash(&serial.to_bytes());
        let bucket = (hash % 32).to_le_bytes()[0];
        Self { list: List::Run, bucket, name: hash.to_le_bytes().to_vec() }
    }

    /// A client: 64 neighbours are in one bucket, so that a group's members are in few.
    pub(super) fn client(ClientNo(no): ClientNo) -> Self {
        let bucket = (no / 64 % 256).to_le_bytes()[0];
        let mut name = Vec::new();
        put_varint(&mut name, no.into());
        Self { list: List::Client, bucket, name }
    }

    pub(super) fn job(name: &JobName) -> Self {
        Self::hashed(List::Job, 32, name.as_str().as_bytes())
    }

    /// An actor that is neither the server nor a client.
    pub(super) fn actor(actor: &Actor) -> Self {
        Self::hashed(List::Actor, 8, actor.to_string().as_bytes())
    }

    pub(super) fn state(state: DeliveryState) -> Self {
        Self { list: List::State, bucket: 0, name: vec![state.code()] }
    }

    pub(super) fn kind(kind: EventKind) -> Self {
        Self { list: List::Kind, bucket: 0, name: vec![kind as u8] }
    }
}

/// The terms of an event, but for its client, which has a number only in the store.
fn terms_of(actor: &Actor, what: &What) -> Vec<Term> {
    let About { job, serial, state, .. } = About::of(what);
    let mut terms = vec![Term::kind(EventKind::of(what))];
    terms.extend(job.map(Term::job));
    terms.extend(serial.map(Term::run));
    terms.extend(state.map(Term::state));
    match actor {
        // Of the server there are most: whoever asks for them finds them by reading on. Those of a
        // client are found by the client.
        Actor::Server | Actor::Client(_) => {}
        other => terms.push(Term::actor(other)),
    }
    terms
}

/// The terms of a response, but for its run and job. Whether its client or the server brought it
/// about is not among them.
fn terms_of_row(row: &Row<'_>) -> [Term; 3] {
    let kind = if row.retried { EventKind::AttemptEnded } else { EventKind::DeliveryEnded };
    [Term::kind(kind), Term::state(row.state), Term::client(row.client)]
}

/// The number of the first segment that is not indexed, with segments of this size.
fn indexed(store: &dyn Store, size: u64) -> Result<u64, StoreError> {
    let Some(value) = store.get(&key::index_position())? else { return Ok(0) };
    let mut reader = Reader::new(&value, "how far the index goes");
    let known = (reader.byte(), reader.varint(), reader.varint());
    match known {
        (Ok(VERSION), Ok(of), Ok(next)) if of == size => Ok(next),
        // Another version's, or damaged: it is made anew.
        _ => Ok(0),
    }
}

fn position(size: u64, next: u64) -> Vec<u8> {
    let mut value = vec![VERSION];
    put_varint(&mut value, size);
    put_varint(&mut value, next);
    value
}
