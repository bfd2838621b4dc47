//! Walking a range of keys in bounded steps.
//!
//! Promises: however large the range, at most [`STEP`] entries are in memory at once. Imports the
//! store's trait only.

use std::ops::Range;

use super::{Entry, Order, Store, StoreError};

/// Entries that one step reads: at most 8 MiB of values.
const STEP: usize = 128;

/// Goes through a range of keys, however large, with bounded memory.
///
/// It is no snapshot: a commit beside it may show in part. It ends after the first error.
pub fn walk(store: &dyn Store, keys: Range<Vec<u8>>, order: Order) -> Walk<'_> {
    Walk { store, keys, order, step: Vec::new().into_iter(), more: true }
}

/// See [`walk`].
pub struct Walk<'a> {
    store: &'a dyn Store,
    keys: Range<Vec<u8>>,
    order: Order,
    step: std::vec::IntoIter<Entry>,
    more: bool,
}

impl Walk<'_> {
    fn step(&mut self) -> Result<(), StoreError> {
        let entries = self.store.scan(&self.keys.start..&self.keys.end, self.order, STEP)?;
        self.more = entries.len() == STEP;
        if let Some((last, _)) = entries.last() {
            match self.order {
                Order::Up => {
                    self.keys.start.clone_from(last);
                    // The smallest key above it.
                    self.keys.start.push(0);
                }
                Order::Down => self.keys.end.clone_from(last),
            }
        }
        self.step = entries.into_iter();
        Ok(())
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.step.len() == 0
            && self.more
            && let Err(error) = self.step()
        {
            self.more = false;
            return Some(Err(error));
        }
        self.step.next().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Op};

    #[test]
    fn a_walk_gives_every_entry_once_in_both_orders() {
        for count in [0, 1, STEP - 1, STEP, STEP + 1, 3 * STEP] {
            let store = MemoryStore::new();
            let keys: Vec<Vec<u8>> =
                (0..count).map(|n| u32::try_from(n).unwrap().to_be_bytes().to_vec()).collect();
            let batch = keys.iter().map(|key| Op::Put(key.clone(), vec![])).collect();
            store.commit(vec![batch]).unwrap();
            let all = |order| -> Vec<Vec<u8>> {
                walk(&store, vec![]..vec![0xff], order).map(|entry| entry.unwrap().0).collect()
            };
            assert_eq!(all(Order::Up), keys);
            let mut down = all(Order::Down);
            down.reverse();
            assert_eq!(down, keys);
        }
    }
}
