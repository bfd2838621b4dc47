//! Any bytes as files of fjall's that are read before fjall reads them, for [`crate::fuzzing`].
//!
//! Imports nothing else of fleetcron.

use std::fs::File;
use std::io::Write as _;

use xxhash_rust::xxh3::xxh3_64;

use super::journal::{self, MARK, TRAILER};
use super::manifest;
use super::reach::Reach;
use crate::fuzz::{Scratch, array, some, told};

/// Bytes of a journal that has zeros in it: more than are looked at at once.
const MOST: usize = 80 * 1024;

/// A journal, see [`Made`], behind a byte that says by its lowest bits whether it is written on, and
/// whether it is noted how long it was, which is twice the rest of the byte. What is whole is not cut
/// off, nor is anything before a commit that is whole; what is left after a cut is whole.
pub(crate) fn journal(data: &[u8]) {
    let Some((flags, data)) = data.split_first() else { return };
    let is_active = flags & 1 == 0;
    let noted = (flags & 2 != 0).then_some(u64::from(flags >> 2) * 2);
    let made = Made::of(data);
    let scratch = Scratch::new();
    let mut options = File::options();
    let options = options.read(true).write(true).create_new(true);
    let mut file = options.open(scratch.path().join("7.jnl")).expect("the fuzzer's own file");
    file.write_all(&made.bytes).expect("the fuzzer's own file");
    let end = journal::end_of_batches(&file).expect("it can be read");
    assert!((made.whole..=made.bytes.len() as u64).contains(&end), "read up to {end}");
    let looked = journal::look_at(&mut file, 7, is_active, noted).expect("it can be read");
    let rest = &made.bytes[usize::try_from(end).expect("it is in memory")..];
    match looked {
        Ok(None) => assert!(rest.iter().all(|byte| *byte == 0), "something is left"),
        Ok(Some((cut, bytes))) => {
            assert!(is_active && cut == end && (1..=rest.len() as u64).contains(&bytes));
            let later = made.commits.iter().find(|begin| **begin > end);
            assert_eq!(later, None, "of a commit that was acknowledged");
            file.set_len(cut).expect("the fuzzer's own file");
            let again = journal::look_at(&mut file, 7, true, noted).expect("it can be read");
            assert_eq!(again, Ok(None), "it is cut");
        }
        Err(problem) => {
            let is_whole = rest.iter().all(|byte| *byte == 0);
            assert!(!is_whole || noted.is_some_and(|noted| noted > end), "{problem}");
            told(&problem, data.len());
        }
    }
}

/// A journal that is made of any bytes: pieces, each with a byte that says of what kind it is.
///
/// | kind modulo 4 | then | what |
/// | --- | --- | --- |
/// | 0 | items: u8, modulo 8; each item | a batch with its checksum |
/// | 1 | items: u8, modulo 8; each item | a batch of a commit: the first item is the mark |
/// | 2 | bytes: u8; these | as they are |
/// | 3 | 1,024 bytes: u8 | zeros, until it has [`MOST`] bytes |
///
/// An item is put, deleted or another by the lowest two bits of a byte, packed by the next; a byte
/// each how long the key and the value are, and these.
#[derive(Default)]
struct Made {
    bytes: Vec<u8>,
    /// Bytes of the batches that it begins with.
    whole: u64,
    /// Where batches of a commit begin.
    commits: Vec<u64>,
}

impl Made {
    fn of(mut pieces: &[u8]) -> Self {
        let mut it = Self::default();
        let mut is_whole = true;
        while let Some(is_batch) = it.take(&mut pieces) {
            is_whole &= is_batch;
            if is_whole {
                it.whole = it.bytes.len() as u64;
            }
        }
        it
    }

    /// Takes a piece; whether it is a batch.
    fn take(&mut self, pieces: &mut &[u8]) -> Option<bool> {
        let [kind] = array(pieces)?;
        if kind & 3 == 2 {
            self.bytes.extend_from_slice(some(pieces)?);
            return Some(false);
        }
        let [count] = array(pieces)?;
        if kind & 3 == 3 {
            let zeros = self.bytes.len() + usize::from(count) * 1024;
            self.bytes.resize(zeros.min(MOST).max(self.bytes.len()), 0);
            return Some(false);
        }
        let (mut items, mut is_batch) = (Vec::new(), true);
        let (count, is_commit) = (count & 7, kind & 3 == 1);
        if is_commit {
            item(&mut items, [1, 0], &MARK, &[]);
        }
        for _ in 0..count {
            let [flags] = array(pieces)?;
            let (key, value) = (some(pieces)?, some(pieces)?);
            is_batch &= flags & 3 != 3;
            item(&mut items, [flags & 3, flags >> 2 & 1], key, value);
        }
        if is_commit && is_batch {
            self.commits.push(self.bytes.len() as u64);
        }
        let count = u32::from(count) + u32::from(is_commit);
        let sum = xxh3_64(&items).to_le_bytes();
        let begin = [&[1][..], &count.to_le_bytes(), &[7; 8]].concat();
        self.bytes.extend([&begin[..], &items, &[3], &sum, &TRAILER].concat());
        Some(is_batch)
    }
}

fn item(items: &mut Vec<u8>, form: [u8; 2], key: &[u8], value: &[u8]) {
    // Each is said with one byte.
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    let (key_bytes, value_bytes) = (u16::from(length(key)), u32::from(length(value)));
    items.extend([&[2][..], &form, &[1; 8], &key_bytes.to_le_bytes()].concat());
    items.extend([value_bytes.to_le_bytes(), value_bytes.to_le_bytes()].concat());
    items.extend([key, value].concat());
}

/// The file `current` of a keyspace, or with an `R` before it the file `reach`, with an `S` one whose
/// checksum is set right. What is read of either is written as what reads as the same.
pub(crate) fn note(data: &[u8]) {
    let (form, said) = data.split_first().unwrap_or((&0, data));
    let text = std::str::from_utf8(said);
    match (form, text) {
        (b'R' | b'S', Ok(text)) => {
            let sum = crc32fast::hash(text.as_bytes());
            let made = if *form == b'S' { format!("{text} {sum}\n") } else { text.to_owned() };
            if let Some(reach) = Reach::parse(&made) {
                let written = reach.to_text();
                assert_eq!(Reach::parse(&written), Some(reach), "{made:?}");
                // A byte less is another sum, or none.
                let less = &written[..written.len() - 2];
                assert_eq!(Reach::parse(less), None, "{less:?}");
            }
        }
        _ => {
            if let Some((number, sum)) = manifest::parse(data) {
                let written = [&number.to_le_bytes()[..], &sum.to_le_bytes(), &[0]].concat();
                assert_eq!(written, data);
            }
        }
    }
}
