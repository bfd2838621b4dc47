//! A store in memory, for tests, simulations and trials.
//!
//! Promises: all of the trait but durability. Imports the store's trait only.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Batch, Entry, Op, Order, Store, StoreError};

/// A store in memory. Clones share their content, so that a clone kept while a node ends can be
/// handed to the next one, as a disk would be.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    entries: Arc<RwLock<BTreeMap<Vec<u8>, Vec<u8>>>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store of its own with the same content.
    #[must_use]
    pub fn copy(&self) -> Self {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner).clone();
        Self { entries: Arc::new(RwLock::new(entries)) }
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.entries.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn scan(
        &self,
        keys: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if keys.start >= keys.end {
            return Ok(Vec::new());
        }
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let found = entries.range::<[u8], _>((
            std::ops::Bound::Included(keys.start),
            std::ops::Bound::Excluded(keys.end),
        ));
        let copy = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(match order {
            Order::Up => found.take(limit).map(copy).collect(),
            Order::Down => found.rev().take(limit).map(copy).collect(),
        })
    }

    fn commit(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for op in batches.into_iter().flatten() {
            match op {
                Op::Put(key, value) => {
                    entries.insert(key, value);
                }
                Op::Delete(key) => {
                    entries.remove(&key);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[test]
    fn it_conforms() {
        conformance::run(|| {
            let store = MemoryStore::new();
            move || store.clone()
        });
    }
}
