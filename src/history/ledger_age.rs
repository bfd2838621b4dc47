//! Which pages of the ledger, and which recorded inputs, are too old.

use super::count::counted;
use super::index::old_index;
use crate::store::ledger::{self, PageHead};
use crate::store::{Batch, Op, Order, Store, StoreError, key, walk};
use crate::time::Timestamp;

/// Pages, pieces of inputs and parts of the index that one batch forgets, at most.
const AT_ONCE: usize = 128;

/// A batch that forgets a bounded part of the pages of the ledger that were written before one
/// moment, and of the inputs recorded before another, the oldest first; it is empty when there are
/// none. The last page stays, for the ledger goes on with it, and so does what is not counted into
/// statistics yet.
pub fn old_ledger(
    store: &dyn Store,
    pages_before: Timestamp,
    inputs_before: Timestamp,
) -> Result<Batch, StoreError> {
    let mut batch = Batch::new();
    // The ledger tells when a commit was written, so its inputs go first.
    if let Some((_, head)) = first_page_at(store, inputs_before)? {
        let inputs = key::all(key::INPUTS).start..key::inputs(head.commit, 0);
        for entry in walk(store, inputs, Order::Up).take(AT_ONCE) {
            batch.push(Op::Delete(entry?.0));
        }
    }
    if let Some((first, _)) = first_page_at(store, pages_before)? {
        let end = first.min(page_of(store, counted(store)?.done)?);
        let pages = key::all(key::LEDGER).start..key::ledger(end);
        for entry in walk(store, pages, Order::Up).take(AT_ONCE - batch.len()) {
            batch.push(Op::Delete(entry?.0));
        }
    }
    let left = AT_ONCE - batch.len();
    batch.extend(old_index(store, left)?);
    Ok(batch)
}

/// The first page that was written at a moment or later, or else the last page, and the number of
/// its first event.
fn first_page_at(
    store: &dyn Store,
    moment: Timestamp,
) -> Result<Option<(u64, PageHead)>, StoreError> {
    let Some(last) = ledger::last(store)? else { return Ok(None) };
    let (last, head) = ledger::head_of(&last)?;
    let first = ledger::begins_from(store, moment, (0, last))?;
    match ledger::first_from(store, first)? {
        Some(page) => ledger::head_of(&page).map(Some),
        None => Ok(Some((last, head))),
    }
}

/// The number of the first event of the page that has an event, or would have it.
fn page_of(store: &dyn Store, event: u64) -> Result<u64, StoreError> {
    match ledger::last_before(store, event.saturating_add(1))? {
        Some(page) => Ok(ledger::head_of(&page)?.0),
        None => Ok(event),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Event, What};
    use crate::statistics::Counted;
    use crate::store::writer::{Commit, Writer};
    use crate::store::{MemoryStore, ledger::Head, records};

    /// A commit with one event and an input at each of the moments.
    fn written(moments: &[i64]) -> MemoryStore {
        let store = MemoryStore::new();
        let mut writer = Writer::open(&store).unwrap();
        for at in moments {
            let at = Timestamp::from_millis(*at);
            let event = Event { at, actor: crate::Actor::Server, what: What::ClockJumped };
            let inputs = vec![1, 2, 3];
            let commit = Commit { events: vec![event.into()], inputs, ..Commit::default() };
            writer.write(&store, &commit).unwrap();
        }
        store
    }

    fn all_counted(store: &MemoryStore) {
        let done = Head::of(store).unwrap().next_event;
        let counted = Counted { done, until: done, at: Timestamp::from_millis(0) };
        let batch = records::put_statistics(&[], &counted).unwrap();
        store.commit(vec![batch]).unwrap();
    }

    fn count(store: &MemoryStore, kind: u8) -> usize {
        walk(store, key::all(kind), Order::Up).count()
    }

    fn forget(store: &MemoryStore, pages: i64, inputs: i64) -> (usize, usize) {
        loop {
            let (pages, inputs) = (Timestamp::from_millis(pages), Timestamp::from_millis(inputs));
            let batch = old_ledger(store, pages, inputs).unwrap();
            assert!(batch.len() <= AT_ONCE);
            if batch.is_empty() {
                return (count(store, key::LEDGER), count(store, key::INPUTS));
            }
            store.commit(vec![batch]).unwrap();
        }
    }

    #[test]
    fn what_is_older_goes_and_the_last_page_stays() {
        let moments: Vec<i64> = (0..500).map(|n| n / 2 * 10).collect();
        let store = written(&moments);
        all_counted(&store);
        assert_eq!(forget(&store, 0, 0), (500, 500));
        assert_eq!(forget(&store, 0, 1_000), (500, 300), "two at each moment");
        assert_eq!(forget(&store, 1_001, 1_001), (298, 298));
        let head = Head::of(&store).unwrap();
        assert_eq!(forget(&store, 1_000_000, 1_000_000), (1, 1));
        assert_eq!(Head::of(&store).unwrap(), head, "the ledger goes on as before");
        assert_eq!(forget(&MemoryStore::new(), 10, 10), (0, 0));
    }

    #[test]
    fn what_is_not_counted_yet_stays() {
        let store = written(&[10, 20, 30, 40]);
        assert_eq!(forget(&store, 1_000, 1_000).0, 4);
        let counted = Counted { done: 3, until: 3, at: Timestamp::from_millis(20) };
        store.commit(vec![records::put_statistics(&[], &counted).unwrap()]).unwrap();
        assert_eq!(forget(&store, 1_000, 1_000).0, 2);
    }
}
