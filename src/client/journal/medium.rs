//! Where a journal's bytes are: one file that grows, and that another one can take the place of.
//!
//! Promises of an implementation are those of the methods. Imports nothing of fleetcron.

use std::io;
use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// A journal's file. The default one is in a directory; a simulation has one of its own, see
/// [`JournalOptions::on_medium`](super::JournalOptions::on_medium).
pub trait Medium: Send {
    /// How messages name it.
    fn path(&self) -> &Path;

    /// All bytes of the file.
    fn read(&mut self) -> io::Result<Vec<u8>>;

    /// Adds bytes at the file's end. After an error, any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was added.
    fn sync(&mut self) -> io::Result<()>;

    /// Makes the file shorter, durably if `sync`.
    fn cut(&mut self, length: u64, sync: bool) -> io::Result<()>;

    /// Puts a file of these bytes in the place of the old one: after a crash there is the one or
    /// the other, whole. After an error the old one is still there.
    fn replace(&mut self, pieces: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> io::Result<()>;

    /// Makes it durable that the last one put there is the file.
    fn settle(&mut self) -> io::Result<()>;

    /// Whether the file is still the one that was opened, and nobody else may write it. Default:
    /// it is.
    fn is_in_place(&self) -> bool {
        true
    }

    /// Keeps a copy of a damaged file for whoever wants to know. Default: none.
    fn keep_damaged(&mut self) {}

    /// Waited for before each group of records is written, where the medium has no thread of its
    /// own to be slow on. Default: no wait.
    fn before_write(&mut self) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}
