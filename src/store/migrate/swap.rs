//! How a new store takes the place of the old one.
//!
//! Promises: at every moment the directory holds the old store or the new one as a whole; what a
//! crash cuts short is finished by whoever opens the store next. Imports the stores' file names.
//!
//! The new store is made in a directory below. While it is not whole nobody looks there. Then a
//! file that names its kind gets its name in one step: from then on the new store counts. Its files
//! are moved to their places, whose names the old kind does not use; the old store's are removed;
//! the file goes last.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Stage;
use crate::store::fresh::{sync_all, sync_directory};
use crate::store::place::LOCK_FILE;
use crate::store::{StoreError, StoreKind, fjall, sled};

/// Where the new store is made.
const DIRECTORY: &str = "migrating";

/// The file that says that the new store counts. It holds its kind.
const DECIDED: &str = "migrated";

/// Its name while it is written.
const DECIDING: &str = "migrated.new";

/// The kind of the new store that counts, though it is not in its place yet.
pub(in crate::store) fn pending(path: &Path) -> Result<Option<StoreKind>, StoreError> {
    let text = match fs::read_to_string(path.join(DECIDED)) {
        Ok(text) => text,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(cause) => return Err(StoreError::Unusable { path: path.to_owned(), cause }),
    };
    let kind = text.trim().parse();
    kind.map(Some).map_err(|error| StoreError::Damaged {
        path: path.to_owned(),
        problem: format!("the file {DECIDED} does not name the kind of store: {error}"),
    })
}

/// The directory for a new store, which is taken away if one is left of an earlier migration.
pub(super) fn begin(path: &Path, to: StoreKind) -> Result<PathBuf, StoreError> {
    clear(path)?;
    let unusable = |cause| StoreError::Unusable { path: path.to_owned(), cause };
    for entry in fs::read_dir(path).map_err(unusable)? {
        let name = entry.map_err(unusable)?.file_name().to_string_lossy().into_owned();
        if is_of(to, &name) {
            return Err(StoreError::NotEmpty { path: path.to_owned(), found: name });
        }
    }
    Ok(path.join(DIRECTORY))
}

/// Takes away what a migration that was cut short has left, if it had not come to count.
pub(in crate::store) fn clear(path: &Path) -> Result<(), StoreError> {
    let unusable = |cause| StoreError::Unusable { path: path.to_owned(), cause };
    let left = path.join(DIRECTORY);
    if left.is_dir() && pending(path)?.is_none() {
        fs::remove_dir_all(&left).map_err(unusable)?;
        let path = left.display();
        tracing::info!(%path, "a migration that was cut short has left this; it is taken away");
    }
    Ok(())
}

/// From here on the new store counts.
pub(super) fn decide(path: &Path, to: StoreKind) -> Result<(), StoreError> {
    let failed = |error| StoreError::failed("finishing", error);
    sync_all(&path.join(DIRECTORY)).map_err(failed)?;
    let deciding = path.join(DECIDING);
    let decided = File::create(&deciding)
        .and_then(|mut file| writeln!(file, "{to}").and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&deciding, path.join(DECIDED)))
        .and_then(|()| sync_directory(path));
    decided.map_err(failed)
}

/// Finishes what was decided and is not done yet.
pub(in crate::store) fn settle(path: &Path) -> Result<(), StoreError> {
    match pending(path)? {
        Some(kind) => finish(path, kind, &mut |_| {}),
        None => Ok(()),
    }
}

/// Puts the new store in its place.
pub(super) fn finish(
    path: &Path,
    to: StoreKind,
    told: &mut dyn FnMut(Stage),
) -> Result<(), StoreError> {
    let failed = |error| StoreError::failed("putting the new store in its place", error);
    move_and_remove(path, to, told).map_err(failed)
}

fn move_and_remove(path: &Path, to: StoreKind, told: &mut dyn FnMut(Stage)) -> io::Result<()> {
    let new = path.join(DIRECTORY);
    if new.is_dir() {
        for entry in fs::read_dir(&new)? {
            let name = entry?.file_name();
            if name != LOCK_FILE {
                fs::rename(new.join(&name), path.join(&name))?;
                told(Stage::Moved);
            }
        }
        sync_directory(path)?;
        fs::remove_dir_all(&new)?;
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if is_of(other(to), &entry.file_name().to_string_lossy()) {
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
            told(Stage::Removed);
        }
    }
    sync_directory(path)?;
    fs::remove_file(path.join(DECIDED))?;
    sync_directory(path)
}

const fn other(kind: StoreKind) -> StoreKind {
    match kind {
        StoreKind::Sled => StoreKind::Fjall,
        StoreKind::Fjall => StoreKind::Sled,
    }
}

/// Whether a file or a directory of this name belongs to a store of this kind.
fn is_of(kind: StoreKind, name: &str) -> bool {
    match kind {
        StoreKind::Sled => sled::is_its_own(name),
        StoreKind::Fjall => fjall::is_its_own(name),
    }
}
