//! The number of the store's format, and what is done once when a store is opened.
//!
//! Imports the store's trait, keys and staging.

use super::{Op, Order, Store, StoreError, key, staging};

/// The format that this version reads and writes. It changes with any change of
/// [`key`](super::key) or of a value's form that an older version would misread.
pub const FORMAT: u32 = 1;

/// Makes an opened store ready: checks its format, gives a new store one, and completes or drops
/// a large unit that a crash has cut short. Does nothing when there is nothing to do.
///
/// A store of an unknown format is refused with [`StoreError::UnknownFormat`], and nothing is
/// written to it.
pub fn prepare(store: &dyn Store) -> Result<(), StoreError> {
    let key = key::format();
    match store.get(&key)? {
        Some(value) => {
            let bytes = value.as_slice().try_into().map_err(|_| {
                StoreError::corrupt("format", &key, format!("{} bytes, not 4", value.len()))
            })?;
            match u32::from_be_bytes(bytes) {
                FORMAT if bug!(StagedNotRecovered) => Ok(()),
                FORMAT => staging::recover(store),
                found => Err(StoreError::UnknownFormat { found, known: FORMAT }),
            }
        }
        None if is_empty(store)? => {
            let format = Op::Put(key, FORMAT.to_be_bytes().into());
            // From the first on every run is listed when it ends.
            store.commit(vec![vec![format, Op::Put(key::ended_runs_listed(), Vec::new())]])
        }
        None => Err(StoreError::corrupt("format", &key, "it is missing, yet there are records")),
    }
}

fn is_empty(store: &dyn Store) -> Result<bool, StoreError> {
    Ok(store.scan(&[]..&[u8::MAX], Order::Up, 1)?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn all(store: &MemoryStore) -> Vec<super::super::Entry> {
        store.scan(&[]..&[u8::MAX], Order::Up, 100).unwrap()
    }

    #[test]
    fn an_unknown_format_is_refused_and_nothing_is_written() {
        let store = MemoryStore::new();
        let staged = Op::Put(key::staged(0, true, b"x"), vec![]);
        let format = Op::Put(key::format(), 7_u32.to_be_bytes().into());
        store.commit(vec![vec![staged, format]]).unwrap();
        let before = all(&store);
        let error = prepare(&store).unwrap_err().to_string();
        assert!(error.contains("format 7") && error.contains("format 1"), "{error}");
        assert_eq!(all(&store), before);
    }

    #[test]
    fn a_new_store_gets_the_format_and_a_strange_one_does_not() {
        let store = MemoryStore::new();
        prepare(&store).unwrap();
        assert_eq!(store.get(&key::format()).unwrap(), Some(FORMAT.to_be_bytes().into()));
        prepare(&store).unwrap();

        let strange = MemoryStore::new();
        strange.commit(vec![vec![Op::Put(b"r".into(), vec![])]]).unwrap();
        assert!(matches!(prepare(&strange), Err(StoreError::Corrupt { .. })));
    }
}
