//! The store on disk: fjall 3, used so that it survives power loss.
//!
//! Promises: one keyspace; one fjall batch per batch, which a reader sees as a whole or not at all;
//! every commit ends with an `fdatasync` of fjall's journal. One process at a time. After a failed
//! commit nothing more is written. Imports the rest of the store and the lock file.
//!
//! What fjall 3.1 does, read in its source:
//!
//! - A batch is appended to the journal with a checksum over it, and then put into the memtable. By
//!   default that hands the journal to the operating system and no further; here it is left in the
//!   process (`manual_journal_persist`) until all batches of a commit are in.
//! - `persist(SyncData)` writes what is left and calls `fdatasync` on the journal's file, which
//!   covers its size; `SyncAll` would write its times as well, which nobody reads.
//! - A journal that is full is synced before the next one is begun, and the next one's file and its
//!   directory before anything is appended to it. A journal is deleted once a table has what is in
//!   it: the table's file, its directory, the manifest and the pointer to it are synced by then.
//! - Values are kept with their keys. Apart from them (`with_kv_separation`) they would be in files
//!   whose directory fjall does not sync; pages of 12 KiB were written 1.9 times instead of 3.1
//!   times, at the same processor time, and took a fifth more of the disk once most were deleted.
//! - When it is opened, it drops the rest of a journal from where it cannot be read any further, and
//!   the tables of a keyspace whose pointer is missing. `look_over` looks first, so that what a power
//!   cut leaves opens and what is damaged is told.

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod journal;
mod manifest;
mod reach;

use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable as _};

use self::reach::NoteReach;
use super::embedded::{io_failed, tell, unwinding};
use super::fresh::{sync_all, sync_directory};
use super::place::{CACHE_BYTES, DiskOptions, OnStep, Place, Step};
use super::{Batch, Entry, Op, Order, SYNCING, Store, StoreError, StoreKind, prepare};
use crate::lock_file::{LockFile, patiently};

/// The name of the engine.
const ENGINE: &str = "fjall";

/// The directory in which fjall keeps everything.
pub(super) const DIRECTORY: &str = "fjall";

/// Its name while it is made.
const NEW_DIRECTORY: &str = "fjall.new";

/// The keyspace that holds all keys.
const KEYSPACE: &str = "fleetcron";

/// What is written in memory before it goes to a table. There are three at most: one that is
/// written, one that waits for its table, one that came in between. With four times as much a
/// process held 116 MiB more, and a fifth less was written to the disk.
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;

/// The journals' bytes, above which fjall hurries to be done with the oldest. One has 64 MB.
const JOURNAL_BYTES: u64 = 128 * 1024 * 1024;

/// One makes tables of memtables, one merges tables.
const THREADS: usize = 2;

/// Tables that are not merged yet, at which a commit waits. fjall itself halts at 30.
const UNMERGED: usize = 16;

/// How long a commit waits for fjall's threads before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two looks at what fjall's threads have done.
const PAUSE: Duration = Duration::from_millis(1);

/// Whether fjall has a store in a directory.
pub(super) fn is_in(path: &Path) -> bool {
    path.join(DIRECTORY).is_dir()
}

/// Whether a file or a directory of this name is fjall's.
pub(super) fn is_its_own(name: &str) -> bool {
    matches!(name, DIRECTORY | NEW_DIRECTORY)
}

/// How to open a store of fjall's; the cache is of blocks. What was written last is in memory beside
/// it, some 50 MiB at most.
pub type FjallOptions = DiskOptions;

/// The store on disk, as fjall has it.
pub struct FjallStore {
    // Dropped in this order: fjall's threads end with `db`, the lock is given back last.
    keyspace: Keyspace,
    db: Database,
    writer: Mutex<Writer>,
    on_step: Option<OnStep>,
    path: PathBuf,
    _lock: Arc<LockFile>,
}

/// What one commit at a time needs.
struct Writer {
    failed: bool,
    reach: NoteReach,
    /// Makes the journal durable. Tests put one in its place that fails.
    sync: fn(&Database) -> fjall::Result<()>,
}

impl FjallStore {
    /// Opens the store in a directory, which is created when missing, and makes it ready, see
    /// [`prepare`].
    ///
    /// Refuses what [`open_at`](super::open_at) refuses.
    pub fn open(path: impl AsRef<Path>, options: FjallOptions) -> Result<Self, StoreError> {
        let store = Place::to_use(path.as_ref())?.open_fjall(options)?;
        prepare(&store)?;
        Ok(store)
    }

    /// Opens a store that is there and leaves it as it is, see [`look_at`](super::look_at).
    pub fn open_as_it_is(
        path: impl AsRef<Path>,
        options: FjallOptions,
    ) -> Result<Self, StoreError> {
        Place::to_look_at(path.as_ref())?.open_fjall(options)
    }

    /// Opens a store in a directory that exists and is locked, and writes nothing to it.
    pub(super) fn open_in(
        path: &Path,
        lock: Arc<LockFile>,
        options: FjallOptions,
    ) -> Result<Self, StoreError> {
        let files = path.join(DIRECTORY);
        if !files.is_dir() {
            make(path, &files)?;
        }
        look_over(path, &files)?;
        let cache = options.cache_bytes;
        let open =
            || unwinding(ENGINE, path, || patiently(|| open_files(&files, cache), is_locked));
        let (db, keyspace) = open()?.map_err(|error| told(path, "opening", error))?;
        Ok(Self {
            keyspace,
            db,
            writer: Mutex::new(Writer {
                failed: false,
                reach: NoteReach::new(files),
                sync: |db| db.persist(PersistMode::SyncData),
            }),
            on_step: options.on_step,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Bytes that the store takes on disk.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        // fjall's own figure counts the journal as it will be.
        blocks(&self.path.join(DIRECTORY)).map_err(|error| StoreError::failed("measuring", error))
    }

    /// Writes batches as [`Store::commit`] does.
    pub(super) fn commit_all(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.failed {
            return Err(StoreError::Stopped);
        }
        // Set first, so that a panic on the way counts as a failure as well.
        (writer.failed, writer.reach.is_durable) = (true, false);
        self.write(&writer, batches)?;
        (writer.failed, writer.reach.is_durable) = (false, true);
        Ok(())
    }

    fn write(&self, writer: &Writer, batches: &[Batch]) -> Result<(), StoreError> {
        let tell_of = |step| tell(self.on_step.as_ref(), step);
        for (n, batch) in batches.iter().enumerate() {
            self.wait_for_threads()?;
            let mut ops = self.db.batch();
            if n == 0 {
                ops.remove(&self.keyspace, journal::MARK);
            }
            for op in last_of_each(batch) {
                match op {
                    Op::Put(key, value) => {
                        ops.insert(&self.keyspace, key.as_slice(), value.as_slice());
                    }
                    Op::Delete(key) => ops.remove(&self.keyspace, key.as_slice()),
                }
            }
            ops.commit().map_err(|error| told(&self.path, "writing", error))?;
            tell_of(Step::Applied);
        }
        let flushed = self.db.persist(PersistMode::Buffer);
        flushed.map_err(|error| told(&self.path, "flushing", error))?;
        tell_of(Step::Flushed);
        let synced = (writer.sync)(&self.db);
        synced.map_err(|error| told(&self.path, SYNCING, error))?;
        tell_of(Step::Synced);
        Ok(())
    }

    /// Waits while fjall's threads are too far behind. Its own wait within a batch has no end when
    /// they have failed; there would be nothing to wait for then.
    fn wait_for_threads(&self) -> Result<(), StoreError> {
        let begun = Instant::now();
        while self.keyspace.sealed_memtable_count() > 1 || self.keyspace.l0_table_count() > UNMERGED
        {
            // Fails if one of them has.
            self.db
                .persist(PersistMode::Buffer)
                .map_err(|error| told(&self.path, "writing", error))?;
            if begun.elapsed() > PATIENCE {
                let why = format!("fjall has made no room for {} s", PATIENCE.as_secs());
                return Err(StoreError::failed("writing", why));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl std::fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store for FjallStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        // Without the snapshot it would show a batch in part.
        let found = unwinding(ENGINE, &self.path, || self.db.snapshot().get(&self.keyspace, key))?;
        let value = found.map_err(|error| told(&self.path, "reading", error))?;
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
        let copy = |entry: fjall::Guard| {
            let (key, value) = entry.into_inner()?;
            Ok((key.to_vec(), value.to_vec()))
        };
        let scanned: fjall::Result<Vec<Entry>> = unwinding(ENGINE, &self.path, || {
            let found = self.db.snapshot().range(&self.keyspace, keys);
            match order {
                Order::Up => found.take(limit).map(copy).collect(),
                Order::Down => found.rev().take(limit).map(copy).collect(),
            }
        })?;
        scanned.map_err(|error| told(&self.path, "scanning", error))
    }

    fn commit(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        self.commit_all(&batches)
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn kind(&self) -> Option<StoreKind> {
        Some(StoreKind::Fjall)
    }

    fn bytes_on_disk(&self) -> Result<Option<u64>, StoreError> {
        self.size_on_disk().map(Some)
    }
}

/// The last operation on each key: fjall gives all of a batch one number and does not say which of
/// two with the same key and number counts.
fn last_of_each(batch: &[Op]) -> Vec<&Op> {
    let mut batch: Vec<&Op> = batch.iter().collect();
    // Stable: of one key the last operation stays last.
    batch.sort_by(|a, b| a.key().cmp(b.key()));
    batch.reverse();
    batch.dedup_by(|later, first| later.key() == first.key());
    batch
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES).manual_journal_persist(true)
}

fn database(files: &Path, cache_bytes: u64) -> fjall::Result<Database> {
    Database::builder(files)
        .cache_size(cache_bytes)
        .max_journaling_size(JOURNAL_BYTES)
        .manual_journal_persist(true)
        .worker_threads(THREADS)
        .open()
}

fn open_files(files: &Path, cache_bytes: u64) -> fjall::Result<(Database, Keyspace)> {
    let db = database(files, cache_bytes)?;
    if !db.keyspace_exists(KEYSPACE) {
        return Err(fjall::Error::KeyspaceDeleted);
    }
    let keyspace = db.keyspace(KEYSPACE, options)?;
    Ok((db, keyspace))
}

/// Makes an empty store under another name, so that there is a whole one or none.
fn make(path: &Path, files: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::failed("making it", error);
    let new = path.join(NEW_DIRECTORY);
    if new.exists() {
        std::fs::remove_dir_all(&new).map_err(failed)?;
    }
    let made = database(&new, CACHE_BYTES).and_then(|db| {
        db.keyspace(KEYSPACE, options)?;
        db.persist(PersistMode::SyncAll)
    });
    made.map_err(|error| told(path, "making it", error))?;
    sync_all(&new)
        .and_then(|()| std::fs::rename(&new, files))
        .and_then(|()| sync_directory(path))
        .map_err(failed)
}

/// Looks whether the files are as fjall leaves them, before it is let at them.
fn look_over(path: &Path, files: &Path) -> Result<(), StoreError> {
    let damaged = |problem: String| {
        let problem = format!("in its directory {DIRECTORY}, {problem}");
        StoreError::Damaged { path: path.to_owned(), problem }
    };
    let read = |error: io::Error| StoreError::failed("looking at its files", error);
    // Without it fjall would begin a new store.
    if !files.join("version").is_file() {
        return Err(damaged("the file version is missing".to_owned()));
    }
    manifest::look_over(files).map_err(read)?.map_err(damaged)?;
    journal::look_over(files).map_err(read)?.map_err(damaged)
}

/// The bytes that the files below a directory take on disk: a journal is longer than what is in it.
fn blocks(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let measured = entry.metadata().and_then(|metadata| {
            if metadata.is_dir() { blocks(&entry.path()) } else { Ok(metadata.blocks() * 512) }
        });
        match measured {
            Ok(more) => bytes += more,
            // fjall's threads delete what they have merged.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

fn is_locked(error: &fjall::Error) -> bool {
    matches!(error, fjall::Error::Locked)
}

/// An error of fjall's, told apart: the disk, or what is on it.
fn told(path: &Path, action: &'static str, error: fjall::Error) -> StoreError {
    let damaged = |problem: String| StoreError::Damaged { path: path.to_owned(), problem };
    match error {
        fjall::Error::Io(cause) | fjall::Error::Storage(fjall::LsmError::Io(cause)) => {
            io_failed(ENGINE, path, "a file of fjall's", action, cause)
        }
        fjall::Error::Locked => StoreError::Locked { path: path.to_owned(), pid: None },
        fjall::Error::Poisoned => StoreError::failed(action, "fjall has failed to write before"),
        fjall::Error::KeyspaceDeleted => damaged(format!("fjall has no keyspace {KEYSPACE}")),
        other => damaged(format!("fjall cannot make sense of its files: {other}")),
    }
}

#[cfg(test)]
mod tests;
