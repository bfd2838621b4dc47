//! How much there is of what in a store.
//!
//! Promises: it reads the store once, with bounded memory. Imports the rest of the store and
//! identifiers.

use serde::{Deserialize, Serialize};

use super::kinds::{KINDS, Kind};
use super::{Order, Store, StoreError, StoreKind, everything, key, walk};
use crate::id::Serial;

/// How much there is of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindStats {
    /// The letter with which its keys begin, see [`key`].
    pub letter: char,
    /// What they are, in the plural.
    pub name: String,
    /// How many.
    pub records: u64,
    /// Bytes of their keys.
    pub key_bytes: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
}

/// What is in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStats {
    /// The kind of the store; `None`: it is not on disk.
    #[serde(default)]
    pub store: Option<StoreKind>,
    /// Every kind of which there is something, in the order of their letters.
    pub kinds: Vec<KindStats>,
    /// All of them.
    pub records: u64,
    /// Bytes of all keys and values.
    pub bytes: u64,
    /// Bytes on disk, with what the store needs for itself; `None`: it is not on disk.
    pub bytes_on_disk: Option<u64>,
    /// The run that was due first; its time is in its serial.
    pub oldest_run: Option<Serial>,
    /// The run that was due last.
    pub newest_run: Option<Serial>,
}

/// Counts what is in a store. It is no snapshot: commits beside it may count or not.
pub fn stats(store: &dyn Store) -> Result<StoreStats, StoreError> {
    let mut counting = Counting::default();
    for entry in walk(store, everything(), Order::Up) {
        let (key, value) = entry?;
        counting.add(&key, &value);
    }
    let run = |order| -> Result<Option<Serial>, StoreError> {
        let keys = key::all(key::RUN);
        let found = store.scan(&keys.start..&keys.end, order, 1)?;
        Ok(found.first().and_then(|(key, _)| key::serial_in(key)))
    };
    let kinds = counting.kinds();
    Ok(StoreStats {
        store: store.kind(),
        records: kinds.iter().map(|kind| kind.records).sum(),
        bytes: kinds.iter().map(|kind| kind.key_bytes + kind.value_bytes).sum(),
        kinds,
        bytes_on_disk: store.bytes_on_disk()?,
        oldest_run: run(Order::Up)?,
        newest_run: run(Order::Down)?,
    })
}

/// Counts by kind. Keys come in order, so those of a kind are beside each other.
#[derive(Debug, Default)]
pub(super) struct Counting(Vec<KindStats>);

impl Counting {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        let letter = key.first().map_or('\0', |letter| char::from(*letter));
        if self.0.last().is_none_or(|last| last.letter != letter) {
            let name = Kind::of(key).map_or("unknown", |kind| kind.name).to_owned();
            self.0.push(KindStats { letter, name, records: 0, key_bytes: 0, value_bytes: 0 });
        }
        if let Some(kind) = self.0.last_mut() {
            kind.records += 1;
            kind.key_bytes += key.len() as u64;
            kind.value_bytes += value.len() as u64;
        }
    }

    /// What was counted; the most that it can be is one for each of 256 letters.
    pub(super) fn kinds(self) -> Vec<KindStats> {
        debug_assert!(self.0.len() <= KINDS.len() + 256, "keys came in order");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Op, prepare};

    #[test]
    fn each_kind_is_counted_with_its_bytes() {
        let store = MemoryStore::new();
        prepare(&store).unwrap();
        let serials = [3, 1, 2].map(|n| Serial::from_bytes([n; 16]));
        let mut batch: Vec<Op> =
            serials.iter().map(|serial| Op::Put(key::run(*serial), vec![0; 100])).collect();
        batch.push(Op::Put(b"?odd".to_vec(), vec![1]));
        store.commit(vec![batch]).unwrap();
        let stats = stats(&store).unwrap();
        let told: Vec<_> = stats
            .kinds
            .iter()
            .map(|it| (it.letter, it.name.as_str(), it.records, it.key_bytes, it.value_bytes))
            .collect();
        let expected = [
            ('?', "unknown", 1, 4, 1),
            ('m', "facts about the store", 2, 18, 4),
            ('r', "runs", 3, 51, 300),
        ];
        assert_eq!(told, expected);
        assert_eq!((stats.records, stats.bytes, stats.bytes_on_disk), (6, 378, None));
        assert_eq!((stats.oldest_run, stats.newest_run), (Some(serials[1]), Some(serials[0])));
    }
}
