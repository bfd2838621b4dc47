//! The ledger by time: where a moment is in it, and its entries from there on or back.
//!
//! Times never go back in it, so that a moment is found by halving. A page that does not have a
//! text of its reader's interest is not taken apart.

use std::ops::ControlFlow;

use crate::store::ledger::{self, Entry};
use crate::store::{Order, Store, StoreError, key, walk};
use crate::time::Timestamp;

/// Pages that one look forward goes through, at most.
pub(super) const MAX_PAGES: usize = 4_000_000;

/// Pages that one look back goes through, at most.
pub(super) const PAGES_BACK: usize = 20_000;

/// How far a look has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// To its end, or to where the reader wanted no more.
    Whole,
    /// To the limit of pages.
    Cut,
}

/// When the ledger begins; `None`: it is empty.
pub(super) fn begins(store: &dyn Store) -> Result<Option<Timestamp>, StoreError> {
    let first = ledger::first_from(store, 0)?;
    first.as_ref().map(|page| Ok(ledger::head_of(page)?.1.at)).transpose()
}

/// The number of the first event of the last page that begins before a moment, or of the first
/// page: what happens from that moment on is on it or after it.
fn page_before(store: &dyn Store, moment: Timestamp) -> Result<u64, StoreError> {
    let begins = ledger::begins_from(store, moment, (0, u64::MAX))?;
    let before = ledger::last_before(store, begins)?;
    before.as_ref().map_or(Ok(0), |page| Ok(ledger::head_of(page)?.0))
}

/// Goes through the entries from one moment to another, both included, on pages that have one of
/// these texts; all pages, if there is none.
pub(super) fn forward(
    store: &dyn Store,
    (from, to): (Timestamp, Timestamp),
    texts: &[&str],
    mut see: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<Looked, StoreError> {
    let start = key::ledger(page_before(store, from)?);
    let mut pages = walk(store, start..key::all(key::LEDGER).end, Order::Up);
    for entry in pages.by_ref().take(MAX_PAGES) {
        let page = entry?;
        let at = ledger::head_of(&page)?.1.at;
        if at > to {
            return Ok(Looked::Whole);
        }
        if !has_any(&page.1, texts) {
            continue;
        }
        for entry in ledger::entries_of(&page)? {
            if entry.at >= from && entry.at <= to && see(entry).is_break() {
                return Ok(Looked::Whole);
            }
        }
    }
    Ok(if pages.next().is_some() { Looked::Cut } else { Looked::Whole })
}

/// Goes back through the entries from one moment to an earlier one, both included, on pages that
/// have one of these texts; on [`PAGES_BACK`] pages at most.
pub(super) fn back(
    store: &dyn Store,
    (from, to): (Timestamp, Timestamp),
    texts: &[&str],
    mut see: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<Looked, StoreError> {
    let all = key::all(key::LEDGER);
    let last = page_before(store, Timestamp::from_millis(from.millis().saturating_add(1)))?;
    let end = key::ledger(last.saturating_add(1));
    let mut pages = walk(store, all.start..end, Order::Down);
    for entry in pages.by_ref().take(PAGES_BACK) {
        let page = entry?;
        let at = ledger::head_of(&page)?.1.at;
        if has_any(&page.1, texts) {
            for entry in ledger::entries_of(&page)?.into_iter().rev() {
                if entry.at <= from && entry.at >= to && see(entry).is_break() {
                    return Ok(Looked::Whole);
                }
            }
        }
        if at < to {
            return Ok(Looked::Whole);
        }
    }
    Ok(if pages.next().is_some() { Looked::Cut } else { Looked::Whole })
}

/// Whether bytes have one of these texts in them.
fn has_any(bytes: &[u8], texts: &[&str]) -> bool {
    texts.is_empty() || texts.iter().any(|text| has(bytes, text.as_bytes()))
}

/// Whether bytes have a text in them.
pub(super) fn has(bytes: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else { return true };
    let mut left = bytes;
    while let Some(at) = left.iter().position(|byte| byte == first) {
        left = &left[at + 1..];
        if left.starts_with(rest) {
            return true;
        }
    }
    false
}
