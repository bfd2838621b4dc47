//! Any bytes as what lies beside sled and in its log, for [`crate::fuzzing`].
//!
//! Whatever has a checksum can be given without one: it is set right here. Imports nothing else of
//! fleetcron.

mod made;

use std::fs::{self, File};

use made::Made;

use super::follow::Follower;
use super::mark::{self, Mark};
use super::pages::Snapshot;
use super::recovery::{self, BLOBS, Expected};
use crate::fuzz::{Scratch, told};

/// Bytes of a mark without its begin and its checksum.
const SAID: usize = 32;

/// Both places of a mark's file, one behind the other. With an `S` before them their begins and their
/// checksums are set right. What is found is the latest, and the next that is noted comes after it.
pub(crate) fn mark(data: &[u8]) {
    let places = if let Some((b'S', said)) = data.split_first() {
        let (first, second) = said.split_at(said.len().min(SAID));
        [first, second].map(|said| mark_of(said).to_vec())
    } else {
        let (first, second) = data.split_at(data.len() / 2);
        [first.to_vec(), second.to_vec()]
    };
    let read = |places: &[Vec<u8>; 2]| mark::latest([&places[0], &places[1]]);
    let (sequence, found) = match read(&places) {
        Ok(Some(found)) => found,
        Ok(None) => return assert!(places.concat().iter().all(|byte| *byte == 0)),
        Err(error) => return drop(told(&error, data.len())),
    };
    let written = found.to_bytes(sequence).to_vec();
    assert!(places.contains(&written), "{found:?}");
    assert_eq!(read(&[written.clone(), Vec::new()]), Ok(Some((sequence, found))));
    if sequence + 1 < u64::MAX {
        let next = Mark { digest: !found.digest, ..found };
        let mut noted = [written, next.to_bytes(sequence + 1).to_vec()];
        assert_eq!(read(&noted), Ok(Some((sequence + 1, next))));
        // Torn, it leaves the one before it.
        noted[1].truncate(data.len() % noted[1].len());
        assert_eq!(read(&noted), Ok(Some((sequence, found))));
    }
}

fn mark_of(said: &[u8]) -> [u8; 44] {
    let mut numbers = [0; SAID];
    let there = said.len().min(SAID);
    numbers[..there].copy_from_slice(&said[..there]);
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| numbers[at + byte]));
    Mark { at: number(8), digest: number(16), bytes: number(24) }.to_bytes(number(0))
}

/// A snapshot of sled's. With an `S` before it, its length and its checksum are set right. What is
/// read of few bytes is little; a page more is seen, and so is a bit that is another.
pub(crate) fn snapshot(data: &[u8]) {
    let made;
    let bytes = match data.split_first() {
        Some((b'S', said)) => {
            made = snapshot_of(said);
            &made
        }
        _ => data,
    };
    let Some(found) = Snapshot::parse(bytes) else { return };
    assert!(found.segments.len() <= bytes.len() && found.blobs.len() <= found.segments.len() * 256);
    let said = &bytes[..bytes.len() - 12];
    // One that is gone, as number, position and place.
    let more = [said, &[0], &[7; 8], &[0, 0]].concat();
    let again = Snapshot::parse(&snapshot_of(&more)).expect("a page more");
    assert_ne!(again.pages.digest(), found.pages.digest());
    assert_eq!((again.end, again.bytes, again.blobs), (found.end, found.bytes, found.blobs));
    let mut changed = bytes.to_vec();
    changed[data.len() % bytes.len()] ^= 1;
    // But for its length, which sled needs for what it has packed, all is under the checksum.
    let is_length = (said.len()..said.len() + 8).contains(&(data.len() % bytes.len()));
    assert!(is_length || Snapshot::parse(&changed).is_none(), "a bit is another");
}

fn snapshot_of(said: &[u8]) -> Vec<u8> {
    let sum = crc32fast::hash(said).to_le_bytes();
    [said, &(said.len() as u64).to_le_bytes()[..], &sum].concat()
}

/// A log with a mark that tells of it and a snapshot that it goes on from, see [`made`]. It is looked
/// over and followed without a change to it; what is whole is found to its end.
pub(crate) fn log(data: &[u8]) {
    let Some(made) = Made::of(data) else { return };
    let end = Expected { end: made.at, digest: made.pages.digest() };
    let scratch = Scratch::new();
    let (place, blobs) = (scratch.path(), scratch.path().join(BLOBS));
    let mut options = File::options();
    let options = options.read(true).write(true).create_new(true);
    let file = options.open(place.join(super::DATA_FILE)).expect("the fuzzer's own file");
    made.write(&file).expect("the fuzzer's own file");
    let look = || {
        fs::create_dir(&blobs).expect("the fuzzer's own directory");
        let looked = recovery::compare(place, &file, made.mark, made.snapshot());
        // What it has made of files that never were durable.
        fs::remove_dir_all(&blobs).expect("the fuzzer's own directory");
        looked.expect("it can be read")
    };
    let looked = look();
    match &looked {
        Ok(found) if made.is_whole => assert_eq!(*found, Some(end)),
        Ok(_) => {}
        Err(problem) => {
            assert!(!made.is_whole, "{problem}");
            told(problem, data.len());
        }
    }
    assert_eq!(look(), looked, "looked at again");
    let log = file.try_clone().expect("one more handle");
    let mut follower = Follower::after(place, log, made.snapshot());
    follower.follow().expect("it can be read");
    if made.is_whole {
        assert!(follower.is_at(end), "followed up to {}, not {end:?}", follower.at());
    }
    assert!(made.is_in(&file).expect("it can be read"), "a log is only looked at");
}
