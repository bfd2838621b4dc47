//! A journal's directory: the file of records, the lock, and the file that takes its place when
//! most of it is dead.
//!
//! Promises: one process at a time. Imports the lock file and the medium.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::JournalError;
use super::medium::Medium;
use crate::lock_file::{self, LockError, LockFile};

/// The file of records.
pub(super) const FILE: &str = "journal";

/// The lock; it holds the process's id.
const LOCK: &str = "journal.lock";

/// The file that is written to take the place of [`FILE`].
const NEW: &str = "journal.new";

/// The last file that was found damaged, for whoever wants to know.
pub(super) const DAMAGED: &str = "journal.damaged";

/// A journal's files, open.
pub(super) struct Files {
    file: File,
    path: PathBuf,
    directory: PathBuf,
    lock: LockFile,
}

impl Files {
    /// Opens the directory, or makes it.
    pub(super) fn open(directory: PathBuf) -> Result<Self, JournalError> {
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
        Ok(Self { file, path, directory, lock })
    }
}

impl Medium for Files {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        fs::read(&self.path)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn cut(&mut self, length: u64, sync: bool) -> io::Result<()> {
        self.file.set_len(length)?;
        if sync { self.file.sync_all() } else { Ok(()) }
    }

    fn replace(&mut self, pieces: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> io::Result<()> {
        if !self.lock.is_in_place() {
            let lock = self.directory.join(LOCK);
            self.lock = LockFile::take(lock).map_err(|error| match error {
                LockError::Held(pid) => io::Error::other(held(pid)),
                LockError::Io(cause) => cause,
            })?;
        }
        let new = self.directory.join(NEW);
        let written = write_new(&new, pieces)
            .and_then(|file| fs::rename(&new, &self.path).map(|()| file))
            .inspect_err(|_| {
                // It may not be there; and the space that it takes is what is wanted most.
                let _ = fs::remove_file(&new);
            });
        self.file = written?;
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        // The new name is durable only when its directory is.
        File::open(&self.directory)?.sync_all()
    }

    fn is_in_place(&self) -> bool {
        self.lock.is_in_place() && lock_file::is_at(&self.file, &self.path)
    }

    fn keep_damaged(&mut self) {
        let (path, kept) = (self.path.display(), self.directory.join(DAMAGED));
        // The one kept before may not be there.
        let _ = fs::remove_file(&kept);
        match fs::hard_link(&self.path, &kept) {
            Ok(()) => tracing::error!(path = %kept.display(), "the damaged file is kept"),
            Err(error) => tracing::error!(%path, %error, "the damaged file is not kept"),
        }
    }
}

fn held(pid: Option<u32>) -> String {
    let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    format!("{who} has made a journal in its place")
}

fn write_new(
    path: &Path,
    pieces: &mut dyn Iterator<Item = io::Result<Vec<u8>>>,
) -> io::Result<File> {
    // Removed first, so that what stands there never decides who may read the new one.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = File::options().append(true).create_new(true).mode(0o600).open(path)?;
    let mut writer = BufWriter::new(file);
    for piece in pieces {
        writer.write_all(&piece?)?;
    }
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file)
}

fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
