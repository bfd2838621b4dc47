//! The client's journal: what it remembers when its process ends.
//!
//! An append-only file in a directory of its own. A command is written down before it is run, its
//! end before the answer leaves; both are durable (`fdatasync`) by then. When the server has
//! acknowledged the answer, that is written down too, and the command no longer counts. So a
//! client that is started again knows which commands have ended and are not acknowledged, whose
//! answers it sends once more, and which were cut short: these end as `failed`, or run again where
//! their owner wants it ([`OnClientCrash`]). A command that was accepted and not
//! begun is not in the journal: the server sends it again. The last [`RECENT`] that were
//! acknowledged are remembered with their ends, large results left out: a server that was restored
//! from a backup sends them again, and gets their answers.
//!
//! Promises:
//!
//! - What cannot be written down is not run: the command is `rejected`, with path and reason. A
//!   result that cannot be written down is answered all the same.
//! - A file whose end was written in part is cut there; bytes damaged in the middle are skipped.
//!   Both are logged with file and offset, and the damaged file is kept as `journal.damaged`.
//! - One process at a time, one client a journal.
//! - What is remembered of acknowledged commands is left out of the file when there is no room.
//! - Bounded: beside what is remembered of acknowledged commands, the records that count have at
//!   most [`MAX_BYTES`] when a command begins, to which the results of those that run may add 16
//!   MiB each; the file is written anew when more than
//!   half of it is dead. Of a command only its name and times are kept, some 300 bytes, unless it
//!   may run again: then with its parameters, at most 48 KiB.
//! - A command runs at most [`MAX_TIMES`] times, should each time end the client.
//!
//! Nothing here blocks the runtime, but for the opening: the file is written on a thread of its
//! own, and commands that come at once share a flush. (One on a [`Medium`] of the caller's has no
//! thread.)
//!
//! Imports the domain types, the wire and the lock file.

mod book;
mod disk;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod medium;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::MAX_TAKEN;
#[cfg(doc)]
use super::RECENT;
use crate::id::ClientId;
use crate::job::OnClientCrash;
use crate::run::{Attempt, DeliveryState, Outcome};
use crate::wire::CommandFrame;
use book::{Book, Standing};
use disk::Disk;
use files::Files;
use record::{MAX_RECORD, Taken};
use writer::{Note, Request, Writer};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzz::journal as fuzz_journal;
pub use medium::Medium;

/// The most bytes of records that count, unless set otherwise: 64 MiB.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// How many times a command that may run again is begun, at most.
pub const MAX_TIMES: u32 = 10;

/// Why a command ends that was running when the client ended.
const INTERRUPTED: &str = "interrupted: the client ended while it ran";

/// The longest result that is kept, in bytes; there is room for the rest of its record.
const MAX_RESULT: usize = MAX_RECORD - 64 * 1024;

/// A step of the journal's writing, told before it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Records are added.
    Write,
    /// They are made durable.
    Sync,
    /// The whole file is written anew.
    Rewrite,
}

/// Told of each step, which it may let fail; for tests.
type Probe = Arc<dyn Fn(Step) -> io::Result<()> + Send + Sync>;

/// Where a journal is.
#[derive(Clone)]
enum Place {
    /// In this directory.
    Directory(PathBuf),
    /// On a medium of the caller's, which is opened so.
    Medium(OpenMedium),
}

/// Opens a medium.
type OpenMedium = Arc<dyn Fn() -> Box<dyn Medium> + Send + Sync>;

/// Where a journal is, and how much it may hold.
#[derive(Clone)]
pub struct JournalOptions {
    place: Place,
    max_bytes: u64,
    max_entries: usize,
    probe: Option<Probe>,
}

impl JournalOptions {
    /// A journal in this directory, which is made when missing, with the default limits.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self::at(Place::Directory(directory.into()))
    }

    /// A journal on a medium of the caller's, for simulations: it has no thread, but is written by
    /// the client's own task.
    pub fn on_medium(open: impl Fn() -> Box<dyn Medium> + Send + Sync + 'static) -> Self {
        Self::at(Place::Medium(Arc::new(open)))
    }

    fn at(place: Place) -> Self {
        Self { place, max_bytes: MAX_BYTES, max_entries: MAX_TAKEN, probe: None }
    }

    /// The most bytes of records that count with which a further command is begun. Beyond it,
    /// commands are rejected until answers are acknowledged; results are kept. Default
    /// [`MAX_BYTES`].
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The most commands that are begun and not acknowledged; a further one is rejected. Default
    /// and most: [`MAX_TAKEN`], for a client's first frame lists them all.
    #[must_use]
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries.min(MAX_TAKEN);
        self
    }
}

impl<P: AsRef<Path>> From<P> for JournalOptions {
    fn from(directory: P) -> Self {
        Self::new(directory.as_ref())
    }
}

impl std::fmt::Debug for JournalOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directory = match &self.place {
            Place::Directory(directory) => Some(directory),
            Place::Medium(_) => None,
        };
        f.debug_struct("JournalOptions")
            .field("directory", &directory)
            .field("max_bytes", &self.max_bytes)
            .field("max_entries", &self.max_entries)
            .finish_non_exhaustive()
    }
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory, or a file in it, cannot be used.
    #[error("the journal {} cannot be used: {cause}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another process has it open.
    #[error("the journal {} is in use{}", path.display(), by(*pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other process's id, if it could be read.
        pid: Option<u32>,
    },
    /// The file is something else. It was not touched.
    #[error("{} is not a client's journal, and was not touched", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// It is another client's: its answers would be given in the wrong name.
    #[error("the journal {} is that of client {found}, not of {wanted}", path.display())]
    OtherClient {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: ClientId,
        /// Who opened it.
        wanted: ClientId,
    },
    /// It has a format that this version does not know. It was not touched.
    #[error("the journal {} has format {found}; this version knows {known}", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format known.
        known: u32,
    },
    /// A record that is as it was written has no meaning here. The file was not touched.
    #[error("the journal {} cannot be read at byte {offset}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where the record begins, in bytes.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// Its thread cannot be started.
    #[error("the journal's thread cannot be started: {0}")]
    Thread(io::Error),
}

fn by(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!(" by process {pid}; stop that process, or choose another directory"),
        None => " by another process; stop that process, or choose another directory".to_owned(),
    }
}

/// Why something is not in the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NotJournalled {
    #[error("the client's journal {} cannot be written: {error}", path.display())]
    Io { path: PathBuf, error: String },
    #[error("the client's journal {} is full: {what}", path.display())]
    Full { path: PathBuf, what: String },
    #[error("the client's journal {} does not take the record: {problem}", path.display())]
    Record { path: PathBuf, problem: String },
    #[error("the client's journal has ended")]
    Ended,
}

/// What a journal remembers of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remembered {
    /// It has ended so; the server has not acknowledged it.
    Ended(Attempt, Outcome),
    /// It was cut short, and is to run again.
    Again(CommandFrame),
    /// It has ended so, and the server has acknowledged it.
    Acknowledged(Attempt, Outcome),
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    pen: Pen,
    closed: oneshot::Receiver<()>,
}

/// A journal that was opened.
pub(super) struct Opened {
    pub(super) journal: Journal,
    pub(super) remembered: Vec<Remembered>,
    /// Writes it; `None`: it has a thread for that.
    pub(super) writing: Option<BoxFuture<'static, ()>>,
}

/// The way to write into a journal. Cheap to clone; the journal stays open while there is one.
#[derive(Debug, Clone)]
pub(super) struct Pen {
    /// Bounded by what asks: a command waits for each of its two records, and is acknowledged
    /// once.
    requests: mpsc::UnboundedSender<Request>,
}

impl Journal {
    /// Opens a client's journal, reads it, and gives what it remembers: what is not acknowledged
    /// in serial order, then what is, the oldest first. One that has no thread is written by the
    /// future, which ends when the journal has been closed.
    pub(super) fn open(
        options: &JournalOptions,
        client: &ClientId,
    ) -> Result<Opened, JournalError> {
        let medium = match &options.place {
            Place::Directory(directory) => Box::new(Files::open(directory.clone())?),
            Place::Medium(open) => open(),
        };
        let (disk, book) = Disk::open(medium, options.probe.clone(), client)?;
        let remembered = remembered(&book);
        let (max_bytes, max_entries) = (options.max_bytes, options.max_entries);
        let writer = Writer { disk, book, max_bytes, max_entries };
        let (requests, asked) = mpsc::unbounded_channel();
        let (closing, closed) = oneshot::channel();
        let journal = Self { pen: Pen { requests }, closed };
        let writing = match options.place {
            Place::Directory(_) => {
                let write = move || {
                    writer.run(asked);
                    // The client may have ended without waiting.
                    let _ = closing.send(());
                };
                let thread = thread::Builder::new().name("fleetcron-journal".into());
                thread.spawn(write).map_err(JournalError::Thread)?;
                None
            }
            Place::Medium(_) => {
                let write = async move {
                    writer.serve(asked).await;
                    // As above.
                    let _ = closing.send(());
                };
                Some(write.boxed())
            }
        };
        Ok(Opened { journal, remembered, writing })
    }

    pub(super) fn pen(&self) -> &Pen {
        &self.pen
    }

    /// Waits until all is written and the lock is given back. Every other pen must be gone.
    pub(super) async fn close(self) {
        let Self { pen, closed } = self;
        drop(pen);
        // An error says that the thread is gone: that is what was waited for.
        let _ = closed.await;
    }
}

impl Pen {
    /// Runs a command between its two records.
    pub(super) async fn around(
        self,
        command: CommandFrame,
        running: impl Future<Output = Outcome>,
    ) -> Outcome {
        let (serial, name) = (command.serial, command.command.clone());
        let attempt = Attempt { serial, number: command.attempt };
        if bug!(JournalAfterExecution) {
            let outcome = running.await;
            // Its answer leaves whatever becomes of these.
            let _ = self.write(Note::Taken(command)).await;
            let _ = self.write(Note::Ended(attempt, outcome.clone())).await;
            return outcome;
        }
        if let Err(error) = self.write(Note::Taken(command)).await {
            tracing::error!(%serial, command = %name, %error, "a command is not run");
            return Outcome::ended(DeliveryState::Rejected, error.to_string());
        }
        let outcome = within_limit(running.await);
        if let Err(error) = self.write(Note::Ended(attempt, outcome.clone())).await {
            tracing::error!(
                %serial, command = %name, %error,
                "a result is answered without having been written down"
            );
        }
        outcome
    }

    /// The server has recorded the end of a command.
    pub(super) fn acknowledged(&self, attempt: Attempt) {
        // A journal that has ended by itself was reported when a command asked for it.
        let _ = self.requests.send(Request { note: Note::Acknowledged(attempt), answer: None });
    }

    async fn write(&self, note: Note) -> Result<(), NotJournalled> {
        let (answer, answered) = oneshot::channel();
        let request = Request { note, answer: Some(answer) };
        self.requests.send(request).map_err(|_| NotJournalled::Ended)?;
        answered.await.unwrap_or(Err(NotJournalled::Ended))
    }
}

/// An outcome that a record can hold.
fn within_limit(outcome: Outcome) -> Outcome {
    let result = outcome.result.as_ref().map_or(0, |result| result.text().len());
    // A character of text takes up to six bytes in JSON.
    let reason = outcome.reason.as_ref().map_or(0, |reason| reason.len().saturating_mul(6));
    let length = result.saturating_add(reason);
    if length <= MAX_RESULT {
        return outcome;
    }
    let why = format!("the response has {length} bytes; the journal keeps at most {MAX_RESULT}");
    Outcome { ran_ms: outcome.ran_ms, ..Outcome::ended(DeliveryState::Failed, why) }
}

fn remembered(book: &Book) -> Vec<Remembered> {
    let open = book.entries().map(|(attempt, standing)| match standing {
        Standing::Ended(outcome) => Remembered::Ended(attempt, outcome.clone()),
        Standing::Taken(taken) => interrupted(attempt, taken),
    });
    let recent =
        book.recent().map(|(attempt, outcome)| Remembered::Acknowledged(attempt, outcome.clone()));
    open.chain(recent).collect()
}

/// What becomes of a command that was running when the client ended.
fn interrupted(attempt: Attempt, Taken { times, command }: &Taken) -> Remembered {
    let retry = command.on_client_crash == OnClientCrash::Retry;
    let again = retry && *times < MAX_TIMES;
    tracing::warn!(
        serial = %attempt.serial, command = %command.command, times, again,
        "a command was running when the client ended"
    );
    if again {
        return Remembered::Again(command.clone());
    }
    let often = if retry { format!(", {times} times, the most allowed") } else { String::new() };
    let reason = format!("{INTERRUPTED}{often}");
    Remembered::Ended(attempt, Outcome::ended(DeliveryState::Failed, reason))
}
