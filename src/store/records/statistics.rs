//! Records of statistics, and up to where the ledger is counted in them.

use super::ended::FORGOTTEN_AT_ONCE;
use super::{Op, Order, Store, StoreError, get, key, put, walk};
use crate::engine::Change;
use crate::statistics::{Counted, Record, Slot};
use crate::store::MAX_VALUE;

const WHAT: &str = "record of statistics";

/// A record of statistics.
pub fn statistics(store: &dyn Store, slot: Slot) -> Result<Option<Record>, StoreError> {
    let key = key::statistics(slot);
    let Some(value) = store.get(&key)? else { return Ok(None) };
    Record::from_bytes(&value)
        .map(Some)
        .map_err(|problem| StoreError::corrupt(WHAT, &key, problem))
}

/// Up to where the ledger is counted; `None`: nothing is.
pub fn counted(store: &dyn Store) -> Result<Option<Counted>, StoreError> {
    get(store, "place of the statistics", &key::counted())
}

/// The operations of a change of this kind; of others there are none.
pub(super) fn encode(
    store: &dyn Store,
    ops: &mut Vec<Op>,
    change: &Change,
) -> Result<(), StoreError> {
    match change {
        Change::PutStatistics(statistics) => {
            for (slot, record) in &statistics.records {
                let (key, value) = (key::statistics(*slot), record.to_bytes());
                if value.len() > MAX_VALUE {
                    let (size, key) = (value.len(), key::show(&key));
                    return Err(StoreError::TooLarge { what: WHAT, key, size, max: MAX_VALUE });
                }
                ops.push(Op::Put(key, value));
            }
            ops.push(put("place of the statistics", key::counted(), &statistics.counted)?);
        }
        Change::ForgetStatistics { hours, days } => {
            let ranges = key::statistics_before(*hours, *days);
            let old = ranges.into_iter().flat_map(|range| walk(store, range, Order::Up));
            for entry in old.take(FORGOTTEN_AT_ONCE) {
                ops.push(Op::Delete(entry?.0));
            }
        }
        _ => {}
    }
    Ok(())
}
