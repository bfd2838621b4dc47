//! Records of statistics, and up to where the ledger is counted in them.

use super::ended::FORGOTTEN_AT_ONCE;
use super::{Op, Order, Store, StoreError, get, key, put, walk};
use crate::statistics::{Counted, Record, Slot};
use crate::store::{Batch, MAX_VALUE};

const WHAT: &str = "record of statistics";

/// A record of statistics.
pub fn statistics(store: &dyn Store, slot: Slot) -> Result<Option<Record>, StoreError> {
    let key = key::statistics(slot);
    let Some(value) = store.get(&key)? else { return Ok(None) };
    Record::from_bytes(&value).map(Some).map_err(|problem| StoreError::corrupt(WHAT, &key, problem))
}

/// Up to where the ledger is counted; `None`: nothing is.
pub fn counted(store: &dyn Store) -> Result<Option<Counted>, StoreError> {
    get(store, "place of the statistics", &key::counted())
}

/// A batch that puts records, and up to where the ledger is counted with them.
pub fn put_statistics(records: &[(Slot, Record)], counted: &Counted) -> Result<Batch, StoreError> {
    let mut batch = Vec::with_capacity(records.len() + 1);
    for (slot, record) in records {
        let (key, value) = (key::statistics(*slot), record.to_bytes());
        if value.len() > MAX_VALUE {
            let (size, key) = (value.len(), key::show(&key));
            return Err(StoreError::TooLarge { what: WHAT, key, size, max: MAX_VALUE });
        }
        batch.push(Op::Put(key, value));
    }
    batch.push(put("place of the statistics", key::counted(), counted)?);
    Ok(batch)
}

/// A batch that forgets a bounded part of the statistics of hours and days before these; it is empty
/// when there are none.
pub fn old_statistics(store: &dyn Store, hour: u32, day: u32) -> Result<Batch, StoreError> {
    let ranges = key::statistics_before(hour, day);
    let old = ranges.into_iter().flat_map(|range| walk(store, range, Order::Up));
    old.take(FORGOTTEN_AT_ONCE).map(|entry| Ok(Op::Delete(entry?.0))).collect()
}
