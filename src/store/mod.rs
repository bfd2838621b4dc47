//! The store: where accepted things live.
//!
//! Promises: a commit is durable, power loss included, when it returns; each of its batches is
//! written as a whole or not at all; scans give keys in byte order. May import the domain types
//! and the engine's changes, nothing else of fleetcron.
//!
//! The way in is [`records`]: it turns the engine's changes into operations and gives back what
//! the engine needs at the start. [`key`] documents every key, [`page`] the form of responses,
//! [`staging`] how a large unit stays atomic, [`conformance`] what an implementation must hold.
//!
//! On disk a store is one of two kinds, sled or fjall: [`open_at`] opens either, and [`migrate`]
//! makes one of the other. What was durable and is not there any more is told when it is opened, or
//! when it is read, as [`StoreError::Damaged`]: neither kind may drop anything without a word.
//!
//! Beside it are the tools: [`backup`] copies a store while it is written, [`check`] finds what is
//! wrong in one, [`exchange`] writes and reads what is in it as text, [`kinds`] is the table of
//! what there is to check and count.

use std::ops::Range;
use std::path::Path;

pub mod backup;
pub mod check;
pub mod conformance;
mod embedded;
mod error;
pub mod exchange;
mod fjall;
mod format;
mod fresh;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub mod key;
pub mod kinds;
pub mod ledger;
mod left;
mod memory;
pub mod migrate;
mod open_set;
pub mod page;
mod patient;
mod place;
pub mod records;
mod room;
mod sled;
pub mod staging;
mod stats;
mod tee;
mod walk;
pub mod writer;

#[cfg(test)]
mod damaged;
#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) mod sample;

pub use self::fjall::{FjallOptions, FjallStore};
pub use self::sled::{SledOptions, SledStore};
pub use crate::store_kind::{InvalidStoreKind, StoreKind};
pub use error::StoreError;
pub use format::{FORMAT, is_known, prepare};
pub use left::AsOpened;
pub use memory::MemoryStore;
pub use place::{CACHE_BYTES, DiskOptions, OnStep, Step, StoreOptions, kind_at, look_at, open_at};
pub use room::{FLOOR, Obstacle, obstacle_at, unwritable_at};
pub use stats::{KindStats, StoreStats, stats};
pub use tee::{Capture, MAX_SPOOL, Tee, TeeError};
pub use walk::{Walk, walk};

/// Operations to one batch, at most; larger units are staged (see [`staging`]).
pub const MAX_OPS: usize = 200;

/// The most bytes of one value. sled moves larger ones to files of their own, which no flush of
/// ours covers.
pub const MAX_VALUE: usize = 64 * 1024;

/// What a commit was doing when it could not be made durable after all was written.
const SYNCING: &str = "syncing to the device";

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Put a value under a key.
    Put(Vec<u8>, Vec<u8>),
    /// Delete a key, there or not.
    Delete(Vec<u8>),
}

impl Op {
    /// The key that it puts or deletes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// Operations that are written as a whole or not at all.
pub type Batch = Vec<Op>;

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Lowest key first.
    Up,
    /// Highest key first.
    Down,
}

/// An ordered map of bytes on disk. Shared by the node's store thread and readers.
///
/// An implementation passes [`conformance::run`].
pub trait Store: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` entries of a half-open range of keys. A range that ends before it starts
    /// is empty. It is no snapshot: a commit beside it may show in part.
    fn scan(
        &self,
        keys: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Writes batches in order; all are durable when it returns. Within a batch the last operation
    /// on a key counts.
    ///
    /// After an error it is not known which of the batches are there (each is there as a whole or
    /// not at all): stop, and open the store again.
    fn commit(&self, batches: Vec<Batch>) -> Result<(), StoreError>;

    /// The directory that it is in. Default: it has none.
    fn directory(&self) -> Option<&Path> {
        None
    }

    /// Which kind of store on disk it is. Default: it is not on disk.
    fn kind(&self) -> Option<StoreKind> {
        None
    }

    /// The bytes that it takes on disk. Default: none, or it cannot tell.
    fn bytes_on_disk(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// What keeps it from taking more, as far as it shows without writing. Default: nothing.
    fn obstacle(&self) -> Option<Obstacle> {
        None
    }
}

/// A store that does what the one below it does, but for its commits, what hinders them, and what is
/// done after it was read.
pub trait Layer: Send + Sync + 'static {
    /// The store below.
    fn below(&self) -> &dyn Store;

    /// What a commit comes to, see [`Store::commit`].
    fn commit_through(&self, batches: Vec<Batch>) -> Result<(), StoreError>;

    /// Something was read. Default: nothing is to be done.
    fn was_read(&self) {}

    /// What keeps it from taking more, see [`Store::obstacle`]. Default: what hinders the store
    /// below.
    fn hindered_by(&self) -> Option<Obstacle> {
        self.below().obstacle()
    }
}

impl<L: Layer> Store for L {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.below().get(key);
        self.was_read();
        value
    }

    fn scan(
        &self,
        keys: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let entries = self.below().scan(keys, order, limit);
        self.was_read();
        entries
    }

    fn commit(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        self.commit_through(batches)
    }

    fn directory(&self) -> Option<&Path> {
        self.below().directory()
    }

    fn kind(&self) -> Option<StoreKind> {
        self.below().kind()
    }

    fn bytes_on_disk(&self) -> Result<Option<u64>, StoreError> {
        self.below().bytes_on_disk()
    }

    fn obstacle(&self) -> Option<Obstacle> {
        self.hindered_by()
    }
}

/// Every key there can be.
#[must_use]
pub fn everything() -> Range<Vec<u8>> {
    // No kind's letter is 255; this is above what a damaged key could begin with.
    Vec::new()..vec![u8::MAX; 64]
}
