//! Making the index, a segment at a time.

use std::collections::BTreeMap;

use super::{BUCKETS, List, PART, SEGMENT, Term, VERSION, indexed, places, position};
use super::{terms_of, terms_of_row};
use crate::actor::Actor;
use crate::bytes::{put_bytes, put_varint};
use crate::history::events::pages;
use crate::store::ledger::{Entry, Item};
use crate::store::{Batch, MAX_OPS, Op, Store, StoreError, key, page, records};

/// What makes a segment's part of the index: to be written in this order, batch after batch. The
/// last says that the segment is indexed; until then the others are not looked at.
#[derive(Debug)]
pub struct IndexStep {
    /// Each has at most [`MAX_OPS`] operations.
    pub batches: Vec<Batch>,
    /// Whether another segment is complete and can be indexed after it.
    pub more: bool,
}

impl IndexStep {
    /// Indexes the next segment of the ledger; `None`: none is complete that is not indexed.
    pub fn next(store: &dyn Store) -> Result<Option<Self>, StoreError> {
        Self::next_of(store, SEGMENT)
    }

    pub(super) fn next_of(store: &dyn Store, size: u64) -> Result<Option<Self>, StoreError> {
        let (first, end) = pages::bounds(store)?;
        // Of what was forgotten at the ledger's beginning there is nothing to index.
        let segment = indexed(store, size)?.max(first / size);
        let complete = end / size;
        if segment >= complete {
            return Ok(None);
        }
        let lists = Lists::of(store, segment, size)?;
        let mut ops = lists.ops(segment);
        ops.push(Op::Put(key::index_position(), position(size, segment + 1)));
        let mut batches = Vec::new();
        while !ops.is_empty() {
            let rest = ops.split_off(ops.len().min(MAX_OPS));
            batches.push(std::mem::replace(&mut ops, rest));
        }
        Ok(Some(Self { batches, more: segment + 1 < complete }))
    }
}

/// The places of a segment's events.
#[derive(Debug, Default)]
struct Lists {
    terms: BTreeMap<Term, Vec<u32>>,
}

impl Lists {
    fn of(store: &dyn Store, segment: u64, size: u64) -> Result<Self, StoreError> {
        let mut lists = Self::default();
        let (begin, end) = (segment * size, (segment + 1) * size);
        let mut no = begin;
        while no < end {
            let Some(page) = pages::at_or_after(store, no)? else { break };
            for entry in &page.entries {
                let within = entry.no < end && entry.no.saturating_add(entry.events()) > begin;
                if within {
                    lists.entry(store, entry, begin..end)?;
                }
            }
            no = page.end.max(no + 1);
        }
        Ok(lists)
    }

    fn add(&mut self, term: Term, place: u32) {
        let places = self.terms.entry(term).or_default();
        // An event may have a client twice: as what it is about and as who brought it about.
        if places.last() != Some(&place) {
            places.push(place);
        }
    }

    fn entry(
        &mut self,
        store: &dyn Store,
        entry: &Entry,
        within: std::ops::Range<u64>,
    ) -> Result<(), StoreError> {
        match &entry.item {
            Item::Nothing => Ok(()),
            Item::Rows { .. } => self.rows(store, entry, within),
            Item::Event(what) => {
                let place = place(entry.no, within.start);
                for term in terms_of(&entry.actor, what) {
                    self.add(term, place);
                }
                let about = super::About::of(what).client;
                let by = match &entry.actor {
                    Actor::Client(client) => Some(client),
                    _ => None,
                };
                for client in [about, by].into_iter().flatten() {
                    if let Some(no) = records::client_no(store, client)? {
                        self.add(Term::client(no), place);
                    }
                }
                Ok(())
            }
        }
    }

    fn rows(
        &mut self,
        store: &dyn Store,
        entry: &Entry,
        within: std::ops::Range<u64>,
    ) -> Result<(), StoreError> {
        let Item::Rows { serial, page, .. } = entry.item else { return Ok(()) };
        // What is forgotten by now is never told again.
        let Some(run) = records::run(store, serial)? else { return Ok(()) };
        let of_run = [Some(Term::run(serial)), run.job.as_ref().map(Term::job)];
        let mut keys = key::pages_from(serial, page);
        keys.end = key::page(serial, page, u16::MAX);
        keys.end.push(0);
        let mut no = entry.no;
        for part in records::pages(store, keys) {
            let (key, value) = part?;
            if no == entry.no && key::page_in(&key) != Some((page, 0)) {
                // It is being forgotten: where its responses are is not known any more.
                return Ok(());
            }
            let corrupt = |problem| StoreError::corrupt("page of responses", &key, problem);
            for row in page::rows(&value).map_err(corrupt)? {
                let row = row.map_err(corrupt)?;
                if within.contains(&no) {
                    let place = place(no, within.start);
                    for term in of_run.iter().flatten().cloned().chain(terms_of_row(&row)) {
                        self.add(term, place);
                    }
                }
                no = no.saturating_add(1);
            }
        }
        Ok(())
    }

    /// The operations that write the lists.
    fn ops(self, segment: u64) -> Vec<Op> {
        let mut buckets: BTreeMap<(List, u8), Vec<Vec<u8>>> = BTreeMap::new();
        let mut present = [[0_u8; BUCKETS]; List::ALL.len()];
        for (Term { list, bucket, name }, places) in self.terms {
            present[list.place()][usize::from(bucket / 8)] |= 1 << (bucket % 8);
            let parts = buckets.entry((list, bucket)).or_default();
            if parts.last().is_none_or(|part| part.len() >= PART) {
                parts.push(Vec::new());
            }
            if let Some(part) = parts.last_mut() {
                put_bytes(part, &name);
                places::put(part, &places);
            }
        }
        let mut ops = Vec::new();
        for ((list, bucket), parts) in buckets {
            let count = parts.len() as u64;
            for (no, terms) in (0_u16..).zip(parts) {
                let mut body = Vec::with_capacity(terms.len() + 2);
                put_varint(&mut body, count);
                body.extend_from_slice(&terms);
                let key = key::index_part(list as u8, bucket, segment, no);
                ops.push(Op::Put(key, sealed(&body)));
            }
        }
        ops.push(Op::Put(key::index_lists(segment), sealed(&present.concat())));
        ops
    }
}

/// A value with its version and its checksum before it.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(body.len() + 5);
    value.push(VERSION);
    value.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    value.extend_from_slice(body);
    value
}

/// The place of an event in its segment.
fn place(no: u64, begin: u64) -> u32 {
    u32::try_from(no - begin).unwrap_or(u32::MAX)
}
