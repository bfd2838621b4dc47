//! The form of a backup's file, written and read.
//!
//! Promises: a file that was cut short, or of which a bit has changed, is not read to its end
//! without an error that says where; reading allocates no more than [`MAX_BLOCK`]. Imports the
//! rest of the store.
//!
//! | part | form |
//! | --- | --- |
//! | header | `fleetcron backup` and a line end (17 bytes); the form's number, u32; the number of the store's format, u32; when it was begun, milliseconds after 1970, i64; CRC-32 of all before it |
//! | block | kind, one byte; place, u64, 0 for the first; bytes of the content, u32; CRC-32 of these and the content; the content |
//!
//! Numbers are big-endian. The kinds, in the order in which they come:
//!
//! | kind | content |
//! | --- | --- |
//! | `E` | entries, as puts in the form of operations; their keys rise from the first `E` to the last |
//! | `R` | operations that were committed meanwhile, in their order: done after all entries they give the store as of one commit |
//! | `T` | the trailer, 32 bytes: how many entries, puts, deletions, u64 each; when it was done, i64. Nothing follows |
//! | `X` | in the trailer's place: why the backup could not be finished, UTF-8 |

use std::io::{self, Read, Write};

use serde::Serialize;

use super::BackupFileError as Error;
use super::ops;
use crate::store::{FORMAT, Op, is_known, key};
use crate::time::Timestamp;

/// The number of the form that is written.
pub const BACKUP_FORM: u32 = 1;

/// The most bytes of a block's content that is read.
pub const MAX_BLOCK: usize = 1024 * 1024;

/// A block is written once it has so many bytes.
const BLOCK: usize = 64 * 1024;

/// How a backup's file begins.
const MAGIC: &[u8; 17] = b"fleetcron backup\n";

const HEADER: usize = MAGIC.len() + 4 + 4 + 8 + 4;
const BLOCK_HEAD: usize = 1 + 8 + 4 + 4;
const TRAILER: usize = 32;

/// The most bytes of why a backup could not be finished.
const MAX_REASON: usize = 4 * 1024;

/// What kind of block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Entries = b'E' as isize,
    Redo = b'R' as isize,
    Trailer = b'T' as isize,
    Failed = b'X' as isize,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Entries, Self::Redo, Self::Trailer, Self::Failed]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When it was done: it is the store as of a commit at this time.
    pub done_at: Timestamp,
    /// The number of the store's format.
    pub format: u32,
    /// Entries.
    pub entries: u64,
    /// Values that were put while they were read.
    pub puts: u64,
    /// Keys that were deleted while they were read.
    pub deletes: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes a backup's file.
pub(super) struct Writer<W> {
    out: W,
    block: Vec<u8>,
    kind: Kind,
    place: u64,
    summary: Summary,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub(super) fn begin(mut out: W, now: Timestamp) -> io::Result<Self> {
        let header = header(now);
        out.write_all(&header)?;
        let summary = Summary {
            begun_at: now,
            done_at: now,
            format: FORMAT,
            entries: 0,
            puts: 0,
            deletes: 0,
            bytes: header.len() as u64,
        };
        Ok(Self { out, block: Vec::new(), kind: Kind::Entries, place: 0, summary })
    }

    /// Adds an entry. Keys must rise.
    pub(super) fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.summary.entries += 1;
        ops::write_put(&mut self.block, key, value);
        self.flush_at(BLOCK)
    }

    /// Adds an operation that was committed meanwhile. No entry may follow.
    pub(super) fn redo(&mut self, op: &Op) -> io::Result<()> {
        if self.kind != Kind::Redo {
            self.flush_at(1)?;
            self.kind = Kind::Redo;
        }
        match op {
            Op::Put(..) => self.summary.puts += 1,
            Op::Delete(_) => self.summary.deletes += 1,
        }
        ops::write(&mut self.block, op);
        self.flush_at(BLOCK)
    }

    /// Ends the file as it should.
    pub(super) fn finish(mut self, now: Timestamp) -> io::Result<Summary> {
        self.flush_at(1)?;
        self.summary.done_at = now;
        let Summary { entries, puts, deletes, .. } = self.summary;
        for number in [entries, puts, deletes] {
            self.block.extend_from_slice(&number.to_be_bytes());
        }
        self.block.extend_from_slice(&now.millis().to_be_bytes());
        self.end(Kind::Trailer)?;
        Ok(self.summary)
    }

    /// Ends the file with why it is not whole.
    pub(super) fn fail(mut self, reason: &str) -> io::Result<()> {
        let end = (0..=MAX_REASON.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at));
        self.block = reason.as_bytes()[..end.unwrap_or(0)].to_vec();
        self.end(Kind::Failed)
    }

    fn end(&mut self, kind: Kind) -> io::Result<()> {
        self.kind = kind;
        self.flush_at(0)?;
        self.out.flush()
    }

    /// Writes the block at hand if it has so many bytes.
    fn flush_at(&mut self, least: usize) -> io::Result<()> {
        if self.block.len() < least {
            return Ok(());
        }
        // In one piece: who streams it sends whole blocks.
        let block = block(self.kind as u8, self.place, &self.block);
        self.block.clear();
        self.out.write_all(&block)?;
        self.summary.bytes += block.len() as u64;
        self.place += 1;
        Ok(())
    }
}

/// The header of a file that is begun now.
pub(super) fn header(now: Timestamp) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&BACKUP_FORM.to_be_bytes());
    header.extend_from_slice(&FORMAT.to_be_bytes());
    header.extend_from_slice(&now.millis().to_be_bytes());
    header.extend_from_slice(&crc32fast::hash(&header).to_be_bytes());
    header
}

/// The bytes of a block.
pub(super) fn block(kind: u8, place: u64, content: &[u8]) -> Vec<u8> {
    // A block is below the limit, as no operation is above 69 KiB.
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut block = vec![kind];
    block.extend_from_slice(&place.to_be_bytes());
    block.extend_from_slice(&length.to_be_bytes());
    block.extend_from_slice(&crc(&block, content).to_be_bytes());
    block.extend_from_slice(content);
    block
}

fn crc(head: &[u8], content: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(content);
    crc.finalize()
}

/// What a block holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Entries, as puts.
    Entries(Vec<Op>),
    /// Operations that were committed meanwhile.
    Redo(Vec<Op>),
}

/// Reads a backup's file, and checks all of it on the way.
pub(super) struct Reader<R> {
    input: R,
    place: u64,
    /// The last key of the entries so far.
    last: Option<Vec<u8>>,
    redo: bool,
    summary: Summary,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub(super) fn begin(mut input: R) -> Result<Self, Error> {
        let mut header = Vec::new();
        input.by_ref().take(HEADER as u64).read_to_end(&mut header).map_err(Error::Read)?;
        if !header.starts_with(&MAGIC[..MAGIC.len().min(header.len())]) || header.is_empty() {
            return Err(Error::Foreign);
        }
        let (fields, sum) = header
            .split_at_checked(HEADER - 4)
            .filter(|(_, sum)| sum.len() == 4)
            .ok_or(Error::CutShort { at: header.len() as u64 })?;
        if sum != crc32fast::hash(fields).to_be_bytes() {
            let problem = "the checksum is not that of the content".to_owned();
            return Err(Error::Damaged { block: "the header".into(), at: 0, problem });
        }
        let form = number_u32(&fields[MAGIC.len()..]);
        if form != BACKUP_FORM {
            return Err(Error::Form { found: form, known: BACKUP_FORM });
        }
        let format = number_u32(&fields[MAGIC.len() + 4..]);
        if !is_known(format) {
            return Err(Error::StoreFormat { found: format, known: FORMAT });
        }
        let begun_at = Timestamp::from_millis(number_u64(&fields[MAGIC.len() + 8..]).cast_signed());
        let (entries, puts, deletes, bytes) = (0, 0, 0, HEADER as u64);
        let summary =
            Summary { begun_at, done_at: begun_at, format, entries, puts, deletes, bytes };
        Ok(Self { input, place: 0, last: None, redo: false, summary })
    }

    /// The next block; `None` after a trailer that agrees, with nothing behind it.
    pub(super) fn next(&mut self) -> Result<Option<Block>, Error> {
        let at = self.summary.bytes;
        let (kind, content) = self.block()?;
        let block = format!("block {}", self.place);
        let damaged = |problem: String| Error::Damaged { block, at, problem };
        let block = match kind {
            Kind::Entries if self.redo => {
                return Err(damaged("entries after operations".to_owned()));
            }
            Kind::Entries => Block::Entries(self.entries(&content).map_err(damaged)?),
            Kind::Redo => {
                self.redo = true;
                Block::Redo(self.operations(&content).map_err(damaged)?)
            }
            Kind::Trailer => {
                self.trailer(&content).map_err(damaged)?;
                self.nothing_more()?;
                return Ok(None);
            }
            Kind::Failed => {
                return Err(Error::Failed(String::from_utf8_lossy(&content).into_owned()));
            }
        };
        self.place += 1;
        Ok(Some(block))
    }

    /// What it held; whole after [`Reader::next`] gave `None`.
    pub(super) fn summary(&self) -> Summary {
        self.summary
    }

    fn block(&mut self) -> Result<(Kind, Vec<u8>), Error> {
        let at = self.summary.bytes;
        let damaged = |place: u64, problem: String| Error::Damaged {
            block: format!("block {place}"),
            at,
            problem,
        };
        let mut head = [0; BLOCK_HEAD];
        self.read(&mut head)?;
        let (fields, sum) = head.split_at(BLOCK_HEAD - 4);
        let length = usize::try_from(number_u32(&fields[9..])).unwrap_or(usize::MAX);
        if length > MAX_BLOCK {
            let problem = format!("its length is {length} bytes; the most is {MAX_BLOCK}");
            return Err(damaged(self.place, problem));
        }
        let mut content = vec![0; length];
        self.read(&mut content)?;
        if sum != crc(fields, &content).to_be_bytes() {
            let problem = "the checksum is not that of the content".to_owned();
            return Err(damaged(self.place, problem));
        }
        let place = number_u64(&fields[1..]);
        if place != self.place {
            return Err(damaged(self.place, format!("it is block {place}")));
        }
        let kind = Kind::of(fields[0])
            .ok_or_else(|| damaged(place, format!("kind {} is not known", fields[0])))?;
        Ok((kind, content))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let at = self.summary.bytes;
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::CutShort { at },
            _ => Error::Read(error),
        })?;
        self.summary.bytes += buffer.len() as u64;
        Ok(())
    }

    fn entries(&mut self, content: &[u8]) -> Result<Vec<Op>, String> {
        let entries = parse(content)?;
        for op in &entries {
            if matches!(op, Op::Delete(_)) {
                return Err("an entry is a deletion".to_owned());
            }
            if self.last.as_deref().is_some_and(|last| last >= op.key()) {
                return Err(format!("key {} does not rise", key::show(op.key())));
            }
            self.last = Some(op.key().to_vec());
            self.summary.entries += 1;
        }
        Ok(entries)
    }

    fn operations(&mut self, content: &[u8]) -> Result<Vec<Op>, String> {
        let operations = parse(content)?;
        for op in &operations {
            match op {
                Op::Put(..) => self.summary.puts += 1,
                Op::Delete(_) => self.summary.deletes += 1,
            }
        }
        Ok(operations)
    }

    fn trailer(&mut self, content: &[u8]) -> Result<(), String> {
        if content.len() != TRAILER {
            return Err(format!("the trailer has {} bytes, not {TRAILER}", content.len()));
        }
        let Summary { entries, puts, deletes, .. } = self.summary;
        let counted = [(entries, "entries"), (puts, "puts"), (deletes, "deletions")];
        for ((found, what), told) in counted.into_iter().zip(content.chunks(8)) {
            let told = number_u64(told);
            if told != found {
                return Err(format!("it tells of {told} {what}, and there are {found}"));
            }
        }
        self.summary.done_at = Timestamp::from_millis(number_u64(&content[24..]).cast_signed());
        Ok(())
    }

    fn nothing_more(&mut self) -> Result<(), Error> {
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => {
                let problem = "something follows the trailer".to_owned();
                let at = self.summary.bytes;
                Err(Error::Damaged { block: "the end".into(), at, problem })
            }
            Err(error) => Err(Error::Read(error)),
        }
    }
}

fn parse(mut content: &[u8]) -> Result<Vec<Op>, String> {
    let mut operations = Vec::new();
    while !content.is_empty() {
        let (op, _) = ops::read_from(&mut content).map_err(|error| error.to_string())?;
        operations.push(op);
    }
    Ok(operations)
}

/// The first four bytes as a number. The callers have checked that they are there.
fn number_u32(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

/// The same of eight.
fn number_u64(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}
