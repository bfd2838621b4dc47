//! How far the log reached when a commit was durable, and the digest of its pages then, noted in a
//! file beside it.
//!
//! Promises: it never says more than what is durable. It may say less: the file is not synced with
//! each commit. What is noted last is kept while the next is written, so that a power cut in between
//! leaves one of them. Imports nothing of fleetcron.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::log::{FARTHEST, read_at};

/// The file, in the store's directory.
pub(super) const MARK_FILE: &str = "db.mark";

/// What a place begins with that was written.
const BEGIN: [u8; 8] = *b"fleetmk1";

/// Bytes of a mark with its checksum.
const BYTES: usize = 44;

/// Where the two places are: in different blocks of the disk.
const PLACES: [u64; 2] = [0, 4096];

/// How far the log reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The position behind the last message.
    pub(super) at: u64,
    /// The digest of all pages.
    pub(super) digest: u64,
    /// Bytes of the log's file.
    pub(super) bytes: u64,
}

impl Mark {
    pub(super) fn to_bytes(self, sequence: u64) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let said = [BEGIN, sequence.to_le_bytes(), self.at.to_le_bytes()].concat();
        bytes[..24].copy_from_slice(&said);
        bytes[24..32].copy_from_slice(&self.digest.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.bytes.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..40]);
        bytes[40..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<(u64, Self)> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let (said, sum) = bytes.split_last_chunk()?;
        let is_whole = u32::from_le_bytes(*sum) == crc32fast::hash(said);
        let number = |at: usize| said[at..].first_chunk().map(|some| u64::from_le_bytes(*some));
        let mark = Self { at: number(16)?, digest: number(24)?, bytes: number(32)? };
        let sequence = number(8)?;
        // Neither the log nor the sequence ever comes so far.
        let can_be = mark.at <= FARTHEST && sequence < u64::MAX;
        (is_whole && can_be && said.starts_with(&BEGIN)).then_some((sequence, mark))
    }
}

/// The last that was noted, with its sequence, of what is in both places. The error says that they
/// are damaged.
pub(super) fn latest(places: [&[u8]; 2]) -> Result<Option<(u64, Mark)>, String> {
    let mut damaged = false;
    let mut latest: Option<(u64, Mark)> = None;
    for bytes in places {
        match Mark::parse(bytes) {
            Some(found) if latest.is_none_or(|latest| found.0 > latest.0) => latest = Some(found),
            Some(_) => {}
            // As it is made: nothing was noted here.
            None if bytes.iter().all(|byte| *byte == 0) => {}
            None => damaged = true,
        }
    }
    if latest.is_none() && damaged {
        return Err(format!("the file {MARK_FILE} is not what was written"));
    }
    Ok(latest)
}

/// The mark in a directory: `None` if nothing was noted yet. The inner error says that it is
/// damaged.
pub(super) fn read(directory: &Path) -> io::Result<Result<Option<Mark>, String>> {
    let file = match File::open(directory.join(MARK_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
        Err(error) => return Err(error),
    };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    read_at(&file, &mut first, PLACES[0], BYTES)?;
    read_at(&file, &mut second, PLACES[1], BYTES)?;
    Ok(latest([&first, &second]).map(|latest| latest.map(|(_, mark)| mark)))
}

/// The file, to note in.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    sequence: u64,
}

impl MarkFile {
    /// Opens it, or makes it.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(MARK_FILE);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        let mut sequence = 0;
        for place in PLACES {
            let mut bytes = Vec::new();
            read_at(&file, &mut bytes, place, BYTES)?;
            match Mark::parse(&bytes) {
                Some((found, _)) => sequence = sequence.max(found),
                None => file.write_all_at(&[0; BYTES], place)?,
            }
        }
        Ok(Self { file, sequence })
    }

    /// Notes what is durable.
    pub(super) fn note(&mut self, mark: Mark) -> io::Result<()> {
        self.sequence += 1;
        let place = PLACES[usize::from(self.sequence % 2 == 1)];
        self.file.write_all_at(&mark.to_bytes(self.sequence), place)
    }

    /// Makes what was noted durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
