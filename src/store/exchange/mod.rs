//! Export and import: what is in a store as lines of text, for other programs and other stores.
//!
//! Promises: an export reads the store once with bounded memory; each line says what it is; names
//! stand in place of numbers; a file that is not whole is not imported; what is imported is sound;
//! a whole export that is imported into an empty store is exported as the same again. Imports the
//! rest of the store and the domain types.
//!
//! A file is NDJSON: one JSON object a line, with the field `record` first. In this order:
//!
//! | `record` | what it is |
//! | --- | --- |
//! | `header` | the form's `version`, when it was made (`at`), and what it is of: `job`, `from`, `to`; a whole export has none of these |
//! | `client` | a client of the registry, with its presence; the hash of its token in a whole export alone. Of a part, the clients that it needs, each before it is needed |
//! | `calendar` | a calendar; of a part, those that its jobs name |
//! | `job`, `removed_job` | a job with its standing, or one that was removed; its past follows |
//! | `revision` | a revision of the job above that is no longer the current one, or its removal |
//! | `missed` | a row of missed firings of the job above |
//! | `run` | a run; what belongs to it follows |
//! | `response` | a response to the run above, its result whole, in the order of recording |
//! | `late` | a late answer to the run above |
//! | `open` | clients at which the run above is open, at most [`CLIENTS_A_LINE`] |
//! | `mark` | those of them with a mark, `sent` or `cancelled` |
//! | `repeat` | a submit that is remembered; in a whole export alone |
//! | `trailer` | how many of each there are. Nothing follows |
//!
//! It has the jobs, the runs and the registry, not the ledger nor what is made of it: a copy of a
//! store with all that it has is a [`backup`](super::backup).

mod export;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod import;
mod line;
mod plan;
mod reader;
mod select;
#[cfg(test)]
mod tests;

use std::io;

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::id::JobName;
use crate::time::Timestamp;

pub use export::{check_query, export};
pub use import::{ImportOptions, Imported, import, import_into};
pub use line::{CLIENTS_A_LINE, EXPORT_VERSION};
pub use reader::MAX_LINE;

/// What of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExportQuery {
    /// Only the jobs that have this name or have had it, and what belongs to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// Only runs that were due then or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only runs that were due before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

impl ExportQuery {
    /// Whether it is all of the store.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No job has the name, and none has had it.
    #[error("no job named {:?}{}", .name.as_str(), .suggestion.as_ref().map(|it| format!("; did you mean {it:?}?")).unwrap_or_default())]
    NoJob {
        /// The name.
        name: JobName,
        /// One that is like it.
        suggestion: Option<String>,
    },
    /// The span is none.
    #[error("from {from} to {to} is no span: it must end after it begins")]
    NoSpan {
        /// Its begin.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be written.
    #[error("the export cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// Why a file is not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A line is not what it should be.
    #[error("line {line}: {problem}")]
    Line {
        /// Its number, 1 for the first.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The store has something else, or no room.
    #[error("line {line}: {problem}")]
    Conflict {
        /// The number of the line that cannot be taken in.
        line: u64,
        /// Why.
        problem: String,
    },
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}
