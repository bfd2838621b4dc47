//! The number of the store's format, and what is done once when a store is opened.
//!
//! Imports the store's trait, keys, records and staging.

use super::{Op, Order, Store, StoreError, key, records, staging};
use crate::id::Serial;

/// The format that this version reads and writes. It changes with any change of
/// [`key`](super::key) or of a value's form that an older version would misread.
///
/// Format 1 had every response in a page of its own, and a set of open deliveries of every open
/// run: what is written so is read as ever. Format 2 had standings of jobs without heads: each gets
/// one when the store is opened. Then it is one of format 3.
pub const FORMAT: u32 = 3;

/// The first format that this version reads.
const FIRST: u32 = 1;

/// Whether what is written in a store of this format can be taken in.
#[must_use]
pub fn is_known(format: u32) -> bool {
    (FIRST..=FORMAT).contains(&format)
}

/// Makes an opened store ready: checks its format, gives a new store one, and completes or drops
/// a large unit that a crash has cut short. Does nothing when there is nothing to do.
///
/// A store of an unknown format is refused with [`StoreError::UnknownFormat`], and nothing is
/// written to it.
pub fn prepare(store: &dyn Store) -> Result<(), StoreError> {
    let format = Op::Put(key::format(), FORMAT.to_be_bytes().into());
    match found(store)? {
        Some(FORMAT) if bug!(StagedNotRecovered) => Ok(()),
        Some(FORMAT) => {
            staging::recover(store)?;
            complete(store)
        }
        Some(before) => {
            staging::recover(store)?;
            let mut batch = vec![format, Op::Put(key::standings_without_heads(), Vec::new())];
            if before == FIRST {
                batch.push(border_above_all(store)?);
            }
            store.commit(vec![batch])?;
            complete(store)
        }
        // From the first on every run is listed when it ends.
        None => store.commit(vec![vec![format, Op::Put(key::ended_runs_listed(), Vec::new())]]),
    }
}

/// Gives standings their heads, if it is noted that some have none.
fn complete(store: &dyn Store) -> Result<(), StoreError> {
    match store.get(&key::standings_without_heads())? {
        Some(_) => records::complete_standings(store),
        None => Ok(()),
    }
}

/// Whether every standing in a store has its head.
pub(super) fn has_heads(store: &dyn Store) -> Result<bool, StoreError> {
    let without = store.get(&key::standings_without_heads())?.is_some();
    Ok(!without && found(store)? == Some(FORMAT))
}

/// Refuses a store of a format that this version does not know.
pub(super) fn known(store: &dyn Store) -> Result<(), StoreError> {
    found(store).map(drop)
}

/// The format of a store, one that is known; `None`: it is empty and has none yet.
fn found(store: &dyn Store) -> Result<Option<u32>, StoreError> {
    let key = key::format();
    match store.get(&key)? {
        Some(value) => {
            let bytes = value.as_slice().try_into().map_err(|_| {
                StoreError::corrupt("format", &key, format!("{} bytes, not 4", value.len()))
            })?;
            match u32::from_be_bytes(bytes) {
                found if is_known(found) => Ok(Some(found)),
                found => Err(StoreError::UnknownFormat { found, known: FORMAT }),
            }
        }
        None if is_empty(store)? => Ok(None),
        None => Err(StoreError::corrupt("format", &key, "it is missing, yet there are records")),
    }
}

/// What tells that every open run so far has a set of open deliveries.
pub(super) fn border_above_all(store: &dyn Store) -> Result<Op, StoreError> {
    let runs = key::all(key::RUN);
    let last = store.scan(&runs.start..&runs.end, Order::Down, 1)?;
    let last = last.first().and_then(|(key, _)| key::serial_in(key));
    let border = last.map_or(Serial::from_bytes([0; 16]), Serial::next);
    Ok(Op::Put(key::border(), border.to_bytes().to_vec()))
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
        assert!(error.contains("format 7") && error.contains("format 3"), "{error}");
        assert_eq!(all(&store), before);
    }

    #[test]
    fn a_store_of_the_format_before_becomes_one_of_this_format() {
        let store = MemoryStore::new();
        let before = vec![Op::Put(key::format(), FIRST.to_be_bytes().into())];
        store.commit(vec![before]).unwrap();
        let run = Serial::from_bytes([7; 16]);
        store.commit(vec![vec![Op::Put(key::run(run), b"{}".to_vec())]]).unwrap();
        prepare(&store).unwrap();
        assert_eq!(store.get(&key::format()).unwrap(), Some(FORMAT.to_be_bytes().into()));
        assert_eq!(store.get(&key::border()).unwrap(), Some(run.next().to_bytes().to_vec()));
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
