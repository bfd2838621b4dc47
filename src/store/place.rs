//! Where a store on disk is, of which kind it is, and how it is opened, whatever its kind.
//!
//! Promises: a directory holds one store; it is opened as what it is; one process has it at a time,
//! and a second one is told who that is; a migration that a crash has cut short is finished or left
//! out of account first. Imports the rest of the store and the lock file.
//!
//! sled keeps its files in the directory itself, fjall in a directory below. Beside them are the
//! lock file and what other modules keep there.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fresh::{is_unfinished, sync_directory};
use super::migrate::swap;
use super::patient::Patient;
use super::{FjallOptions, FjallStore, SledOptions, SledStore, fjall, sled};
use super::{Store, StoreError, StoreKind, prepare};
use crate::lock_file::{LockError, LockFile};

/// The default size of a store's cache in bytes: 256 MiB.
pub const CACHE_BYTES: u64 = 256 * 1024 * 1024;

/// The file whose lock says that a process has the store open; it holds that process's id.
pub(super) const LOCK_FILE: &str = "fleetcron.lock";

/// A step of a commit, told when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A batch was handed to sled or fjall.
    Applied,
    /// The operating system has what they hold.
    Flushed,
    /// The device has it.
    Synced,
}

/// Who is told of each step of a commit.
pub type OnStep = Arc<dyn Fn(Step) + Send + Sync>;

/// How to open a store whose kind is known.
#[derive(Clone)]
pub struct DiskOptions {
    /// The size of its cache in bytes. Default [`CACHE_BYTES`].
    pub cache_bytes: u64,
    /// Told of each step of a commit, before the commit returns. Default: nobody.
    pub on_step: Option<OnStep>,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { cache_bytes: CACHE_BYTES, on_step: None }
    }
}

impl std::fmt::Debug for DiskOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskOptions")
            .field("cache_bytes", &self.cache_bytes)
            .finish_non_exhaustive()
    }
}

/// How to open a store.
#[derive(Clone)]
pub struct StoreOptions {
    /// The kind that it must be. Default: of a store that is there its own, of a new one
    /// [`StoreKind::Sled`].
    pub kind: Option<StoreKind>,
    /// The size of its cache in bytes. Default [`CACHE_BYTES`].
    pub cache_bytes: u64,
    /// Told of each step of a commit, before the commit returns. Default: nobody.
    pub on_step: Option<OnStep>,
    /// Whether a commit that finds no room on the disk waits for it, instead of failing; and how
    /// many bytes are to stay free there, below which [`Store::obstacle`] says so. Default: it
    /// fails.
    pub reserve: Option<u64>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { kind: None, cache_bytes: CACHE_BYTES, on_step: None, reserve: None }
    }
}

impl From<Option<StoreKind>> for StoreOptions {
    fn from(kind: Option<StoreKind>) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreOptions")
            .field("kind", &self.kind)
            .field("cache_bytes", &self.cache_bytes)
            .field("reserve", &self.reserve)
            .finish_non_exhaustive()
    }
}

/// Opens the store in a directory, which is created when missing, and makes it ready, see
/// [`prepare`].
///
/// Refuses a path that is no directory or cannot be written, a store of another kind than the one
/// asked for, one that another process has open, one of an unknown format, and one that a restore
/// has not finished.
pub fn open_at(
    path: impl AsRef<Path>,
    options: StoreOptions,
) -> Result<Arc<dyn Store>, StoreError> {
    let place = Place::to_use(path.as_ref())?;
    let kind = place.kind(options.kind)?;
    let store = place.open(kind, options)?;
    prepare(store.as_ref())?;
    Ok(store)
}

/// Opens a store that is there and leaves it as it is, a unit that a crash has cut short included:
/// to look at it. sled and fjall themselves may bring their files in order.
pub fn look_at(
    path: impl AsRef<Path>,
    options: StoreOptions,
) -> Result<Arc<dyn Store>, StoreError> {
    let place = Place::to_look_at(path.as_ref())?;
    let kind = place.kind(options.kind)?;
    place.open(kind, options)
}

/// The kind of the store in a directory; `None`: there is none. Opens and changes nothing.
pub fn kind_at(path: impl AsRef<Path>) -> Result<Option<StoreKind>, StoreError> {
    let path = path.as_ref();
    if let Some(kind) = swap::pending(path)? {
        return Ok(Some(kind));
    }
    match (sled::is_in(path), fjall::is_in(path)) {
        // What is beside its log says that there was a store.
        (false, false) => Ok(sled::is_bereft(path).then_some(StoreKind::Sled)),
        (true, false) => Ok(Some(StoreKind::Sled)),
        (false, true) => Ok(Some(StoreKind::Fjall)),
        (true, true) => Err(StoreError::Two { path: path.to_owned() }),
    }
}

/// A directory of a store, for this process alone while a clone of its lock lives.
pub(super) struct Place {
    path: PathBuf,
    lock: Arc<LockFile>,
    found: Option<StoreKind>,
}

impl Place {
    /// A directory in which there is a store, or will be.
    pub(super) fn to_use(path: &Path) -> Result<Self, StoreError> {
        create_directory(path)?;
        let place = Self::take(path)?;
        swap::clear(path)?;
        Ok(place)
    }

    /// A directory in which there is a store.
    pub(super) fn to_look_at(path: &Path) -> Result<Self, StoreError> {
        // Before anything is locked: the lock's file is not made where no store is.
        if kind_at(path)?.is_none() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        Self::take(path)
    }

    fn take(path: &Path) -> Result<Self, StoreError> {
        if is_unfinished(path) {
            return Err(StoreError::Unfinished { path: path.to_owned() });
        }
        let lock = take_lock(path)?;
        swap::settle(path)?;
        Ok(Self { path: path.to_owned(), lock, found: kind_at(path)? })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The kind as which it is to be opened.
    pub(super) fn kind(&self, wanted: Option<StoreKind>) -> Result<StoreKind, StoreError> {
        match (self.found, wanted) {
            (Some(found), Some(wanted)) if found != wanted => {
                Err(StoreError::OtherKind { path: self.path.clone(), found, wanted })
            }
            (found, wanted) => Ok(found.or(wanted).unwrap_or_default()),
        }
    }

    /// Opens the store, and writes nothing to it.
    pub(super) fn open(
        &self,
        kind: StoreKind,
        options: StoreOptions,
    ) -> Result<Arc<dyn Store>, StoreError> {
        open_in(&self.path, Arc::clone(&self.lock), kind, options)
    }

    /// Opens the store as sled.
    pub(super) fn open_sled(&self, options: SledOptions) -> Result<SledStore, StoreError> {
        self.kind(Some(StoreKind::Sled))?;
        SledStore::open_in(&self.path, Arc::clone(&self.lock), options)
    }

    /// Opens the store as fjall.
    pub(super) fn open_fjall(&self, options: FjallOptions) -> Result<FjallStore, StoreError> {
        self.kind(Some(StoreKind::Fjall))?;
        FjallStore::open_in(&self.path, Arc::clone(&self.lock), options)
    }
}

/// Opens a store in a directory that exists and is locked, and writes nothing to it.
pub(super) fn open_in(
    path: &Path,
    lock: Arc<LockFile>,
    kind: StoreKind,
    options: StoreOptions,
) -> Result<Arc<dyn Store>, StoreError> {
    let StoreOptions { cache_bytes, on_step, reserve, .. } = options;
    let options = DiskOptions { cache_bytes, on_step };
    if let Some(reserve) = reserve {
        return Ok(Arc::new(Patient::open_in(path, lock, kind, options, reserve)?));
    }
    Ok(match kind {
        StoreKind::Sled => Arc::new(SledStore::open_in(path, lock, options)?),
        StoreKind::Fjall => Arc::new(FjallStore::open_in(path, lock, options)?),
    })
}

/// Makes a directory that only its owner can look into; one that is there stays as it is.
pub(super) fn create_directory(path: &Path) -> Result<(), StoreError> {
    let existed = path.is_dir();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            StoreError::NotADirectory { path: path.to_owned() }
        }
        _ => StoreError::Unusable { path: path.to_owned(), cause },
    })?;
    if existed {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))
        .map_err(|cause| StoreError::Unusable { path: path.to_owned(), cause })
}

pub(super) fn take_lock(path: &Path) -> Result<Arc<LockFile>, StoreError> {
    let taken = LockFile::take(path.join(LOCK_FILE)).map_err(|error| match error {
        LockError::Held(pid) => StoreError::Locked { path: path.to_owned(), pid },
        LockError::Io(cause) => StoreError::Unusable { path: path.to_owned(), cause },
    })?;
    Ok(Arc::new(taken))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::store::{Batch, FORMAT, Op, key};

    fn open(path: &Path, kind: StoreKind) -> Result<Arc<dyn Store>, StoreError> {
        open_at(path, StoreOptions { cache_bytes: 8 << 20, ..Some(kind).into() })
    }

    fn put(key: &str) -> Batch {
        vec![Op::Put(key.into(), vec![1])]
    }

    #[test]
    fn a_commit_returns_only_after_flush_and_then_sync() {
        for kind in StoreKind::ALL {
            let directory = tempfile::tempdir().unwrap();
            let steps = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&steps);
            let on_step: OnStep = Arc::new(move |step| seen.lock().unwrap().push(step));
            let options = StoreOptions { on_step: Some(on_step), ..Some(kind).into() };
            let store = open_at(directory.path(), options).unwrap();
            steps.lock().unwrap().clear();
            store.commit(vec![put("a"), put("b"), put("c")]).unwrap();
            assert_eq!(
                *steps.lock().unwrap(),
                [Step::Applied, Step::Applied, Step::Applied, Step::Flushed, Step::Synced],
                "{kind}"
            );
        }
    }

    #[test]
    fn the_second_to_open_it_is_told_who_has_it() {
        for kind in StoreKind::ALL {
            let directory = tempfile::tempdir().unwrap();
            let first = open(directory.path(), kind).unwrap();
            let error = open(directory.path(), kind).err().unwrap();
            let pid = std::process::id();
            assert!(matches!(error, StoreError::Locked { pid: Some(other), .. } if other == pid));
            let told = format!("is in use by process {pid}; stop that process");
            assert!(error.to_string().contains(&told), "{error}");
            drop(first);
            open(directory.path(), kind).unwrap();
        }
    }

    #[test]
    fn an_unknown_format_is_refused_and_kept() {
        for kind in StoreKind::ALL {
            let directory = tempfile::tempdir().unwrap();
            let store = open(directory.path(), kind).unwrap();
            let newer = (FORMAT + 1).to_be_bytes().to_vec();
            store.commit(vec![vec![Op::Put(key::format(), newer)], put("x")]).unwrap();
            drop(store);
            for _ in 0..2 {
                let error = open(directory.path(), kind).err().unwrap();
                assert!(
                    matches!(error, StoreError::UnknownFormat { found, known: FORMAT } if found == FORMAT + 1)
                );
            }
        }
    }
}
