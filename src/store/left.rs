//! A store as opening it would leave it: with a large unit that a crash has cut short completed or
//! dropped, in memory alone.
//!
//! Promises: it writes nothing; what it shows is what [`recover`](super::staging::recover) would
//! make, beside the staged operations themselves. Imports the store's trait, keys and staging.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::{Batch, Entry, Order, Store, StoreError, key, walk};

/// See the module. Holds in memory what the unit changes: as much as whoever wrote it held.
pub struct AsOpened {
    inner: Arc<dyn Store>,
    /// What a unit that is complete puts and deletes.
    pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    staged: u64,
    complete: bool,
}

impl AsOpened {
    /// Looks for a unit that was cut short.
    pub fn look(inner: Arc<dyn Store>) -> Result<Self, StoreError> {
        let complete = inner.get(&key::staging_marker())?.is_some();
        let mut pending = BTreeMap::new();
        let mut staged = 0;
        for entry in walk(inner.as_ref(), key::all_staged(), Order::Up) {
            let (entry_key, value) = entry?;
            staged += 1;
            if let Some((is_put, key)) = key::staged_in(&entry_key).filter(|_| complete) {
                pending.insert(key.to_vec(), is_put.then_some(value));
            }
        }
        Ok(Self { inner, pending, staged, complete })
    }

    /// What opening the store will do first, if anything.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let staged = self.staged;
        match (self.complete, staged) {
            (true, _) => Some(format!(
                "a unit of {staged} operations was cut short by a crash; the next start \
                 completes it, and it is looked at as if that was done"
            )),
            (false, 0) => None,
            (false, _) => Some(format!(
                "a unit was cut short by a crash before it counted, after {staged} operations; \
                 the next start drops it"
            )),
        }
    }
}

impl Store for AsOpened {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.pending.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.inner.get(key),
        }
    }

    fn scan(
        &self,
        keys: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if self.pending.is_empty() || keys.start >= keys.end {
            return self.inner.scan(keys, order, limit);
        }
        let pending = || {
            self.pending.range::<[u8], _>((
                std::ops::Bound::Included(keys.start),
                std::ops::Bound::Excluded(keys.end),
            ))
        };
        // So many are enough, should every pending operation delete one of them.
        let enough = limit.saturating_add(pending().count());
        let found = self.inner.scan(keys.clone(), order, enough)?;
        let mut found: BTreeMap<Vec<u8>, Vec<u8>> = found.into_iter().collect();
        for (key, value) in pending() {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        Ok(match order {
            Order::Up => found.into_iter().take(limit).collect(),
            Order::Down => found.into_iter().rev().take(limit).collect(),
        })
    }

    fn commit(&self, _: Vec<Batch>) -> Result<(), StoreError> {
        Err(StoreError::failed("writing", "the store is only looked at"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::staging::{recover, write_units};
    use crate::store::{MAX_OPS, MemoryStore, Op, everything, faulty::FaultyStore};

    fn all(store: &dyn Store, order: Order) -> Vec<Entry> {
        let mut all: Vec<Entry> = walk(store, everything(), order).map(Result::unwrap).collect();
        all.retain(|(key, _)| key[0] != key::STAGING);
        all
    }

    /// Wherever a large unit is cut short, what is shown is what the next start makes of it.
    #[test]
    fn it_shows_what_the_recovery_makes() {
        let key = |n: usize| format!("k{n:04}").into_bytes();
        let filled = MemoryStore::new();
        filled
            .commit(vec![(0..900).step_by(2).map(|n| Op::Put(key(n), b"old".to_vec())).collect()])
            .unwrap();
        let unit: Vec<Op> = (0..3 * MAX_OPS)
            .map(|n| match n % 3 {
                0 => Op::Delete(key(n)),
                _ => Op::Put(key(n), b"new".to_vec()),
            })
            .collect();
        let mut notes = std::collections::BTreeSet::new();
        for stop in 0.. {
            let store = FaultyStore::failing_after(filled.copy(), stop);
            let finished = write_units(&store, vec![unit.clone()]).is_ok();
            let memory = store.into_inner();
            let shown = AsOpened::look(Arc::new(memory.copy())).unwrap();
            let untouched = all(&memory, Order::Up);
            recover(&memory).unwrap();
            for order in [Order::Up, Order::Down] {
                assert_eq!(all(&shown, order), all(&memory, order), "after {stop} batches");
            }
            assert!(
                all(&memory, Order::Up)
                    .iter()
                    .all(|(key, value)| { shown.get(key).unwrap().as_ref() == Some(value) })
            );
            assert!(shown.commit(vec![]).is_err());
            notes.insert(shown.note().map(|note| note[..32].to_owned()));
            drop(untouched);
            if finished {
                break;
            }
        }
        assert_eq!(notes.len(), 3, "none, completed, dropped: {notes:?}");
    }
}
