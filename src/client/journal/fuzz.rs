//! Any bytes as a journal's file, for [`crate::fuzzing`].

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::Disk;
use super::medium::Medium;
use super::record::{self, Record, Unknown};
use super::{Remembered, remembered};
use crate::fuzz::told;

/// A file. With an `L` before it, each line is a record's JSON, or behind a `!` bytes as they are.
pub(crate) fn journal(data: &[u8]) {
    let made;
    let bytes = match data.split_first() {
        Some((b'L', lines)) => {
            made = file_of(lines);
            &made
        }
        _ => data,
    };
    scanned(bytes);
    opened(bytes);
}

fn file_of(lines: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        match line.split_first() {
            Some((b'!', raw)) => file.extend_from_slice(raw),
            // Shorter than the longest record by far.
            _ => record::seal(line, &mut file),
        }
    }
    file
}

/// Each byte belongs to one record, to damage or to the tail; and the records written again are
/// read as the same, without any damage.
fn scanned(bytes: &[u8]) {
    let mut records = Vec::new();
    let mut sizes = 0;
    let scan = record::scan(bytes, |record, size| {
        records.push(record);
        sizes += size;
    });
    let scan = match scan {
        Ok(scan) => scan,
        Err(Unknown { offset, problem }) => {
            assert!(offset < bytes.len());
            return drop(told(&problem, bytes.len()));
        }
    };
    assert_eq!(scan.records, records.len());
    let damaged: usize = scan.damaged.iter().map(std::ops::Range::len).sum();
    assert_eq!(sizes + damaged as u64, scan.end as u64, "{scan:?}");
    assert!(scan.end <= bytes.len());
    let apart = scan.damaged.windows(2).all(|two| two[0].end < two[1].start);
    assert!(apart && scan.damaged.iter().all(|range| !range.is_empty()), "{scan:?}");
    let mut written = Vec::new();
    for record in &records {
        record::encode(record, &mut written).expect("what was read can be written");
    }
    let mut again: Vec<Record> = Vec::new();
    let scan = record::scan(&written, |record, _| again.push(record));
    let scan = scan.expect("what was written can be read");
    assert!(scan.damaged.is_empty() && scan.end == written.len());
    assert_eq!(again, records);
}

/// What a journal remembers when it is opened, it remembers when it is opened once more.
fn opened(bytes: &[u8]) {
    let file = File::default();
    file.put(bytes.to_vec());
    let Some(first) = open(&file, bytes.len()) else {
        assert_eq!(file.bytes(), bytes, "what is refused is not touched");
        return;
    };
    let before = file.bytes();
    let again = open(&file, before.len());
    assert_eq!(again.as_ref(), Some(&first));
    assert_eq!(file.bytes(), before, "it was in order");
    let damaged = record::scan(&before, |_, _| {}).map(|scan| (scan.damaged, scan.end));
    assert_eq!(damaged, Ok((Vec::new(), before.len())));
}

fn open(file: &File, length: usize) -> Option<Vec<Remembered>> {
    let client = "web-01".parse().expect("a good id");
    match Disk::open(Box::new(file.clone()), None, &client) {
        Ok((_, book)) => Some(remembered(&book)),
        Err(error) => {
            told(&error, length);
            None
        }
    }
}

/// A file in memory.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl File {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, bytes: Vec<u8>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
    }
}

impl Medium for File {
    fn path(&self) -> &Path {
        Path::new("memory/journal")
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.bytes())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put([&self.bytes(), bytes].concat());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn cut(&mut self, length: u64, _: bool) -> io::Result<()> {
        let mut bytes = self.bytes();
        bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        self.put(bytes);
        Ok(())
    }

    fn replace(&mut self, pieces: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> io::Result<()> {
        let pieces: Vec<Vec<u8>> = pieces.collect::<io::Result<_>>()?;
        self.put(pieces.concat());
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}
