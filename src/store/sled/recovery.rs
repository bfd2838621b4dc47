//! What sled will find in its files, looked at before it is let at them: it drops without a word
//! what stands behind a place that it cannot read, and writes over it.
//!
//! Promises: what was durable when the [mark](super::mark) was noted is found by sled, or the error
//! says where it is not; what a crash or a power cut has left of a later commit is not taken for
//! damage; what is damaged is not written. Imports nothing of fleetcron.
//!
//! When it is opened, sled takes its last snapshot and applies the segments of the log from there on.
//! First it looks where the log ends: from the segment up to which the log is known to be stable, by
//! the heads of later ones, to the first message that is broken. What lies behind counts as never
//! written. Then it applies the segments in order; of one that breaks off before the end, it takes
//! what is before and goes on with the next: that is what a segment looks like which was free and
//! was being written over. It looks the same when it is damaged. What tells them apart is the digest
//! of all pages: what is broken and counts changes it, what is broken and does not count leaves it.
//!
//! A page with more than 128 KiB is in a file of its own, which the log tells of. If that is missing,
//! sled skips the message and goes on, and would take the rest of a batch for the whole. A power cut
//! comes to that, for a file is synced after what tells of it is written. So one that was never durable
//! is made, empty: sled stops there, and leaves out the batch.
//!
//! A segment may be written over once the log has gone on for more than a segment behind the last
//! change that made it free. So a mark that is so old can no longer be compared, see `is_outdated`;
//! the store notes one more often.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::log::{self, Change, HEAD, Head, MESSAGE_HEAD, Read, SEGMENT, read_message};
use super::mark::{self, Mark};
use super::pages::{Pages, Snapshot};

/// Where sled keeps what is too large for its log.
pub(super) const BLOBS: &str = "blobs";

/// Where sled will go on, and with which pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) end: u64,
    pub(super) digest: u64,
}

/// Looks at the files in a directory. `None`: nothing was noted of them. The inner error says what is
/// wrong with them.
pub(super) fn look_over(directory: &Path) -> io::Result<Result<Option<Expected>, String>> {
    let mark = match mark::read(directory)? {
        Ok(mark) => mark,
        Err(problem) => return Ok(Err(problem)),
    };
    let file = match File::open(directory.join(super::DATA_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_lost = mark.is_some() || super::is_bereft(directory);
            return Ok(if is_lost { Err(missing()) } else { Ok(None) });
        }
        Err(error) => return Err(error),
    };
    let Some(mark) = mark else { return Ok(Ok(None)) };
    let snapshot = match Snapshot::read(directory)? {
        Ok(snapshot) => snapshot,
        Err(problem) => return Ok(Err(problem)),
    };
    compare(directory, &file, mark, snapshot)
}

fn missing() -> String {
    format!("the file {} is missing", super::DATA_FILE)
}

pub(super) fn compare(
    directory: &Path,
    file: &File,
    mark: Mark,
    snapshot: Snapshot,
) -> io::Result<Result<Option<Expected>, String>> {
    let begin = snapshot.end;
    if mark.at < begin {
        // A start that was cut short after sled had made its snapshot.
        return Ok(Ok(None));
    }
    let (heads, never) = (BTreeMap::new(), Vec::new());
    let mut log = Log { directory, file, mark, heads, stable: 0, broken: None, never };
    if let Err(problem) = log.read_heads(begin / SEGMENT * SEGMENT)? {
        return Ok(Err(problem));
    }
    let end = log.end_of_tail()?;
    if end.unwrap_or(begin) < mark.at {
        return Ok(Err(log.problem()?));
    }
    let found = log.replay(snapshot, end)?;
    if found.at_mark == mark.digest {
        for blob in log.never {
            File::create(directory.join(BLOBS).join(blob.to_string()))?;
        }
        return Ok(Ok(Some(found.expected)));
    }
    if log.is_outdated() {
        let path = directory.display();
        tracing::warn!(%path, "what was noted of the log is too old to be compared with it");
        return Ok(Ok(None));
    }
    Ok(Err(log.problem()?))
}

/// The log as sled sees it.
struct Log<'a> {
    directory: &'a Path,
    file: &'a File,
    mark: Mark,
    /// The segments that sled looks at: the positions with which they begin, and their offsets.
    heads: BTreeMap<u64, u64>,
    /// The last byte that is known to be stable.
    stable: u64,
    /// Where the first segment breaks off.
    broken: Option<u64>,
    /// Files with pages that never were durable.
    never: Vec<u64>,
}

struct Found {
    at_mark: u64,
    expected: Expected,
}

impl Log<'_> {
    fn read_heads(&mut self, from: u64) -> io::Result<Result<(), String>> {
        self.stable = from;
        let bytes = self.file.metadata()?.len();
        for offset in (0..bytes).step_by(segment_bytes()) {
            let Some(head) = Head::read(self.file, offset)? else { continue };
            if head.lsn < from {
                continue;
            }
            self.stable = self.stable.max(head.stable);
            if let Some(other) = self.heads.insert(head.lsn, offset) {
                return Ok(Err(format!(
                    "its file {} has the same segment at byte {other} and at byte {offset}",
                    super::DATA_FILE
                )));
            }
        }
        Ok(Ok(()))
    }

    /// Where the log ends for sled; `None`: it sees no segment there.
    fn end_of_tail(&mut self) -> io::Result<Option<u64>> {
        let first = self.stable / SEGMENT * SEGMENT;
        let mut expected = first;
        let mut missing = None;
        let mut segments = BTreeMap::new();
        for (lsn, offset) in self.heads.range(first..) {
            if *lsn != expected {
                missing = Some(expected);
                break;
            }
            segments.insert(*lsn, *offset);
            expected += SEGMENT;
        }
        let mut walk = Walk::new(self.directory, self.file, segments, missing, false);
        walk.durable = (!self.is_outdated()).then_some(self.mark.at);
        while walk.next()?.is_some() {}
        (self.broken, self.never) = (walk.broken, walk.never);
        Ok(walk.at)
    }

    /// Applies the log to the pages of the snapshot, as sled does.
    fn replay(&mut self, snapshot: Snapshot, end: Option<u64>) -> io::Result<Found> {
        let (begin, mark) = (snapshot.end, self.mark.at);
        let mut pages: Pages = snapshot.pages;
        let Some(end) = end else {
            let digest = pages.digest();
            return Ok(Found { at_mark: digest, expected: Expected { end: begin, digest } });
        };
        let mut at_mark = None;
        let segments = std::mem::take(&mut self.heads);
        // Sled compares with the last byte.
        let last = Some(end.saturating_sub(1));
        let mut walk = Walk::new(self.directory, self.file, segments, last, true);
        while let Some((lsn, change, page)) = walk.next()? {
            if lsn >= mark && at_mark.is_none() {
                at_mark = Some(pages.digest());
            }
            if lsn >= begin {
                pages.apply(change, page, lsn);
            }
        }
        self.broken = walk.broken.or(self.broken);
        let digest = pages.digest();
        let at = walk.at.unwrap_or(begin);
        // What stops short of the mark is another log.
        let at_mark = at_mark.unwrap_or(if at < mark { !digest } else { digest });
        Ok(Found { at_mark, expected: Expected { end: at, digest } })
    }

    /// Whether segments that counted when the mark was noted may have been written over since.
    fn is_outdated(&self) -> bool {
        self.stable >= (self.mark.at / SEGMENT + 1) * SEGMENT
    }

    fn problem(&self) -> io::Result<String> {
        let name = super::DATA_FILE;
        let bytes = self.file.metadata()?.len();
        let lost = "commits that were acknowledged cannot be read";
        Ok(if bytes < self.mark.bytes {
            format!("its file {name} ends at byte {bytes}, it had {}: {lost}", self.mark.bytes)
        } else if let Some(offset) = self.broken {
            format!("its file {name} is not what was written at byte {offset}: {lost}")
        } else {
            format!("its file {name} lacks a segment that was written: {lost}")
        })
    }
}

/// The messages of some segments, in order, as sled goes through them.
struct Walk<'a> {
    directory: &'a Path,
    file: &'a File,
    segments: BTreeMap<u64, u64>,
    /// The last byte that counts.
    last: Option<u64>,
    /// Whether a segment that breaks off is left for the next.
    goes_on: bool,
    /// The segment that is being read, by its offset.
    segment: Option<u64>,
    bytes: Vec<u8>,
    /// Behind the last message.
    at: Option<u64>,
    broken: Option<u64>,
    /// The position up to which a file that is missing is not one that never was durable.
    durable: Option<u64>,
    never: Vec<u64>,
}

impl<'a> Walk<'a> {
    fn new(
        directory: &'a Path,
        file: &'a File,
        segments: BTreeMap<u64, u64>,
        last: Option<u64>,
        goes_on: bool,
    ) -> Self {
        let (segment, at, broken, durable) = (None, None, None, None);
        let (bytes, never) = (vec![0; segment_bytes()], Vec::new());
        Self {
            directory,
            file,
            segments,
            last,
            goes_on,
            segment,
            bytes,
            at,
            broken,
            durable,
            never,
        }
    }

    /// The next change of a page, with its position.
    fn next(&mut self) -> io::Result<Option<(u64, Change, u64)>> {
        loop {
            let Some((lsn, offset)) = self.place()? else { return Ok(None) };
            if self.last.is_some_and(|last| lsn > last) {
                return Ok(None);
            }
            let begin = usize::try_from(lsn % SEGMENT).map_err(io::Error::other)?;
            let Some(rest) = self.bytes.get(begin..) else { return Ok(None) };
            match read_message(rest, SEGMENT - lsn % SEGMENT, lsn / SEGMENT) {
                Read::Change { change, page, blob, bytes } => {
                    let looked = blob.map(|blob| self.look_at_blob(blob, lsn)).transpose()?;
                    match looked.unwrap_or(Blob::Whole) {
                        Blob::Whole => {}
                        Blob::Missing => {
                            self.at = Some(lsn + bytes);
                            self.broken.get_or_insert(offset);
                            continue;
                        }
                        Blob::Damaged => {
                            self.broken.get_or_insert(offset);
                            return Ok(None);
                        }
                    }
                    self.at = Some(lsn + bytes);
                    return Ok(Some((lsn, change, page)));
                }
                Read::Batch { last, bytes } => {
                    if self.last.is_some_and(|end| last > end) {
                        return Ok(None);
                    }
                    self.at = Some(lsn + bytes);
                }
                Read::Nothing { bytes } => self.at = Some(lsn + bytes),
                Read::Cap => self.segment = None,
                Read::Broken => {
                    self.broken.get_or_insert(offset);
                    if !self.goes_on {
                        return Ok(None);
                    }
                    self.segment = None;
                }
                Read::Short => {
                    self.broken.get_or_insert(offset);
                    return Ok(None);
                }
            }
        }
    }

    /// The position and the offset of what is next, in the segment that is read or the one after it.
    fn place(&mut self) -> io::Result<Option<(u64, u64)>> {
        if let (Some(at), Some(segment)) = (self.at, self.segment) {
            let within = at % SEGMENT;
            if (HEAD..=SEGMENT - MESSAGE_HEAD).contains(&within) {
                return Ok(Some((at, segment + within)));
            }
        }
        let Some((lsn, offset)) = self.segments.pop_first() else { return Ok(None) };
        if self.last.is_some_and(|last| lsn > last) {
            return Ok(None);
        }
        log::read_at(self.file, &mut self.bytes, offset, segment_bytes())?;
        self.segment = Some(offset);
        self.at = Some(lsn + HEAD);
        Ok(Some((lsn + HEAD, offset + HEAD)))
    }

    fn look_at_blob(&mut self, name: u64, lsn: u64) -> io::Result<Blob> {
        let bytes = match fs::read(self.directory.join(BLOBS).join(name.to_string())) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.durable.is_none_or(|durable| name.min(lsn) < durable) {
                    return Ok(Blob::Missing);
                }
                self.never.push(name);
                return Ok(Blob::Damaged);
            }
            Err(error) => return Err(error),
        };
        let is_whole = bytes.split_first_chunk().is_some_and(|(sum, rest)| {
            !rest.is_empty() && crc32fast::hash(rest) == u32::from_le_bytes(*sum)
        });
        Ok(if is_whole { Blob::Whole } else { Blob::Damaged })
    }
}

/// A file with what is too large for the log.
enum Blob {
    Whole,
    Missing,
    Damaged,
}

/// [`SEGMENT`] for the length of a buffer.
pub(super) fn segment_bytes() -> usize {
    usize::try_from(SEGMENT).unwrap_or(usize::MAX)
}
