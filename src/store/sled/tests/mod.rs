//! sled as a store: what it holds beyond the conformance suite.

mod damage;
mod kills;

use std::fs::File;

use super::*;
use crate::lock_file::patiently;
use crate::store::{conformance, damaged};

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

/// Values so large that sled keeps their page in a file of its own.
fn large(n: u8) -> Batch {
    let value = |m: u8| (0..=250_u8).cycle().take(30_000).map(|i| i ^ n ^ m).collect();
    (0..10).map(|m| Op::Put(vec![b'l', m], value(m))).collect()
}

fn blobs(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path.join(recovery::BLOBS)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The position of the last mark.
fn marked(path: &Path) -> u64 {
    mark::read(path).unwrap().unwrap().unwrap().at
}

#[test]
fn each_commit_is_noted_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut before = marked(directory.path());
    // Over the ends of some segments.
    for n in 0..60_u8 {
        let values = (0..5).map(|m| Op::Put(vec![n, m], vec![n; 4_000 + usize::from(m)]));
        store.commit(vec![values.collect(), put("after")]).unwrap();
        let now = marked(directory.path());
        assert!(now > before + 20_000, "{before}, then {now}");
        before = now;
    }
    assert!(before > 2 * log::SEGMENT, "{before}");
    // What sled writes when it is closed is noted too.
    drop(store);
    let closed = marked(directory.path());
    assert!(closed >= before);
    let store = open(directory.path());
    assert!(marked(directory.path()) >= closed);
    assert_eq!(store.get(&[59, 4]).unwrap().unwrap().len(), 4_004);
}

#[test]
fn a_file_that_was_left_behind_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for n in 0..9 {
        store.commit(vec![large(n)]).unwrap();
    }
    drop(store);
    let left = blobs(directory.path());
    let store = open(directory.path());
    let used = blobs(directory.path());
    assert!(!used.is_empty() && used.len() < left.len(), "{used:?} of {left:?}");
    let entries = store.scan(b"l".as_slice()..b"m".as_slice(), Order::Up, 100).unwrap();
    let expected = large(8).into_iter().map(|op| match op {
        Op::Put(key, value) => (key, value),
        Op::Delete(key) => panic!("{key:?} is deleted"),
    });
    assert!(entries.into_iter().eq(expected));
}

#[test]
fn a_log_that_is_gone_is_no_new_store() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    std::fs::remove_file(directory.path().join(DATA_FILE)).unwrap();
    for _ in 0..2 {
        let options = crate::store::StoreOptions::default();
        let error = crate::store::open_at(directory.path(), options).err().unwrap();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("is damaged: the file db is missing"), "{error}");
    }
    assert!(!directory.path().join(DATA_FILE).exists());
}

/// A store of which most was deleted again, as many starts leave it: little was written anew as a
/// whole.
fn wasteful(path: &Path) -> SledStore {
    let key = |n: u32| n.to_be_bytes().to_vec();
    for part in 0..60 {
        let store = open(path);
        let put = |n: u32| Op::Put(key(n), vec![1; 1_000]);
        store.commit(vec![(0..160).map(|n| put(part * 160 + n)).collect()]).unwrap();
        let delete = |n: u32| (!n.is_multiple_of(10)).then(|| Op::Delete(key(part * 160 + n)));
        store.commit(vec![(0..160).filter_map(delete).collect()]).unwrap();
    }
    open(path)
}

/// What is left is moved together, and all is there.
#[test]
fn what_is_needed_of_a_log_is_moved_together() {
    let directory = tempfile::tempdir().unwrap();
    let store = wasteful(directory.path());
    let entries = damaged::all(&store).unwrap();
    assert!(entries.len() > 60 * 16, "the format is one more");
    assert!(store.writer.lock().unwrap().follower.is_wasteful(1 << 20, 3));
    drop(store);
    let length = || std::fs::metadata(directory.path().join(DATA_FILE)).unwrap().len();
    let before = length();
    let moved = open::clean_up(directory.path(), 8 << 20).unwrap();
    let store = open(directory.path());
    assert_eq!(damaged::all(&store).unwrap(), entries);
    println!("{before} bytes, {moved} moved, {} after", length());
    assert!(moved > 10_000, "{moved}");
    assert!(!store.writer.lock().unwrap().follower.is_wasteful(1 << 20, 3));
    store.commit(vec![put("after")]).unwrap();
}

/// A store of before marks, and one whose mark was taken away, open: nothing is known of them.
#[test]
fn without_a_mark_there_is_nothing_to_compare() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).commit(vec![put("a")]).unwrap();
    let mark = directory.path().join(mark::MARK_FILE);
    std::fs::remove_file(&mark).unwrap();
    assert_eq!(open(directory.path()).get(b"a").unwrap(), Some(vec![1]));
    assert!(mark.is_file());
}

/// The mark is of a moment from which on so much was written that what it tells of is written over:
/// there is nothing to compare with, which is said, and all is there.
#[test]
fn a_mark_that_is_outdated_is_told_and_not_compared() {
    let directory = tempfile::tempdir().unwrap();
    let (live, killed) = (directory.path().join("live"), directory.path().join("killed"));
    let store = open(&live);
    let write = |n: u8| {
        let values = (0..=u8::MAX).map(|m| Op::Put(vec![m], vec![n ^ m; 900]));
        store.commit(vec![values.collect()]).unwrap();
    };
    write(0);
    let old = std::fs::read(live.join(mark::MARK_FILE)).unwrap();
    let at = marked(&live);
    (1..40).for_each(write);
    let now = marked(&live);
    assert!(now > at + 4 * log::SEGMENT, "{at}, then {now}");
    let entries = damaged::all(&store).unwrap();
    damaged::copy(&live, &killed);
    let open_again = || {
        let told = Told::default();
        let opened = told.by(|| open(&killed));
        assert_eq!(damaged::all(&opened).unwrap(), entries);
        (told.text(), opened)
    };
    let warning = "what was noted of the log is too old to be compared with it";
    let (told, opened) = open_again();
    assert!(!told.contains(warning), "{told}");
    drop(opened);
    std::fs::remove_dir_all(&killed).unwrap();
    damaged::copy(&live, &killed);
    std::fs::write(killed.join(mark::MARK_FILE), &old).unwrap();
    let (told, opened) = open_again();
    let path = killed.display();
    assert!(told.contains("WARN") && told.contains(warning), "{told}");
    assert!(told.contains(&format!("path={path}")), "{told}");
    // It is noted anew, and compared from here on.
    assert!(marked(&killed) >= now);
    opened.commit(vec![put("after")]).unwrap();
    assert_eq!(opened.get(b"after").unwrap(), Some(vec![1]));
}

/// What is logged.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn by<T>(&self, call: impl FnOnce() -> T) -> T {
        let told = self.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        let subscriber = subscriber.with_writer(move || told.clone()).finish();
        tracing::subscriber::with_default(subscriber, call)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A power cut while a mark is written leaves the one before it.
#[test]
fn a_mark_that_is_torn_leaves_the_one_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.commit(vec![put("a")]).unwrap();
    let before = marked(directory.path());
    store.commit(vec![put("b")]).unwrap();
    let path = directory.path().join(mark::MARK_FILE);
    let whole = std::fs::read(&path).unwrap();
    drop(store);
    let mut earlier = 0;
    for at in [20, 4096 + 20] {
        let mut torn = whole.clone();
        torn[at] ^= 1;
        std::fs::write(&path, torn).unwrap();
        earlier += u32::from(marked(directory.path()) <= before);
        assert_eq!(open(directory.path()).get(b"b").unwrap(), Some(vec![1]));
        std::fs::write(&path, &whole).unwrap();
    }
    assert_eq!(earlier, 1);
    std::fs::write(&path, vec![1; whole.len()]).unwrap();
    let error = SledStore::open(directory.path(), SledOptions::default()).unwrap_err();
    assert!(error.to_string().contains("the file db.mark is not what was written"), "{error}");
}
