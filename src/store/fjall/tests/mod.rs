//! The store on fjall: what it promises beside the conformance suite.

mod damage;

use std::fs;

use super::*;
use crate::store::damaged::all;
use crate::store::{conformance, kind_at};

fn open(path: &Path) -> FjallStore {
    FjallStore::open(path, FjallOptions { cache_bytes: 8 << 20, ..FjallOptions::default() })
        .unwrap()
}

fn put(key: &str) -> Batch {
    vec![Op::Put(key.into(), vec![1])]
}

#[test]
fn it_conforms() {
    conformance::run(|| {
        let directory = tempfile::tempdir().unwrap();
        move || open(directory.path())
    });
}

#[test]
fn after_a_failed_commit_nothing_more_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.writer.lock().unwrap().sync = |_| Err(fjall::Error::Io(io::Error::other("no device")));
    let error = store.commit(vec![put("a")]).unwrap_err();
    assert_eq!(error.to_string(), "store syncing to the device failed: no device");
    assert!(matches!(store.commit(vec![put("b")]), Err(StoreError::Stopped)));
    assert_eq!(store.get(b"b").unwrap(), None);
}

#[test]
fn a_reader_sees_a_batch_as_a_whole() {
    const MAX_KEYS: usize = 200;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let batch = |value: u8| -> Batch {
        // Against the order of a scan.
        let keys = (0..MAX_KEYS).rev().map(|n| format!("k{n:03}").into_bytes());
        keys.map(|key| Op::Put(key, vec![value])).collect()
    };
    store.commit(vec![batch(0)]).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            loop {
                let found = store.scan(b"k"..b"l", Order::Up, usize::MAX).unwrap();
                assert_eq!(found.len(), MAX_KEYS);
                let first = &found[0].1;
                assert!(found.iter().all(|(_, value)| value == first), "a batch in part");
                if first[0] == 100 {
                    break;
                }
            }
        });
        for value in 1..=100 {
            store.commit(vec![batch(value)]).unwrap();
        }
        reader.join().unwrap();
    });
}

#[test]
fn it_is_closed_when_it_is_dropped_with_all_that_it_does() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3_u8 {
        let store = open(directory.path());
        // Enough for a memtable to become a table while the store is dropped.
        let value = vec![round; 60_000];
        let batches = (0..300_u32)
            .map(|n| vec![Op::Put([b"v", &n.to_be_bytes()[..]].concat(), value.clone())]);
        store.commit(batches.collect()).unwrap();
        assert_eq!(all(&store).unwrap().len(), 302);
    }
    let store = open(directory.path());
    let size = store.bytes_on_disk().unwrap().unwrap();
    assert!((18_000_000..400_000_000).contains(&size), "{size} bytes");
    let files: Vec<_> = fs::read_dir(directory.path().join(DIRECTORY)).unwrap().collect();
    let journals = files.iter().filter(|it| {
        it.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "jnl")
    });
    assert!(journals.count() < 5, "{files:?}");
}

#[test]
fn one_that_was_not_made_to_its_end_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let new = directory.path().join(NEW_DIRECTORY);
    fs::create_dir(&new).unwrap();
    fs::write(new.join("0.jnl"), "half").unwrap();
    assert_eq!(kind_at(directory.path()).unwrap(), None);
    let store = open(directory.path());
    assert_eq!(all(&store).unwrap().len(), 2);
    assert!(!new.exists());
}
