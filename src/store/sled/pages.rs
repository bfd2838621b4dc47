//! Which message of the log each page of sled's was changed by last, as one number; and sled's
//! snapshot, which says it in full.
//!
//! Promises: two logs that give sled the same pages have the same digest; of two that do not, the
//! digests differ but for a chance of 2⁻⁶⁴. Imports nothing of fleetcron.
//!
//! A page is a message that has all of it and some that change it. What is kept of one is a hash of
//! their positions: 8 bytes, so that a store of a million pages costs 8 MiB of memory.
//!
//! | part of a snapshot | bytes |
//! | --- | --- |
//! | position up to which it is: i64, 0 if there is none, else one more | 8 |
//! | offset of the segment that is written on: vu64, 0 if there is none, else one more | |
//! | each page that is gone | 0; position: i64; place |
//! | each other page | messages: u8; of each the position: i64, the place, the bytes: vu64 |
//! | place | 0; offset: vu64; or 1; offset: vu64; name of the file with the body: i64 |
//! | bytes of all before: u64; CRC-32 of them: u32 | 12 |

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::log::{Change, FARTHEST, SEGMENT, vu64};

/// Pages that are kept together.
const TOGETHER: usize = 64;

/// The last messages of all pages.
#[derive(Debug, Default, Clone)]
pub(super) struct Pages {
    /// By their numbers, so many together: one message may tell of any page, and asks for no memory
    /// for those before it. 0 of a page that never was; else the lowest bit says whether it is there.
    pages: BTreeMap<u64, Box<[u64; TOGETHER]>>,
    sum: u64,
}

impl Pages {
    /// Takes a change of a page into account.
    pub(super) fn apply(&mut self, change: Change, page: u64, lsn: u64) {
        let together = self.pages.entry(page / TOGETHER as u64);
        let together = together.or_insert_with(|| Box::new([0; TOGETHER]));
        let kept = &mut together[usize::try_from(page % TOGETHER as u64).unwrap_or_default()];
        let before = *kept;
        let after = match change {
            Change::Replace => mixed(page, lsn) | 3,
            Change::Link if before & 1 == 1 => mixed(before, lsn) | 3,
            // Of a page that is not there sled skips it.
            Change::Link => return,
            Change::Free => mixed(page, lsn) & !1 | 2,
        };
        *kept = after;
        self.sum = self.sum.wrapping_sub(spread(page, before)).wrapping_add(spread(page, after));
    }

    /// The number that stands for all of them.
    pub(super) fn digest(&self) -> u64 {
        self.sum
    }
}

/// What a page adds to the digest.
fn spread(page: u64, kept: u64) -> u64 {
    if kept == 0 { 0 } else { mixed(page, kept) }
}

/// A hash of two numbers, the finish of `SplitMix64` over both.
fn mixed(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29) ^ b;
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What sled noted when it was opened last.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The position up to which it is.
    pub(super) end: u64,
    /// The offset of the segment that was written on.
    pub(super) segment: Option<u64>,
    pub(super) pages: Pages,
    /// The files that have a part of a page, by their names.
    pub(super) blobs: HashSet<u64>,
    /// The segments that have a part of a page, by their place in the file.
    pub(super) segments: HashSet<u64>,
    /// Bytes of the log that the pages are in.
    pub(super) bytes: u64,
}

impl Snapshot {
    /// The latest in a directory, an empty one if there is none. The inner error says what is wrong
    /// with it.
    pub(super) fn read(directory: &Path) -> io::Result<Result<Self, String>> {
        let Some(path) = latest(directory)? else { return Ok(Ok(Self::default())) };
        let bytes = fs::read(&path)?;
        let name = path.file_name().unwrap_or_default().display();
        Ok(Self::parse(&bytes).ok_or_else(|| format!("the file {name} is not what was written")))
    }

    /// What a file says, if it is whole.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (rest, sum) = bytes.split_last_chunk()?;
        let (mut rest, _) = rest.split_last_chunk::<8>()?;
        if crc32fast::hash(rest) != u32::from_le_bytes(*sum) {
            return None;
        }
        let rest = &mut rest;
        let end = position(rest)?.checked_sub(1).filter(|end| *end <= FARTHEST)?;
        let segment = vu64(rest)?.checked_sub(1);
        let mut it = Self { end, segment, ..Self::default() };
        for page in 0.. {
            let Some([messages]) = take(rest) else { break };
            for n in 0..messages.max(1) {
                let change = match (messages, n) {
                    (0, _) => Change::Free,
                    (_, 0) => Change::Replace,
                    _ => Change::Link,
                };
                it.pages.apply(change, page, position(rest)?);
                it.take_place(rest)?;
                if change != Change::Free {
                    it.bytes = it.bytes.checked_add(vu64(rest)?)?;
                }
            }
        }
        Some(it)
    }

    /// Takes a place, in the log or in a file of its own that the log tells of.
    fn take_place(&mut self, bytes: &mut &[u8]) -> Option<()> {
        let form = take(bytes)?;
        self.segments.insert(vu64(bytes)? / SEGMENT);
        match form {
            [0] => {}
            [1] => _ = self.blobs.insert(position(bytes)?),
            _ => return None,
        }
        Some(())
    }
}

/// The snapshot that sled takes.
fn latest(directory: &Path) -> io::Result<Option<PathBuf>> {
    let mut found: Option<PathBuf> = None;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            found = found.max(Some(entry.path()));
        }
    }
    Ok(found)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn position(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}
