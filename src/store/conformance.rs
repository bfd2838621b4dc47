//! What every implementation of [`Store`] must hold, as a suite that it runs in its tests.
//!
//! Durability under power loss is beyond this suite: each implementation shows it in its own way.
//! Imports the store's trait only.
//!
//! ```
//! use fleetcron::store::{MemoryStore, conformance};
//!
//! conformance::run(|| {
//!     let disk = MemoryStore::new();
//!     move || disk.clone()
//! });
//! ```

#![expect(clippy::unwrap_used, reason = "a suite fails by a panic that shows the error")]

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Batch, Entry, Op, Order, Store, walk};

/// Runs the suite. `place` gives a new, empty place each time (but for facts about the store, under
/// `m`); the place opens the store in it, again and again, but one at a time.
///
/// # Panics
///
/// When the store breaks a promise of the trait; the message says which.
pub fn run<S: Store, P: Fn() -> S>(mut place: impl FnMut() -> P) {
    values(&place()());
    order_and_limits(&place()());
    ranges(&place()());
    batches(&place()());
    large_values(&place()());
    readers_beside_a_writer(&place()());
    reopening(&place());
}

fn put(key: &[u8], value: &[u8]) -> Op {
    Op::Put(key.to_vec(), value.to_vec())
}

fn scan(store: &dyn Store, from: &[u8], to: &[u8], order: Order, limit: usize) -> Vec<Entry> {
    let mut found = store.scan(from..to, order, limit).unwrap();
    // A store may note its format when it is opened.
    found.retain(|(key, _)| key.first() != Some(&super::key::META));
    found
}

fn keys(store: &dyn Store, from: &[u8], to: &[u8], order: Order, limit: usize) -> Vec<Vec<u8>> {
    scan(store, from, to, order, limit).into_iter().map(|(key, _)| key).collect()
}

fn values(store: &dyn Store) {
    assert_eq!(store.get(b"a").unwrap(), None, "a key that was never put has no value");
    store.commit(vec![vec![put(b"a", b"1"), put(b"b", b""), put(b"c", &[0, 255])]]).unwrap();
    assert_eq!(store.get(b"a").unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.get(b"b").unwrap(), Some(vec![]), "an empty value is a value");
    assert_eq!(store.get(b"c").unwrap(), Some(vec![0, 255]));
    assert_eq!(store.get(b"").unwrap(), None);
    assert_eq!(store.get(b"a\0").unwrap(), None, "a longer key is another key");
    store.commit(vec![vec![put(b"a", b"22")]]).unwrap();
    assert_eq!(store.get(b"a").unwrap(), Some(b"22".to_vec()), "a put overwrites");
    store.commit(vec![vec![Op::Delete(b"a".to_vec()), Op::Delete(b"none".to_vec())]]).unwrap();
    assert_eq!(store.get(b"a").unwrap(), None, "a delete deletes");
    store.commit(vec![vec![put(b"a", b"3")]]).unwrap();
    assert_eq!(store.get(b"a").unwrap(), Some(b"3".to_vec()), "a deleted key can be put again");
    store.commit(vec![]).unwrap();
    store.commit(vec![vec![], vec![put(b"d", b"4")], vec![]]).unwrap();
    assert_eq!(store.get(b"d").unwrap(), Some(b"4".to_vec()), "empty batches do no harm");
}

fn order_and_limits(store: &dyn Store) {
    // 1,000 keys, put in a scattered order; 7 and 1,000 have no common divisor.
    let key = |n: u32| [b"t", &n.to_be_bytes()[..]].concat();
    let ops: Vec<Op> = (0..1_000).map(|n| put(&key(n * 7 % 1_000), b"v")).collect();
    store.commit(ops.chunks(100).map(<[Op]>::to_vec).collect()).unwrap();
    let up: Vec<Vec<u8>> = (0..1_000).map(key).collect();
    let down: Vec<Vec<u8>> = (0..1_000).rev().map(key).collect();
    for limit in [0, 1, 10, 999, 1_000, usize::MAX] {
        let most = limit.min(1_000);
        assert_eq!(keys(store, b"t", b"u", Order::Up, limit), up[..most], "up to {limit}");
        assert_eq!(keys(store, b"t", b"u", Order::Down, limit), down[..most], "down to {limit}");
    }
    let some = keys(store, &key(10), &key(20), Order::Down, 3);
    assert_eq!(
        some,
        [key(19), key(18), key(17)],
        "a limit counts from the end where a scan begins"
    );
    let walked: Vec<Vec<u8>> =
        walk(store, key(5)..key(995), Order::Up).map(|entry| entry.unwrap().0).collect();
    assert_eq!(walked, up[5..995], "a walk is a scan in steps");
}

fn ranges(store: &dyn Store) {
    let all: [&[u8]; 8] = [b"a", b"a\0", b"a\0b", b"a\xff", b"b", b"b\xff\xff", b"c", b"\xfe"];
    store.commit(vec![all.iter().map(|key| put(key, key)).collect()]).unwrap();
    let mut bounds: Vec<&[u8]> = all.to_vec();
    bounds.extend([&b""[..], b"a\0a", b"bb", b"z", b"\xff"]);
    for from in &bounds {
        for to in &bounds {
            let mut expected: Vec<Entry> = all
                .iter()
                .filter(|key| (*from..*to).contains(*key))
                .map(|key| (key.to_vec(), key.to_vec()))
                .collect();
            let what = format!("range {from:?} to {to:?}");
            assert_eq!(scan(store, from, to, Order::Up, 100), expected, "{what}, up");
            expected.reverse();
            assert_eq!(scan(store, from, to, Order::Down, 100), expected, "{what}, down");
        }
    }
}

fn batches(store: &dyn Store) {
    store
        .commit(vec![
            vec![put(b"k", b"1"), put(b"gone", b"1")],
            vec![put(b"k", b"2"), Op::Delete(b"gone".to_vec())],
            vec![put(b"new", b"1")],
        ])
        .unwrap();
    assert_eq!(store.get(b"k").unwrap(), Some(b"2".to_vec()), "a later batch wins");
    assert_eq!(store.get(b"gone").unwrap(), None, "a later batch deletes");
    store
        .commit(vec![vec![
            put(b"k", b"3"),
            Op::Delete(b"k".to_vec()),
            put(b"k", b"4"),
            put(b"new", b"5"),
            Op::Delete(b"new".to_vec()),
        ]])
        .unwrap();
    assert_eq!(store.get(b"k").unwrap(), Some(b"4".to_vec()), "within a batch the last put wins");
    assert_eq!(store.get(b"new").unwrap(), None, "within a batch the last delete wins");
}

fn large_values(store: &dyn Store) {
    let value: Vec<u8> = (0..super::MAX_VALUE).map(|n| n.to_le_bytes()[0]).collect();
    let key = |n: u8| [b"large", &[n][..]].concat();
    store.commit((0..20).map(|n| vec![put(&key(n), &value)]).collect()).unwrap();
    assert!((0..20).all(|n| store.get(&key(n)).unwrap().as_ref() == Some(&value)));
    assert_eq!(scan(store, b"large", b"largf", Order::Up, 100).len(), 20);
}

/// One writer, three readers. A reader that has seen a batch sees all of it, and all before it.
fn readers_beside_a_writer(store: &dyn Store) {
    const BATCHES: u32 = 150;
    let item = |n: u32| [b"item", &n.to_be_bytes()[..]].concat();
    let number = |value: Vec<u8>| u32::from_be_bytes(value.try_into().unwrap());
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut seen = 0;
                loop {
                    // Asked before reading: the last round sees the end.
                    let last_round = finished.load(Ordering::Acquire);
                    let last = store.get(b"last").unwrap().map_or(0, number);
                    assert!(last >= seen, "a reader went back from {seen} to {last}");
                    seen = last;
                    let found = keys(store, b"item", b"iten", Order::Up, usize::MAX);
                    let expected: Vec<_> = (1..=last).map(item).collect();
                    assert!(found.starts_with(&expected), "what was committed before is missing");
                    if last_round {
                        break;
                    }
                }
                assert_eq!(seen, BATCHES);
            });
        }
        for n in 1..=BATCHES {
            let batch: Batch = vec![put(&item(n), b"x"), put(b"last", &n.to_be_bytes())];
            store.commit(vec![batch]).unwrap();
        }
        finished.store(true, Ordering::Release);
    });
}

fn reopening<S: Store>(place: &impl Fn() -> S) {
    let key = |n: u32| [b"w", &n.to_be_bytes()[..]].concat();
    for round in 0..4_u32 {
        let store = place();
        let before: Vec<Vec<u8>> = (0..round * 50).filter(|n| n % 10 != 0).map(key).collect();
        assert_eq!(
            keys(&store, b"w", b"x", Order::Up, usize::MAX),
            before,
            "after {round} openings"
        );
        let new = round * 50..(round + 1) * 50;
        store.commit(vec![new.clone().map(|n| put(&key(n), b"v")).collect()]).unwrap();
        let deleted = new.filter(|n| n % 10 == 0).map(|n| Op::Delete(key(n)));
        store.commit(vec![deleted.collect()]).unwrap();
    }
}
