//! Job files on disk.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::lines::Lines;
use super::{Format, JobFileErrors, Loaded, MAX_FILE, MAX_JOBS, Problem, Reading};

/// The deepest nesting of directories.
const MAX_DEPTH: usize = 32;

/// Reads the jobs and calendars of a file, or of all `.toml` and `.json` files in a directory and the
/// directories below it, in the order of their names.
///
/// Hidden files and directories, other files, and links to directories are left out. A directory
/// without any job file is an error, and so are two jobs, or two calendars, of the same name.
pub fn read_dir_or_file(path: &Path) -> Result<Loaded, JobFileErrors> {
    let mut reading = Reading::default();
    match fs::metadata(path) {
        Err(error) => reading.io_error(path, &error),
        Ok(found) if found.is_dir() => {
            let mut files = Vec::new();
            walk(path, 0, &mut files, &mut reading);
            if files.is_empty() && reading.errors.is_empty() {
                reading.file_error(path, "holds no job file (*.toml, *.json)".into());
            }
            for (file, format) in files {
                if reading.stopped {
                    break;
                }
                reading.file(&file, format);
            }
        }
        Ok(_) => match Format::of(path) {
            Some(format) => reading.file(path, format),
            None => reading.file_error(path, "is neither a .toml nor a .json file".into()),
        },
    }
    reading.finish()
}

/// Lists the job files below a directory.
fn walk(directory: &Path, depth: usize, files: &mut Vec<(PathBuf, Format)>, reading: &mut Reading) {
    if depth > MAX_DEPTH {
        let problem = format!("is nested more than {MAX_DEPTH} directories deep");
        return reading.file_error(directory, problem);
    }
    let entries = match sorted_entries(directory) {
        Ok(entries) => entries,
        Err(error) => return reading.io_error(directory, &error),
    };
    for (path, is_directory) in entries {
        if is_directory {
            walk(&path, depth + 1, files, reading);
        } else if let Some(format) = Format::of(&path) {
            if files.len() == MAX_JOBS {
                reading.stopped = true;
                return reading.file_error(&path, format!("is one of more than {MAX_JOBS} files"));
            }
            files.push((path, format));
        }
        if reading.stopped {
            return;
        }
    }
}

/// What is in a directory and not hidden; the flag says whether it is a directory itself.
fn sorted_entries(directory: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let path = entry.path();
        // A link to a directory may lead back up; a link to a file is how secrets and
        // configuration are mounted into containers.
        let linked_directory = entry.file_type()?.is_symlink() && path.is_dir();
        if !hidden && !linked_directory {
            entries.push((path, entry.file_type()?.is_dir()));
        }
    }
    entries.sort();
    Ok(entries)
}

impl Reading {
    fn file(&mut self, path: &Path, format: Format) {
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) => return self.io_error(path, &error),
        };
        match std::str::from_utf8(&bytes) {
            Ok(text) => self.text(text, path, format),
            Err(error) => {
                let good = error.valid_up_to();
                // What comes before the error is valid.
                let lines = Lines::of(std::str::from_utf8(&bytes[..good]).unwrap_or_default());
                self.problem(path, &lines, None, Problem::at(good, "is not UTF-8 text"));
            }
        }
    }

    fn io_error(&mut self, path: &Path, error: &io::Error) {
        self.file_error(path, format!("cannot be read: {error}"));
    }
}

/// Reads a file, one byte more than the limit at most: enough to see that it is too large.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // To open a pipe would be to wait for its other end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
