//! A store that can note, beside its work, what is committed: what a backup needs to be of one
//! moment while commits go on.
//!
//! Promises: it is the store below it in everything; a commit is as durable and takes one flush as
//! before; what is noted is every operation of each commit that succeeded, in order, from one
//! commit's end to another's; a note that cannot be made ends the noting and never the commit.
//! Imports the store's trait.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::backup::ops;
use super::{Batch, Layer, Op, Store, StoreError};

/// Bytes that are noted, at most, unless told otherwise: 4 GiB. Beyond it the noting ends.
pub const MAX_SPOOL: u64 = 4 * 1024 * 1024 * 1024;

/// Names that are tried for the file of notes.
const NAMES: u32 = 1_000;

/// Why commits cannot be noted.
#[derive(Debug, thiserror::Error)]
pub enum TeeError {
    /// They are being noted for somebody else.
    #[error("a backup of this store is under way already; wait for its end")]
    Busy,
    /// The file of notes cannot be made, written or read.
    #[error("cannot {action} the notes of a backup in {}: {cause}", .path.display())]
    Spool {
        /// `make`, `write` or `read`.
        action: &'static str,
        /// The directory of the file, which has no name.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// More was committed than is noted.
    #[error(
        "more than {limit} bytes were committed while the backup went on; take it when there is less to do, or to a faster place"
    )]
    TooMuch {
        /// The limit in bytes.
        limit: u64,
    },
    /// A commit failed, and what it has written is not known.
    #[error("a commit failed while the backup went on")]
    CommitFailed,
}

/// A store whose commits can be noted. See the module.
pub struct Tee {
    inner: Arc<dyn Store>,
    limit: u64,
    /// Held for the whole of a commit: noting begins and ends between two.
    notes: Mutex<Option<Notes>>,
    captures: AtomicU64,
}

struct Notes {
    /// Whose they are: a capture that has ended must not end the next one.
    capture: u64,
    file: BufWriter<File>,
    bytes: u64,
    path: PathBuf,
    failed: Option<TeeError>,
}

impl Tee {
    /// A store of which at most [`MAX_SPOOL`] bytes are noted.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self::with_limit(inner, MAX_SPOOL)
    }

    /// A store of which at most so many bytes are noted.
    #[must_use]
    pub fn with_limit(inner: Arc<dyn Store>, limit: u64) -> Self {
        Self { inner, limit, notes: Mutex::new(None), captures: AtomicU64::new(0) }
    }

    /// Begins to note what is committed, for one at a time. The notes are in a file without a
    /// name in the store's directory: the end of the process, however it comes, takes it away.
    pub fn capture(self: &Arc<Self>) -> Result<Capture, TeeError> {
        let path = self.directory().map_or_else(std::env::temp_dir, Path::to_owned);
        let mut notes = self.lock();
        if notes.is_some() {
            return Err(TeeError::Busy);
        }
        let file = nameless(&path).map_err(|cause| TeeError::Spool {
            action: "make",
            path: path.clone(),
            cause,
        })?;
        let number = self.captures.fetch_add(1, Ordering::Relaxed);
        let file = BufWriter::new(file);
        *notes = Some(Notes { capture: number, file, bytes: 0, path, failed: None });
        Ok(Capture { tee: Arc::clone(self), number })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Notes>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Tee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tee").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Layer for Tee {
    fn below(&self) -> &dyn Store {
        self.inner.as_ref()
    }

    fn commit_through(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let mut held = self.lock();
        let Some(notes) = held.as_mut().filter(|notes| notes.failed.is_none()) else {
            // Held all the same: noting must not begin within a commit.
            return self.inner.commit(batches);
        };
        let mut bytes = Vec::new();
        for op in batches.iter().flatten() {
            ops::write(&mut bytes, op);
        }
        match self.inner.commit(batches) {
            Ok(()) => notes.add(&bytes, self.limit),
            Err(error) => {
                notes.failed = Some(TeeError::CommitFailed);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Notes {
    fn add(&mut self, noted: &[u8], limit: u64) {
        self.bytes += noted.len() as u64;
        if self.bytes > limit {
            self.fail(TeeError::TooMuch { limit });
        } else if let Err(cause) = self.file.write_all(noted) {
            self.fail(TeeError::Spool { action: "write", path: self.path.clone(), cause });
        }
    }

    fn fail(&mut self, error: TeeError) {
        tracing::warn!(%error, "a backup cannot be finished");
        self.failed = Some(error);
        // What is noted is of no use any more, and may fill the disk.
        let _ = self.file.get_mut().set_len(0);
    }
}

/// Commits that are being noted; dropped, no more are.
#[derive(Debug)]
pub struct Capture {
    tee: Arc<Tee>,
    number: u64,
}

impl Capture {
    /// The store whose commits are noted.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.tee.as_ref()
    }

    /// Fails if the noting has failed, so that a backup need not go on in vain.
    pub fn check(&self) -> Result<(), TeeError> {
        let mut held = self.tee.lock();
        let failed = held.as_mut().and_then(|notes| notes.failed.take());
        if failed.is_some() {
            *held = None;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Ends the noting, and gives what was committed since it began, in order.
    pub fn finish(self) -> Result<Noted, TeeError> {
        // At once: what fails after a look, and before they are taken, would be overlooked.
        let notes = self.tee.lock().take();
        let Some(Notes { file, bytes, path, failed, .. }) = notes else {
            return Err(TeeError::CommitFailed);
        };
        if let Some(error) = failed {
            return Err(error);
        }
        let read = |cause| TeeError::Spool { action: "read", path: path.clone(), cause };
        let mut file = file.into_inner().map_err(|error| read(error.into_error()))?;
        file.rewind().map_err(read)?;
        Ok(Noted { left: bytes, file: BufReader::new(file), path })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let mut held = self.tee.lock();
        if held.as_ref().is_some_and(|notes| notes.capture == self.number) {
            *held = None;
        }
    }
}

/// What was committed, in order.
#[derive(Debug)]
pub struct Noted {
    left: u64,
    file: BufReader<File>,
    path: PathBuf,
}

impl Iterator for Noted {
    type Item = Result<Op, TeeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        match ops::read_from(&mut self.file) {
            Ok((op, bytes)) => {
                self.left = self.left.saturating_sub(bytes);
                Some(Ok(op))
            }
            Err(cause) => {
                self.left = 0;
                let path = self.path.clone();
                Some(Err(TeeError::Spool { action: "read", path, cause }))
            }
        }
    }
}

/// A file that is gone once it is closed, readable by nobody else.
fn nameless(directory: &Path) -> io::Result<File> {
    let options = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).to_owned();
    for n in 0..NAMES {
        let path = directory.join(format!("backup-{}-{n}.notes", std::process::id()));
        match options.open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("{NAMES} files of the name backup-….notes are there")))
}
