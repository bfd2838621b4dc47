//! Backups: a copy of a store as of one commit, taken while commits go on, and the way back.
//!
//! Promises: what was durable when the backup was done is in it, whole units alone; it takes
//! constant memory however large the store is; a file that is not whole is not restored. Imports
//! the rest of the store.
//!
//! A store gives no snapshot. So from the moment a backup begins, what is committed is noted beside
//! the store (see [`Tee`]), all keys are read meanwhile, and at the end of one commit the noting
//! ends and the notes follow: a key that was read too early or too late is put right by them. See
//! the module `file` for the form.

mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub(super) mod ops;

use std::io::{self, Read, Write};
use std::path::Path;

pub use file::{BACKUP_FORM, MAX_BLOCK, Summary};

use super::fresh::Fresh;
use super::{
    Batch, Capture, MAX_OPS, Op, Order, Store, StoreError, StoreKind, TeeError, everything, walk,
};
use crate::time::Timestamp;
use file::{Block, Reader, Writer};

#[cfg(doc)]
use super::Tee;

/// Entries after which it is looked whether a backup can still be finished.
const LOOK: u64 = 10_000;

/// Batches that a restore makes durable at once.
const BATCHES: usize = 100;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// What is committed meanwhile cannot be noted.
    #[error(transparent)]
    Tee(#[from] TeeError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be written.
    #[error("the backup cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// What is wrong with a backup's file.
#[derive(Debug, thiserror::Error)]
pub enum BackupFileError {
    /// It is something else.
    #[error("it is not a backup of fleetcron")]
    Foreign,
    /// It was written in a form that this version does not know.
    #[error("it has form {found}, this version knows form {known}; use the version that wrote it")]
    Form {
        /// The number in the file.
        found: u32,
        /// The number of this version.
        known: u32,
    },
    /// The store was of a format that this version does not know.
    #[error(
        "it is of a store of format {found}, this version knows format {known}; use the version that wrote it"
    )]
    StoreFormat {
        /// The number in the file.
        found: u32,
        /// The number of this version.
        known: u32,
    },
    /// It ends too early.
    #[error("it is cut short: it ends after {at} bytes, before its trailer")]
    CutShort {
        /// The bytes that could be read, in whole parts.
        at: u64,
    },
    /// A part of it is not what was written.
    #[error("it is damaged: {block}, at byte {at}: {problem}")]
    Damaged {
        /// Which part.
        block: String,
        /// Where that begins.
        at: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// Whoever wrote it could not finish it.
    #[error("it is not whole: {0}")]
    Failed(String),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
}

/// Why a backup is not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is not a whole backup.
    #[error(transparent)]
    File(#[from] BackupFileError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes a backup of a store that goes on committing. `clock` tells the time.
///
/// The backup is the store as of the end of one commit, which is after `capture` has begun. If it
/// cannot be finished, its file says why in place of its trailer.
pub fn write(
    capture: Capture,
    clock: impl Fn() -> Timestamp,
    out: impl Write,
) -> Result<Summary, BackupError> {
    let mut file = Writer::begin(out, clock())?;
    match fill(&mut file, capture) {
        Ok(()) => Ok(file.finish(clock())?),
        Err(error) => {
            // Whoever reads the file is told, if that can be.
            let _ = file.fail(&error.to_string());
            Err(error)
        }
    }
}

fn fill<W: Write>(file: &mut Writer<W>, capture: Capture) -> Result<(), BackupError> {
    let mut since = 0;
    for entry in walk(capture.store(), everything(), Order::Up) {
        let (key, value) = entry?;
        file.entry(&key, &value)?;
        since += 1;
        if since == LOOK {
            capture.check()?;
            since = 0;
        }
    }
    for op in capture.finish()? {
        file.redo(&op?)?;
    }
    Ok(())
}

/// Writes a backup of a store that nobody else has open, as it is.
pub fn write_idle(
    store: &dyn Store,
    clock: impl Fn() -> Timestamp,
    out: impl Write,
) -> Result<Summary, BackupError> {
    let mut file = Writer::begin(out, clock())?;
    for entry in walk(store, everything(), Order::Up) {
        let (key, value) = entry?;
        file.entry(&key, &value)?;
    }
    Ok(file.finish(clock())?)
}

/// Reads a backup's file to its end and checks all of it.
pub fn verify(file: impl Read) -> Result<Summary, BackupFileError> {
    let mut reader = Reader::begin(file)?;
    while reader.next()?.is_some() {}
    Ok(reader.summary())
}

/// Makes the store that a backup holds in a directory that is empty or not there, of this kind.
///
/// If it fails, the directory is left as it was; if it is cut short, what is in the directory does
/// not open: see [`StoreError::Unfinished`].
pub fn restore(
    file: impl Read,
    directory: &Path,
    kind: StoreKind,
) -> Result<Summary, RestoreError> {
    let mut reader = Reader::begin(file)?;
    let fresh = Fresh::create(directory, kind)?;
    let mut ready: Vec<Batch> = Vec::new();
    while let Some(block) = reader.next()? {
        let (Block::Entries(operations) | Block::Redo(operations)) = block;
        add(&mut ready, operations);
        if ready.len() >= BATCHES {
            fresh.store()?.commit(std::mem::take(&mut ready))?;
        }
    }
    fresh.store()?.commit(ready)?;
    fresh.finish()?;
    Ok(reader.summary())
}

/// Adds operations to batches of which none is too large.
fn add(batches: &mut Vec<Batch>, operations: Vec<Op>) {
    for op in operations {
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_OPS => batch.push(op),
            _ => batches.push(vec![op]),
        }
    }
}

#[cfg(test)]
mod tests;
