//! Pages of the ledger, found by the numbers and the times of their events.

use crate::store::ledger::{self, Entry, PageHead, WHAT};
use crate::store::{self, Order, Store, StoreError, key, records};
use crate::time::Timestamp;

/// A page of the ledger.
#[derive(Debug)]
pub(in crate::history) struct Page {
    /// The number of its first event.
    pub(in crate::history) first: u64,
    /// The number after that of its last.
    pub(in crate::history) end: u64,
    /// Its length as it is stored.
    pub(in crate::history) bytes: usize,
    /// Its entries, in order.
    pub(in crate::history) entries: Vec<Entry>,
}

fn decode((key, value): &store::Entry) -> Result<Page, StoreError> {
    let first = records::part_of(WHAT, key, key::event_in)?;
    let corrupt = |problem| StoreError::corrupt(WHAT, key, problem);
    let head = ledger::head(value).map_err(corrupt)?;
    let entries = ledger::entries(first, value).map_err(corrupt)?;
    let entries = entries.collect::<Result<_, _>>().map_err(corrupt)?;
    Ok(Page { first, end: end_of(first, head), bytes: value.len(), entries })
}

/// The number after that of a page's last event; a page takes one number at least.
fn end_of(first: u64, head: PageHead) -> u64 {
    first.saturating_add(head.events.max(1))
}

fn last_before(store: &dyn Store, no: u64) -> Result<Option<store::Entry>, StoreError> {
    let (start, end) = (key::all(key::LEDGER).start, key::ledger(no));
    Ok(store.scan(&start..&end, Order::Down, 1)?.pop())
}

fn first_from(store: &dyn Store, no: u64) -> Result<Option<store::Entry>, StoreError> {
    let (start, end) = (key::ledger(no), key::all(key::LEDGER).end);
    Ok(store.scan(&start..&end, Order::Up, 1)?.pop())
}

/// The page that has an event, or the last before it.
pub(in crate::history) fn at_or_before(
    store: &dyn Store,
    no: u64,
) -> Result<Option<Page>, StoreError> {
    last_before(store, no.saturating_add(1))?.as_ref().map(decode).transpose()
}

/// The page that has an event, or the first after it.
pub(in crate::history) fn at_or_after(
    store: &dyn Store,
    no: u64,
) -> Result<Option<Page>, StoreError> {
    if let Some(page) = at_or_before(store, no)?
        && page.end > no
    {
        return Ok(Some(page));
    }
    first_from(store, no)?.as_ref().map(decode).transpose()
}

/// The numbers of the events that there are: the first, and that after the last.
pub(in crate::history) fn bounds(store: &dyn Store) -> Result<(u64, u64), StoreError> {
    let first = match first_from(store, 0)? {
        Some((key, _)) => records::part_of(WHAT, &key, key::event_in)?,
        None => return Ok((1, 1)),
    };
    Ok((first, at(store, u64::MAX)?.map_or(first, |found| found.end)))
}

/// Where a page is, and what it says of itself.
struct Found {
    first: u64,
    end: u64,
    at: Timestamp,
}

/// The same as [`at_or_before`], without reading the entries.
fn at(store: &dyn Store, no: u64) -> Result<Option<Found>, StoreError> {
    let Some((key, value)) = last_before(store, no.saturating_add(1))? else { return Ok(None) };
    let first = records::part_of(WHAT, &key, key::event_in)?;
    let head = ledger::head(&value).map_err(|problem| StoreError::corrupt(WHAT, &key, problem))?;
    Ok(Some(Found { first, end: end_of(first, head), at: head.at }))
}

/// The numbers `first..end` that can have events at or after a moment and before another: all of
/// them are among these, and few others. By the times of pages, which never go back.
pub(in crate::history) fn span(
    store: &dyn Store,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<(u64, u64), StoreError> {
    let (mut first, mut end) = bounds(store)?;
    if let Some(to) = to {
        end = first_page_from(store, to, (first, end))?;
    }
    if let Some(from) = from {
        // The page before the first that begins then may have later events at its end.
        let begins = first_page_from(store, from, (first, end))?;
        first = at(store, begins.saturating_sub(1))?.map_or(first, |found| found.first.max(first));
    }
    Ok((first, end))
}

/// The first event of the first page that begins at a moment or later; `end` if none does.
fn first_page_from(
    store: &dyn Store,
    moment: Timestamp,
    (mut low, mut high): (u64, u64),
) -> Result<u64, StoreError> {
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(found) = at(store, middle)? else { break };
        if found.at >= moment {
            high = found.first.max(low);
        } else {
            // Beyond the middle in any case, so that it comes to an end.
            low = found.end.max(middle + 1);
        }
    }
    Ok(low.min(high))
}
