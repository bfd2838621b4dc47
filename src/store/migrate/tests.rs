//! Migrations in both directions, stopped at each step as a kill would stop them.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::store::check::check;
use crate::store::{Entry, key, kind_at, look_at, open_at, sample};

const BOTH_WAYS: [(StoreKind, StoreKind); 2] =
    [(StoreKind::Sled, StoreKind::Fjall), (StoreKind::Fjall, StoreKind::Sled)];

fn all(store: &dyn Store) -> Vec<Entry> {
    walk(store, everything(), Order::Up).map(Result::unwrap).collect()
}

/// A store of this kind with all that the sample has, a staged unit that was cut short, and a file
/// beside it that is no part of it.
fn furnished(path: &Path, kind: StoreKind) -> Vec<Entry> {
    let store = open_at(path, Some(kind).into()).unwrap();
    let sample = all(&sample::store());
    let batches = sample
        .chunks(100)
        .map(|part| part.iter().map(|(key, value)| Op::Put(key.clone(), value.clone())).collect());
    store.commit(batches.collect()).unwrap();
    store.commit(vec![vec![Op::Put(key::staged(0, true, b"x"), b"v".to_vec())]]).unwrap();
    fs::write(path.join("access.toml"), "token").unwrap();
    all(store.as_ref())
}

/// The store as whoever looks next finds it, with its kind.
fn found(path: &Path) -> (Option<StoreKind>, Vec<Entry>) {
    let store = look_at(path, StoreOptions::default()).unwrap();
    assert_eq!(fs::read_to_string(path.join("access.toml")).unwrap(), "token");
    (store.kind(), all(store.as_ref()))
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn it_has_the_same_in_the_other_kind_and_nothing_else() {
    for (from, to) in BOTH_WAYS {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("place");
        let entries = furnished(&place, from);
        let migrated = migrate(&place, to, None, &mut |_| {}).unwrap();
        assert_eq!((migrated.from, migrated.to), (from, to));
        assert_eq!(migrated.records, entries.len() as u64);
        let bytes: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert_eq!(migrated.bytes, bytes as u64);
        assert!(migrated.disk_before > Some(0) && migrated.disk_after > Some(0), "{migrated:?}");
        assert_eq!(found(&place), (Some(to), entries));
        let expected: &[&str] = match to {
            StoreKind::Sled => &["access.toml", "blobs", "conf", "db", "db.mark", "fleetcron.lock"],
            StoreKind::Fjall => &["access.toml", "fjall", "fleetcron.lock"],
        };
        let mut names = names(&place);
        names.retain(|name| !name.starts_with("snap."));
        assert_eq!(names, expected);
        let store = open_at(&place, Some(to).into()).unwrap();
        assert!(check(store).unwrap().sound);

        let error = migrate(&place, to, None, &mut |_| {}).unwrap_err();
        assert!(matches!(error, MigrateError::Same { kind, .. } if kind == to), "{error}");
    }
}

#[test]
fn wherever_a_kill_stops_it_one_store_is_there_as_a_whole() {
    for (from, to) in BOTH_WAYS {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("place");
        let entries = furnished(&place, from);
        let mut left: Vec<(Stage, PathBuf)> = Vec::new();
        migrate(&place, to, None, &mut |stage| {
            // What a kill would leave now.
            let copy = directory.path().join(left.len().to_string());
            copy_tree(&place, &copy);
            left.push((stage, copy));
        })
        .unwrap();
        assert!(left.len() >= 6, "{left:?}");
        let decided = left.iter().position(|(stage, _)| *stage == Stage::Decided).unwrap();
        for (n, (stage, copy)) in left.iter().enumerate() {
            let kind = if n < decided { from } else { to };
            assert_eq!(kind_at(copy).unwrap(), Some(kind), "{stage:?}");
            assert_eq!(found(copy), (Some(kind), entries.clone()), "{stage:?}");
            // A start tidies up, and the migration can be done again.
            drop(open_at(copy, Some(kind).into()).unwrap());
            let is_tidy = names(copy).iter().all(|name| !name.starts_with("migrat"));
            assert!(is_tidy, "{stage:?}: {:?}", names(copy));
            if kind == from {
                migrate(copy, to, None, &mut |_| {}).unwrap();
            }
            assert_eq!(found(copy).0, Some(to));
        }
    }
}

#[test]
fn a_copy_in_another_directory_leaves_the_old_store() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("place");
    let entries = furnished(&place, StoreKind::Sled);
    let into = directory.path().join("new");
    migrate(&place, StoreKind::Fjall, Some(&into), &mut |_| {}).unwrap();
    assert_eq!(found(&place), (Some(StoreKind::Sled), entries.clone()));
    let copy = look_at(&into, StoreOptions::default()).unwrap();
    assert_eq!((copy.kind(), all(copy.as_ref())), (Some(StoreKind::Fjall), entries));
    drop(copy);
    let again = migrate(&place, StoreKind::Fjall, Some(&into), &mut |_| {}).unwrap_err();
    let text = again.to_string();
    assert!(text.contains("new is not empty") && text.contains("place is as it was"), "{text}");
}

#[test]
fn what_cannot_be_migrated_is_told_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("place");
    let entries = furnished(&place, StoreKind::Sled);
    let told = |to| migrate(&place, to, None, &mut |_| {}).unwrap_err().to_string();

    let store = open_at(&place, StoreOptions::default()).unwrap();
    let pid = format!("in use by process {}", std::process::id());
    assert!(told(StoreKind::Fjall).contains(&pid));
    drop(store);

    fs::create_dir(place.join("fjall.new")).unwrap();
    assert!(told(StoreKind::Fjall).contains("is not empty: it has \"fjall.new\""));
    fs::remove_dir(place.join("fjall.new")).unwrap();

    fs::write(place.join("migrating"), "a file").unwrap();
    assert!(told(StoreKind::Fjall).contains("migrating is not a directory"));
    fs::remove_file(place.join("migrating")).unwrap();

    let nowhere = migrate(&directory.path().join("none"), StoreKind::Fjall, None, &mut |_| {});
    assert!(nowhere.unwrap_err().to_string().contains("there is no store in"));
    assert!(!directory.path().join("none").exists());
    assert!(!names(&place).contains(&"migrating".to_owned()));
    // What opening it above has dropped was cut short.
    let kept: Vec<Entry> = entries.into_iter().filter(|(key, _)| key[0] != key::STAGING).collect();
    assert_eq!(found(&place), (Some(StoreKind::Sled), kept));
}

#[test]
fn a_store_that_is_written_wrong_does_not_count() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("place");
    let entries = furnished(&place, StoreKind::Sled);
    let mut spoilt = false;
    let error = migrate(&place, StoreKind::Fjall, None, &mut |stage| {
        if let (Stage::Copied(_), false) = (stage, spoilt) {
            spoilt = true;
            // As a disk that loses what it was given.
            let journal = place.join("migrating/fjall/0.jnl");
            fs::File::options().write(true).open(journal).unwrap().set_len(100).unwrap();
        }
    });
    let text = error.unwrap_err().to_string();
    assert!(text.contains("place is as it was"), "{text}");
    assert_eq!(found(&place), (Some(StoreKind::Sled), entries));
    assert!(!place.join("migrating").exists());
}
