//! The response of a run for one client within the run's own record.
//!
//! Promises: a run that ends with its only response, a small one, is one put, and every reader of
//! responses finds that response as if it had a key of its own; reading never panics. Imports the
//! rest of the records.
//!
//! Behind the run's JSON comes a byte 0, which no JSON has, and then the page of responses in its
//! own form, see [`page`](super::super::page). Such a run has no other page.

use std::ops::Range;

use super::{MAX_VALUE, Op, Order, Store, StoreError, key, part_of, walk};
use crate::engine::Change;
use crate::id::Serial;
use crate::store::Entry;

/// The most bytes of a page within a run's record: more are not copied with every look at a run.
const MOST: usize = 1_024;

/// What is between a record's JSON and what lies behind it.
pub(super) const BETWEEN: u8 = 0;

/// The run that a unit puts with all that it will ever have: it has ended, and was for one client.
pub(in crate::store) fn run_of(unit: &[Change]) -> Option<Serial> {
    unit.iter().find_map(|change| match change {
        Change::PutRun(run) if run.ended_at.is_some() && run.counts.total == 1 => Some(run.serial),
        _ => None,
    })
}

/// Puts the page into the run's record, which the same unit has put before; tells whether it did.
pub(super) fn append(ops: &mut [Op], serial: Serial, page: &[u8]) -> bool {
    let own = key::run(serial);
    let found = ops.iter_mut().rev().find_map(|op| match op {
        Op::Put(key, value) if *key == own => Some(value),
        _ => None,
    });
    match found {
        Some(value) if page.len() <= MOST && value.len() + 1 + page.len() <= MAX_VALUE => {
            value.reserve_exact(1 + page.len());
            value.push(BETWEEN);
            value.extend_from_slice(page);
            true
        }
        _ => false,
    }
}

/// The JSON of a record, and what lies behind it: a run's page, or the head of a job's standing.
pub(in crate::store) fn split(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(BETWEEN, value) {
        Some(at) => (&value[..at], Some(&value[at + 1..])),
        None => (value, None),
    }
}

/// The pages of a run's responses under keys of this range, in order, wherever they lie.
pub(crate) fn pages(
    store: &dyn Store,
    keys: Range<Vec<u8>>,
) -> impl Iterator<Item = Result<Entry, StoreError>> + '_ {
    let mut under_keys = walk(store, keys.clone(), Order::Up).peekable();
    let none = under_keys.peek().is_none();
    let inline = none.then(|| within_run(store, &keys).transpose()).flatten();
    inline.into_iter().chain(under_keys)
}

fn within_run(store: &dyn Store, keys: &Range<Vec<u8>>) -> Result<Option<Entry>, StoreError> {
    let serial = part_of("page of responses", &keys.start, key::serial_in)?;
    let first = key::page(serial, 0, 0);
    if !keys.contains(&first) {
        return Ok(None);
    }
    let run = store.get(&key::run(serial))?;
    Ok(run.and_then(|run| split(&run).1.map(|page| (first, page.to_vec()))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roaring::RoaringBitmap;

    use super::*;
    use crate::id::ClientNo;
    use crate::json::Json;
    use crate::run::{DeliveryState, Outcome, Run};
    use crate::store::records::tests::{a_client, a_page, a_run, at, serial};
    use crate::store::{MemoryStore, page, records};

    /// Clients 0 to 2, and run 1 as it ends with a page.
    fn written(run: Run, page: Change) -> MemoryStore {
        let store = MemoryStore::new();
        let clients = (0..3).map(|no| Change::PutClient(Arc::new(a_client(no)))).collect();
        let open = Change::PutOpen { serial: serial(1), chunk: 0, open: [1].into_iter().collect() };
        let begin = vec![Change::PutRun(Arc::new(a_run(1, run.counts.total))), open];
        let none = Change::PutOpen { serial: serial(1), chunk: 0, open: RoaringBitmap::new() };
        let end = vec![Change::PutRun(Arc::new(run)), none, page];
        records::write(&store, &[clients, begin, end]).unwrap();
        store
    }

    fn ended(total: u32) -> Run {
        let mut run = Run { ended_at: Some(at(9)), ..a_run(1, total) };
        (0..total).for_each(|_| run.counts.add(DeliveryState::Succeeded));
        run
    }

    fn succeeded(bytes: usize) -> Outcome {
        Outcome::succeeded(Json::new(&"x".repeat(bytes)).unwrap())
    }

    #[test]
    fn a_small_response_that_is_all_of_a_run_lies_in_its_record_and_is_found_there() {
        for (total, bytes, inline) in
            [(1, 40, true), (1, MOST, false), (1, 90_000, false), (2, 40, false)]
        {
            let store = written(ended(total), a_page(1, 0, vec![(1, succeeded(bytes))]));
            let own = walk(&store, key::of_run(key::PAGE, serial(1)), Order::Up).count();
            assert_eq!(own, usize::from(!inline), "{total} {bytes}");
            assert_eq!(records::run(&store, serial(1)).unwrap(), Some(ended(total)));
            let found: Vec<Entry> =
                pages(&store, key::of_run(key::PAGE, serial(1))).collect::<Result<_, _>>().unwrap();
            let [(key, value)] = &found[..] else { panic!("{} pages", found.len()) };
            assert_eq!(key::page_in(key), Some((0, 0)));
            let row = page::rows(value).unwrap().next().unwrap().unwrap();
            let outcome = records::outcome(&store, serial(1), key, &row).unwrap();
            assert_eq!((row.client, outcome), (ClientNo(1), succeeded(bytes)));
            assert!(pages(&store, key::pages_from(serial(1), 1)).next().is_none());
            let counts = records::ended(&store, &ended(total)).unwrap().counts;
            assert_eq!(counts.succeeded, 1);
        }
    }

    #[test]
    fn an_attempt_that_is_followed_by_another_and_an_open_run_have_keys_of_their_own() {
        let mut retried = a_page(1, 0, vec![(1, succeeded(4))]);
        if let Change::PutPage { entries, .. } = &mut retried {
            entries[0].retried = true;
        }
        let later = a_page(1, 1, vec![(1, succeeded(4))]);
        let open = a_page(1, 0, vec![(1, succeeded(4))]);
        for (run, page) in [(ended(1), retried), (ended(1), later), (a_run(1, 1), open)] {
            let store = written(run, page);
            assert_eq!(walk(&store, key::of_run(key::PAGE, serial(1)), Order::Up).count(), 1);
        }
    }

    #[test]
    fn forgetting_a_run_forgets_the_response_in_it() {
        let store = written(ended(1), a_page(1, 0, vec![(1, succeeded(4))]));
        records::write(&store, &[vec![Change::ForgetRun(serial(1))]]).unwrap();
        assert!(pages(&store, key::of_run(key::PAGE, serial(1))).next().is_none());
        assert_eq!(records::run(&store, serial(1)).unwrap(), None);
        let no = ClientNo(1);
        assert_eq!(store.get(&key::result(serial(1), no, 0)).unwrap(), None);
    }
}
