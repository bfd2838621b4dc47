//! Follows sled's log while it is written: what is in it is what sled says it has written.
//!
//! Promises: what is noted of the log is durable; a commit whose pages are in files of their own is
//! durable only with them. Imports nothing of fleetcron.
//!
//! sled does not say where in its log it is. So the log is read behind it, which costs little: it was
//! written a moment ago and is in memory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::log::{HEAD, Head, MESSAGE_HEAD, Read, SEGMENT, WINDOW, read_at, read_message};
use super::mark::{Mark, MarkFile};
use super::pages::{Pages, Snapshot};
use super::recovery::{BLOBS, Expected};

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Follower {
    directory: PathBuf,
    file: File,
    /// Behind the last message that was read.
    at: u64,
    /// The offset of the segment that is written on; `None`: the next one is not there yet.
    segment: Option<u64>,
    /// The offset of the last segment.
    latest: u64,
    pages: Pages,
    /// Bytes of segments that were not free when sled was opened, and what it needed of them.
    taken: u64,
    needed: u64,
    /// Files with pages that are not durable yet.
    blobs: Vec<u64>,
    /// `None`: it cannot be written.
    mark: Option<MarkFile>,
    /// The number of the segment up to which the mark on the device says something.
    synced: Option<u64>,
    buffer: Vec<u8>,
}

impl Follower {
    /// Begins with the snapshot that sled goes on from. The inner error says what is wrong with it.
    pub(super) fn begin(directory: &Path, file: File) -> io::Result<Result<Self, String>> {
        let snapshot = match Snapshot::read(directory)? {
            Ok(snapshot) => snapshot,
            Err(problem) => return Ok(Err(problem)),
        };
        remove_unused(directory, snapshot.end, &snapshot.blobs)?;
        let mark = MarkFile::open(directory)
            .inspect_err(|error| {
                let path = directory.display();
                tracing::warn!(%path, %error, "how far the log reaches cannot be noted");
            })
            .ok();
        Ok(Ok(Self { mark, ..Self::after(directory, file, snapshot) }))
    }

    /// One that notes nothing.
    pub(super) fn after(directory: &Path, file: File, snapshot: Snapshot) -> Self {
        let Snapshot { end, segment, pages, segments, bytes: needed, .. } = snapshot;
        Self {
            directory: directory.to_owned(),
            file,
            at: end,
            segment,
            latest: segment.unwrap_or(0),
            pages,
            taken: segments.len() as u64 * SEGMENT,
            needed,
            blobs: Vec::new(),
            mark: None,
            synced: None,
            buffer: Vec::new(),
        }
    }

    /// Whether it is where sled was expected to go on.
    pub(super) fn is_at(&self, expected: Expected) -> bool {
        self.at >= expected.end && self.pages.digest() == expected.digest
    }

    /// Behind the last message that was read.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Whether the segments that had something of a page when sled was opened come to so many bytes,
    /// and so many times what the pages come to. Others are free.
    pub(super) fn is_wasteful(&self, least: u64, times: u64) -> bool {
        self.taken >= least && self.taken > self.needed.saturating_mul(times)
    }

    /// Bytes of the log that sled needed when it was opened.
    pub(super) fn needed(&self) -> u64 {
        self.needed
    }

    /// Reads what was written since.
    pub(super) fn follow(&mut self) -> io::Result<()> {
        while self.is_in_segment()? && self.read_piece()? {}
        Ok(())
    }

    /// Whether the log has gone on to another segment than the one of the last mark.
    pub(super) fn has_crossed(&self) -> bool {
        self.synced != Some(self.at / SEGMENT)
    }

    /// Makes the files durable that the log has told of.
    pub(super) fn sync_blobs(&mut self) -> io::Result<()> {
        if self.blobs.is_empty() {
            return Ok(());
        }
        let directory = self.directory.join(BLOBS);
        for blob in self.blobs.drain(..) {
            match File::open(directory.join(blob.to_string())) {
                Ok(file) => file.sync_all()?,
                // It was replaced since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        File::open(directory)?.sync_all()
    }

    /// Notes that all that was read is durable. It is not worth a commit if that fails: what was noted
    /// before holds.
    pub(super) fn note(&mut self) {
        let noted = self.try_note();
        if let Err(error) = noted {
            self.mark = None;
            let path = self.directory.display();
            tracing::warn!(%path, %error, "how far the log reaches cannot be noted any more");
        }
    }

    fn try_note(&mut self) -> io::Result<()> {
        let has_crossed = self.has_crossed();
        let Some(file) = &mut self.mark else { return Ok(()) };
        let bytes = self.file.metadata()?.len();
        file.note(Mark { at: self.at, digest: self.pages.digest(), bytes })?;
        // Once a segment: later, what it tells of may be written over.
        if has_crossed {
            file.sync()?;
            self.synced = Some(self.at / SEGMENT);
        }
        Ok(())
    }

    /// Whether there is a segment to read on in; goes on to the next at the end of one.
    fn is_in_segment(&mut self) -> io::Result<bool> {
        let within = self.at % SEGMENT;
        if self.segment.is_some() && (HEAD..=SEGMENT - MESSAGE_HEAD).contains(&within) {
            return Ok(true);
        }
        self.segment = None;
        let next = self.at.div_ceil(SEGMENT) * SEGMENT;
        let Some(offset) = self.find(next)? else { return Ok(false) };
        self.segment = Some(offset);
        self.latest = offset;
        self.at = next + HEAD;
        Ok(true)
    }

    /// The offset of the segment that begins with a position. Sled takes the first that is free or
    /// makes the file longer: it is the last one, or often one of the next or of the first.
    fn find(&self, lsn: u64) -> io::Result<Option<u64>> {
        let segments = self.file.metadata()?.len().div_ceil(SEGMENT);
        let latest = self.latest / SEGMENT;
        let likely = (0..segments).flat_map(|number| [latest + number, number]);
        let likely = likely.filter(|number| *number < segments);
        for number in segments.checked_sub(1).into_iter().chain(likely) {
            let offset = number * SEGMENT;
            if Head::read(&self.file, offset)?.is_some_and(|head| head.lsn == lsn) {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }

    /// Reads messages of the segment. Whether there may be more.
    fn read_piece(&mut self) -> io::Result<bool> {
        let Some(segment) = self.segment else { return Ok(false) };
        let mut most = PIECE;
        loop {
            let begun = self.at;
            let room = SEGMENT - begun % SEGMENT;
            let left = usize::try_from(room).map_err(io::Error::other)?;
            let most_here = most.min(left);
            let mut buffer = std::mem::take(&mut self.buffer);
            read_at(&self.file, &mut buffer, segment + begun % SEGMENT, most_here)?;
            let is_all = buffer.len() < most_here || most_here == left;
            let ended = self.take(&buffer, is_all);
            self.buffer = buffer;
            match ended {
                // All of it was read, and more may follow.
                Ended::Bytes if self.at > begun => return Ok(true),
                // A message that is longer.
                Ended::Bytes => most = left,
                Ended::Segment => return Ok(true),
                Ended::Log => return Ok(false),
            }
        }
    }

    /// Takes the messages that some bytes of the log begin with.
    fn take(&mut self, bytes: &[u8], is_all: bool) -> Ended {
        let mut rest = bytes;
        loop {
            let room = SEGMENT - self.at % SEGMENT;
            if room < MESSAGE_HEAD || self.at.is_multiple_of(SEGMENT) {
                return Ended::Segment;
            }
            if rest.len() < WINDOW && !is_all {
                return Ended::Bytes;
            }
            let length = match read_message(rest, room, self.at / SEGMENT) {
                Read::Change { change, page, blob, bytes } => {
                    self.pages.apply(change, page, self.at);
                    self.blobs.extend(blob);
                    bytes
                }
                Read::Batch { bytes, .. } | Read::Nothing { bytes } => bytes,
                Read::Cap => {
                    self.segment = None;
                    return Ended::Segment;
                }
                Read::Short if !is_all => return Ended::Bytes,
                Read::Broken | Read::Short => return Ended::Log,
            };
            self.at += length;
            // What is missing at the end of a file counts as zeros.
            rest = usize::try_from(length).ok().and_then(|at| rest.get(at..)).unwrap_or_default();
        }
    }
}

/// Removes files with pages that were replaced: sled puts that off until it has written on, and
/// forgets it when it ends before. After many kills they were most of a store.
fn remove_unused(directory: &Path, end: u64, used: &HashSet<u64>) -> io::Result<()> {
    let (mut files, mut bytes) = (0_u64, 0);
    for entry in fs::read_dir(directory.join(BLOBS))? {
        let entry = entry?;
        let name = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        if name.is_some_and(|name| name < end && !used.contains(&name)) {
            bytes += entry.metadata()?.len();
            fs::remove_file(entry.path())?;
            files += 1;
        }
    }
    if files > 0 {
        let path = directory.display();
        tracing::info!(%path, files, bytes, "files that sled had left behind were removed");
    }
    Ok(())
}

/// Why no more messages were taken.
enum Ended {
    /// These bytes are over.
    Bytes,
    /// The segment is over.
    Segment,
    /// No more was written.
    Log,
}
