//! The form of sled's log: segments, and the messages in them.
//!
//! Promises: it reads as sled 0.34 reads, down to what sled takes for broken, and writes nothing.
//! Imports nothing of fleetcron.
//!
//! The file `db` is a row of segments of 512 KiB in any order. A position in the log (`lsn`) counts
//! the bytes of all segments that ever were; the head of a segment says with which position it
//! begins, so that its number in the order is that position by 512 KiB. A segment whose messages have
//! all been replaced by later ones is written over with a later segment. Numbers are little endian;
//! `vu64` is sled's form of variable length.
//!
//! | part | bytes |
//! | --- | --- |
//! | head of a segment | CRC-32 of the rest, inverted: u32; position: i64, the last byte that was stable when the segment was begun: i64, both xor 2⁶³ - 1 |
//! | message | CRC-32 of the body and of the rest of the head, inverted: u32; kind: u8; bytes of the body: vu64; number of the segment: vu64; page: vu64; body |
//!
//! The last message of a segment is a cap, or fewer than 32 bytes are left behind it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Bytes of a segment.
pub(super) const SEGMENT: u64 = 512 * 1024;

/// Bytes of a segment's head.
const HEAD_BYTES: usize = 20;

/// The same, as a distance in the log.
pub(super) const HEAD: u64 = HEAD_BYTES as u64;

/// Bytes of a message's head, at most. No message begins with fewer left in its segment.
pub(super) const MESSAGE_HEAD: u64 = 32;

/// Bytes that sled reads at once to find a message's head. It takes what is missing for zeros.
pub(super) const WINDOW: usize = 128;

/// The last position that there can be.
pub(super) const FARTHEST: u64 = u64::MAX >> 1;

/// What the bits of a position are turned over with.
const TURNED: u64 = FARTHEST;

/// The head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The position with which it begins.
    pub(super) lsn: u64,
    /// The last byte of the log that was stable when it was begun; 0 if there was none.
    pub(super) stable: u64,
}

impl Head {
    fn parse(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk()?;
        if u32::from_le_bytes(*sum) != !crc32fast::hash(rest) {
            return None;
        }
        let (lsn, stable) = rest.split_first_chunk()?;
        let stable = stable.first_chunk()?;
        let lsn = u64::from_le_bytes(*lsn) ^ TURNED;
        let stable = u64::from_le_bytes(*stable) ^ TURNED;
        // It is -1 before the first byte is.
        let stable = if stable > TURNED { 0 } else { stable };
        (lsn <= TURNED).then_some(Self { lsn, stable })
    }

    /// The head of the segment at an offset; `None`: there is none that is whole.
    pub(super) fn read(file: &File, offset: u64) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEAD_BYTES];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What a message does to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is the whole page.
    Replace,
    /// It is one change of the page.
    Link,
    /// The page is gone.
    Free,
}

/// What is at a place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// A change of a page.
    Change {
        change: Change,
        page: u64,
        /// The file in which the body is, by its name, if it is not here.
        blob: Option<u64>,
        bytes: u64,
    },
    /// The begin of a batch whose last byte is at this position.
    Batch { last: u64, bytes: u64 },
    /// A message that was called off.
    Nothing { bytes: u64 },
    /// Nothing follows in this segment.
    Cap,
    /// No message of this segment.
    Broken,
    /// A message that goes on where nothing more is.
    Short,
}

/// Reads what `bytes` begins with, as they are in the segment of this number, in which `room` bytes
/// are left from here. `bytes` may be more or less than a message.
pub(super) fn read_message(bytes: &[u8], room: u64, number: u64) -> Read {
    let mut window = [0; WINDOW];
    let there = bytes.len().min(WINDOW);
    window[..there].copy_from_slice(&bytes[..there]);
    let Some((head, kind, length, of, page)) = parse_head(&window) else { return Read::Broken };
    let Some(most) = room.checked_sub(head as u64) else { return Read::Broken };
    if length > most || !(1..=11).contains(&kind) {
        return Read::Broken;
    }
    let Some(end) = usize::try_from(length).ok().and_then(|length| head.checked_add(length)) else {
        return Read::Broken;
    };
    let body = if end <= WINDOW {
        &window[head..end]
    } else if let Some(body) = bytes.get(head..end) {
        body
    } else {
        return Read::Short;
    };
    let mut sum = crc32fast::Hasher::new();
    sum.update(body);
    sum.update(&window[4..head]);
    if window[..4] != (!sum.finalize()).to_le_bytes() || of != number {
        return Read::Broken;
    }
    let bytes = end as u64;
    let number_in_body = || body.first_chunk().map(|body| u64::from_le_bytes(*body));
    let change = match kind {
        1 => return Read::Nothing { bytes },
        2 => return Read::Cap,
        3 => {
            let Some(last) = number_in_body() else { return Read::Broken };
            return Read::Batch { last, bytes };
        }
        4 => Change::Free,
        10 | 11 => Change::Link,
        _ => Change::Replace,
    };
    let blob = if matches!(kind, 7 | 9 | 11) { number_in_body() } else { None };
    Read::Change { change, page, blob, bytes }
}

/// The parts of a message's head: its bytes, the kind, the bytes of the body, the number of the
/// segment and the page.
fn parse_head(window: &[u8; WINDOW]) -> Option<(usize, u8, u64, u64, u64)> {
    let mut rest = &window[5..];
    let length = vu64(&mut rest)?;
    let number = vu64(&mut rest)?;
    let page = vu64(&mut rest)?;
    Some((WINDOW - rest.len(), window[4], length, number, page))
}

/// Takes a number of variable length.
pub(super) fn vu64(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let (value, rest) = match *first {
        first @ 0..=240 => (u64::from(first), rest),
        first @ 241..=248 => {
            let (low, rest) = rest.split_first()?;
            (240 + 256 * u64::from(first - 241) + u64::from(*low), rest)
        }
        249 => {
            let ([high, low], rest) = rest.split_first_chunk()?;
            (2288 + 256 * u64::from(*high) + u64::from(*low), rest)
        }
        first => {
            let (some, rest) = rest.split_at_checked(usize::from(first - 247))?;
            let mut value = [0; 8];
            value[..some.len()].copy_from_slice(some);
            (u64::from_le_bytes(value), rest)
        }
    };
    *bytes = rest;
    Some(value)
}

/// Reads up to `most` bytes of a file into a buffer that is emptied first.
pub(super) fn read_at(
    file: &File,
    buffer: &mut Vec<u8>,
    offset: u64,
    most: usize,
) -> io::Result<()> {
    buffer.resize(most, 0);
    let mut done = 0;
    while done < most {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(more) => done += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(done);
    Ok(())
}
