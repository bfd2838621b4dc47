//! The kind of store that is measured: the one place that knows it, for the servers that are
//! started and for the stores that are opened here alike.

use std::path::Path;

use fleetcron::store::{SledOptions, SledStore, Store};

/// Commands a second that a server on this kind of store should do, each a durable run.
pub(crate) const UNICAST_TARGET: f64 = 20_000.0;

/// What a server is told, to use it.
pub(crate) const SERVE: &[&str] = &[];

/// A store of this kind.
pub(crate) fn open(path: &Path) -> Box<dyn Store> {
    Box::new(SledStore::open(path, SledOptions::default()).unwrap())
}
