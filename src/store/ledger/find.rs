//! Pages of the ledger by the numbers and the times of their events. Times never go back in it,
//! so that some forty looks find a moment.

use super::{Entry, PageHead, WHAT, entries, head};
use crate::store::{self, Order, Store, StoreError, key, records};
use crate::time::Timestamp;

/// The number of the first event of a stored page, and what the page says of itself.
pub fn head_of((key, value): &store::Entry) -> Result<(u64, PageHead), StoreError> {
    let first = records::part_of(WHAT, key, key::event_in)?;
    let head = head(value).map_err(|problem| StoreError::corrupt(WHAT, key, problem))?;
    Ok((first, head))
}

/// The entries of a stored page, in order.
pub fn entries_of((key, value): &store::Entry) -> Result<Vec<Entry>, StoreError> {
    let first = records::part_of(WHAT, key, key::event_in)?;
    let corrupt = |problem| StoreError::corrupt(WHAT, key, problem);
    entries(first, value).map_err(corrupt)?.map(|entry| entry.map_err(corrupt)).collect()
}

/// The last page whose first event is before a number.
pub fn last_before(store: &dyn Store, no: u64) -> Result<Option<store::Entry>, StoreError> {
    let (start, end) = (key::all(key::LEDGER).start, key::ledger(no));
    Ok(store.scan(&start..&end, Order::Down, 1)?.pop())
}

/// The first page whose first event has a number or a later one.
pub fn first_from(store: &dyn Store, no: u64) -> Result<Option<store::Entry>, StoreError> {
    let (start, end) = (key::ledger(no), key::all(key::LEDGER).end);
    Ok(store.scan(&start..&end, Order::Up, 1)?.pop())
}

/// The last page of all.
pub fn last(store: &dyn Store) -> Result<Option<store::Entry>, StoreError> {
    let all = key::all(key::LEDGER);
    Ok(store.scan(&all.start..&all.end, Order::Down, 1)?.pop())
}

/// The number of the first event of the first page, among those whose first events are in
/// `low..end`, that begins at a moment or later; `end` if none does.
pub fn begins_from(
    store: &dyn Store,
    moment: Timestamp,
    (low, end): (u64, u64),
) -> Result<u64, StoreError> {
    let (mut low, mut high) = (low, end);
    // No page below `low` begins then; every page at or above `high` does, or is not asked for.
    while low < high {
        let middle = low + (high - low) / 2;
        match first_from(store, middle)?.as_ref().map(head_of).transpose()? {
            Some((first, head)) if first < end && head.at < moment => {
                low = first.saturating_add(1);
            }
            _ => high = middle,
        }
    }
    // The number that was found may lie before the page.
    match first_from(store, high)? {
        Some(page) => Ok(head_of(&page)?.0.min(end)),
        None => Ok(end),
    }
}
