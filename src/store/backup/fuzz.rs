//! Any bytes as a backup's file, for [`crate::fuzzing`].

use super::file::{self, Block, Reader, Writer};
use super::{Summary, ops, verify};
use crate::fuzz::told;
use crate::store::Op;
use crate::time::Timestamp;

/// A file. With a `B` before it, what follows is put into a file whose sums are right: each
/// stretch up to a byte 255 is a block, its first byte the kind and the rest the content; the last
/// is as it is.
pub(crate) fn backup(data: &[u8]) {
    let made;
    let bytes = match data.split_first() {
        Some((b'B', blocks)) => {
            made = file_of(blocks);
            &made
        }
        _ => data,
    };
    let (summary, blocks) = match read(bytes) {
        Ok(found) => found,
        Err(error) => {
            let also = verify(bytes).map_err(|error| error.to_string());
            assert_eq!(also.err(), Some(told(&error, bytes.len())));
            return;
        }
    };
    assert_eq!(verify(bytes).ok(), Some(summary));
    assert_eq!(summary.bytes, bytes.len() as u64);
    let written = write(&summary, &blocks);
    let (again, blocks_again) = read(&written).expect("what was written can be read");
    assert_eq!(operations(&blocks_again), operations(&blocks));
    assert_eq!((again.entries, again.puts), (summary.entries, summary.puts));
    assert_eq!((again.begun_at, again.done_at), (summary.begun_at, summary.done_at));
    for cut in [bytes.len() - 1, bytes.len() / 2] {
        assert!(verify(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

fn file_of(blocks: &[u8]) -> Vec<u8> {
    let mut bytes = file::header(Timestamp::from_millis(5));
    let mut pieces: Vec<&[u8]> = blocks.split(|byte| *byte == 255).collect();
    let last = pieces.pop().unwrap_or_default();
    for (place, piece) in (0_u64..).zip(pieces) {
        if let Some((kind, content)) = piece.split_first() {
            bytes.extend(file::block(*kind, place, content));
        }
    }
    bytes.extend_from_slice(last);
    bytes
}

type Found = (Summary, Vec<Block>);

fn read(bytes: &[u8]) -> Result<Found, super::BackupFileError> {
    let mut reader = Reader::begin(bytes)?;
    let mut blocks = Vec::new();
    while let Some(block) = reader.next()? {
        blocks.push(block);
    }
    Ok((reader.summary(), blocks))
}

fn write(summary: &Summary, blocks: &[Block]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Writer::begin(&mut file, summary.begun_at).expect("memory takes all");
    for block in blocks {
        match block {
            Block::Entries(entries) => {
                for op in entries {
                    let Op::Put(key, value) = op else { panic!("{op:?} among the entries") };
                    writer.entry(key, value).expect("memory takes all");
                }
            }
            Block::Redo(operations) => {
                for op in operations {
                    writer.redo(op).expect("memory takes all");
                }
            }
        }
    }
    writer.finish(summary.done_at).expect("memory takes all");
    file
}

/// The operations of blocks, each as its bytes, those after the entries apart.
fn operations(blocks: &[Block]) -> [Vec<u8>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    for block in blocks {
        let (to, operations) = match block {
            Block::Entries(operations) => (0, operations),
            Block::Redo(operations) => (1, operations),
        };
        for op in operations {
            ops::write(&mut all[to], op);
        }
    }
    all
}
