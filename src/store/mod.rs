//! The store: where accepted things live.
//!
//! Promises: a commit is durable, power loss included, when it returns; each of its batches is
//! written as a whole or not at all; scans give keys in byte order. May import the domain types
//! and the engine's changes, nothing else of fleetcron.
//!
//! The way in is [`records`]: it turns the engine's changes into operations and gives back what
//! the engine needs at the start. [`key`] documents every key, [`page`] the form of responses,
//! [`staging`] how a large unit stays atomic, [`conformance`] what an implementation must hold.

use std::ops::Range;

pub mod conformance;
mod error;
mod format;
pub mod key;
pub mod ledger;
mod memory;
mod open_set;
pub mod page;
pub mod records;
mod sled;
pub mod staging;
mod walk;
pub mod writer;

#[cfg(test)]
pub(crate) mod faulty;

pub use self::sled::{CACHE_BYTES, SledOptions, SledStore, Step};
pub use error::StoreError;
pub use format::{FORMAT, prepare};
pub use memory::MemoryStore;
pub use walk::{Walk, walk};

/// Operations to one batch, at most; larger units are staged (see [`staging`]).
pub const MAX_OPS: usize = 200;

/// The most bytes of one value. sled moves larger ones to files of their own, which no flush of
/// ours covers.
pub const MAX_VALUE: usize = 64 * 1024;

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
}
