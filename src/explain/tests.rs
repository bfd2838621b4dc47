//! Tests of explanations over records that are written by hand.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::engine::Change;
use crate::id::JobId;
use crate::job::{Job, JobSpec, JobState};
use crate::pause::Paused;
use crate::schedule::Rule;
use crate::store::{MemoryStore, records};
use crate::target::Target;
use crate::time::Timestamp;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// A store with one job, and nothing else.
fn store(period: Duration, state: JobState) -> (MemoryStore, JobId) {
    let rule = Rule::every(period).unwrap();
    let spec = JobSpec::new("tick".parse().unwrap(), Target::All, "tick".parse().unwrap(), rule);
    let id = JobId::from_parts(at(0), 1);
    let job = Job { id, revision: 1, created_at: at(0), updated_at: at(0), spec };
    let store = MemoryStore::new();
    let unit = vec![Change::PutJob(Arc::new(job)), Change::PutJobState(id, state)];
    records::write(&store, &[unit]).unwrap();
    (store, id)
}

fn explain(store: &MemoryStore, job: JobId, span: Span, now: Timestamp) -> Vec<Item> {
    let query = JobQuery::new("tick".parse().unwrap());
    let mut explainer = JobExplainer::open(store, query, Some(job), span, now).unwrap();
    let mut items = Vec::new();
    while let Some(part) = explainer.part(store).unwrap() {
        assert!(part.len() <= PART + 1, "a part is bounded");
        items.extend(part);
    }
    items
}

fn sums(items: &[Item]) -> &Sums {
    let Some(Item::Sums(sums)) = items.last() else { panic!("{:?}", items.last()) };
    sums
}

#[test]
fn an_answer_is_cut_and_tells_where_to_go_on() {
    let paused = Paused { at: at(0), reason: None, until: None };
    let state = JobState { paused: Some(paused), ..JobState::default() };
    let (store, job) = store(Duration::from_secs(1), state);
    let count = i64::try_from(MAX_FIRINGS).unwrap();
    let now = at(count + 5_000);
    let whole = Span { since: at(1), until: at(count + 10) };
    let items = explain(&store, job, whole, now);
    let cut = at(count + 1);
    assert_eq!((sums(&items).paused, sums(&items).cut_at), (MAX_FIRINGS, Some(cut)));
    let told = |item: &Item| matches!(item, Item::Note(note) if note.note.contains("go on with"));
    assert!(items.iter().any(told));
    let rest = explain(&store, job, Span { since: cut, ..whole }, now);
    assert_eq!((sums(&rest).paused, sums(&rest).cut_at), (9, None));
}

#[test]
fn what_is_due_is_told_as_due_for_a_while_and_then_as_unexplained() {
    let state = JobState { next_due: Some(at(10)), ..JobState::default() };
    let (store, job) = store(Duration::from_secs(10), state);
    // The ledger begins before, so that it would know.
    let mut writer = crate::store::writer::Writer::open(&store).unwrap();
    let what = crate::engine::What::ClockJumped;
    let event = crate::engine::Event { at: at(0), actor: crate::actor::Actor::Server, what };
    let commit = crate::store::writer::Commit {
        events: vec![Arc::new(event)],
        ..crate::store::writer::Commit::default()
    };
    writer.write(&store, &commit).unwrap();
    let span = Span { since: at(0), until: at(11) };
    let items = explain(&store, job, span, at(10));
    assert_eq!((sums(&items).due, sums(&items).problems), (1, 0));
    let items = explain(&store, job, span, at(10).plus(DUE_GRACE).plus(Duration::from_millis(1)));
    assert_eq!((sums(&items).due, sums(&items).unexplained, sums(&items).problems), (0, 1, 1));
}

#[test]
fn what_is_from_before_the_ledger_is_forgotten_and_no_fault() {
    let (store, job) = store(Duration::from_secs(10), JobState::default());
    let span = Span { since: at(0), until: at(31) };
    let items = explain(&store, job, span, at(1_000));
    assert_eq!((sums(&items).forgotten, sums(&items).problems), (3, 0));
}

#[test]
fn an_item_is_read_as_it_was_written() {
    let (store, job) = store(Duration::from_secs(10), JobState::default());
    let items = explain(&store, job, Span { since: at(0), until: at(31) }, at(1_000));
    for item in items {
        let text = serde_json::to_string(&item).unwrap();
        assert_eq!(serde_json::from_str::<Item>(&text).unwrap(), item, "{text}");
    }
}
