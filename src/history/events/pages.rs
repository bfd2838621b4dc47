//! Pages of the ledger, found by the numbers and the times of their events.

use crate::store::ledger::{self, Entry, PageHead, begins_from, first_from, last_before};
use crate::store::{self, Store, StoreError};
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

fn decode(page: &store::Entry) -> Result<Page, StoreError> {
    let (first, head) = ledger::head_of(page)?;
    let entries = ledger::entries_of(page)?;
    Ok(Page { first, end: end_of(first, head), bytes: page.1.len(), entries })
}

/// The number after that of a page's last event; a page takes one number at least.
fn end_of(first: u64, head: PageHead) -> u64 {
    first.saturating_add(head.events.max(1))
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
    let (Some(first), Some(last)) = (first_from(store, 0)?, ledger::last(store)?) else {
        return Ok((1, 1));
    };
    let (last, head) = ledger::head_of(&last)?;
    Ok((ledger::head_of(&first)?.0, end_of(last, head)))
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
        end = begins_from(store, to, (first, end))?;
    }
    if let Some(from) = from {
        // The page before the first that begins then may have later events at its end.
        let begins = begins_from(store, from, (first, end))?;
        if let Some(before) = last_before(store, begins)? {
            first = ledger::head_of(&before)?.0.max(first);
        }
    }
    Ok((first, end))
}
