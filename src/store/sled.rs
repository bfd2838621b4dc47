//! The store on disk: sled 0.34, used so that it survives power loss.
//!
//! Promises: one tree; one sled batch per batch; every commit ends with sled's flush and then an
//! `fdatasync` of sled's file through a handle of our own, for sled's flush alone orders neither
//! metadata nor the device's cache. One process at a time. After a failed commit nothing more is
//! written. What of its files cannot be read is told as damage. Imports the rest of the store and the
//! lock file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::embedded::{io_failed, tell, unwinding};
use super::fresh::sync_directory;
use super::place::{DiskOptions, OnStep, Place, Step};
use super::{Batch, Entry, Op, Order, SYNCING, Store, StoreError, StoreKind, key, prepare};
use crate::lock_file::{LockFile, patiently};

/// The file in which sled keeps everything.
const DATA_FILE: &str = "db";

/// The name of the engine.
const ENGINE: &str = "sled";

/// Whether sled has a store in a directory.
pub(super) fn is_in(path: &Path) -> bool {
    path.join(DATA_FILE).is_file()
}

/// Whether a file or a directory of this name is sled's.
pub(super) fn is_its_own(name: &str) -> bool {
    matches!(name, DATA_FILE | "conf" | "blobs") || name.starts_with("snap.")
}

/// How to open a store of sled's; the cache is of its tree's nodes.
pub type SledOptions = DiskOptions;

/// The store on disk.
pub struct SledStore {
    // Dropped in this order: the lock is given back last.
    db: sled::Db,
    writer: Mutex<Writer>,
    on_step: Option<OnStep>,
    path: PathBuf,
    _lock: Arc<LockFile>,
}

/// What one commit at a time needs.
struct Writer {
    data: File,
    failed: bool,
}

impl SledStore {
    /// Opens the store in a directory, which is created when missing, and makes it ready, see
    /// [`prepare`].
    ///
    /// Refuses what [`open_at`](super::open_at) refuses.
    pub fn open(path: impl AsRef<Path>, options: SledOptions) -> Result<Self, StoreError> {
        let store = Place::to_use(path.as_ref())?.open_sled(options)?;
        prepare(&store)?;
        Ok(store)
    }

    /// Opens a store that is there and leaves it as it is, see [`look_at`](super::look_at).
    pub fn open_as_it_is(path: impl AsRef<Path>, options: SledOptions) -> Result<Self, StoreError> {
        Place::to_look_at(path.as_ref())?.open_sled(options)
    }

    /// Opens a store in a directory that exists and is locked, and writes nothing to it.
    pub(super) fn open_in(
        path: &Path,
        lock: Arc<LockFile>,
        options: SledOptions,
    ) -> Result<Self, StoreError> {
        remove_torn_snapshots(path)
            .map_err(|error| StoreError::failed("looking at its files", error))?;
        let config = sled::Config::new()
            .path(path)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(None)
            .use_compression(false)
            .cache_capacity(options.cache_bytes);
        let open = || patiently(|| config.open(), is_locked);
        let db = unwinding(ENGINE, path, open)?.map_err(|error| told(path, "opening", error))?;
        let data = File::open(path.join(DATA_FILE))
            .map_err(|error| StoreError::failed("opening the data file", error))?;
        // The names of new files are durable only when their directory is.
        sync_directory(path).map_err(|error| StoreError::failed("syncing the directory", error))?;
        Ok(Self {
            db,
            writer: Mutex::new(Writer { data, failed: false }),
            on_step: options.on_step,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Bytes that the store takes on disk.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.db.size_on_disk().map_err(|error| StoreError::failed("measuring", error))
    }

    /// Writes batches as [`Store::commit`] does.
    pub(super) fn commit_all(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.failed {
            return Err(StoreError::Stopped);
        }
        // Set first, so that a panic on the way counts as a failure as well.
        writer.failed = true;
        self.write(&writer.data, batches)?;
        writer.failed = false;
        Ok(())
    }

    /// What sled gives; a failure or a panic of its own as an error.
    fn run<T>(
        &self,
        action: &'static str,
        call: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        unwinding(ENGINE, &self.path, call)?.map_err(|error| told(&self.path, action, error))
    }

    fn write(&self, data: &File, batches: &[Batch]) -> Result<(), StoreError> {
        let tell_of = |step| tell(self.on_step.as_ref(), step);
        for batch in batches {
            let mut ops = sled::Batch::default();
            for op in batch {
                match op {
                    Op::Put(key, value) => ops.insert(key.as_slice(), value.as_slice()),
                    Op::Delete(key) => ops.remove(key.as_slice()),
                }
            }
            self.run("writing", || self.db.apply_batch(ops))?;
            tell_of(Step::Applied);
        }
        self.run("flushing", || self.db.flush())?;
        tell_of(Step::Flushed);
        data.sync_data().map_err(|error| StoreError::failed(SYNCING, error))?;
        tell_of(Step::Synced);
        Ok(())
    }
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.run("reading", || self.db.get(key));
        let value = read.map_err(|error| at_keys(error, &key::show(key)))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        keys: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if keys.start >= keys.end {
            return Ok(Vec::new());
        }
        let copy = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = entry?;
            Ok((key.to_vec(), value.to_vec()))
        };
        let scanned = self.run("scanning", || {
            let found = self.db.range(keys.clone());
            match order {
                Order::Up => found.take(limit).map(copy).collect::<sled::Result<_>>(),
                Order::Down => found.rev().take(limit).map(copy).collect(),
            }
        });
        scanned.map_err(|error| {
            let (from, to) = (key::show(keys.start), key::show(keys.end));
            at_keys(error, &format!("{from} to {to}"))
        })
    }

    fn commit(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        self.commit_all(&batches)
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn kind(&self) -> Option<StoreKind> {
        Some(StoreKind::Sled)
    }

    fn bytes_on_disk(&self) -> Result<Option<u64>, StoreError> {
        self.size_on_disk().map(Some)
    }
}

/// An error of sled's, told apart: the disk, or what is on it.
fn told(path: &Path, action: &'static str, error: sled::Error) -> StoreError {
    let damaged = |problem: String| StoreError::Damaged { path: path.to_owned(), problem };
    match error {
        sled::Error::Io(cause) => {
            io_failed(ENGINE, path, &format!("the file {DATA_FILE}"), action, cause)
        }
        sled::Error::Corruption { at: Some(at), .. } => {
            damaged(format!("the file {DATA_FILE} does not hold what was written at {at}"))
        }
        sled::Error::Corruption { at: None, .. } => {
            damaged(format!("a file of sled's, {DATA_FILE} or a snapshot, is not what was written"))
        }
        other => damaged(format!("sled cannot make sense of its files: {other}")),
    }
}

/// Adds where in the store something cannot be read.
fn at_keys(error: StoreError, keys: &str) -> StoreError {
    match error {
        StoreError::Damaged { path, problem } => {
            StoreError::Damaged { path, problem: format!("{problem}, looking for keys {keys}") }
        }
        other => other,
    }
}

/// Removes what is left of snapshots that were being written when the process or the room on the
/// disk ended: sled would take the latest for a whole one, and not open. It makes them anew.
fn remove_torn_snapshots(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether sled could not lock its file. It wraps the system's error in a text of its own.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(cause) if cause.to_string().contains("could not acquire lock"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    fn open(path: &Path) -> SledStore {
        SledStore::open(path, SledOptions { cache_bytes: 8 << 20, ..SledOptions::default() })
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
}
