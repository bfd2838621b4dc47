//! Which events can meet a query, by the index.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use super::{BUCKETS, List, Term, VERSION, indexed, places};
use crate::actor::Actor;
use crate::bytes::{Damaged, Reader};
use crate::history::events::filter::Filter;
use crate::id::ClientNo;
use crate::store::{Store, StoreError, key};

/// Clients that are looked for by the index, at most; of more, what is read is checked alone.
const MAX_CLIENTS: u64 = 256;

/// Segments that one look asks the index for, at most.
const LOOK_SEGMENTS: u32 = 4_096;

/// Segments whose places are remembered.
const REMEMBERED: usize = 4;

/// Where the next event is that can meet the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::history) enum Next {
    /// There.
    At(u64),
    /// Nowhere.
    Nowhere,
    /// It is not known yet: the look is long enough. Up to this number there is none.
    Unknown(u64),
}

/// Which events can meet a query.
#[derive(Debug)]
pub(in crate::history) struct Candidates {
    size: u64,
    /// An event can meet the query if it has one term at least of each of these.
    wanted: Vec<BTreeSet<Term>>,
    /// Segments below this one are indexed.
    indexed: u64,
    /// The places of some segments; `None`: they have to be read.
    known: BTreeMap<u64, Option<RoaringBitmap>>,
    looked: u32,
}

impl Candidates {
    pub(in crate::history) fn new(filter: &Filter, size: u64) -> Self {
        let query = &filter.query;
        let mut wanted: Vec<BTreeSet<Term>> = Vec::new();
        wanted.extend(query.serial.map(|serial| BTreeSet::from([Term::run(serial)])));
        let clients = filter.clients.as_ref().filter(|clients| clients.len() <= MAX_CLIENTS);
        let clients = clients.map(|all| all.iter().map(|no| Term::client(ClientNo(no))).collect());
        wanted.extend(clients);
        wanted.extend(query.job.as_ref().map(|job| BTreeSet::from([Term::job(job)])));
        wanted.extend(query.actor.as_ref().and_then(|actor| match actor {
            Actor::Server | Actor::Client(_) => None,
            other => Some(BTreeSet::from([Term::actor(other)])),
        }));
        wanted.extend(filter.by.map(|no| BTreeSet::from([Term::client(no)])));
        if !query.states.is_empty() {
            wanted.push(query.states.iter().copied().map(Term::state).collect());
        }
        if !query.kinds.is_empty() {
            wanted.push(query.kinds.iter().copied().map(Term::kind).collect());
        }
        Self { size, wanted, indexed: 0, known: BTreeMap::new(), looked: 0 }
    }

    /// Begins a look.
    pub(in crate::history) fn begin(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        self.looked = 0;
        if !self.wanted.is_empty() {
            self.indexed = indexed(store, self.size)?;
        }
        // What could not be read then may be there now.
        self.known.retain(|_, places| places.is_some());
        Ok(())
    }

    /// The first candidate from a number on, before `end`.
    pub(in crate::history) fn next(
        &mut self,
        store: &dyn Store,
        mut no: u64,
        end: u64,
    ) -> Result<Next, StoreError> {
        while no < end {
            let segment = no / self.size;
            let begin = segment * self.size;
            if self.is_unknown(segment) {
                return Ok(Next::Unknown(no));
            }
            let Some(places) = self.places(store, segment)? else { return Ok(Next::At(no)) };
            let from = u32::try_from(no - begin).unwrap_or(u32::MAX);
            if let Some(place) = places.range(from..).next() {
                let found = begin + u64::from(place);
                return Ok(if found < end { Next::At(found) } else { Next::Nowhere });
            }
            no = begin + self.size;
        }
        Ok(Next::Nowhere)
    }

    /// The last candidate from `first` on, before a number.
    pub(in crate::history) fn last(
        &mut self,
        store: &dyn Store,
        first: u64,
        mut end: u64,
    ) -> Result<Next, StoreError> {
        while end > first {
            let segment = (end - 1) / self.size;
            let begin = segment * self.size;
            if self.is_unknown(segment) {
                return Ok(Next::Unknown(end));
            }
            let Some(places) = self.places(store, segment)? else { return Ok(Next::At(end - 1)) };
            let to = u32::try_from(end - begin).unwrap_or(u32::MAX);
            if let Some(place) = places.range(..to).next_back() {
                let found = begin + u64::from(place);
                return Ok(if found >= first { Next::At(found) } else { Next::Nowhere });
            }
            end = begin;
        }
        Ok(Next::Nowhere)
    }

    /// Whether a segment's places would be one look too many.
    fn is_unknown(&self, segment: u64) -> bool {
        self.looked >= LOOK_SEGMENTS && !self.known.contains_key(&segment)
    }

    fn places(
        &mut self,
        store: &dyn Store,
        segment: u64,
    ) -> Result<Option<&RoaringBitmap>, StoreError> {
        if self.wanted.is_empty() || segment >= self.indexed {
            return Ok(None);
        }
        if !self.known.contains_key(&segment) {
            self.looked += 1;
            let places = self.look_up(store, segment)?;
            if self.known.len() >= REMEMBERED {
                self.known.clear();
            }
            self.known.insert(segment, places);
        }
        Ok(self.known.get(&segment).and_then(Option::as_ref))
    }

    /// The places of a segment's candidates; `None`: something is missing or damaged.
    fn look_up(
        &self,
        store: &dyn Store,
        segment: u64,
    ) -> Result<Option<RoaringBitmap>, StoreError> {
        let Some(present) = store.get(&key::index_lists(segment))? else { return Ok(None) };
        let Some(present) = opened(&present) else { return Ok(None) };
        let mut candidates: Option<RoaringBitmap> = None;
        for terms in &self.wanted {
            let Some(places) = union(store, segment, (present, terms))? else { return Ok(None) };
            let both = match candidates {
                Some(before) => before & places,
                None => places,
            };
            if both.is_empty() {
                return Ok(Some(both));
            }
            candidates = Some(both);
        }
        Ok(candidates)
    }
}

/// The places of all events that have one term at least of several.
fn union(
    store: &dyn Store,
    segment: u64,
    (present, terms): (&[u8], &BTreeSet<Term>),
) -> Result<Option<RoaringBitmap>, StoreError> {
    let mut places = RoaringBitmap::new();
    let buckets: BTreeSet<(List, u8)> = terms.iter().map(|term| (term.list, term.bucket)).collect();
    for (list, bucket) in buckets {
        let at = list.place() * BUCKETS + usize::from(bucket / 8);
        match present.get(at) {
            None => return Ok(None),
            Some(bits) if bits & (1 << (bucket % 8)) == 0 => continue,
            Some(_) => {}
        }
        let mut parts = 1;
        let mut part = 0;
        while part < parts {
            let key = key::index_part(list as u8, bucket, segment, part);
            let Some(value) = store.get(&key)? else { return Ok(None) };
            let Some(body) = opened(&value) else { return Ok(None) };
            match add_part(body, (list, bucket), terms, &mut places) {
                Ok(count) => parts = count,
                Err(_) => return Ok(None),
            }
            part += 1;
        }
    }
    Ok(Some(places))
}

/// Adds the places of the terms that a part has, and tells how many parts there are.
fn add_part(
    body: &[u8],
    (list, bucket): (List, u8),
    terms: &BTreeSet<Term>,
    places: &mut RoaringBitmap,
) -> Result<u16, Damaged> {
    let mut reader = Reader::new(body, "a part of the index");
    let parts = reader.number()?;
    while !reader.is_empty() {
        let name = reader.bytes()?;
        let is_wanted = terms
            .iter()
            .any(|term| term.name == name && (term.list, term.bucket) == (list, bucket));
        if is_wanted {
            places::add(&mut reader, places)?;
        } else {
            places::skip(&mut reader)?;
        }
    }
    Ok(parts)
}

/// What is in a value of the index; `None`: it is of another version, or damaged.
fn opened(value: &[u8]) -> Option<&[u8]> {
    let (head, body) = value.split_at_checked(5)?;
    let sum = u32::from_le_bytes(head[1..].try_into().ok()?);
    (head[0] == VERSION && sum == crc32fast::hash(body)).then_some(body)
}
