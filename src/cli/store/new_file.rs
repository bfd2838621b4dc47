//! A file that is there as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::cli::error::CliError;

/// A file that is being written under another name, its own with `.partial`. Dropped before it is
/// finished, it is removed.
pub(super) struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    finished: bool,
}

impl NewFile {
    /// Begins a file that nobody else can read. One that is there is kept, unless `force` says
    /// that it may be replaced at the end.
    pub(super) fn create(path: &Path, force: bool) -> Result<Self, CliError> {
        if path.is_dir() {
            return Err(CliError::Usage(format!("{} is a directory; name a file", path.display())));
        }
        if path.exists() && !force {
            let path = path.display();
            return Err(CliError::Usage(format!("{path} is there already; --force replaces it")));
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let options =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).to_owned();
        let file =
            options.open(&partial).map_err(|error| CliError::file("write", &partial, &error))?;
        let path = path.to_owned();
        Ok(Self { path, partial, file: BufWriter::new(file), finished: false })
    }

    /// The name under which it is written.
    pub(super) fn partial(&self) -> &Path {
        &self.partial
    }

    /// An error of this file.
    pub(super) fn error(&self, action: &str, error: &io::Error) -> CliError {
        CliError::file(action, &self.partial, error)
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> Result<(), CliError> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|error| self.error("write", &error))
    }

    /// Gives it its own name.
    pub(super) fn finish(mut self) -> Result<(), CliError> {
        self.sync()?;
        let failed = |error| CliError::file("write", &self.path, &error);
        fs::rename(&self.partial, &self.path).map_err(failed)?;
        self.finished = true;
        // The name is durable when its directory is.
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new("."))).and_then(|it| it.sync_all()).map_err(failed)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.finished {
            // It may be gone already.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_as_a_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let write = |force, text: &str, finish| {
            let mut file = NewFile::create(&path, force)?;
            file.write_all(text.as_bytes())?;
            if finish { file.finish() } else { Ok(()) }
        };
        write(false, "one", false).unwrap();
        assert!(!path.exists());
        write(false, "one", true).unwrap();
        let error = write(false, "two", true).unwrap_err().to_string();
        assert!(error.contains("is there already; --force"), "{error}");
        write(true, "two", false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        write(true, "two", true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing partial is left");
    }
}
