//! The store on disk: sled 0.34, used so that it survives power loss.
//!
//! Promises: one tree; one sled batch per batch; every commit ends with sled's flush and then an
//! `fdatasync` of sled's file through a handle of our own, for sled's flush alone orders neither
//! metadata nor the device's cache. One process at a time. After a failed commit nothing more is
//! written. What was durable and is not found again is told as damage. Imports the rest of the store
//! and the lock file.
//!
//! What sled 0.34 does, read in its source:
//!
//! - When it is opened, it goes through its log from its last snapshot on, and drops without a word
//!   what stands behind a place that it cannot read. `recovery` looks first.
//! - A page that has more than 128 KiB with what is in it, which a few large values come to, is
//!   written to a file of its own in `blobs`, which no flush makes durable: `follow` does.
//! - A process that is started often does not get to use its file's places again: `open` sees to it.

mod follow;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod log;
mod mark;
mod open;
mod pages;
mod recovery;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use self::open::Writer;
use super::embedded::{io_failed, tell, unwinding};
use super::place::{DiskOptions, OnStep, Place, Step};
use super::{Batch, Entry, Op, Order, SYNCING, Store, StoreError, StoreKind, key, prepare};
use crate::lock_file::LockFile;

/// The file in which sled keeps everything.
const DATA_FILE: &str = "db";

/// The name of the engine.
const ENGINE: &str = "sled";

/// What may be done to a store before all of it is made durable and noted: operations, and bytes of
/// keys and values. Beyond that the log may go on so far that what was noted last cannot be compared.
const UNNOTED: (usize, usize) = (256, 64 * 1024);

/// Whether sled has a store in a directory.
pub(super) fn is_in(path: &Path) -> bool {
    path.join(DATA_FILE).is_file()
}

/// Whether a directory has what is beside sled's log and not the log.
pub(super) fn is_bereft(path: &Path) -> bool {
    let is_left = |name: &str| name == mark::MARK_FILE || name.starts_with("snap.");
    let left = std::fs::read_dir(path).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|it| is_left(&it.file_name().to_string_lossy())))
    });
    left && !path.join(DATA_FILE).exists()
}

/// Whether a file or a directory of this name is sled's.
pub(super) fn is_its_own(name: &str) -> bool {
    matches!(name, DATA_FILE | mark::MARK_FILE | "conf" | recovery::BLOBS)
        || name.starts_with("snap.")
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
        let (db, writer) = open::open(path, options.cache_bytes)?;
        Ok(Self {
            db,
            writer: Mutex::new(writer),
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
        self.write(&mut writer, batches)?;
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

    fn write(&self, writer: &mut Writer, batches: &[Batch]) -> Result<(), StoreError> {
        let tell_of = |step| tell(self.on_step.as_ref(), step);
        let (mut all_ops, mut all_bytes) = (0, 0);
        for batch in batches {
            let mut ops = sled::Batch::default();
            for op in batch {
                all_bytes += op.key().len();
                match op {
                    Op::Put(key, value) => {
                        all_bytes += value.len();
                        ops.insert(key.as_slice(), value.as_slice());
                    }
                    Op::Delete(key) => ops.remove(key.as_slice()),
                }
            }
            self.run("writing", || self.db.apply_batch(ops))?;
            tell_of(Step::Applied);
            all_ops += batch.len();
            if all_ops >= UNNOTED.0 || all_bytes >= UNNOTED.1 {
                self.note_between(writer)?;
                (all_ops, all_bytes) = (0, 0);
            }
        }
        self.run("flushing", || self.db.flush())?;
        tell_of(Step::Flushed);
        writer.sync().map_err(|error| StoreError::failed(SYNCING, error))?;
        tell_of(Step::Synced);
        writer.follower.note();
        Ok(())
    }

    /// Notes how far the log reaches in the middle of a commit, if it has gone on to another segment.
    fn note_between(&self, writer: &mut Writer) -> Result<(), StoreError> {
        self.run("flushing", || self.db.flush())?;
        let failed = |error| StoreError::failed(SYNCING, error);
        writer.follower.follow().map_err(failed)?;
        if writer.follower.has_crossed() {
            writer.sync().map_err(failed)?;
            writer.follower.note();
        }
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
mod tests;
