//! A store that is filled from elsewhere, in a directory that was empty.
//!
//! Promises: until it is finished nothing opens it as if it were whole, wherever the filling
//! stops; one that is given up leaves the directory as it was. Imports the places of stores.
//!
//! While it is filled, a file beside it says so. It is made before the store is and goes once
//! everything is durable.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::{StoreOptions, create_directory, open_in, take_lock};
use super::{FORMAT, Op, Store, StoreError, StoreKind, key};
use crate::lock_file::LockFile;

/// The file that says that a store is not whole.
const MARKER: &str = "unfinished";

/// Whether the store in a directory is being filled, or was when the filling was cut short.
pub(super) fn is_unfinished(path: &Path) -> bool {
    path.join(MARKER).exists()
}

/// Makes the names of a directory's files durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes everything below a directory durable.
pub(super) fn sync_all(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_directory(path)
}

/// A store that is being filled. Dropped before it is finished, it is taken away again.
pub(crate) struct Fresh {
    path: PathBuf,
    existed: bool,
    kind: StoreKind,
    /// `None` once it is finished or given up.
    store: Option<Arc<dyn Store>>,
    /// `None` before it is taken.
    lock: Option<Arc<LockFile>>,
    /// Whether it is a store like any other, and not to be taken away.
    finished: bool,
}

impl Fresh {
    /// A store without any key in a directory that is empty or not there.
    pub(crate) fn create(path: &Path, kind: StoreKind) -> Result<Self, StoreError> {
        let existed = path.is_dir();
        create_directory(path)?;
        if is_unfinished(path) {
            return Err(StoreError::Unfinished { path: path.to_owned() });
        }
        let unusable = |cause| StoreError::Unusable { path: path.to_owned(), cause };
        if let Some(entry) = fs::read_dir(path).map_err(unusable)?.next() {
            let found = entry.map_err(unusable)?.file_name().to_string_lossy().into_owned();
            return Err(StoreError::NotEmpty { path: path.to_owned(), found });
        }
        File::create_new(path.join(MARKER)).and_then(|file| file.sync_all()).map_err(unusable)?;
        // From here on what is given up is taken away.
        let path = path.to_owned();
        let mut fresh = Self { path, existed, kind, store: None, lock: None, finished: false };
        sync_directory(&fresh.path).map_err(unusable)?;
        fresh.lock = Some(take_lock(&fresh.path)?);
        fresh.reopen()?;
        Ok(fresh)
    }

    /// The store.
    pub(crate) fn store(&self) -> Result<&dyn Store, StoreError> {
        self.store.as_deref().ok_or(StoreError::Stopped)
    }

    /// The store, closed and opened again if it was open: what is read from it then, is from disk.
    pub(crate) fn reopen(&mut self) -> Result<&dyn Store, StoreError> {
        drop(self.store.take());
        let lock = self.lock.clone().ok_or(StoreError::Stopped)?;
        self.store = Some(open_in(&self.path, lock, self.kind, StoreOptions::default())?);
        self.store()
    }

    /// Gives the store its format's number, as opening an empty one does.
    pub(crate) fn put_format(&self) -> Result<(), StoreError> {
        let format = Op::Put(key::format(), FORMAT.to_be_bytes().into());
        self.store()?.commit(vec![vec![format]])
    }

    /// Makes it a store like any other.
    pub(crate) fn finish(mut self) -> Result<(), StoreError> {
        // sled and fjall write what they still hold when they are dropped.
        let store = self.store.take().ok_or(StoreError::Stopped)?;
        store.commit(Vec::new())?;
        drop(store);
        let failed = |error| StoreError::failed("finishing", error);
        fs::remove_file(self.path.join(MARKER))
            .and_then(|()| sync_directory(&self.path))
            .map_err(failed)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        drop(self.store.take());
        if self.finished {
            return;
        }
        if let Err(error) = take_away(&self.path, self.existed) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "what was not finished could not be taken away");
        }
    }
}

/// Empties a directory, the marker last, and removes it unless it was there before.
fn take_away(path: &Path, existed: bool) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == MARKER {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_file(path.join(MARKER))?;
    if existed { Ok(()) } else { fs::remove_dir(path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open_at;

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_is_given_up_leaves_nothing_and_what_is_cut_short_does_not_open() {
        let directory = tempfile::tempdir().unwrap();
        let new = directory.path().join("new");
        for (existed, kind) in [(false, StoreKind::Sled), (true, StoreKind::Fjall)] {
            let fresh = Fresh::create(&new, kind).unwrap();
            fresh.put_format().unwrap();
            drop(fresh);
            assert_eq!(new.is_dir(), existed);
            fs::create_dir_all(&new).unwrap();
        }
        assert_eq!(names(&new), [""; 0]);

        let fresh = Fresh::create(&new, StoreKind::Fjall).unwrap();
        fresh.put_format().unwrap();
        // As a kill would leave it.
        let copy = directory.path().join("copy");
        fs::create_dir(&copy).unwrap();
        fs::copy(new.join(MARKER), copy.join(MARKER)).unwrap();
        let error = open_at(&copy, StoreOptions::default()).err().unwrap().to_string();
        assert!(error.contains("is not whole") && error.contains("copy"), "{error}");
        let error = Fresh::create(&copy, StoreKind::Sled).err().unwrap().to_string();
        assert!(error.contains("is not whole: a restore"), "{error}");
        fresh.finish().unwrap();
        let opened = open_at(&new, StoreOptions::default()).unwrap();
        assert_eq!(opened.kind(), Some(StoreKind::Fjall));
    }

    #[test]
    fn only_an_empty_directory_is_filled() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("precious"), "x").unwrap();
        let error = Fresh::create(directory.path(), StoreKind::Sled).err().unwrap().to_string();
        assert!(error.contains("not empty: it has \"precious\""), "{error}");
        assert_eq!(names(directory.path()), ["precious"]);
        let file = directory.path().join("precious");
        assert!(matches!(
            Fresh::create(&file, StoreKind::Sled),
            Err(StoreError::NotADirectory { .. })
        ));
    }
}
