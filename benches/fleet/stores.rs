//! The kind of store that is measured: the one place that knows it, for the servers that are
//! started, for the processes of the benchmarks and for the stores that are opened here alike.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use fleetcron::store::{CACHE_BYTES, Store, StoreKind, StoreOptions, open_at};

static KIND: OnceLock<StoreKind> = OnceLock::new();

/// Chooses the kind; once, before anything is measured.
pub(crate) fn choose(kind: StoreKind) {
    KIND.set(kind).expect("it is chosen once");
}

fn kind() -> StoreKind {
    KIND.get().copied().unwrap_or_default()
}

/// Commands a second that a server on this kind of store should do, each a durable run.
pub(crate) fn unicast_target() -> f64 {
    match kind() {
        StoreKind::Sled => 20_000.0,
        StoreKind::Fjall => 40_000.0,
    }
}

/// What a server, or a process of a benchmark, is told to use it.
pub(crate) fn arguments() -> [&'static str; 2] {
    ["--store", kind().name()]
}

/// A store of this kind.
pub(crate) fn open(path: &Path) -> Arc<dyn Store> {
    open_with(path, CACHE_BYTES)
}

/// The same with as large a cache, in bytes.
pub(crate) fn open_with(path: &Path, cache_bytes: u64) -> Arc<dyn Store> {
    let options = StoreOptions { kind: Some(kind()), cache_bytes, ..StoreOptions::default() };
    open_at(path, options).unwrap()
}
