//! A store on disk that outlives a full disk: a commit that finds no room waits for it.
//!
//! Promises: a commit for which there is no room is written when there is room again, as if the disk
//! had been slow; what is read meanwhile is answered; any other failure is final, as it is without
//! this. Imports the rest of the store and the lock file.
//!
//! A commit is not begun before there is room for it. Only if somebody else takes that room while it
//! is written, it fails, and then reads of sled's may fail too until there is room.
//!
//! After a failed write neither sled nor fjall can go on, and how much of the commit is there is not
//! known. So the store is closed and opened once there is room, which leaves of the commit whole
//! batches or nothing, and all its batches are written again: each only puts and deletes, so that to
//! write it twice is to write it once. A failure to sync to the device is not of this kind, for what
//! was written before it may be gone without a word: that ends the node, and a process that starts
//! anew reads what is really there.
//!
//! While a commit waits, what is read may show a part of it. Nobody was told of it yet.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::place::DiskOptions;
use super::room::{FLOOR, Obstacle, io_kind, obstacle_at, unwritable_at};
use super::{
    Batch, Entry, FjallStore, Op, Order, SYNCING, SledStore, Store, StoreError, StoreKind,
};
use crate::lock_file::LockFile;

/// The time between two looks whether there is room again: no system tells when there is.
const PAUSE: Duration = Duration::from_millis(250);

/// Room that a commit takes beside its own bytes, at most: a segment of sled's, or a part of a
/// journal.
const BESIDE: u64 = 2 << 20;

/// How often the bytes of a commit are written by sled or fjall before it is durable, at most.
const TIMES: u64 = 4;

/// A store that is open, of either kind.
enum Opened {
    Sled(SledStore),
    Fjall(FjallStore),
}

impl Opened {
    fn open(
        kind: StoreKind,
        path: &Path,
        lock: Arc<LockFile>,
        options: DiskOptions,
    ) -> Result<Self, StoreError> {
        Ok(match kind {
            StoreKind::Sled => Self::Sled(SledStore::open_in(path, lock, options)?),
            StoreKind::Fjall => Self::Fjall(FjallStore::open_in(path, lock, options)?),
        })
    }

    fn store(&self) -> &dyn Store {
        match self {
            Self::Sled(store) => store,
            Self::Fjall(store) => store,
        }
    }

    fn commit(&self, batches: &[Batch]) -> Result<(), StoreError> {
        match self {
            Self::Sled(store) => store.commit_all(batches),
            Self::Fjall(store) => store.commit_all(batches),
        }
    }
}

/// See the module.
pub(super) struct Patient {
    /// `None` while it is opened again.
    opened: RwLock<Option<Opened>>,
    kind: StoreKind,
    path: PathBuf,
    lock: Arc<LockFile>,
    options: DiskOptions,
    /// Bytes that are to stay free.
    reserve: u64,
    /// What a commit waits for the end of.
    waits: Mutex<Option<Obstacle>>,
}

impl Patient {
    /// Opens a store in a directory that exists and is locked, and writes nothing to it.
    pub(super) fn open_in(
        path: &Path,
        lock: Arc<LockFile>,
        kind: StoreKind,
        options: DiskOptions,
        reserve: u64,
    ) -> Result<Self, StoreError> {
        let opened = Opened::open(kind, path, Arc::clone(&lock), options.clone())?;
        let opened = RwLock::new(Some(opened));
        let (path, waits) = (path.to_owned(), Mutex::new(None));
        Ok(Self { opened, kind, path, lock, options, reserve, waits })
    }

    fn opened(&self) -> RwLockReadGuard<'_, Option<Opened>> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        read(self.opened().as_ref().ok_or(StoreError::Stopped)?.store())
    }

    /// What hindered a commit that is to be tried again once it is gone; `None`: it failed for good.
    fn hindered(&self, error: &StoreError) -> Option<Obstacle> {
        match error {
            StoreError::Failed { action, .. } if *action == SYNCING => None,
            StoreError::Failed { .. } => match io_kind(error) {
                Some(kind) => Obstacle::of(kind, &self.path),
                // fjall's threads write too; their reason is not in the commit's error.
                None => unwritable_at(&self.path, FLOOR),
            },
            _ => None,
        }
    }

    fn wait(&self, obstacle: Option<Obstacle>) {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = obstacle;
    }

    /// Waits until a commit can be written.
    fn wait_for_room(&self, batches: &[Batch]) {
        let ops = batches.iter().flatten();
        let bytes = ops.fold(0, |bytes, op| match op {
            Op::Put(key, value) => bytes + key.len() + value.len(),
            Op::Delete(key) => bytes + key.len(),
        });
        let need = BESIDE + TIMES * bytes as u64;
        if let Some(obstacle) = obstacle_at(&self.path, need) {
            tracing::error!(%obstacle, "a commit waits for the disk");
            self.wait(Some(obstacle));
            self.wait_for(need.max(FLOOR));
            self.wait(None);
            tracing::info!("the disk can be written again");
        }
    }

    fn wait_for(&self, need: u64) {
        while unwritable_at(&self.path, need).is_some() {
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits for room and opens the store again.
    fn recover(&self) -> Result<(), StoreError> {
        loop {
            self.wait_for(FLOOR);
            let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
            drop(opened.take());
            let options = self.options.clone();
            match Opened::open(self.kind, &self.path, Arc::clone(&self.lock), options) {
                Ok(again) => {
                    *opened = Some(again);
                    return Ok(());
                }
                Err(error) if self.hindered(&error).is_some() => {
                    drop(opened);
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Store for Patient {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|store| store.get(key))
    }

    fn scan(
        &self,
        keys: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read(|store| store.scan(keys, order, limit))
    }

    fn commit(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        self.wait_for_room(&batches);
        loop {
            let committed = match self.opened().as_ref() {
                Some(opened) => opened.commit(&batches),
                None => Err(StoreError::Stopped),
            };
            let Err(error) = committed else { return Ok(()) };
            let Some(obstacle) = self.hindered(&error) else { return Err(error) };
            tracing::error!(%obstacle, %error, "a commit waits for the disk");
            self.wait(Some(obstacle));
            self.recover()?;
            self.wait(None);
            tracing::info!("the disk can be written again; the store was opened anew");
        }
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn kind(&self) -> Option<StoreKind> {
        Some(self.kind)
    }

    fn bytes_on_disk(&self) -> Result<Option<u64>, StoreError> {
        self.read(Store::bytes_on_disk)
    }

    fn obstacle(&self) -> Option<Obstacle> {
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match waits {
            Some(Obstacle::NearlyFull { path, .. }) => Some(Obstacle::Full { path }),
            None => obstacle_at(&self.path, self.reserve),
            waits => waits,
        }
    }
}

impl std::fmt::Debug for Patient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patient").field("path", &self.path).finish_non_exhaustive()
    }
}
