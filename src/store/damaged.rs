//! Directories of stores that tests copy, and files in them that they damage. Imports the rest of the
//! store.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{Entry, Order, Store, StoreError, everything, walk};

/// All that is in a store.
pub(super) fn all(store: &dyn Store) -> Result<Vec<Entry>, StoreError> {
    walk(store, everything(), Order::Up).collect()
}

/// Every file below a directory, in the order of their names.
pub(super) fn files_below(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Copies a directory with all that is in it.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Turns over one bit, 0 to 7, of a file's byte.
pub(super) fn flip(path: &Path, at: u64, bit: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
}

/// Lets a file end after so many bytes.
pub(super) fn cut(path: &Path, bytes: u64) {
    File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
}
