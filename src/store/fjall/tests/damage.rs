//! Files of a store that have changed, end too early or are gone: all is there, or an error says
//! which store it is and what to do.

use super::*;
use crate::store::damaged::{all, copy, cut, files_below, flip};
use crate::store::{StoreOptions, look_at};

/// A store with a table, a journal and values of all sizes; what is in it. `closed` gives its
/// directory a copy as a kill would leave it otherwise.
fn furnished(path: &Path, closed: bool) -> Vec<Entry> {
    let open_at = path.with_extension("open");
    let store = open(&open_at);
    for round in 0..2_u8 {
        let batch = |n: u32| -> Batch {
            let value = vec![round; (n * 137 % 5_000) as usize];
            (0..10).map(|m| Op::Put([n, m].map(u32::to_be_bytes).concat(), value.clone())).collect()
        };
        store.commit((0..10).map(batch).collect()).unwrap();
        store.commit(vec![put("between"), put("between too")]).unwrap();
        if round == 0 {
            store.keyspace.rotate_memtable_and_wait().unwrap();
        }
    }
    let entries = all(&store).unwrap();
    if closed {
        drop(store);
        copy(&open_at, path);
    } else {
        copy(&open_at, path);
    }
    entries
}

/// What becomes of a store with this damage: all of it, or an error that says what to do.
fn after(
    whole: &Path,
    entries: &[Entry],
    what: &str,
    damage: impl FnOnce(&Path),
) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("place");
    copy(whole, &place);
    damage(&place);
    let store = look_at(&place, StoreOptions::default());
    match store.and_then(|store| all(store.as_ref())) {
        Ok(found) => {
            assert!(
                found == entries,
                "{what}: {} entries instead of {}",
                found.len(),
                entries.len()
            );
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The bytes of a file up to the last that is not zero: a journal is longer than what is in it.
fn length(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

#[test]
fn all_is_there_or_an_error_names_the_store_and_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("place");
    let entries = furnished(&place, true);
    let mut told = 0;
    for file in files_below(&place) {
        let name = file.strip_prefix(&place).unwrap();
        let whole = length(&file);
        let mut cases = Vec::new();
        for part in 0..=8 {
            let at = whole.saturating_sub(1) * part / 8;
            cases.push((format!("a bit of byte {at} of {name:?}"), Damage::Flip(at)));
        }
        for at in [0, whole / 2, whole.saturating_sub(1)] {
            cases.push((format!("{name:?} cut to {at}"), Damage::Cut(at)));
        }
        cases.push((format!("no {name:?}"), Damage::Remove));
        for (what, damage) in cases {
            let ended = after(&place, &entries, &what, |place| damage.inflict(&place.join(name)));
            let Err(error) = ended else { continue };
            told += 1;
            for words in ["store /", "is damaged: ", "from a backup: fleetcron store restore"] {
                assert!(error.contains(words), "{what}: {error}");
            }
        }
    }
    assert!(told > 60, "{told} were told");
}

#[derive(Clone, Copy)]
enum Damage {
    Flip(u64),
    Cut(u64),
    Remove,
}

impl Damage {
    fn inflict(self, file: &Path) {
        match self {
            Self::Flip(at) if at < length(file) => flip(file, at, at % 8),
            Self::Flip(_) => {}
            Self::Cut(at) => cut(file, at),
            Self::Remove => fs::remove_file(file).unwrap(),
        }
    }
}

/// What a kill or a power cut leaves: the last commit may be there in part, in any order of its
/// pages. Damage to an earlier one is told.
#[test]
fn of_the_last_commit_any_part_may_be_missing_and_of_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("place");
    furnished(&place, false);
    let journal = Path::new(DIRECTORY).join("0.jnl");
    let before = length(&place.join(&journal));
    let store = open(&place);
    let entries = all(&store).unwrap();
    // It does not compress.
    let value: Vec<u8> = (0..2_500_u64).flat_map(|n| (n * n * 0x9E37_79B9).to_le_bytes()).collect();
    let large = |n: u8| vec![Op::Put(vec![b'l', n], value.clone())];
    store.commit((0..5).map(large).collect()).unwrap();
    let later = directory.path().join("later");
    copy(&place, &later);
    let after_all = length(&later.join(&journal));
    assert!(after_all > before + 50_000, "{before} to {after_all}");
    drop(store);

    for at in (before..after_all).step_by(7_919) {
        for damage in [Damage::Flip(at), Damage::Cut(at)] {
            let place = directory.path().join("damaged");
            copy(&later, &place);
            damage.inflict(&place.join(&journal));
            let store = open(&place);
            let mut found = all(&store).unwrap();
            found.retain(|(key, _)| key[0] != b'l');
            assert_eq!(found, entries, "after damage at {at}");
            // It goes on: what is written next is there after the next start.
            store.commit(vec![put("next")]).unwrap();
            drop(store);
            assert_eq!(open(&place).get(b"next").unwrap(), Some(vec![1]));
            fs::remove_dir_all(&place).unwrap();
        }
    }
    for at in (0..before).step_by(9_973) {
        let ended = after(&later, &[], "an earlier commit", |place| {
            flip(&place.join(&journal), at, at % 8);
        });
        let error = ended.unwrap_err();
        assert!(error.contains("and there are later commits from byte"), "{at}: {error}");
    }
}
