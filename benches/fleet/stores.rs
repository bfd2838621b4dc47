//! The kind of store that is measured: the one place that knows it, for the servers that are
//! started and for the stores that are opened here alike.

use std::path::Path;

use fleetcron::store::{CACHE_BYTES, SledOptions, SledStore, Store};

/// Commands a second that a server on this kind of store should do, each a durable run.
pub(crate) const UNICAST_TARGET: f64 = 20_000.0;

/// What a server is told, to use it.
pub(crate) const SERVE: &[&str] = &[];

/// A store of this kind.
pub(crate) fn open(path: &Path) -> Box<dyn Store> {
    open_with(path, CACHE_BYTES)
}

/// The same with as large a cache, in bytes.
pub(crate) fn open_with(path: &Path, cache_bytes: u64) -> Box<dyn Store> {
    let options = SledOptions { cache_bytes, ..SledOptions::default() };
    Box::new(SledStore::open(path, options).unwrap())
}
