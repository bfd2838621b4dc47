//! Files of a store that have changed, end too early or are gone: all is there, or an error says
//! which store it is and what to do.
//!
//! `FLEETCRON_SEED=123 FLEETCRON_SEEDS=1000 cargo test --lib store::sled` damages by the seeds from
//! there on.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use fastrand::Rng;

use super::*;
use crate::store::damaged::{all, copy, cut, files_below, flip};
use crate::store::{StoreOptions, look_at};

/// How often each store is damaged unless told otherwise.
const SEEDS: u64 = 60;

pub(super) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |number| number.parse().unwrap())
}

/// One commit of what a store sees: records that are put, put again and deleted.
fn change(random: &mut Rng, largest: usize) -> Vec<Batch> {
    let op = |random: &mut Rng| {
        let key = random.u32(0..1_500).to_be_bytes().to_vec();
        if random.u8(..) < 40 {
            return Op::Delete(key);
        }
        let bytes = random.usize(0..largest);
        Op::Put(key, (0..bytes).map(|_| random.u8(..)).collect())
    };
    let batch = |random: &mut Rng| (0..random.usize(1..40)).map(|_| op(random)).collect();
    (0..random.usize(1..6)).map(|_| batch(random)).collect()
}

/// What a store went through before it is damaged.
#[derive(Debug, Clone, Copy)]
struct Life {
    commits: usize,
    largest: usize,
    openings: usize,
    /// Whether it was closed at last, or copied as a kill leaves it.
    closed: bool,
    /// Whether its snapshot is there.
    snapshot: bool,
}

impl Life {
    fn lead(self, path: &Path, seed: u64) -> Vec<Entry> {
        let mut random = Rng::with_seed(seed);
        let live = path.with_extension("live");
        let mut store = open(&live);
        for opening in 0..self.openings {
            for _ in 0..self.commits {
                store.commit(change(&mut random, self.largest)).unwrap();
            }
            if opening + 1 < self.openings {
                drop(store);
                store = open(&live);
            }
        }
        let entries = all(&store).unwrap();
        if self.closed {
            drop(store);
            copy(&live, path);
        } else {
            copy(&live, path);
            drop(store);
        }
        if !self.snapshot {
            for file in files_below(path).iter().filter(|file| is_snapshot(file)) {
                fs::remove_file(file).unwrap();
            }
        }
        fs::remove_dir_all(live).unwrap();
        entries
    }
}

fn is_snapshot(file: &Path) -> bool {
    file.file_name().unwrap().to_string_lossy().starts_with("snap.")
}

/// Does something to one of the files, and says what.
fn damage(place: &Path, random: &mut Rng) -> String {
    let files = files_below(place);
    // Most of a store is its log.
    let log = place.join(DATA_FILE);
    let path = if random.bool() { &log } else { &files[random.usize(..files.len())] };
    let name = path.strip_prefix(place).unwrap().display().to_string();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let at = random.u64(0..=length.saturating_sub(1));
    let block = at / 4096 * 4096;
    let zeros = |from: u64, bytes: u64| {
        let bytes = bytes.min(length.saturating_sub(from));
        file.write_all_at(&vec![0; usize::try_from(bytes).unwrap()], from).unwrap();
    };
    match random.u8(0..8) {
        0 | 1 if length > 0 => {
            let bit = random.u8(0..8);
            flip(path, at, bit.into());
            format!("bit {bit} of byte {at} of {name}")
        }
        2 if length > 0 => {
            let bytes = random.u64(1..=20_000).min(length - at);
            let noise: Vec<u8> = (0..bytes).map(|_| random.u8(..)).collect();
            file.write_all_at(&noise, at).unwrap();
            format!("{bytes} bytes from {at} on of {name}")
        }
        3 => {
            cut(path, at);
            format!("{name} cut to {at}")
        }
        4 => {
            let at = at / log::SEGMENT * log::SEGMENT;
            cut(path, at);
            format!("{name} cut to {at}, whole segments")
        }
        5 => {
            zeros(block, 4096);
            format!("zeros in the block at {block} of {name}")
        }
        6 => {
            let at = at / log::SEGMENT * log::SEGMENT;
            zeros(at, log::SEGMENT);
            format!("zeros in the segment at {at} of {name}")
        }
        _ => {
            fs::remove_file(path).unwrap();
            format!("no {name}")
        }
    }
}

/// Reads a damaged store: all of it, or an error that says what to do.
fn is_whole_or_told(place: &Path, entries: &[Entry], what: &str) -> Option<String> {
    let options = StoreOptions { cache_bytes: 8 << 20, ..StoreOptions::default() };
    let read = look_at(place, options).and_then(|store| all(store.as_ref()));
    match read {
        Ok(found) => {
            let (there, whole) = (found.len(), entries.len());
            assert!(found == entries, "{what}: other entries, {there} instead of {whole}");
            None
        }
        Err(error) => {
            let told = error.to_string();
            assert!(matches!(error, StoreError::Damaged { .. }), "{what}: {told}");
            for words in ["store /", "is damaged: ", "from a backup: fleetcron store restore"] {
                assert!(told.contains(words), "{what}: {told}");
            }
            Some(told)
        }
    }
}

/// A store of this life, damaged by each seed.
fn suffers(life: Life) {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole");
    let first = number("FLEETCRON_SEED", 1);
    let entries = life.lead(&whole, first);
    assert_eq!(is_whole_or_told(&copied(&whole, "same"), &entries, "no damage"), None);
    let seeds = number("FLEETCRON_SEEDS", SEEDS);
    let mut told = 0;
    for seed in first..first + seeds {
        let mut random = Rng::with_seed(seed);
        let place = copied(&whole, "damaged");
        let what = format!("FLEETCRON_SEED={seed}, {life:?}, {}", damage(&place, &mut random));
        told += u64::from(is_whole_or_told(&place, &entries, &what).is_some());
        fs::remove_dir_all(place).unwrap();
    }
    println!("{life:?}: {told} of {seeds} were told, the others have all");
    assert!(told * 5 > seeds, "{told} of {seeds} were told");
}

fn copied(whole: &Path, name: &str) -> PathBuf {
    let place = whole.with_file_name(name);
    copy(whole, &place);
    place
}

const LIFE: Life = Life { commits: 20, largest: 500, openings: 3, closed: true, snapshot: true };

#[test]
fn all_is_there_or_an_error_tells_what_is_damaged() {
    suffers(LIFE);
}

#[test]
fn and_of_a_store_that_was_not_closed() {
    suffers(Life { closed: false, openings: 2, ..LIFE });
}

#[test]
fn and_of_one_without_a_snapshot() {
    suffers(Life { snapshot: false, ..LIFE });
    suffers(Life { openings: 1, commits: 40, ..LIFE });
}

#[test]
fn and_of_one_with_large_values() {
    suffers(Life { largest: 20_000, commits: 5, ..LIFE });
}
