//! fjall's journals, looked over before fjall reads them.
//!
//! Promises: what a power cut has left of a commit that nobody was told of is cut off; a journal
//! that is damaged otherwise is told and not touched. Imports nothing of fleetcron.
//!
//! fjall ends a journal at the first byte that it cannot make sense of, and drops all that follows
//! without a word; where the bytes make sense and a checksum is wrong, it does not open at all.
//! Either can be what a power cut leaves of the last commit, whose pages reach the disk in any
//! order, and either can be damage to commits that were acknowledged. The mark tells them apart:
//! the first batch of each commit deletes the key [`MARK`], which is never there. A commit is begun
//! after the one before it is durable; so a mark after the place where a journal breaks off says
//! that something durable is gone. So does a journal that ends before what was noted when the store
//! was closed, see [`reach`](super::reach).
//!
//! The form is that of fjall 3 (the file `version` says so, which fjall checks). Numbers are little
//! endian.
//!
//! | part | bytes |
//! | --- | --- |
//! | begin of a batch | 1; items: u32; number of the batch: u64 |
//! | item | 2; put 0 or delete 1: u8; packed: u8; keyspace: u64; bytes of the key: u16, of the value: u32, of the value as it is here: u32; key; value |
//! | end of a batch | 3; XXH3 of the items: u64; `FJL` 3 |

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use xxhash_rust::xxh3::Xxh3;

use super::reach::{self, Reach};

/// The key that the first batch of each commit deletes. No key of fleetcron's begins so.
pub(super) const MARK: [u8; 2] = [u8::MAX; 2];

/// The mark's item as it is in a journal, up to the keyspace.
const MARK_HEAD: [u8; 3] = [2, 1, 0];

/// The end of a batch's end.
pub(super) const TRAILER: [u8; 4] = [b'F', b'J', b'L', 3];

/// Bytes of a batch's begin.
const BEGIN: usize = 13;

/// Bytes that are looked at at once, a multiple of every file system's blocks.
const STEP: u64 = 64 * 1024;

/// Looks over all journals in a directory, and cuts off what was never durable. The inner error
/// says what is wrong with one.
pub(super) fn look_over(files: &Path) -> io::Result<Result<(), String>> {
    let journals = numbered(files)?;
    let Some((active, _)) = journals.last() else {
        return Ok(Err("there is no journal".to_owned()));
    };
    let noted = reach::read(files);
    if let Some(noted) = noted.filter(|noted| noted.number > *active) {
        return Ok(Err(format!("the journal {}.jnl is missing", noted.number)));
    }
    for (number, path) in &journals {
        let mut file = File::options().read(true).write(true).open(path)?;
        let noted = noted.filter(|noted| noted.number == *number).map(|noted| noted.bytes);
        let cut = match look_at(&mut file, *number, number == active, noted)? {
            Ok(cut) => cut,
            Err(problem) => return Ok(Err(problem)),
        };
        let Some((end, rest)) = cut else { continue };
        let path = path.display();
        tracing::info!(%path, end, rest, "a commit that was cut short is left out");
        file.set_len(end)?;
        file.sync_all()?;
    }
    Ok(Ok(()))
}

/// Looks over a journal, which had so many bytes when that was noted. Where it is to be cut, and how
/// many bytes follow there; `None`: nowhere.
pub(super) fn look_at(
    file: &mut File,
    number: u64,
    is_active: bool,
    noted: Option<u64>,
) -> io::Result<Result<Option<(u64, u64)>, String>> {
    let end = end_of_batches(file)?;
    if let Some(noted) = noted.filter(|noted| *noted > end) {
        return Ok(Err(format!(
            "the journal {number}.jnl can be read up to byte {end}; it had {noted} when the store \
             was closed"
        )));
    }
    let Some(last) = last_byte(file, end)? else { return Ok(Ok(None)) };
    if !is_active {
        // It was synced before the next one was begun: nothing of it can be missing.
        return Ok(Err(format!(
            "the journal {number}.jnl cannot be read from byte {end} on, and {} bytes follow",
            last - end
        )));
    }
    if let Some(mark) = mark_after(file, end)? {
        return Ok(Err(format!(
            "the journal {number}.jnl cannot be read from byte {end} on, and there are later \
             commits from byte {mark} on"
        )));
    }
    Ok(Ok(Some((end, last - end))))
}

/// How far the journals in a directory reach; `None`: there is none.
pub(super) fn reach(files: &Path) -> io::Result<Option<Reach>> {
    let Some((number, path)) = numbered(files)?.pop() else { return Ok(None) };
    let bytes = end_of_batches(&File::open(path)?)?;
    Ok(Some(Reach { number, bytes }))
}

/// The journals in a directory by their numbers, the one that is written last. fjall refuses others.
fn numbered(files: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(files)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".jnl")?.parse().ok());
        journals.extend(number.map(|number| (number, path)));
    }
    journals.sort_unstable();
    Ok(journals)
}

/// Where whole batches end.
pub(super) fn end_of_batches(mut file: &File) -> io::Result<u64> {
    file.rewind()?;
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let mut end = 0;
    while let Some(batch) = read_batch(&mut reader)? {
        end += batch.bytes;
    }
    Ok(end)
}

/// Where the bytes after `from` end that are not zero.
fn last_byte(file: &mut File, from: u64) -> io::Result<Option<u64>> {
    let (mut at, mut last) = (from, None);
    let mut bytes = Vec::new();
    loop {
        // A journal is made long and is a hole where nothing was written.
        let wanted = i64::try_from(at).map_err(io::Error::other)?;
        match lseek(&*file, wanted, Whence::SeekData) {
            Ok(data) => at = u64::try_from(data).map_err(io::Error::other)?,
            Err(Errno::ENXIO) => return Ok(last),
            // A file system that knows no holes.
            Err(Errno::EINVAL) => _ = file.seek(SeekFrom::Start(at))?,
            Err(error) => return Err(error.into()),
        }
        bytes.clear();
        let read = (&*file).take(STEP - at % STEP).read_to_end(&mut bytes)? as u64;
        if read == 0 {
            return Ok(last);
        }
        let found = bytes.iter().rposition(|byte| *byte != 0);
        last = found.map(|found| at + found as u64 + 1).or(last);
        at += read;
    }
}

/// Where a whole batch with a mark begins after a place where the journal breaks off.
fn mark_after(file: &mut File, end: u64) -> io::Result<Option<u64>> {
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(end))?;
    file.read_to_end(&mut rest)?;
    // The batch at which it breaks off is none of them.
    let begins = rest.iter().enumerate().skip(1).filter(|(_, byte)| **byte == 1);
    for (begin, _) in begins {
        let marked = rest.get(begin + BEGIN..).is_some_and(|item| item.starts_with(&MARK_HEAD));
        if marked && read_batch(&mut &rest[begin..])?.is_some_and(|batch| batch.is_marked) {
            return Ok(Some(end + begin as u64));
        }
    }
    Ok(None)
}

/// A batch that is whole.
struct Seen {
    bytes: u64,
    is_marked: bool,
}

/// Reads a batch; `None`: here is none that is whole.
fn read_batch(from: &mut impl Read) -> io::Result<Option<Seen>> {
    match try_batch(from) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        read => read,
    }
}

fn try_batch(from: &mut impl Read) -> io::Result<Option<Seen>> {
    let begin: [u8; BEGIN] = array(from)?;
    let [1, a, b, c, d, ..] = begin else { return Ok(None) };
    let mut hash = Xxh3::new();
    let mut seen = Seen { bytes: 0, is_marked: false };
    for item in 0..u32::from_le_bytes([a, b, c, d]) {
        let head: [u8; 21] = array(from)?;
        let [2, 0..=2, 0 | 1, _, _, _, _, _, _, _, _, key_a, key_b, _, _, _, _, value @ ..] = head
        else {
            return Ok(None);
        };
        let key_bytes = u64::from(u16::from_le_bytes([key_a, key_b]));
        let mut bytes = head.to_vec();
        let length = key_bytes + u64::from(u32::from_le_bytes(value));
        if from.take(length).read_to_end(&mut bytes)? as u64 != length {
            return Ok(None);
        }
        hash.update(&bytes);
        seen.bytes += bytes.len() as u64;
        let is_mark = bytes.starts_with(&MARK_HEAD) && bytes[head.len()..] == MARK;
        seen.is_marked |= item == 0 && is_mark;
    }
    let end: [u8; 13] = array(from)?;
    let [3, sum @ .., _, _, _, _] = end else { return Ok(None) };
    if u64::from_le_bytes(sum) != hash.digest() || end[9..] != TRAILER {
        return Ok(None);
    }
    seen.bytes += (begin.len() + end.len()) as u64;
    Ok(Some(seen))
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
