//! What the engine has stored, wherever it was cut short, is sound, and comes back from a backup
//! and from an export.

use std::io::Cursor;
use std::sync::Arc;

use fleetcron::Timestamp;
use fleetcron::store::check::check;
use fleetcron::store::exchange::{ExportQuery, ImportOptions, export, import_into};
use fleetcron::store::{
    Entry, MemoryStore, Order, Store, StoreKind, StoreOptions, Tee, backup, everything, open_at,
    prepare, walk,
};

/// Nothing is wrong in the store.
pub(crate) fn is_sound(store: &MemoryStore) {
    let report = check(Arc::new(store.clone())).unwrap();
    assert!(report.sound, "{:#?}", report.faults);
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

/// A restored backup is the same store; an imported export is sound and exported as the same.
pub(crate) fn comes_back(store: &MemoryStore, now: Timestamp) {
    let tee = Arc::new(Tee::new(Arc::new(store.clone())));
    let mut file = Vec::new();
    backup::write(tee.capture().unwrap(), || now, &mut file).unwrap();
    let directory = tempfile::tempdir().unwrap();
    backup::restore(&file[..], directory.path(), StoreKind::Sled).unwrap();
    let restored = open_at(directory.path(), StoreOptions::default()).unwrap();
    assert_eq!(all(restored.as_ref()), all(store));

    let text = exported(store, now);
    let copy = MemoryStore::new();
    prepare(&copy).unwrap();
    import_into(&mut Cursor::new(text.as_bytes()), &copy, ImportOptions::default()).unwrap();
    is_sound(&copy);
    let again = exported(&copy, now);
    for (one, other) in text.lines().zip(again.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(text.len(), again.len());
}

fn all(store: &dyn Store) -> Vec<Entry> {
    walk(store, everything(), Order::Up).map(Result::unwrap).collect()
}

fn exported(store: &dyn Store, now: Timestamp) -> String {
    let mut text = Vec::new();
    export(store, &ExportQuery::default(), now, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}
