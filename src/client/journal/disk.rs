//! A journal's records on their medium: read at the start, added to, and written anew when most
//! of them are dead or something has gone wrong.
//!
//! Promises: what [`Disk::store`] has stored is durable; after a failure nothing is added behind
//! what may have been written in part, for the whole file is written anew first. Imports the rest
//! of the journal.

use std::io;
use std::path::Path;

use futures_util::future::BoxFuture;

use super::book::Book;
use super::medium::Medium;
use super::record::{self, Header, Record, Scan, Unknown, VERSION};
use super::{JournalError, Probe, Step};
use crate::id::ClientId;

/// A file shorter than this, in bytes, is not worth writing anew while commands wait: 256 KiB.
const COMPACT_FROM: u64 = 256 * 1024;

/// A journal's file, open.
pub(super) struct Disk {
    medium: Box<dyn Medium>,
    /// Bytes of the file.
    length: u64,
    /// Whether the file may hold something other than the records that were stored.
    broken: bool,
    /// The length from which writing it anew is tried.
    compact_from: u64,
    header: Vec<u8>,
    probe: Option<Probe>,
}

impl Disk {
    /// Opens the journal of a client, or makes one, and gives what it holds.
    pub(super) fn open(
        mut medium: Box<dyn Medium>,
        probe: Option<Probe>,
        client: &ClientId,
    ) -> Result<(Self, Book), JournalError> {
        let path = medium.path().parent().unwrap_or(medium.path()).to_owned();
        let unusable = |cause| JournalError::Unusable { path: path.clone(), cause };
        let bytes = medium.read().map_err(unusable)?;
        let header = header(client).map_err(unusable)?;
        let mut disk = Self {
            medium,
            length: bytes.len() as u64,
            broken: true,
            compact_from: COMPACT_FROM,
            header,
            probe,
        };
        let book = disk.read(&bytes, client)?;
        drop(bytes);
        if disk.broken || disk.is_mostly_dead(&book) {
            disk.rewrite(&book).map_err(unusable)?;
        }
        Ok((disk, book))
    }

    /// Reads the records, and cuts off what was written in part.
    fn read(&mut self, bytes: &[u8], client: &ClientId) -> Result<Book, JournalError> {
        let mut book = Book::default();
        if self.header.starts_with(bytes) && bytes.len() < self.header.len() {
            // New, or its making was cut short.
            return Ok(book);
        }
        let mut header = None;
        let scan = record::scan(bytes, |record, size| match record {
            Record::Header(found) => header = header.take().or(Some(found)),
            record => book.apply(record, size),
        });
        let path = || self.path().to_owned();
        if let Some(Header { version, .. }) = header.as_ref().filter(|it| it.version != VERSION) {
            let (found, known) = (*version, VERSION);
            return Err(JournalError::UnknownVersion { path: path(), found, known });
        }
        let scan = scan.map_err(|Unknown { offset, problem }| JournalError::Unreadable {
            path: path(),
            offset: offset as u64,
            problem,
        })?;
        if scan.records == 0 {
            return Err(JournalError::NotAJournal { path: path() });
        }
        if let Some(found) = header.map(|header| header.client).filter(|found| found != client) {
            let wanted = client.clone();
            return Err(JournalError::OtherClient { path: path(), found, wanted });
        }
        self.broken = !scan.damaged.is_empty();
        self.tell_damage(&scan, bytes.len());
        if !self.broken && scan.end < bytes.len() {
            self.cut(scan.end as u64).map_err(|cause| {
                let path = self.path().parent().unwrap_or(self.path()).to_owned();
                JournalError::Unusable { path, cause }
            })?;
        }
        Ok(book)
    }

    fn tell_damage(&mut self, scan: &Scan, length: usize) {
        let path = self.medium.path().display();
        for range in &scan.damaged {
            let (offset, bytes) = (range.start, range.len());
            tracing::error!(%path, offset, bytes, "the client's journal is damaged; skipped");
        }
        if scan.end < length {
            let (offset, bytes) = (scan.end, length - scan.end);
            tracing::warn!(
                %path, offset, bytes,
                "the end of the client's journal was not written to its end; cut off"
            );
        }
        if !scan.damaged.is_empty() {
            self.medium.keep_damaged();
        }
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.medium.cut(length, true)?;
        self.length = length;
        Ok(())
    }

    /// Waited for before records are stored.
    pub(super) fn before_write(&mut self) -> BoxFuture<'static, ()> {
        self.medium.before_write()
    }

    /// Stores records, after which the book stands as `book`; with `sync`, durably.
    pub(super) fn store(&mut self, records: &[u8], sync: bool, book: &Book) -> io::Result<()> {
        if !self.medium.is_in_place() {
            let path = self.path().display();
            tracing::warn!(%path, "the client's journal was removed or replaced");
            self.broken = true;
        }
        if self.broken {
            return self.rewrite(book);
        }
        if self.length >= self.compact_from && self.is_mostly_dead(book) {
            match self.rewrite(book) {
                Ok(()) => return Ok(()),
                Err(error) if self.broken => return Err(error),
                Err(error) => {
                    let path = self.path().display();
                    tracing::warn!(%path, %error, "the client's journal could not be compacted");
                    self.compact_from = self.length.saturating_mul(2);
                }
            }
        }
        let before = self.length;
        self.broken = true;
        if let Err(error) = self.append(records, sync) {
            // What was not stored shall not be found either, should the file not be written anew.
            let _ = self.medium.cut(before, false);
            let path = self.path().display();
            tracing::warn!(%path, %error, "the client's journal does not grow; written anew");
            return self.rewrite(book);
        }
        self.broken = false;
        Ok(())
    }

    fn append(&mut self, records: &[u8], sync: bool) -> io::Result<()> {
        self.probe(Step::Write)?;
        self.medium.append(records)?;
        self.length += records.len() as u64;
        if sync && !bug!(JournalNotSynced) {
            self.probe(Step::Sync)?;
            self.medium.sync()?;
        }
        Ok(())
    }

    /// Whether more than half of the file says nothing any more.
    fn is_mostly_dead(&self, book: &Book) -> bool {
        let live = self.header.len() as u64 + book.bytes();
        live.saturating_mul(2) < self.length
    }

    /// Writes the whole book into a new file, which takes the place of the old one.
    fn rewrite(&mut self, book: &Book) -> io::Result<()> {
        self.probe(Step::Rewrite)?;
        // What is remembered of acknowledged commands is worth less than what counts.
        let length = self.replace(book.records()).or_else(|error| {
            let path = self.path().display();
            tracing::warn!(%path, %error, "the client's journal leaves out what is acknowledged");
            self.replace(book.open_records())
        })?;
        self.broken = true;
        self.length = length;
        self.medium.settle()?;
        self.broken = false;
        self.compact_from = COMPACT_FROM;
        Ok(())
    }

    /// Puts a file of these records in the place of the old one, and tells its length.
    fn replace(&mut self, records: impl Iterator<Item = Record>) -> io::Result<u64> {
        let mut length = 0;
        let records = records.map(|record| {
            let mut bytes = Vec::new();
            encode(&record, &mut bytes)?;
            Ok(bytes)
        });
        let pieces = std::iter::once(Ok(self.header.clone())).chain(records);
        let mut pieces = pieces.inspect(|piece| {
            length += piece.as_ref().map_or(0, |bytes: &Vec<u8>| bytes.len() as u64);
        });
        self.medium.replace(&mut pieces)?;
        drop(pieces);
        Ok(length)
    }

    fn probe(&self, step: Step) -> io::Result<()> {
        self.probe.as_ref().map_or(Ok(()), |probe| probe(step))
    }

    pub(super) fn path(&self) -> &Path {
        self.medium.path()
    }
}

fn header(client: &ClientId) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode(&Record::Header(Header { version: VERSION, client: client.clone() }), &mut bytes)?;
    Ok(bytes)
}

fn encode(record: &Record, into: &mut Vec<u8>) -> io::Result<u64> {
    record::encode(record, into)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.0))
}
