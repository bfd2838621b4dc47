//! Tests of explanations over records that are written by hand.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::actor::Actor;
use crate::calendar::{Calendar, CalendarRecord};
use crate::engine::{Change, Event, What};
use crate::id::{JobId, Serial};
use crate::job::{Job, JobSpec, JobState};
use crate::pause::Paused;
use crate::run::Run;
use crate::schedule::Rule;
use crate::store::writer::{Commit, Writer};
use crate::store::{MemoryStore, records};
use crate::target::Target;
use crate::time::Timestamp;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// A store with one job, and nothing else.
fn store(period: Duration, state: JobState) -> (MemoryStore, JobId) {
    store_of(Rule::every(period).unwrap(), state)
}

fn store_of(rule: Rule, state: JobState) -> (MemoryStore, JobId) {
    let spec = JobSpec::new("tick".parse().unwrap(), Target::All, "tick".parse().unwrap(), rule);
    let id = JobId::from_parts(at(0), 1);
    let job = Job { id, revision: 1, created_at: at(0), updated_at: at(0), spec };
    let store = MemoryStore::new();
    let job = Arc::new(job);
    let unit = vec![Change::PutJob(Arc::clone(&job)), Change::PutJobState(job, state)];
    records::write(&store, &[unit]).unwrap();
    (store, id)
}

/// Lets the ledger begin before all else, so that it would know.
fn begin_ledger(store: &MemoryStore) {
    let mut writer = Writer::open(store).unwrap();
    let event = Event { at: at(0), actor: Actor::Server, what: What::ClockJumped };
    writer.write(store, &Commit { events: vec![Arc::new(event)], ..Commit::default() }).unwrap();
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
    begin_ledger(&store);
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

#[test]
fn what_a_calendar_may_have_closed_is_not_known_if_it_was_changed_since() {
    let rule = r#"{"every": "10s", "exclude": {"calendars": ["closed"]}}"#;
    let (store, job) = store_of(serde_json::from_str(rule).unwrap(), JobState::default());
    begin_ledger(&store);
    let dates = vec!["2001-01-01".parse().unwrap()];
    let spec = Calendar::new("closed".parse().unwrap(), None, dates, None).unwrap();
    let record = Arc::new(CalendarRecord { revision: 2, updated_at: at(25), spec });
    records::write(&store, &[vec![Change::PutCalendar(record)]]).unwrap();
    let items = explain(&store, job, Span { since: at(0), until: at(41) }, at(1_000));
    assert_eq!((sums(&items).calendar, sums(&items).unexplained), (2, 2), "after the change it is");
    let told = |item: &Item| matches!(item, Item::Note(note) if note.note.contains("closed was"));
    assert!(items.iter().any(told), "{items:?}");
}

#[test]
fn a_run_of_which_a_part_is_forgotten_is_forgotten_and_others_of_that_kind_are_not_told() {
    let (store, job) = store(Duration::from_secs(10), JobState::default());
    begin_ledger(&store);
    let run = |serial: Serial, cause: &str, forgotten| {
        let due = serial.time();
        let json = serde_json::json!({
            "serial": serial, "job_id": job, "job": "tick", "cause": cause,
            "command": { "name": "tick" }, "target": "all", "scheduled_at": due, "fired_at": due,
            "ended_at": due, "counts": { "total": 1, "succeeded": 1 },
        });
        let run: Run = serde_json::from_value(json).unwrap();
        Change::PutRun(Arc::new(Run { forgotten, ..run }))
    };
    let units = vec![
        vec![run(Serial::of_firing(job, at(10)), "scheduled", true)],
        vec![run(Serial::from_parts(at(12), 7), "trigger", true)],
        vec![run(Serial::of_firing(job, at(20)), "scheduled", false)],
        vec![run(Serial::from_parts(at(22), 7), "trigger", false)],
    ];
    records::write(&store, &units).unwrap();
    let items = explain(&store, job, Span { since: at(0), until: at(25) }, at(1_000));
    let sums = sums(&items);
    assert_eq!((sums.expected, sums.forgotten, sums.fired, sums.others), (2, 1, 1, 1), "{items:?}");
    assert_eq!((sums.deliveries.succeeded, sums.problems), (2, 0));
}
