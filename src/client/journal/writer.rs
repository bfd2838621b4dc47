//! The journal's own thread: it writes what the client's commands ask it to, many at a time with
//! one flush.
//!
//! Promises: an answer is given only when what was asked for is durable, or has failed; what
//! failed is not in the journal. Imports the rest of the journal.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use super::NotJournalled;
use super::book::{Book, Entry, Standing};
use super::disk::Disk;
use super::record::{self, Acknowledged, Ended, Record, Taken};
use crate::id::Serial;
use crate::run::{Attempt, Outcome};
use crate::wire::CommandFrame;

/// Requests that share a flush, at most.
const GROUP: usize = 256;

/// Something to write down.
#[derive(Debug)]
pub(super) enum Note {
    /// A command is about to be run.
    Taken(CommandFrame),
    /// It has ended.
    Ended(Attempt, Outcome),
    /// The server has recorded its end.
    Acknowledged(Attempt),
}

pub(super) type Answer = oneshot::Sender<Result<(), NotJournalled>>;

/// Something to write down, and who waits for it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) note: Note,
    pub(super) answer: Option<Answer>,
}

pub(super) struct Writer {
    pub(super) disk: Disk,
    pub(super) book: Book,
    pub(super) max_bytes: u64,
    pub(super) max_entries: usize,
}

/// What is written together.
#[derive(Default)]
struct Group {
    records: Vec<u8>,
    /// Whether somebody waits for it to be durable.
    sync: bool,
    answers: Vec<Answer>,
    /// How the commands that are to begin stood before.
    before: Vec<(Serial, Option<Entry>)>,
}

impl Writer {
    /// Runs until nobody can ask for anything any more.
    pub(super) fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let mut batch = Vec::new();
        while requests.blocking_recv_many(&mut batch, GROUP) > 0 {
            self.commit(batch.drain(..));
        }
    }

    /// The same without a thread.
    pub(super) async fn serve(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let mut batch = Vec::new();
        while requests.recv_many(&mut batch, GROUP).await > 0 {
            self.disk.before_write().await;
            self.commit(batch.drain(..));
        }
    }

    fn commit(&mut self, batch: impl Iterator<Item = Request>) {
        let mut group = Group::default();
        for Request { note, answer } in batch {
            match self.note(note, &mut group) {
                Ok(()) => group.answers.extend(answer),
                Err(error) => tell(answer, Err(error)),
            }
        }
        if group.records.is_empty() {
            return;
        }
        let stored = self.disk.store(&group.records, group.sync, &self.book);
        let stored = stored.map_err(|error| {
            let path = self.disk.path().display();
            tracing::error!(%path, %error, "the client's journal cannot be written");
            // Those that were to begin do not. Ends and acknowledgements have happened all the
            // same: they are written when the file is.
            for (serial, before) in group.before.into_iter().rev() {
                self.book.restore(serial, before);
            }
            NotJournalled::Io { path: self.disk.path().to_owned(), error: error.to_string() }
        });
        for answer in group.answers {
            tell(Some(answer), stored.clone());
        }
    }

    fn note(&mut self, note: Note, group: &mut Group) -> Result<(), NotJournalled> {
        let record = match note {
            Note::Taken(command) => self.taken(command),
            Note::Ended(Attempt { serial, number: attempt }, outcome) => {
                Record::Ended(Ended { serial, attempt, outcome })
            }
            Note::Acknowledged(Attempt { serial, number: attempt }) => {
                if self.book.get(serial).is_none_or(|entry| entry.attempt > attempt) {
                    // It never began, or a later attempt has taken its place.
                    return Ok(());
                }
                Record::Acknowledged(Acknowledged { serial, attempt })
            }
        };
        let length = group.records.len();
        let size = record::encode(&record, &mut group.records)
            .map_err(|error| NotJournalled::Record { path: self.path(), problem: error.0 })?;
        if let Record::Taken(taken) = &record {
            if let Err(full) = self.has_room(taken, size) {
                group.records.truncate(length);
                return Err(full);
            }
            let serial = taken.command.serial;
            group.before.push((serial, self.book.get(serial).cloned()));
        }
        group.sync |= !matches!(record, Record::Acknowledged(_));
        self.book.apply(record, size);
        Ok(())
    }

    fn taken(&self, command: CommandFrame) -> Record {
        let mut taken = Taken::new(command);
        let before = self.book.get(taken.command.serial);
        let before = before.filter(|entry| entry.attempt == taken.command.attempt);
        if let Some(Standing::Taken(before)) = before.map(|entry| &entry.standing) {
            taken.times = before.times.saturating_add(1);
        }
        Record::Taken(taken)
    }

    /// Whether a command may begin: one that is in the book already takes no more room.
    fn has_room(&self, taken: &Taken, size: u64) -> Result<(), NotJournalled> {
        if self.book.get(taken.command.serial).is_some() {
            return Ok(());
        }
        let full = |what| Err(NotJournalled::Full { path: self.path(), what });
        if self.book.len() >= self.max_entries {
            let most = self.max_entries;
            return full(format!("{most} commands are not acknowledged, the most allowed"));
        }
        let bytes = self.book.live() + size;
        if bytes > self.max_bytes {
            return full(format!("it would have {bytes} bytes; the most is {}", self.max_bytes));
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.disk.path().to_owned()
    }
}

fn tell(answer: Option<Answer>, result: Result<(), NotJournalled>) {
    if let Some(answer) = answer {
        // A command that was ended meanwhile waits no more.
        let _ = answer.send(result);
    }
}
