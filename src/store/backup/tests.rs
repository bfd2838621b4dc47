//! Backups of stores that are written meanwhile, restored; and files that are damaged everywhere.

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::store::faulty::FaultyStore;
use crate::store::records::tests::at;
use crate::store::{
    Entry, FORMAT, MemoryStore, StoreOptions, Tee, conformance, key, look_at, open_at, prepare,
    sample,
};

fn all(store: &dyn Store) -> Vec<Entry> {
    walk(store, everything(), Order::Up).map(Result::unwrap).collect()
}

fn clock() -> impl Fn() -> Timestamp {
    let calls = Cell::new(0);
    move || at(calls.replace(calls.get() + 1))
}

/// A store that lets something happen at each of its scans: commits between the steps of a backup.
struct Busy {
    inner: MemoryStore,
    tee: Mutex<Option<Arc<Tee>>>,
    commits: Mutex<Vec<Vec<Batch>>>,
    /// After how many commits at each scan the next scan comes.
    at_once: usize,
}

impl Store for Busy {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(
        &self,
        keys: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        // A commit between two entries of a step shows in part: half a step, commits, the rest.
        let half = self.inner.scan(keys.clone(), order, limit / 2)?;
        if let Some(tee) = &*self.tee.lock().unwrap() {
            for _ in 0..self.at_once {
                if let Some(batches) = self.commits.lock().unwrap().pop() {
                    tee.commit(batches)?;
                }
            }
        }
        let from = match half.last() {
            Some((last, _)) => [last, &[0][..]].concat(),
            None => keys.start.to_vec(),
        };
        let rest = self.inner.scan(&from..keys.end, order, limit - half.len())?;
        Ok([half, rest].concat())
    }

    fn commit(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        self.inner.commit(batches)
    }
}

fn an_op() -> impl Strategy<Value = Op> {
    let key = (0_u16..600).prop_map(|n| format!("k{n:03}").into_bytes());
    prop_oneof![
        3 => (key.clone(), any::<[u8; 3]>()).prop_map(|(key, value)| Op::Put(key, value.to_vec())),
        1 => key.prop_map(Op::Delete),
    ]
}

fn commits() -> impl Strategy<Value = Vec<Vec<Batch>>> {
    let batch = proptest::collection::vec(an_op(), 0..12);
    proptest::collection::vec(proptest::collection::vec(batch, 0..3), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is committed while the keys are read, in whatever order the two meet: restored,
    /// it is the store as it was at the end of the last commit before the backup was done.
    #[test]
    fn a_backup_is_the_store_as_of_one_commit(
        before in proptest::collection::vec(an_op(), 0..600),
        commits in commits(),
        at_once in 1_usize..8,
    ) {
        let inner = MemoryStore::new();
        prepare(&inner).unwrap();
        inner.commit(vec![before]).unwrap();
        let busy = Arc::new(Busy { inner: inner.clone(), tee: Mutex::default(), commits: Mutex::new(commits), at_once });
        let tee = Arc::new(Tee::new(busy.clone()));
        *busy.tee.lock().unwrap() = Some(tee.clone());
        let mut file = Vec::new();
        let summary = write(tee.capture().unwrap(), clock(), &mut file).unwrap();
        let as_of = all(&inner);
        // What is committed later is not in it.
        tee.commit(vec![vec![Op::Put(b"k000".to_vec(), b"later".to_vec())]]).unwrap();
        *busy.tee.lock().unwrap() = None;

        prop_assert_eq!(verify(&file[..]).unwrap(), summary);
        prop_assert_eq!(summary.bytes, file.len() as u64);
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("new");
        let kind = StoreKind::ALL[at_once % 2];
        prop_assert_eq!(restore(&file[..], &place, kind).unwrap(), summary);
        let restored = open_at(&place, StoreOptions::default()).unwrap();
        prop_assert_eq!((restored.kind(), all(restored.as_ref())), (Some(kind), as_of));
    }
}

fn a_file() -> Vec<u8> {
    let tee = Arc::new(Tee::new(Arc::new(sample::store())));
    let capture = tee.capture().unwrap();
    let put = |key: &[u8]| Op::Put(key.to_vec(), b"v".to_vec());
    tee.commit(vec![vec![put(b"x"), Op::Delete(b"x".to_vec()), put(b"y")]]).unwrap();
    let mut file = Vec::new();
    write(capture, clock(), &mut file).unwrap();
    file
}

#[test]
fn a_file_that_is_cut_short_anywhere_is_told() {
    let file = a_file();
    verify(&file[..]).unwrap();
    let (head, end) = (2_000, file.len() - 200);
    for length in (0..head).chain((head..end).step_by(31)).chain(end..file.len()) {
        let error = verify(&file[..length]).unwrap_err();
        let expected = match error {
            BackupFileError::Foreign => length == 0,
            BackupFileError::CutShort { at } => at <= length as u64,
            _ => false,
        };
        assert!(expected, "{length} bytes: {error}");
    }
    let longer = [&file[..], b"\n"].concat();
    let error = verify(&longer[..]).unwrap_err().to_string();
    assert!(error.contains("something follows the trailer"), "{error}");
}

#[test]
fn a_bit_that_has_changed_anywhere_is_told_and_nothing_is_restored() {
    let file = a_file();
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("new");
    // Every byte of the head and of the end, and some of the long values between.
    let (head, end) = (2_000, file.len() - 200);
    for at in (0..head).chain((head..end).step_by(31)).chain(end..file.len()) {
        let mut changed = file.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(verify(&changed[..]).is_err(), "the change at byte {at} is not seen");
        if at % 997 == 0 {
            restore(&changed[..], &place, StoreKind::Sled).unwrap_err();
            assert!(!place.exists());
        }
    }
}

#[test]
fn blocks_that_are_left_out_or_in_another_order_are_told() {
    // Two blocks of entries and the trailer.
    let mut bytes = Vec::new();
    let summary = {
        let mut whole = Writer::begin(&mut bytes, at(0)).unwrap();
        for n in 0..4_u8 {
            whole.entry(&[b'k', n], &vec![n; 40_000]).unwrap();
        }
        whole.finish(at(1)).unwrap()
    };
    assert_eq!(summary.entries, 4);
    let block = 2 * 40_011 + 17;
    let (head, rest) = bytes.split_at(37);
    let (first, rest) = rest.split_at(block);
    let (second, trailer) = rest.split_at(block);
    verify(&[head, first, second, trailer].concat()[..]).unwrap();
    for wrong in [
        [head, second, first, trailer].concat(),
        [head, first, trailer].concat(),
        [head, second, trailer].concat(),
        [head, first, first, second, trailer].concat(),
    ] {
        let error = verify(&wrong[..]).unwrap_err();
        assert!(matches!(error, BackupFileError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_foreign_file_and_forms_of_other_versions_are_told() {
    for foreign in [&b"PK\x03\x04 something else that is longer than a header"[..], b"", b"f!"] {
        let error = verify(foreign).unwrap_err();
        assert!(matches!(error, BackupFileError::Foreign), "{error}");
    }
    for (at, told) in [(20, "form 2"), (24, "format 4")] {
        let mut file = a_file();
        file[at] += 1;
        let sum = crc32fast::hash(&file[..33]);
        file[33..37].copy_from_slice(&sum.to_be_bytes());
        let error = verify(&file[..]).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    assert_eq!(FORMAT, 3, "the format above is another one");
}

#[test]
fn more_than_can_be_noted_ends_the_backup_and_not_the_commits() {
    let tee = Arc::new(Tee::with_limit(Arc::new(sample::store()), 1_000));
    let capture = tee.capture().unwrap();
    assert!(matches!(tee.capture(), Err(TeeError::Busy)));
    for n in 0..20_u8 {
        tee.commit(vec![vec![Op::Put(vec![b'k', n], vec![n; 100])]]).unwrap();
    }
    assert_eq!(tee.get(&[b'k', 19]).unwrap(), Some(vec![19; 100]));
    let mut file = Vec::new();
    let error = write(capture, clock(), &mut file).unwrap_err().to_string();
    assert!(error.contains("more than 1000 bytes were committed"), "{error}");
    let error = verify(&file[..]).unwrap_err();
    assert!(
        matches!(&error, BackupFileError::Failed(why) if why.contains("1000 bytes")),
        "{error}"
    );
    // The next may begin.
    write(tee.capture().unwrap(), clock(), &mut Vec::new()).unwrap();
}

#[test]
fn a_commit_that_fails_is_not_in_the_notes_and_ends_the_backup() {
    let inner = MemoryStore::new();
    prepare(&inner).unwrap();
    let tee = Arc::new(Tee::new(Arc::new(FaultyStore::failing_after(inner, 1))));
    let capture = tee.capture().unwrap();
    let batch = |key: &[u8]| vec![Op::Put(key.to_vec(), vec![1])];
    tee.commit(vec![batch(b"a")]).unwrap();
    tee.commit(vec![batch(b"b")]).unwrap_err();
    let error = write(capture, clock(), &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "a commit failed while the backup went on");
}

#[test]
fn a_capture_that_is_dropped_ends_its_own_notes_alone() {
    let tee = Arc::new(Tee::with_limit(Arc::new(MemoryStore::new()), 100));
    let first = tee.capture().unwrap();
    tee.commit(vec![vec![Op::Put(b"k".to_vec(), vec![1; 200])]]).unwrap();
    first.check().unwrap_err();
    let second = tee.capture().unwrap();
    drop(first);
    tee.commit(vec![vec![Op::Put(b"a".to_vec(), vec![2])]]).unwrap();
    let noted: Vec<Op> = second.finish().unwrap().map(Result::unwrap).collect();
    assert_eq!(noted, [Op::Put(b"a".to_vec(), vec![2])]);
    drop(tee.capture().unwrap());
    drop(tee.capture().unwrap());
}

#[test]
fn a_noted_store_conforms() {
    conformance::run(|| {
        let store = MemoryStore::new();
        move || {
            let tee = Arc::new(Tee::new(Arc::new(store.clone())));
            // The notes go on for as long as the test's process lives.
            std::mem::forget(tee.capture().unwrap());
            Arc::into_inner(tee).unwrap_or_else(|| Tee::new(Arc::new(store.clone())))
        }
    });
}

#[test]
fn an_idle_store_is_backed_up_as_it_is_a_cut_short_unit_included() {
    let store = sample::store();
    let staged = Op::Put(key::staged(0, true, b"x"), b"v".to_vec());
    store.commit(vec![vec![staged]]).unwrap();
    let mut file = Vec::new();
    write_idle(&store, clock(), &mut file).unwrap();
    let copies = StoreKind::ALL.map(|kind| {
        let directory = tempfile::tempdir().unwrap();
        restore(&file[..], directory.path(), kind).unwrap();
        let restored = look_at(directory.path(), StoreOptions::default()).unwrap();
        assert_eq!((restored.kind(), all(restored.as_ref())), (Some(kind), all(&store)));
        directory
    });
    prepare(&store).unwrap();
    for directory in copies {
        let opened = open_at(directory.path(), StoreOptions::default()).unwrap();
        assert_eq!(all(opened.as_ref()), all(&store));
    }
}

#[test]
fn what_is_not_empty_is_not_restored_into() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mine"), "x").unwrap();
    let error = restore(&a_file()[..], directory.path(), StoreKind::Sled).unwrap_err().to_string();
    assert!(error.contains("is not empty: it has \"mine\""), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
