//! Events of the ledger, by what they are about.
//!
//! Promises: an event has one number for ever, and pages go on from a number, so that each is
//! given once however many are added meanwhile; in the order of numbers the times never go back;
//! one look reads a bounded number of events and bytes, [`LOOK_EVENTS`] and [`LOOK_BYTES`], and
//! then gives what it has found and where to go on.

pub(super) mod filter;
pub(super) mod kind;
mod known;
pub(super) mod pages;
mod query;
mod recorded;
mod rows;
mod table;
#[cfg(test)]
pub(super) mod tests;

use std::ops::Range;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use crate::engine::Event;
use crate::store::ledger::{Entry, Item};
use crate::store::{Store, StoreError};
use crate::time::Timestamp;

use crate::history::index::SEGMENT;
use crate::history::index::candidates::{Candidates, Next};
use filter::Filter;
use known::Known;
use pages::Page;
use rows::RowsEntry;

pub use kind::{About, EventKind, UnknownWord, end_state};
pub use query::{
    Cursor, DEFAULT_EVENTS, EventOrder, EventQuery, InvalidCursor, InvalidEventQuery, MAX_EVENTS,
    MAX_TEXT, ResultsShown, words,
};
pub use recorded::Recorded;
pub use table::{COLUMNS, CsvLines};

/// Events after which one look ends.
pub const LOOK_EVENTS: u64 = 200_000;

/// The same where a text is searched for.
pub const LOOK_SEARCHED: u64 = 50_000;

/// Bytes, as they are stored, after which one look ends.
pub const LOOK_BYTES: usize = 32 * 1024 * 1024;

/// A part of the events that were asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventPage {
    /// The events, in the order that was asked for.
    pub events: Vec<Recorded>,
    /// Where to go on: the `after` of the next page. A page may be short, even empty, and have
    /// one: then the look ended before the events did. `None`: there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
    /// How many events were looked at to find these.
    pub looked_at: u64,
}

/// Events of the ledger. `members` are the numbers of the clients in the query's group, if it has
/// one.
pub fn events(
    store: &dyn Store,
    query: &EventQuery,
    members: Option<RoaringBitmap>,
) -> Result<EventPage, StoreError> {
    EventReader::new(store, query.clone(), members)?.read(store)
}

/// Reads page after page of the events that a query asks for.
#[derive(Debug)]
pub struct EventReader {
    filter: Filter,
    candidates: Candidates,
    known: Known,
    /// Where it has come to: only events after this number in its order are read.
    after: Option<u64>,
    page: EventPage,
    most: usize,
    bytes: usize,
}

/// Why a look ends before the events do, and the number of the last that was looked at.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// The page is full.
    At(u64),
}

impl EventReader {
    /// A reader that begins where the query says.
    pub fn new(
        store: &dyn Store,
        query: EventQuery,
        members: Option<RoaringBitmap>,
    ) -> Result<Self, StoreError> {
        Self::with_segments(store, query, members, SEGMENT)
    }

    /// The same with an index of another size of segments.
    pub(super) fn with_segments(
        store: &dyn Store,
        query: EventQuery,
        members: Option<RoaringBitmap>,
        size: u64,
    ) -> Result<Self, StoreError> {
        let (most, after) = (query.page(), query.after.map(|cursor| cursor.0));
        let filter = Filter::new(store, query, members)?;
        let (candidates, known) = (Candidates::new(&filter, size), Known::default());
        Ok(Self { filter, candidates, known, after, page: empty(), most, bytes: 0 })
    }

    /// How many events the next pages have at most, 1 to [`MAX_EVENTS`].
    pub fn set_page(&mut self, most: usize) {
        self.most = most.clamp(1, MAX_EVENTS);
    }

    /// The next page. After one without a `next`, what has been added since then.
    pub fn read(&mut self, store: &dyn Store) -> Result<EventPage, StoreError> {
        (self.page, self.bytes) = (empty(), 0);
        self.candidates.begin(store)?;
        let (mut first, mut end) =
            pages::span(store, self.filter.query.from, self.filter.query.to)?;
        match (self.is_newest_first(), self.after) {
            (true, Some(after)) => end = end.min(after),
            (false, Some(after)) => first = first.max(after.saturating_add(1)),
            (_, None) => {}
        }
        let stopped = if self.is_newest_first() {
            self.downwards(store, first..end)?
        } else {
            self.upwards(store, first..end)?
        };
        if let Some(Stop::At(no)) = stopped {
            (self.after, self.page.next) = (Some(no), Some(Cursor(no)));
        } else if first < end {
            self.after = Some(if self.is_newest_first() { first } else { end - 1 });
        }
        Ok(std::mem::replace(&mut self.page, empty()))
    }

    fn is_newest_first(&self) -> bool {
        self.filter.query.order == EventOrder::Newest
    }

    fn upwards(
        &mut self,
        store: &dyn Store,
        within: Range<u64>,
    ) -> Result<Option<Stop>, StoreError> {
        let mut no = within.start;
        while no < within.end {
            no = match self.candidates.next(store, no, within.end)? {
                Next::At(no) => no,
                Next::Nowhere => break,
                Next::Unknown(no) => return Ok(Some(Stop::At(no.saturating_sub(1)))),
            };
            let Some(page) = pages::at_or_after(store, no)? else { break };
            let stopped = self.page(store, &page, &(no..within.end))?;
            if stopped.is_some() {
                return Ok(stopped);
            }
            no = page.end.max(no + 1);
        }
        Ok(None)
    }

    fn downwards(
        &mut self,
        store: &dyn Store,
        within: Range<u64>,
    ) -> Result<Option<Stop>, StoreError> {
        let mut end = within.end;
        while end > within.start {
            end = match self.candidates.last(store, within.start, end)? {
                Next::At(no) => no + 1,
                Next::Nowhere => break,
                Next::Unknown(end) => return Ok(Some(Stop::At(end))),
            };
            let Some(page) = pages::at_or_before(store, end - 1)? else { break };
            let stopped = self.page(store, &page, &(within.start..end))?;
            if stopped.is_some() {
                return Ok(stopped);
            }
            end = page.first.min(end - 1);
        }
        Ok(None)
    }

    /// Adds what a page of the ledger has of a range of numbers, in the order that is asked for.
    fn page(
        &mut self,
        store: &dyn Store,
        page: &Page,
        within: &Range<u64>,
    ) -> Result<Option<Stop>, StoreError> {
        self.looked(0, page.bytes);
        for at in 0..page.entries.len() {
            let at = if self.is_newest_first() { page.entries.len() - 1 - at } else { at };
            let entry = &page.entries[at];
            let numbers = entry.no..entry.no.saturating_add(entry.events());
            let (start, end) = (numbers.start.max(within.start), numbers.end.min(within.end));
            if self.candidates.next(store, start, end)? == Next::Nowhere {
                continue;
            }
            // Of the first entry only the time of its end is known.
            let before = page.entries[at.saturating_sub(1)].at;
            if let Some(stop) = self.entry(store, (before, entry), within)? {
                return Ok(Some(stop));
            }
            let most = if self.filter.searches() { LOOK_SEARCHED } else { LOOK_EVENTS };
            if self.page.looked_at >= most || self.bytes >= LOOK_BYTES {
                let last = if self.is_newest_first() { numbers.start } else { numbers.end - 1 };
                return Ok(Some(Stop::At(last)));
            }
        }
        Ok(None)
    }

    fn entry(
        &mut self,
        store: &dyn Store,
        (before, entry): (Timestamp, &Entry),
        within: &Range<u64>,
    ) -> Result<Option<Stop>, StoreError> {
        let Entry { no, at, actor, item } = entry;
        match item {
            Item::Nothing => Ok(None),
            Item::Rows { serial, page, rows, .. } => {
                let between = (before, *at);
                let (serial, page, rows) = (*serial, *page, *rows);
                self.rows(store, RowsEntry { no: *no, serial, page, rows, between }, within)
            }
            Item::Event(what) => {
                self.looked(1, 0);
                let is_taken = self.filter.takes(store, &mut self.known, (*at, actor, what))?;
                if !is_taken {
                    return Ok(None);
                }
                let event = Event { at: *at, actor: actor.clone(), what: (**what).clone() };
                let full = self.push(Recorded { no: *no, event });
                Ok(full.then_some(Stop::At(*no)))
            }
        }
    }

    /// Adds an event; whether the page is full now.
    fn push(&mut self, event: Recorded) -> bool {
        self.page.events.push(event);
        self.page.events.len() >= self.most || self.bytes >= LOOK_BYTES
    }

    fn looked(&mut self, events: u64, bytes: usize) {
        self.page.looked_at = self.page.looked_at.saturating_add(events);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

fn empty() -> EventPage {
    EventPage { events: Vec::new(), next: None, looked_at: 0 }
}
