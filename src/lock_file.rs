//! A file whose lock says that one process has a directory, and which tells a second one who that
//! is.
//!
//! Promises: while a [`LockFile`] lives, no other process gets one for the same path; the file
//! holds its owner's process id. Imports nothing of fleetcron.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a lock is waited for. One that was just given back in this process can be held a
/// moment longer: by a child that another thread has forked and that has not begun its program
/// yet, or by a thread of a library's that is about to end.
const PATIENCE: Duration = Duration::from_millis(500);

/// The time between two tries to get a lock.
const PAUSE: Duration = Duration::from_millis(10);

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
    path: PathBuf,
}

/// Why there is no lock.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process has it: this one, if its id could be read.
    Held(Option<u32>),
    /// The file cannot be used.
    Io(io::Error),
}

impl LockFile {
    /// Takes the lock and writes this process's id into its file, for whoever comes second.
    pub(crate) fn take(path: impl Into<PathBuf>) -> Result<Self, LockError> {
        let path = path.into();
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(LockError::Io)?;
        match patiently(|| file.try_lock(), |error| matches!(error, TryLockError::WouldBlock)) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Without the other's id the message is still true.
                let _ = file.read_to_string(&mut text);
                return Err(LockError::Held(text.trim().parse().ok()));
            }
            Err(TryLockError::Error(cause)) => return Err(LockError::Io(cause)),
        }
        write_id(&mut file).map_err(LockError::Io)?;
        Ok(Self { file, path })
    }

    /// Whether the file that is locked is still the one at its path: a lock on a file that was
    /// removed keeps nobody out.
    pub(crate) fn is_in_place(&self) -> bool {
        is_at(&self.file, &self.path)
    }
}

fn write_id(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Whether an open file is the one at a path.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Tries again while the reason is a lock, for [`PATIENCE`] at most.
pub(crate) fn patiently<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    locked: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(error) if locked(&error) && begun.elapsed() < PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            ended => return ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_and_the_next_is_told_who() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = LockFile::take(&path).unwrap();
        let held = LockFile::take(&path).unwrap_err();
        assert!(matches!(held, LockError::Held(Some(pid)) if pid == std::process::id()));
        drop(first);
        LockFile::take(&path).unwrap();
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let lock = LockFile::take(&path).unwrap();
        assert!(lock.is_in_place());
        std::fs::remove_file(&path).unwrap();
        assert!(!lock.is_in_place());
        let other = LockFile::take(&path).unwrap();
        assert!(other.is_in_place() && !lock.is_in_place());
    }
}
