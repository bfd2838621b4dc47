//! Units of any size, each written as a whole or not at all.
//!
//! A unit of at most [`MAX_OPS`] operations is one batch. A larger one goes through a redo log
//! under its own keys: all its operations are staged, then a marker says that they are complete,
//! then they are applied in batches, then marker and log are cleared. Each step is durable before
//! the next begins. After a crash, [`recover`] applies a complete log again (to put and to delete
//! twice is the same as once) and drops an incomplete one.
//!
//! A reader beside a large unit may see a part of it; a crash leaves none.
//!
//! Imports the store's trait and keys.

use super::{Batch, MAX_OPS, Op, Order, Store, StoreError, key, walk};

/// Writes units in order, each as a whole or not at all; all are durable when it returns. Small
/// units share one flush; a large one takes four.
///
/// After an error the store must be opened anew, so that [`recover`] clears what was staged.
pub fn write_units(store: &dyn Store, units: Vec<Vec<Op>>) -> Result<(), StoreError> {
    let mut ready: Vec<Batch> = Vec::new();
    for unit in units {
        if unit.len() <= MAX_OPS {
            if !unit.is_empty() {
                ready.push(unit);
            }
            continue;
        }
        let staged: Vec<Op> = (0_u32..).zip(&unit).map(|(place, op)| stage(place, op)).collect();
        let clear: Batch = staged.iter().map(|op| Op::Delete(op.key().to_vec())).collect();
        ready.extend(batches(staged));
        store.commit(std::mem::take(&mut ready))?;
        store.commit(vec![vec![Op::Put(key::staging_marker(), Vec::new())]])?;
        store.commit(batches(unit))?;
        // The marker goes first: once the log has gaps, it must not be applied.
        let mut cleared = vec![vec![Op::Delete(key::staging_marker())]];
        cleared.extend(batches(clear));
        store.commit(cleared)?;
    }
    if ready.is_empty() { Ok(()) } else { store.commit(ready) }
}

/// Completes or drops a unit that was cut short. Run when a store is opened, before all else.
pub fn recover(store: &dyn Store) -> Result<(), StoreError> {
    if store.get(&key::staging_marker())?.is_some() {
        in_batches(store, |entry_key, value| {
            let (is_put, key) = key::staged_in(&entry_key).ok_or_else(|| {
                StoreError::corrupt("staged operation", &entry_key, "its key is cut short")
            })?;
            Ok(if is_put { Op::Put(key.to_vec(), value) } else { Op::Delete(key.to_vec()) })
        })?;
        store.commit(vec![vec![Op::Delete(key::staging_marker())]])?;
    }
    in_batches(store, |entry_key, _| Ok(Op::Delete(entry_key)))
}

/// Makes an operation of each entry of the log and commits them batch by batch.
fn in_batches(
    store: &dyn Store,
    op: impl Fn(Vec<u8>, Vec<u8>) -> Result<Op, StoreError>,
) -> Result<(), StoreError> {
    let mut batch = Vec::new();
    for entry in walk(store, key::all_staged(), Order::Up) {
        let (key, value) = entry?;
        batch.push(op(key, value)?);
        if batch.len() == MAX_OPS {
            store.commit(vec![std::mem::take(&mut batch)])?;
        }
    }
    if batch.is_empty() { Ok(()) } else { store.commit(vec![batch]) }
}

fn stage(place: u32, op: &Op) -> Op {
    match op {
        Op::Put(key, value) => Op::Put(key::staged(place, true, key), value.clone()),
        Op::Delete(key) => Op::Put(key::staged(place, false, key), Vec::new()),
    }
}

fn batches(ops: Vec<Op>) -> Vec<Batch> {
    let mut ops = ops.into_iter();
    std::iter::from_fn(|| {
        let batch: Batch = ops.by_ref().take(MAX_OPS).collect();
        (!batch.is_empty()).then_some(batch)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::faulty::FaultyStore;
    use crate::store::{Entry, MemoryStore};

    fn all(store: &dyn Store) -> Vec<Entry> {
        store.scan(&[]..&[u8::MAX], Order::Up, usize::MAX).unwrap()
    }

    fn put(key: String, value: &str) -> Op {
        Op::Put(key.into(), value.into())
    }

    /// Small, large, small, large; the large ones overwrite and delete what was there before.
    fn units() -> Vec<Vec<Op>> {
        let large = |value: &str| -> Vec<Op> {
            (0..2 * MAX_OPS + 50)
                .map(|n| match n % 3 {
                    0 => Op::Delete(format!("old{n}").into()),
                    _ => put(format!("old{n}"), value),
                })
                .collect()
        };
        let mut second = large("second");
        second.push(put("last".into(), "a"));
        second.push(put("last".into(), "b"));
        vec![
            vec![put("small".into(), "1")],
            large("first"),
            vec![put("small".into(), "2"), put("old1".into(), "between")],
            second,
            vec![],
            vec![put("small".into(), "3")],
        ]
    }

    fn filled() -> MemoryStore {
        let store = MemoryStore::new();
        let batch = (0..MAX_OPS).map(|n| put(format!("old{n}"), "zero")).collect();
        store.commit(vec![batch]).unwrap();
        store
    }

    /// The store's content after no unit, after the first, and so on.
    fn allowed() -> Vec<Vec<Entry>> {
        let store = filled();
        let mut states = vec![all(&store)];
        for unit in units() {
            store.commit(vec![unit]).unwrap();
            states.push(all(&store));
        }
        states
    }

    #[test]
    fn wherever_it_stops_each_unit_is_there_wholly_or_not_at_all() {
        let allowed = allowed();
        let mut reached = 0;
        let mut finished = false;
        for stop in 0_usize.. {
            let store = FaultyStore::failing_after(filled(), stop);
            finished = write_units(&store, units()).is_ok();
            let memory = store.into_inner();
            // A crash within the recovery must be no worse.
            for again in 0_usize.. {
                let copy = FaultyStore::failing_after(memory.copy(), again);
                let recovered = recover(&copy).is_ok();
                let copy = copy.into_inner();
                recover(&copy).unwrap();
                let state = all(&copy);
                let at = allowed.iter().rposition(|one| *one == state);
                let at = at.unwrap_or_else(|| panic!("torn after {stop} and {again} batches"));
                assert!(at >= reached, "a unit went away after {stop} batches");
                reached = at;
                if recovered {
                    break;
                }
            }
            if finished {
                break;
            }
        }
        assert!(finished);
        assert_eq!(reached, allowed.len() - 1);
    }

    #[test]
    fn small_units_share_one_commit_and_no_batch_is_too_large() {
        let store = FaultyStore::new(MemoryStore::new());
        let small = |n: usize| vec![put(format!("key{n}"), "value")];
        write_units(&store, (0..5).map(small).collect()).unwrap();
        assert_eq!(store.commits(), [vec![1; 5]]);
        write_units(&store, vec![vec![], vec![]]).unwrap();
        assert_eq!(store.commits().len(), 1, "nothing to write is no commit");

        let store = FaultyStore::new(filled());
        write_units(&store, units()).unwrap();
        assert!(store.commits().iter().flatten().all(|ops| (1..=MAX_OPS).contains(ops)));
        assert!(all(&store).iter().all(|(key, _)| key[0] != key::STAGING));
    }
}
