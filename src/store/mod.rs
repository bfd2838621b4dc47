//! The store: where accepted things live.
//!
//! Promises: a commit is durable, power loss included, when it returns; each of its batches is
//! written as a whole or not at all; scans give keys in byte order. May import the domain types
//! and the engine's changes, nothing else of fleetcron.

use std::ops::Range;

/// Operations to one batch, at most; larger units are staged (see `records`).
pub const MAX_OPS: usize = 200;

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
pub trait Store: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` entries of a half-open range of keys.
    fn scan(
        &self,
        keys: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Writes batches in order; all are durable when it returns.
    fn commit(&self, batches: Vec<Batch>) -> Result<(), StoreError>;
}

/// Why the store cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the embedded engine failed.
    #[error("store {action} failed: {cause}")]
    Failed {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}
