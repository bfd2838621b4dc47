//! A journal's directory: the file of records, the lock, and the file that takes its place when
//! most of it is dead.
//!
//! Promises: what [`Disk::store`] has stored is on the device; after a failure nothing is added
//! behind what may have been written in part, for the whole file is written anew first. One
//! process at a time. Imports the lock file and the rest of the journal.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::book::Book;
use super::record::{self, Header, Record, Scan, Unknown, VERSION};
use super::{JournalError, JournalOptions, Probe, Step};
use crate::id::ClientId;
use crate::lock_file::{self, LockError, LockFile};

/// The file of records.
pub(super) const FILE: &str = "journal";

/// The lock; it holds the process's id.
const LOCK: &str = "journal.lock";

/// The file that is written to take the place of [`FILE`].
const NEW: &str = "journal.new";

/// The last file that was found damaged, for whoever wants to know.
pub(super) const DAMAGED: &str = "journal.damaged";

/// A file shorter than this, in bytes, is not worth writing anew while commands wait: 256 KiB.
const COMPACT_FROM: u64 = 256 * 1024;

/// A journal's files, open.
pub(super) struct Disk {
    file: File,
    /// Bytes of the file.
    length: u64,
    /// Whether the file may hold something other than the records that were stored.
    broken: bool,
    /// The length from which writing it anew is tried.
    compact_from: u64,
    header: Vec<u8>,
    path: PathBuf,
    directory: PathBuf,
    probe: Option<Probe>,
    lock: LockFile,
}

impl Disk {
    /// Opens the journal of a client, or makes one, and gives what it holds.
    pub(super) fn open(
        options: &JournalOptions,
        client: &ClientId,
    ) -> Result<(Self, Book), JournalError> {
        let directory = options.directory.clone();
        let path = directory.join(FILE);
        let unusable = |cause| JournalError::Unusable { path: directory.clone(), cause };
        create_directory(&directory).map_err(unusable)?;
        let lock = LockFile::take(directory.join(LOCK)).map_err(|error| match error {
            LockError::Held(pid) => JournalError::Locked { path: directory.clone(), pid },
            LockError::Io(cause) => unusable(cause),
        })?;
        let file = File::options()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        let bytes = fs::read(&path).map_err(unusable)?;
        let header = header(client).map_err(unusable)?;
        let mut disk = Self {
            file,
            length: bytes.len() as u64,
            broken: true,
            compact_from: COMPACT_FROM,
            header,
            path,
            directory: directory.clone(),
            probe: options.probe.clone(),
            lock,
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
        let path = || self.path.clone();
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
                let path = self.directory.clone();
                JournalError::Unusable { path, cause }
            })?;
        }
        Ok(book)
    }

    fn tell_damage(&self, scan: &Scan, length: usize) {
        let path = self.path.display();
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
            let kept = self.directory.join(DAMAGED);
            // The one kept before may not be there.
            let _ = fs::remove_file(&kept);
            match fs::hard_link(&self.path, &kept) {
                Ok(()) => tracing::error!(path = %kept.display(), "the damaged file is kept"),
                Err(error) => tracing::error!(%path, %error, "the damaged file is not kept"),
            }
        }
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_all()?;
        self.length = length;
        Ok(())
    }

    /// Stores records, after which the book stands as `book`; with `sync`, durably.
    pub(super) fn store(&mut self, records: &[u8], sync: bool, book: &Book) -> io::Result<()> {
        if !self.is_in_place() {
            let path = self.path.display();
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
                    let path = self.path.display();
                    tracing::warn!(%path, %error, "the client's journal could not be compacted");
                    self.compact_from = self.length.saturating_mul(2);
                }
            }
        }
        let before = self.length;
        self.broken = true;
        if let Err(error) = self.append(records, sync) {
            // What was not stored shall not be found either, should the file not be written anew.
            let _ = self.file.set_len(before);
            let path = self.path.display();
            tracing::warn!(%path, %error, "the client's journal does not grow; written anew");
            return self.rewrite(book);
        }
        self.broken = false;
        Ok(())
    }

    fn append(&mut self, records: &[u8], sync: bool) -> io::Result<()> {
        self.probe(Step::Write)?;
        self.file.write_all(records)?;
        self.length += records.len() as u64;
        if sync {
            self.probe(Step::Sync)?;
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Whether more than half of the file says nothing any more.
    fn is_mostly_dead(&self, book: &Book) -> bool {
        let live = self.header.len() as u64 + book.bytes();
        live.saturating_mul(2) < self.length
    }

    /// Whether what is open is what stands in the directory.
    fn is_in_place(&self) -> bool {
        self.lock.is_in_place() && lock_file::is_at(&self.file, &self.path)
    }

    /// Writes the whole book into a new file, which takes the place of the old one.
    fn rewrite(&mut self, book: &Book) -> io::Result<()> {
        self.probe(Step::Rewrite)?;
        if !self.lock.is_in_place() {
            let lock = self.directory.join(LOCK);
            self.lock = LockFile::take(lock).map_err(|error| match error {
                LockError::Held(pid) => io::Error::other(held(pid)),
                LockError::Io(cause) => cause,
            })?;
        }
        let new = self.directory.join(NEW);
        // What is remembered of acknowledged commands is worth less than what counts.
        let written = write_new(&new, &self.header, book.records())
            .or_else(|error| {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the client's journal leaves out what is acknowledged");
                write_new(&new, &self.header, book.open_records())
            })
            .and_then(|(file, length)| fs::rename(&new, &self.path).map(|()| (file, length)));
        let (file, length) = match written {
            Ok(written) => written,
            Err(error) => {
                // It may not be there; and the space that it takes is what is wanted most.
                let _ = fs::remove_file(&new);
                return Err(error);
            }
        };
        self.broken = true;
        self.file = file;
        self.length = length;
        // The new name is durable only when its directory is.
        File::open(&self.directory)?.sync_all()?;
        self.broken = false;
        self.compact_from = COMPACT_FROM;
        Ok(())
    }

    fn probe(&self, step: Step) -> io::Result<()> {
        self.probe.as_ref().map_or(Ok(()), |probe| probe(step))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn held(pid: Option<u32>) -> String {
    let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    format!("{who} has made a journal in its place")
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

fn write_new(
    path: &Path,
    header: &[u8],
    records: impl Iterator<Item = Record>,
) -> io::Result<(File, u64)> {
    // Removed first, so that what stands there never decides who may read the new one.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = File::options().append(true).create_new(true).mode(0o600).open(path)?;
    let mut writer = BufWriter::new(file);
    writer.write_all(header)?;
    let mut length = header.len() as u64;
    let mut bytes = Vec::new();
    for record in records {
        bytes.clear();
        length += encode(&record, &mut bytes)?;
        writer.write_all(&bytes)?;
    }
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok((file, length))
}

fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
