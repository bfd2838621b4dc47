//! A log as sled writes one, made of any bytes: its checksums are right, and what else may not be.
//!
//! It is made of pieces, each with a byte that says in its lower half of what kind it is:
//!
//! | kind | then | what |
//! | --- | --- | --- |
//! | 0 | place: u8 | the next segment, at this place in the file modulo 16 |
//! | 1 to 11 | page: u8; bytes of the body: u8; body | a message of this kind, of the page whose number is shifted to the left by four times the upper half |
//! | 12 | bytes: u8; these | as they are |
//! | 13 | place: u8; position: u64; stable: u64 | a segment that says it begins there |
//! | 14 | bytes: u8; these | over the beginning of the segment |
//! | 15 | bytes: u8 | a message that was called off, so long that about so many bytes are left behind it |
//!
//! A segment that is begun ends the one before it with a cap. Imports nothing else of
//! fleetcron.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::super::log::{Change, FARTHEST, HEAD, MESSAGE_HEAD, SEGMENT};
use super::super::mark::Mark;
use super::super::pages::{Pages, Snapshot};
use super::super::recovery::segment_bytes;
use crate::fuzz::{array, some};

/// The places for segments in a file.
const PLACES: u64 = 16;

struct Segment {
    place: u64,
    lsn: u64,
    bytes: Vec<u8>,
    is_over: bool,
}

pub(super) struct Made {
    segments: Vec<Segment>,
    /// Behind the last message.
    pub(super) at: u64,
    pub(super) pages: Pages,
    /// Whether all of it counts.
    pub(super) is_whole: bool,
    /// What was noted behind the first messages.
    pub(super) mark: Mark,
    snapshot: (u64, Option<u64>, Pages),
    /// Whether the file ends with the last byte that is written.
    is_short: bool,
}

impl Made {
    /// How many messages are before the mark and before the snapshot, a byte each, the upper bit
    /// whether the file is short; and the pieces.
    pub(super) fn of(data: &[u8]) -> Option<Self> {
        let ([marked, noted], mut pieces) = data.split_first_chunk()?;
        let mut it = Self {
            segments: Vec::new(),
            at: 0,
            pages: Pages::default(),
            is_whole: true,
            mark: Mark { at: 0, digest: 0, bytes: 0 },
            snapshot: (0, None, Pages::default()),
            is_short: *marked > 127,
        };
        let (marked, mut messages) = (*marked & 127, 0);
        while let Some(kind) = it.take(&mut pieces) {
            messages += u8::from((1..=11).contains(&kind) && messages < u8::MAX);
            if messages <= marked {
                it.mark = Mark { at: it.at, digest: it.pages.digest(), bytes: 0 };
            }
            if messages <= *noted.min(&marked) {
                let segment = it.segments.last().filter(|segment| !segment.is_over);
                let offset = segment.map(|segment| segment.place * SEGMENT);
                it.snapshot = (it.at, offset, it.pages.clone());
            }
        }
        it.is_whole &= !it.segments.is_empty();
        Some(it)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let (end, segment, pages) = self.snapshot.clone();
        Snapshot { end, segment, pages, ..Snapshot::default() }
    }

    /// Writes it to a file.
    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        let mut length = 0;
        for segment in &self.segments {
            let offset = segment.place * SEGMENT;
            file.write_all_at(&segment.bytes, offset)?;
            let bytes = if self.is_short { segment.bytes.len() as u64 } else { SEGMENT };
            length = length.max(offset + bytes);
        }
        file.set_len(length)
    }

    /// Whether a file has what was written to it.
    pub(super) fn is_in(&self, file: &File) -> io::Result<bool> {
        for segment in &self.segments {
            let mut bytes = vec![0; segment.bytes.len()];
            file.read_exact_at(&mut bytes, segment.place * SEGMENT)?;
            if bytes != segment.bytes {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes a piece, and gives its kind.
    fn take(&mut self, pieces: &mut &[u8]) -> Option<u8> {
        let [first] = array(pieces)?;
        let kind = first & 15;
        self.is_whole &= !matches!(kind, 12..=14);
        match kind {
            0 => {
                let [place] = array(pieces)?;
                let lsn = self.segments.last().map_or(0, |last| last.lsn + SEGMENT);
                self.begin(u64::from(place), lsn, self.at.saturating_sub(1));
            }
            1..=11 => {
                let [page] = array(pieces)?;
                let page = u64::from(page) << (4 * (first >> 4));
                self.message(kind, page, some(pieces)?);
            }
            13 => {
                let ([place], lsn, stable) = (array(pieces)?, array(pieces)?, array(pieces)?);
                let lsn = u64::from_le_bytes(lsn) & (FARTHEST >> 1);
                self.begin(u64::from(place), lsn, u64::from_le_bytes(stable));
            }
            15 => {
                let [left] = array(pieces)?;
                self.fill(u64::from(left));
            }
            _ => {
                let bytes = some(pieces)?;
                let segment = self.segments.last_mut()?;
                let at = if kind == 12 { segment.bytes.len() } else { 0 };
                let rest = segment.bytes.split_off((at + bytes.len()).min(segment.bytes.len()));
                segment.bytes.truncate(at);
                segment.bytes.extend(bytes);
                segment.bytes.extend(rest);
                segment.bytes.truncate(segment_bytes());
                self.at = (segment.lsn + segment.bytes.len() as u64).max(self.at);
            }
        }
        Some(kind)
    }

    fn begin(&mut self, place: u64, lsn: u64, stable: u64) {
        let room = self.room();
        if let Some(last) = self.segments.last_mut()
            && !last.is_over
            && room >= MESSAGE_HEAD
        {
            last.bytes.extend(sealed(2, last.lsn / SEGMENT, 0, &[]));
        }
        let place = place % PLACES;
        let others = self.segments.len();
        self.segments.retain(|segment| segment.place != place);
        self.is_whole &= self.segments.len() == others;
        let said = [lsn ^ FARTHEST, stable ^ FARTHEST].map(u64::to_le_bytes).concat();
        let sum = !crc32fast::hash(&said);
        let bytes = [&sum.to_le_bytes()[..], &said].concat();
        self.segments.push(Segment { place, lsn, bytes, is_over: false });
        self.at = lsn + HEAD;
    }

    /// Bytes that are left in the segment.
    fn room(&self) -> u64 {
        let written = self.segments.last().map_or(SEGMENT, |last| last.bytes.len() as u64);
        SEGMENT.saturating_sub(written)
    }

    fn message(&mut self, kind: u8, page: u64, body: &[u8]) {
        let room = self.room();
        let Some(segment) = self.segments.last_mut() else { return };
        let bytes = sealed(kind, segment.lsn / SEGMENT, page, body);
        if room < MESSAGE_HEAD.max(bytes.len() as u64) {
            return;
        }
        // A batch may end elsewhere, and a file be missing.
        self.is_whole &= !segment.is_over && !matches!(kind, 3 | 7 | 9 | 11);
        segment.bytes.extend(&bytes);
        if kind == 2 {
            segment.is_over = true;
            return;
        }
        let change = match kind {
            1 | 3 => None,
            4 => Some(Change::Free),
            10 | 11 => Some(Change::Link),
            _ => Some(Change::Replace),
        };
        if let Some(change) = change {
            self.pages.apply(change, page, self.at);
        }
        self.at += bytes.len() as u64;
    }

    fn fill(&mut self, left: u64) {
        // More than the head of a message.
        let body = self.room().saturating_sub(left + MESSAGE_HEAD);
        if body > u64::from(u8::MAX) {
            self.message(1, 0, &vec![0; usize::try_from(body).unwrap_or_default()]);
        }
    }
}

/// A message with its checksum.
fn sealed(kind: u8, number: u64, page: u64, body: &[u8]) -> Vec<u8> {
    let head = [&[kind][..], &vu64(body.len() as u64), &vu64(number), &vu64(page)].concat();
    let mut sum = crc32fast::Hasher::new();
    sum.update(body);
    sum.update(&head);
    [&(!sum.finalize()).to_le_bytes()[..], &head, body].concat()
}

/// A number of variable length, in one of its forms.
fn vu64(number: u64) -> Vec<u8> {
    match u8::try_from(number) {
        Ok(short @ 0..=240) => vec![short],
        _ => [&[255][..], &number.to_le_bytes()].concat(),
    }
}
