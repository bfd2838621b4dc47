//! Forgetting the index of segments of which the ledger has nothing any more.

use super::{BUCKETS, List, SEGMENT};
use crate::history::events::pages;
use crate::store::{Batch, Op, Order, Store, StoreError, key, records, walk};

/// Bytes before the sets of buckets: the version and the checksum.
const HEAD: usize = 5;

/// A batch that forgets a bounded part of the index of segments that end before the ledger begins,
/// at most `most` operations; it is empty when there is none.
pub(in crate::history) fn old_index(store: &dyn Store, most: usize) -> Result<Batch, StoreError> {
    let (first, _) = pages::bounds(store)?;
    let mut batch = Batch::new();
    for entry in walk(store, key::index_lists(0)..key::index_lists(first / SEGMENT), Order::Up) {
        let (head, value) = entry?;
        let segment = records::part_of("index of the ledger", &head, key::segment_in)?;
        for list in List::ALL {
            for bucket in (0..=u8::MAX).filter(|bucket| has(&value, list, *bucket)) {
                let parts = key::index_part(list as u8, bucket, segment, 0)
                    ..key::index_part(list as u8, bucket, segment, u16::MAX);
                for part in walk(store, parts, Order::Up) {
                    if batch.len() >= most {
                        // The head stays: by it the rest is found.
                        return Ok(batch);
                    }
                    batch.push(Op::Delete(part?.0));
                }
            }
        }
        if batch.len() >= most {
            return Ok(batch);
        }
        batch.push(Op::Delete(head));
    }
    Ok(batch)
}

/// Whether a segment has a bucket, as its head says; of one that is cut short, all.
fn has(head: &[u8], list: List, bucket: u8) -> bool {
    let byte = head.get(HEAD + list.place() * BUCKETS + usize::from(bucket / 8));
    byte.is_none_or(|byte| byte & (1 << (bucket % 8)) != 0)
}
