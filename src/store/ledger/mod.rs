//! The ledger: every event in order, a page for each batch that the store writes.
//!
//! Promises: a page is in the same batch as the changes that its events tell of, so that there is
//! no event without its change and no change without its event; events have numbers that rise by
//! one, and times that never go back; what was written comes back; no page is above
//! [`MAX_VALUE`](super::MAX_VALUE); reading never panics, whatever the bytes. Imports the
//! engine's events, the domain types and the rest of the store.
//!
//! The end of a delivery is not repeated here: an entry points at the run's page of responses
//! that has it, and each response there has an event number of its own. When retention has
//! forgotten the run, the numbers stay taken.
//!
//! A page is the version byte 1 and then:
//!
//! | field | form |
//! | --- | --- |
//! | commit | its number, varint |
//! | part | which of the commit's batches this is, varint |
//! | digest | CRC-32 of what the batch writes beside this page, four bytes, the lowest first, see [`super::writer`] |
//! | time | of the first entry, milliseconds, zigzag varint |
//! | events | how many event numbers the page takes, varint |
//! | texts | how many, varint; then each: its length, varint, and UTF-8 |
//! | serials | how many, varint; then each: 16 bytes and the number of its job's name among the texts counted from 1, varint, or 0 |
//! | entries | to the end |
//!
//! An entry is its kind, one byte; its time after the entry before, varint; its actor, a number
//! among the texts counted from 1, varint, or 0 for the server; and then:
//!
//! | kind | what | fields, varints unless said otherwise |
//! | --- | --- | --- |
//! | 0 | nothing: a batch without events | |
//! | 1 | ends of deliveries | serial, page of responses, how many responses |
//! | 2 | a run fired | serial, command (text), cause (one byte), how long after it was due (zigzag), deliveries, those of them for clients that are away |
//! | 3 | a run ended | serial, deliveries, how many counts follow; then each: its state's code (15: attempts that were tried again), how many |
//! | 4 | a client connected | client (text), how much waited for it |
//! | 5 | a client disconnected | client (text), reason (text) |
//! | 6 | any other event | its length and its JSON |

mod build;
mod find;
mod parse;
#[cfg(test)]
mod tests;

pub use build::{Builder, MAX_PAGE};
pub use find::{begins_from, entries_of, first_from, head_of, last, last_before};
pub use parse::{Entry, Item, PageHead, entries, head};

use crate::engine::LedgerEnd;
use crate::store::{Order, Store, StoreError, key, records};
use crate::time::Timestamp;

const VERSION: u8 = 1;
const NOTHING: u8 = 0;
const ROWS: u8 = 1;
const RUN_STARTED: u8 = 2;
const RUN_ENDED: u8 = 3;
const CONNECTED: u8 = 4;
const DISCONNECTED: u8 = 5;
const OTHER: u8 = 6;

/// The code of a count of attempts that were tried again.
const RETRIED: u8 = 15;

/// What a page is called in an error.
pub(crate) const WHAT: &str = "page of the ledger";

/// Where a ledger goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the next event.
    pub next_event: u64,
    /// The number of the next commit.
    pub next_commit: u64,
    /// The time of the last event.
    pub last_at: Timestamp,
    /// Whether the last event is the server's stop in order.
    pub stopped: bool,
}

impl Head {
    /// The head of an empty ledger: events and commits are counted from 1.
    #[must_use]
    pub fn new() -> Self {
        Self { next_event: 1, next_commit: 1, last_at: Timestamp::MIN, stopped: false }
    }

    /// The head of a store's ledger.
    pub fn of(store: &dyn Store) -> Result<Self, StoreError> {
        let pages = key::all(key::LEDGER);
        let last = store.scan(&pages.start..&pages.end, Order::Down, 1)?;
        let Some((key, value)) = last.first() else { return Ok(Self::new()) };
        let first = records::part_of(WHAT, key, key::event_in)?;
        let corrupt = |problem| StoreError::corrupt(WHAT, key, problem);
        let page = head(value).map_err(corrupt)?;
        let mut last_at = page.at;
        let mut stopped = false;
        for entry in entries(first, value).map_err(corrupt)? {
            let entry = entry.map_err(corrupt)?;
            last_at = entry.at;
            stopped = entry.is_stop();
        }
        let next_event = first.saturating_add(page.events);
        Ok(Self { next_event, next_commit: page.commit.saturating_add(1), last_at, stopped })
    }

    /// Where the ledger ends; `None`: it is empty.
    #[must_use]
    pub fn end(&self) -> Option<LedgerEnd> {
        (self.next_event > 1).then_some(LedgerEnd { at: self.last_at, stopped: self.stopped })
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}
