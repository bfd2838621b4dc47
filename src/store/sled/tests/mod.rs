//! sled as a store: what it holds beyond the conformance suite.

mod damage;

use super::*;
use crate::store::conformance;

fn open(path: &Path) -> SledStore {
    SledStore::open(path, SledOptions { cache_bytes: 8 << 20, ..SledOptions::default() }).unwrap()
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
    // A pipe takes no fdatasync.
    let (pipe, _other_end) = io::pipe().unwrap();
    store.writer.lock().unwrap().data = File::from(std::os::fd::OwnedFd::from(pipe));
    let error = store.commit(vec![put("a")]).unwrap_err();
    assert!(error.to_string().starts_with("store syncing to the device failed"), "{error}");
    assert!(matches!(store.commit(vec![put("b")]), Err(StoreError::Stopped)));
    assert_eq!(store.get(b"b").unwrap(), None);
}

#[test]
fn a_snapshot_that_was_not_written_to_its_end_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).commit(vec![put("a")]).unwrap();
    // As a power cut or a full disk leaves it.
    let torn = directory.path().join("snap.00000000000FFFFF.generating");
    std::fs::write(&torn, "").unwrap();
    assert_eq!(open(directory.path()).get(b"a").unwrap(), Some(vec![1]));
    assert!(!torn.exists());
}

#[test]
fn a_path_that_is_no_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = SledStore::open(&path, SledOptions::default()).unwrap_err();
        assert!(matches!(error, StoreError::NotADirectory { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    open(&directory.path().join("new/below"));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let error = SledStore::open("/proc/fleetcron", SledOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
    assert!(error.to_string().contains("/proc/fleetcron"), "{error}");
}

#[test]
fn a_lock_that_is_given_back_soon_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let held = File::options().write(true).open(directory.path().join(DATA_FILE)).unwrap();
    held.try_lock().unwrap();
    let mut held = Some(held);
    let mut tries = 0;
    let opened = patiently(
        || {
            let opened = sled::open(directory.path());
            tries += 1;
            held.take();
            opened
        },
        is_locked,
    );
    assert!(opened.is_ok(), "{opened:?}");
    assert!(tries > 1, "the lock was not held");
}
