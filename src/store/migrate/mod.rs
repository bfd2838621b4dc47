//! A store of one kind made into one of the other, of a server that does not run.
//!
//! Promises: every key and every value is copied as it is, in batches of bounded size; what was
//! copied is read again from the new store and compared before it counts; wherever it stops, by an
//! error or a crash, the old store is there as it was or the new one is there as a whole; it takes
//! constant memory. Imports the rest of the store.
//!
//! The new store is made in a directory below the old one's, and takes its place once it is whole,
//! see `swap`.

pub(super) mod swap;

use std::path::Path;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::fresh::Fresh;
use super::place::{Place, StoreOptions};
use super::{Batch, MAX_OPS, Op, Order, Store, StoreError, StoreKind, everything, format, walk};
use crate::bytes;

/// Bytes of keys and values that are made durable at once, about.
const COMMIT_BYTES: usize = 8 * 1024 * 1024;

/// Why a store is not migrated. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// There is nothing to do.
    #[error("store {path} is a {kind} store already; nothing was changed")]
    Same {
        /// The store's directory.
        path: String,
        /// Its kind.
        kind: StoreKind,
    },
    /// What the new store holds is not what was copied.
    #[error(
        "the {to} store that was made does not hold what the old one does: {found} records instead of {copied}{}; \
         it was taken away, and store {path} is as it was. Check the disk: fleetcron store check",
        if .found == .copied { ", and not the same ones" } else { "" }
    )]
    Different {
        /// The store's directory.
        path: String,
        /// The kind that was made.
        to: StoreKind,
        /// Records that were copied.
        copied: u64,
        /// Records that were found.
        found: u64,
    },
    /// One of the stores cannot be used.
    #[error("{error}; store {path} is as it was")]
    Store {
        /// The store's directory.
        path: String,
        /// Why.
        #[source]
        error: StoreError,
    },
    /// The new store is whole and counts, and the old one's files are not all gone.
    #[error(
        "store {path} is a {to} store now, but not all is in its place yet: {error}; the next command on it, or start, goes on"
    )]
    Swap {
        /// The store's directory.
        path: String,
        /// The kind that was made.
        to: StoreKind,
        /// Why.
        #[source]
        error: StoreError,
    },
}

/// What a migration has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// The kind that the store was of.
    pub from: StoreKind,
    /// The kind that it is of now.
    pub to: StoreKind,
    /// Records copied.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// The SHA-256 of all of them, in hexadecimal digits.
    pub digest: String,
    /// Bytes that the old store took on disk.
    pub disk_before: Option<u64>,
    /// Bytes that the new store takes on disk.
    pub disk_after: Option<u64>,
}

/// How far a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// So many bytes of keys and values more are in the new store.
    Copied(u64),
    /// So many more were read again.
    Compared(u64),
    /// The new store is whole.
    Whole,
    /// The new store counts: a crash leaves it from here on.
    Decided,
    /// One of its files is in its place.
    Moved,
    /// One of the old store's is gone.
    Removed,
}

/// Makes the store in a directory one of another kind. `told` hears how far it is.
///
/// With `into` the new store is made in that directory, which is empty or not there, and the old
/// one stays.
pub fn migrate(
    data: &Path,
    to: StoreKind,
    into: Option<&Path>,
    told: &mut dyn FnMut(Stage),
) -> Result<Migrated, MigrateError> {
    let path = data.display().to_string();
    let untouched = |error| MigrateError::Store { path: path.clone(), error };
    let place = Place::to_look_at(data).map_err(untouched)?;
    let from = place.kind(None).map_err(untouched)?;
    if from == to {
        return Err(MigrateError::Same { path, kind: to });
    }
    let target = match into {
        Some(into) => into.to_owned(),
        None => swap::begin(data, to).map_err(untouched)?,
    };
    let migrated = fill(&place, from, to, &target, told)?;
    if into.is_none() {
        if let Err(error) = swap::decide(data, to) {
            return Err(undecided(data, to, error));
        }
        told(Stage::Decided);
        swap::finish(data, to, told).map_err(|error| MigrateError::Swap { path, to, error })?;
    }
    Ok(migrated)
}

/// Which store counts after an error in deciding it.
fn undecided(data: &Path, to: StoreKind, error: StoreError) -> MigrateError {
    let path = data.display().to_string();
    if let Ok(Some(_)) = swap::pending(data) {
        return MigrateError::Swap { path, to, error };
    }
    // What is left is taken away by the next start, if it cannot be now.
    let _ = swap::clear(data);
    MigrateError::Store { path, error }
}

/// Makes a whole store of a kind in a directory out of one of another.
fn fill(
    place: &Place,
    from: StoreKind,
    to: StoreKind,
    target: &Path,
    told: &mut dyn FnMut(Stage),
) -> Result<Migrated, MigrateError> {
    let path = place.path().display().to_string();
    let untouched = |error| MigrateError::Store { path: path.clone(), error };
    let source = place.open(from, StoreOptions::default()).map_err(untouched)?;
    format::known(source.as_ref()).map_err(untouched)?;
    let mut fresh = Fresh::create(target, to).map_err(untouched)?;
    let copied = copy(source.as_ref(), fresh.store().map_err(untouched)?, told);
    let copied = copied.map_err(untouched)?;
    let disk_before = source.bytes_on_disk().map_err(untouched)?;
    drop(source);
    let again = fresh.reopen().map_err(untouched)?;
    let found = sum(again, &mut |bytes| told(Stage::Compared(bytes))).map_err(untouched)?;
    if found != copied {
        let (copied, found) = (copied.records, found.records);
        return Err(MigrateError::Different { path, to, copied, found });
    }
    let disk_after = again.bytes_on_disk().map_err(untouched)?;
    fresh.finish().map_err(untouched)?;
    told(Stage::Whole);
    let Sum { records, bytes, digest } = copied;
    Ok(Migrated { from, to, records, bytes, digest, disk_before, disk_after })
}

/// What a store holds, by which two are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sum {
    records: u64,
    bytes: u64,
    digest: String,
}

#[derive(Default)]
struct Summing {
    records: u64,
    bytes: u64,
    hash: Sha256,
}

impl Summing {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records += 1;
        self.bytes += (key.len() + value.len()) as u64;
        for part in [key, value] {
            self.hash.update((part.len() as u64).to_be_bytes());
            self.hash.update(part);
        }
    }

    fn finish(self) -> Sum {
        let Self { records, bytes, hash } = self;
        let digest = bytes::hex(&hash.finalize());
        Sum { records, bytes, digest }
    }
}

/// Copies everything, a staged unit that a crash has cut short included.
fn copy(
    source: &dyn Store,
    target: &dyn Store,
    told: &mut dyn FnMut(Stage),
) -> Result<Sum, StoreError> {
    let mut sum = Summing::default();
    let mut ready: Vec<Batch> = Vec::new();
    let mut bytes = 0;
    for entry in walk(source, everything(), Order::Up) {
        let (key, value) = entry?;
        sum.add(&key, &value);
        bytes += key.len() + value.len();
        let op = Op::Put(key, value);
        match ready.last_mut() {
            Some(batch) if batch.len() < MAX_OPS => batch.push(op),
            _ => ready.push(vec![op]),
        }
        if bytes >= COMMIT_BYTES {
            target.commit(std::mem::take(&mut ready))?;
            told(Stage::Copied(std::mem::take(&mut bytes) as u64));
        }
    }
    target.commit(ready)?;
    told(Stage::Copied(bytes as u64));
    Ok(sum.finish())
}

/// What a store holds.
fn sum(store: &dyn Store, told: &mut dyn FnMut(u64)) -> Result<Sum, StoreError> {
    let mut sum = Summing::default();
    let mut before = 0;
    for entry in walk(store, everything(), Order::Up) {
        let (key, value) = entry?;
        sum.add(&key, &value);
        if sum.bytes - before >= COMMIT_BYTES as u64 {
            told(sum.bytes - before);
            before = sum.bytes;
        }
    }
    told(sum.bytes - before);
    Ok(sum.finish())
}

#[cfg(test)]
mod tests;
