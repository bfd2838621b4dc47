//! How far the journals reached when the store was closed, noted beside them: one that ends earlier
//! was cut, or has changed, since.
//!
//! Promises: it never says more than what is durable. It may be missing or out of date, after a
//! crash for instance; then it says less. Imports nothing of fleetcron.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::journal;

/// The file, in fjall's directory.
const FILE: &str = "reach";

/// Its name while it is written.
const NEW_FILE: &str = "reach.new";

/// Bytes of a journal that are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    /// The journal's number.
    pub(super) number: u64,
    /// Whole batches, in bytes.
    pub(super) bytes: u64,
}

impl Reach {
    pub(super) fn to_text(self) -> String {
        let said = format!("{} {}", self.number, self.bytes);
        format!("{said} {}\n", crc32fast::hash(said.as_bytes()))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (said, sum) = text.trim().rsplit_once(' ')?;
        if sum.parse() != Ok(crc32fast::hash(said.as_bytes())) {
            return None;
        }
        let (number, bytes) = said.split_once(' ')?;
        Some(Self { number: number.parse().ok()?, bytes: bytes.parse().ok()? })
    }
}

/// What was noted last, if it can be read.
pub(super) fn read(files: &Path) -> Option<Reach> {
    Reach::parse(&fs::read_to_string(files.join(FILE)).ok()?)
}

fn write(files: &Path, reach: Reach) -> io::Result<()> {
    let new = files.join(NEW_FILE);
    let mut file = File::create(&new)?;
    file.write_all(reach.to_text().as_bytes())?;
    file.sync_all()?;
    fs::rename(new, files.join(FILE))
}

/// Notes how far the journals reach when it is dropped, which is after fjall has closed them.
pub(super) struct NoteReach {
    files: PathBuf,
    /// Whether all that is in them is durable.
    pub(super) is_durable: bool,
}

impl NoteReach {
    pub(super) fn new(files: PathBuf) -> Self {
        Self { files, is_durable: true }
    }
}

impl Drop for NoteReach {
    fn drop(&mut self) {
        if !self.is_durable {
            return;
        }
        let noted = journal::reach(&self.files).and_then(|reach| match reach {
            Some(reach) => write(&self.files, reach),
            None => Ok(()),
        });
        if let Err(error) = noted {
            let path = self.files.display();
            tracing::warn!(%path, %error, "how far the journal reaches could not be noted");
        }
    }
}
