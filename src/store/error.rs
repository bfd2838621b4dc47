//! Why the store cannot serve, and what to do about it.
//!
//! Promises: every message names the path, the key or the value. Imports keys and the kinds of
//! stores.

use std::path::PathBuf;

use super::StoreKind;

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
    /// An earlier commit failed; what is on disk is known only after the store is opened again.
    #[error("store is stopped since an earlier commit failed; restart to recover")]
    Stopped,
    /// Another process has the store open.
    #[error(
        "store {} is in use by {}; stop that process, or use another directory",
        .path.display(),
        .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The store's directory.
        path: PathBuf,
        /// The process that has it, where known.
        pid: Option<u32>,
    },
    /// The store's path, or a part of it, is there and is no directory.
    #[error("store path {} is not a directory; name a directory, it is created when missing", .path.display())]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// The store's directory can be neither created nor written.
    #[error(
        "store directory {} cannot be used: {cause}; create it for the user who runs the server, or name another",
        .path.display()
    )]
    Unusable {
        /// The path as given.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// There is no store to look at.
    #[error("there is no store in {}; name the data directory of a server", .path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// The store is of another kind than the one asked for.
    #[error(
        "store {} is a {found} store, not {wanted}; leave the kind out to use it as it is, or change it: fleetcron store migrate --data {} --to {wanted}",
        .path.display(), .path.display()
    )]
    OtherKind {
        /// The store's directory.
        path: PathBuf,
        /// The kind that is there.
        found: StoreKind,
        /// The kind that was asked for.
        wanted: StoreKind,
    },
    /// Stores of both kinds are in one directory.
    #[error(
        "directory {} holds both a sled store (the file db) and a fjall store (the directory fjall); move the one that is not the server's elsewhere",
        .path.display()
    )]
    Two {
        /// The directory.
        path: PathBuf,
    },
    /// The files of the store are not what was written.
    #[error(
        "store {} is damaged: {problem}; make it anew from a backup: fleetcron store restore FILE --data NEW-DIRECTORY",
        .path.display()
    )]
    Damaged {
        /// The store's directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A restore or an import into the directory was cut short.
    #[error(
        "store {} is not whole: a restore or an import into it was cut short; empty the directory and do it again",
        .path.display()
    )]
    Unfinished {
        /// The store's directory.
        path: PathBuf,
    },
    /// The directory has something in it and was to be filled.
    #[error("directory {} is not empty: it has {found:?}; name a new or an empty one", .path.display())]
    NotEmpty {
        /// The path as given.
        path: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// The store was written in a format that this version does not know.
    #[error(
        "store has format {found}, this version knows format {known}; use the version that wrote it (nothing was changed)"
    )]
    UnknownFormat {
        /// The number in the store.
        found: u32,
        /// The number of this version.
        known: u32,
    },
    /// A record cannot be read, or one that must be there is missing.
    #[error("store has a damaged {what} under key {key}: {problem}; restore it from a backup")]
    Corrupt {
        /// What kind of record.
        what: &'static str,
        /// Its key, as [`show`](super::key::show) writes it.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A record is larger than a value can be. Nothing of its unit was written.
    #[error("{what} under key {key} has {size} bytes, the most is {max}; make it smaller")]
    TooLarge {
        /// What kind of record.
        what: &'static str,
        /// Its key, as [`show`](super::key::show) writes it.
        key: String,
        /// Its size in bytes.
        size: usize,
        /// The most bytes that it can have.
        max: usize,
    },
    /// A change contradicts itself. Nothing of its unit was written.
    #[error("change of {what} under key {key} cannot be stored: {problem}")]
    Invalid {
        /// What kind of record.
        what: &'static str,
        /// Its key, as [`show`](super::key::show) writes it.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl StoreError {
    /// A failure of the disk or the embedded engine while doing `action`.
    pub fn failed(
        action: &'static str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed { action, cause: cause.into() }
    }

    /// A record under `key` that cannot be read.
    pub fn corrupt(what: &'static str, key: &[u8], problem: impl std::fmt::Display) -> Self {
        Self::Corrupt { what, key: super::key::show(key), problem: problem.to_string() }
    }
}
