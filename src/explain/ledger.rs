//! The ledger by time: where a moment is in it, and its entries from there on or back.
//!
//! Times never go back in it, so that a moment is found by halving. A page that does not have a
//! text of its reader's interest is not taken apart.

use std::ops::ControlFlow;

use crate::store::ledger::{self, Entry, entries, head};
use crate::store::{Order, Store, StoreError, key, records, walk};
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

fn head_of(key: &[u8], value: &[u8]) -> Result<(u64, Timestamp), StoreError> {
    let first = records::part_of(ledger::WHAT, key, key::event_in)?;
    let head = head(value).map_err(|problem| StoreError::corrupt(ledger::WHAT, key, problem))?;
    Ok((first, head.at))
}

/// When the ledger begins; `None`: it is empty.
pub(super) fn begins(store: &dyn Store) -> Result<Option<Timestamp>, StoreError> {
    let all = key::all(key::LEDGER);
    let first = store.scan(&all.start..&all.end, Order::Up, 1)?;
    first.first().map(|(key, value)| Ok(head_of(key, value)?.1)).transpose()
}

/// The number of the first event of the last page that begins before a moment, or of the first
/// page: what happens from that moment on is on it or after it.
fn page_before(store: &dyn Store, moment: Timestamp) -> Result<u64, StoreError> {
    let all = key::all(key::LEDGER);
    let last = store.scan(&all.start..&all.end, Order::Down, 1)?;
    let Some((key, value)) = last.first() else { return Ok(0) };
    let (mut high, at) = head_of(key, value)?;
    if at < moment {
        return Ok(high);
    }
    // Every page at or below `low` begins before the moment; none at or above `high` does.
    let (mut low, mut found) = (0, 0);
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        let end = key::ledger(middle.saturating_add(1));
        let page = store.scan(&all.start..&end, Order::Down, 1)?;
        let Some((key, value)) = page.first() else {
            low = middle;
            continue;
        };
        let (first, at) = head_of(key, value)?;
        if at < moment {
            (low, found) = (middle, first);
        } else {
            high = first.max(low + 1);
        }
    }
    Ok(found)
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
        let (key, value) = entry?;
        let (first, at) = head_of(&key, &value)?;
        if at > to {
            return Ok(Looked::Whole);
        }
        if !has_any(&value, texts) {
            continue;
        }
        for entry in page(first, &key, &value)? {
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
        let (key, value) = entry?;
        let (first, at) = head_of(&key, &value)?;
        if has_any(&value, texts) {
            for entry in page(first, &key, &value)?.into_iter().rev() {
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

fn page(first: u64, key: &[u8], value: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let damaged = |problem| StoreError::corrupt(ledger::WHAT, key, problem);
    entries(first, value).map_err(damaged)?.map(|entry| entry.map_err(damaged)).collect()
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
