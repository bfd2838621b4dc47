//! Records that are whole, damaged, cut off or begun anew.

use std::sync::Arc;

use super::*;
use crate::engine::Apply;
use crate::store::{MemoryStore, Op, Order, Store, key};
use crate::{JobSpec, Node, Rule, Submission};

/// One life of a server: a job is defined and triggered, a command is submitted.
async fn live(store: &MemoryStore) {
    let node = Node::start(Arc::new(store.clone())).unwrap();
    let handle = node.handle();
    let name: crate::JobName = "a".parse().unwrap();
    let rule = Rule::every(std::time::Duration::from_secs(3_600)).unwrap();
    let job = JobSpec::new(name.clone(), "all".parse().unwrap(), "work".parse().unwrap(), rule);
    handle.apply(Apply { jobs: vec![job], ..Apply::default() }).await.unwrap();
    for _ in 0..5 {
        handle.trigger(name.clone()).await.unwrap();
        let submission = Submission::new("all".parse().unwrap(), "work".parse().unwrap());
        handle.submit(submission).await.unwrap();
    }
    node.stop().await.unwrap();
}

fn check(store: &MemoryStore, base: Option<&MemoryStore>) -> Result<Verified, ReenactError> {
    let base = base.map(|base| base as &dyn Store);
    verify(Source { store, base }, &mut |_| ())
}

fn keys(store: &MemoryStore, kind: u8) -> Vec<Vec<u8>> {
    let all = key::all(kind);
    let found = store.scan(&all.start..&all.end, Order::Up, usize::MAX).unwrap();
    found.into_iter().map(|(key, _)| key).collect()
}

fn delete(store: &MemoryStore, keys: &[Vec<u8>]) {
    store.commit(vec![keys.iter().cloned().map(Op::Delete).collect()]).unwrap();
}

fn error(result: Result<Verified, ReenactError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn two_lives_come_out_again() {
    let store = MemoryStore::new();
    assert!(matches!(check(&store, None), Err(ReenactError::NothingRecorded)));
    live(&store).await;
    live(&store).await;
    let verified = check(&store, None).unwrap();
    assert_eq!((verified.starts, verified.cut_short, &verified.difference), (2, 0, &None));
    let pages = keys(&store, key::LEDGER).len() as u64;
    assert!(verified.events > 20 && verified.pages == pages, "{verified:?}");
}

#[tokio::test]
async fn a_write_or_an_event_that_was_another_is_found() {
    let store = MemoryStore::new();
    live(&store).await;
    let pages = keys(&store, key::LEDGER);
    for page in &pages {
        let value = store.get(page).unwrap().unwrap();
        let changed = |place: usize| {
            let mut value = value.clone();
            value[place] ^= 1;
            let copy = store.copy();
            copy.commit(vec![vec![Op::Put(page.clone(), value)]]).unwrap();
            check(&copy, None)
        };
        // The digest: version, commit and part are one byte each.
        let difference = changed(3).unwrap().difference.unwrap();
        assert!(difference.note.unwrap().contains("digests"));
        // A text, a serial or a count at the end.
        match changed(value.len() - 1) {
            Ok(verified) => assert!(verified.difference.is_some()),
            Err(error) => assert!(matches!(error, ReenactError::Store(_)), "{error}"),
        }
    }
    // A page that is no longer kept cannot be compared.
    delete(&store, &pages[..1]);
    let verified = check(&store, None).unwrap();
    assert_eq!((verified.pages_missing, &verified.difference), (1, &None), "{verified:?}");
}

#[tokio::test]
async fn records_need_their_beginning_or_a_base() {
    let store = MemoryStore::new();
    live(&store).await;
    let before = store.copy();
    let first = keys(&store, key::INPUTS);
    live(&store).await;
    let whole = store.copy();
    delete(&store, &first);
    assert!(error(check(&store, None)).contains("give as base a backup"));
    let verified = check(&store, Some(&before)).unwrap();
    assert_eq!((verified.starts, verified.difference), (1, None));
    let empty = check(&whole, Some(&MemoryStore::new()));
    assert_eq!(empty.unwrap().starts, 2, "an empty store is where it began");
    // A store that is older than its records: they begin anew after all of them were lost.
    let older = before.copy();
    for kind in [key::INPUTS, key::LEDGER] {
        delete(&older, &keys(&older, kind));
    }
    live(&older).await;
    let told = error(check(&older, None));
    assert!(told.contains("older than its records") && told.contains("jobs: 1"), "{told}");
    // A base from within a life.
    let within = before.copy();
    let pages = keys(&within, key::LEDGER);
    delete(&within, &pages[2..]);
    assert!(error(check(&whole, Some(&within))).contains("while the server was down"));

    let gap = keys(&whole, key::INPUTS)[2].clone();
    delete(&whole, &[gap]);
    assert!(error(check(&whole, None)).contains("inputs of commit 3 are not recorded"));
}
