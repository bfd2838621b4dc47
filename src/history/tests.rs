//! What was recorded can be asked for: runs, responses and pages through a written store.

use std::sync::Arc;

use super::runs::runs_within;
use super::*;
use crate::engine::{Change, PageEntry};
use crate::run::{Counts, DeliveryState, Outcome, Run};
use crate::store::records::tests::{a_client, a_page, a_run, at, open, serial};
use crate::store::{MemoryStore, Op, Store, key, records};
use crate::{ClientNo, JobId, JobName, Json};

fn written(units: &[Vec<Change>]) -> MemoryStore {
    let store = MemoryStore::new();
    records::load(&store).unwrap();
    records::write(&store, units).unwrap();
    store
}

fn succeeded(n: u32) -> Outcome {
    Outcome::succeeded(Json::new(&n).unwrap())
}

/// Runs 0 to 399; every third is of job `b`, and every second has ended, 10 ms after it was due.
fn many() -> MemoryStore {
    let run = |n: i64| {
        let name: JobName = if n % 3 == 0 { "b" } else { "a" }.parse().unwrap();
        let ended_at = (n % 2 == 0).then(|| at(n + 10));
        Change::PutRun(Arc::new(Run { job: Some(name), ended_at, ..a_run(n, 0) }))
    };
    written(&[(0..400).map(run).collect()])
}

fn numbers(store: &MemoryStore, query: &RunQuery) -> Vec<i64> {
    let millis = |run: &Run| run.scheduled_at.millis() - at(0).millis();
    runs(store, query).unwrap().iter().map(millis).collect()
}

#[test]
fn runs_come_newest_first_within_the_bounds_asked_for() {
    let store = many();
    let all = RunQuery { limit: MAX_RUNS, ..RunQuery::default() };
    assert_eq!(numbers(&store, &all), (0..400).rev().collect::<Vec<_>>());
    assert_eq!(numbers(&store, &RunQuery::default()).len(), DEFAULT_RUNS);
    assert_eq!(numbers(&store, &RunQuery { limit: 0, ..all.clone() }), [0; 0]);

    let between = RunQuery { before: Some(serial(9)), after: Some(serial(5)), ..all.clone() };
    assert_eq!(numbers(&store, &between), [8, 7, 6]);
    let crossed = RunQuery { before: Some(serial(5)), after: Some(serial(9)), ..all.clone() };
    assert_eq!(numbers(&store, &crossed), [0; 0]);

    let job = RunQuery { job: Some("b".parse().unwrap()), limit: 3, ..all.clone() };
    assert_eq!(numbers(&store, &job), [399, 396, 393]);
    let none = RunQuery { job: Some("c".parse().unwrap()), ..all };
    assert_eq!(numbers(&store, &none), [0; 0]);
    assert_eq!(runs_within(&store, &job, 4).unwrap().len(), 2, "399 to 396 are looked at");
}

#[test]
fn a_query_never_gives_more_than_its_most() {
    let run = |n| Change::PutRun(Arc::new(a_run(n, 0)));
    let store = written(&[(0..1_100).map(run).collect()]);
    let greedy = RunQuery { limit: usize::MAX, ..RunQuery::default() };
    assert_eq!(runs(&store, &greedy).unwrap().len(), MAX_RUNS);
}

#[test]
fn a_query_is_written_in_snake_case_and_unknown_fields_are_refused() {
    let query: RunQuery = serde_json::from_str(r#"{"job":"a/b","limit":5}"#).unwrap();
    let expected = RunQuery { job: Some("a/b".parse().unwrap()), limit: 5, ..RunQuery::default() };
    assert_eq!(query, expected);
    assert_eq!(serde_json::to_string(&query).unwrap(), r#"{"job":"a/b","limit":5}"#);
    assert!(serde_json::from_str::<RunQuery>(r#"{"jobs":"a"}"#).is_err());
}

#[test]
fn an_open_run_is_counted_from_its_responses_and_an_ended_one_is_not() {
    let failed = Outcome::ended(DeliveryState::Failed, "disk full");
    let pages = |n| {
        vec![
            a_page(n, 0, vec![(0, succeeded(0)), (1, failed.clone())]),
            a_page(n, 1, vec![(2, succeeded(2))]),
        ]
    };
    let counts = Counts { total: 3, cancelled: 3, ..Counts::default() };
    let ended = Run { ended_at: Some(at(9)), counts, ..a_run(2, 3) };
    let fire = vec![Change::PutRun(Arc::new(a_run(1, 5))), open(1, 0, [3, 4])];
    let store = written(&[fire, pages(1), vec![Change::PutRun(Arc::new(ended))], pages(2)]);
    let found = run(&store, serial(1)).unwrap().unwrap().counts;
    assert_eq!(found, Counts { total: 5, succeeded: 2, failed: 1, ..Counts::default() });
    assert_eq!(found.open(), 2);
    assert_eq!(run(&store, serial(2)).unwrap().unwrap().counts, counts);
    assert_eq!(run(&store, serial(3)).unwrap(), None);
}

#[test]
fn responses_come_with_names_and_whole_results() {
    let large = Outcome::succeeded(Json::new(&"é".repeat(50_000)).unwrap());
    let failed = Outcome { ran_ms: Some(7), ..Outcome::ended(DeliveryState::Failed, "disk full") };
    let clients = (0..4).map(|no| Change::PutClient(Arc::new(a_client(no)))).collect();
    let store = written(&[
        clients,
        vec![a_page(1, 0, vec![(2, large.clone()), (1, failed.clone())])],
        vec![a_page(1, 1, vec![(0, succeeded(5))])],
        vec![a_page(2, 0, vec![(0, succeeded(6))])],
    ]);
    let all = responses(&store, serial(1), 0).unwrap();
    let told: Vec<_> =
        all.responses.iter().map(|one| (one.client.as_str(), one.outcome.clone())).collect();
    assert_eq!(told, [("web-2", large.clone()), ("web-1", failed), ("web-0", succeeded(5))]);
    assert!(all.responses.iter().all(|one| one.serial == serial(1) && one.at == at(6)));
    assert_eq!(all.next_page, 2);
    let second = responses(&store, serial(1), 1).unwrap();
    assert_eq!((second.responses.len(), second.next_page), (1, 2));
    let nothing = responses(&store, serial(1), 2).unwrap();
    assert_eq!((nothing.responses.len(), nothing.next_page), (0, 2));

    let one = |n, id: &str| response(&store, serial(n), &id.parse().unwrap()).unwrap();
    assert_eq!(one(1, "web-2").unwrap().outcome, large);
    assert_eq!(one(2, "web-0").unwrap().outcome, succeeded(6));
    assert_eq!(one(1, "web-3"), None, "it has not answered");
    assert_eq!(one(1, "nobody"), None);
    assert_eq!(one(3, "web-0"), None);
}

#[test]
fn a_read_of_responses_is_bounded_and_the_next_goes_on_where_it_ended() {
    const CLIENTS: u32 = 3_000;
    let clients = (0..CLIENTS).map(|no| Change::PutClient(Arc::new(a_client(no)))).collect();
    let result = Json::new(&"x".repeat(2_000)).unwrap();
    let few = |page: u32| {
        // Ten responses to a page; those of the second third have results of 2 kB.
        let large = (CLIENTS / 30..CLIENTS / 15).contains(&page);
        let outcome = |no| if large { Outcome::succeeded(result.clone()) } else { succeeded(no) };
        a_page(1, page, (page * 10..page * 10 + 10).map(|no| (no, outcome(no))).collect())
    };
    let store = written(&[clients, (0..CLIENTS / 10).map(few).collect()]);
    let (mut page, mut counts, mut names) = (0, Vec::new(), std::collections::BTreeSet::new());
    loop {
        let part = responses(&store, serial(1), page).unwrap();
        if part.next_page == page {
            break;
        }
        page = part.next_page;
        counts.push(part.responses.len());
        names.extend(part.responses.into_iter().map(|one| one.client));
    }
    // The first is bounded by its count, the second by its bytes.
    assert_eq!(counts, [1_000, 530, 1_000, 470]);
    assert_eq!(names.len(), CLIENTS as usize);
}

#[test]
fn a_page_in_many_parts_is_never_torn_between_two_reads() {
    let clients = (0..2_500).map(|no| Change::PutClient(Arc::new(a_client(no)))).collect();
    let reason = "r".repeat(200);
    let entries = (0..2_500).map(|no| (no, Outcome::ended(DeliveryState::Failed, &*reason)));
    let store = written(&[clients, vec![a_page(1, 0, entries.collect())]]);
    assert!(store.get(&key::page(serial(1), 0, 3)).unwrap().is_some(), "there are many parts");
    let all = responses(&store, serial(1), 0).unwrap();
    assert_eq!((all.responses.len(), all.next_page), (2_500, 1));
}

#[test]
fn a_missing_piece_of_a_result_and_a_missing_client_are_told_with_their_keys() {
    let large = Outcome::succeeded(Json::new(&"x".repeat(100_000)).unwrap());
    let entries = vec![PageEntry {
        client: ClientNo(0),
        at: at(0),
        attempt: 1,
        retried: false,
        outcome: large,
    }];
    let page = Change::PutPage { serial: serial(1), page: 0, entries };
    let store = written(&[vec![Change::PutClient(Arc::new(a_client(0))), page]]);
    let piece = key::result(serial(1), ClientNo(0), 2);
    store.commit(vec![vec![Op::Delete(piece.clone())]]).unwrap();
    let error = responses(&store, serial(1), 0).unwrap_err().to_string();
    assert!(error.contains("damaged result") && error.contains(&key::show(&piece)), "{error}");

    let store = written(&[vec![a_page(1, 0, vec![(4, succeeded(1))])]]);
    let error = responses(&store, serial(1), 0).unwrap_err().to_string();
    assert!(error.contains("damaged client under key c:00000004"), "{error}");
}

/// Runs 0 to 99 of two jobs of three runs each in turn, of which the third is no job's; every
/// second has ended.
#[test]
fn the_list_of_a_job_gives_what_a_look_at_all_ended_runs_gives() {
    let jobs = [1_u8, 2].map(|n| JobId::from_bytes([n; 16]));
    let run = |n: i64| {
        let job_id = usize::try_from(n % 3).ok().and_then(|n| jobs.get(n).copied());
        let ended_at = (n % 2 == 0).then(|| at(n + 10));
        Change::PutRun(Arc::new(Run { job_id, ended_at, ..a_run(n, 0) }))
    };
    let store = written(&[(0..100).map(run).collect()]);
    let query = RunQuery { limit: MAX_RUNS, ..RunQuery::default() };
    let all: Vec<Run> = runs(&store, &query).unwrap();
    let ended = all.iter().filter(|run| run.ended_at.is_some());
    for of in [&jobs[..1], &jobs[1..], &jobs[..], &[]] {
        for (after, before, limit) in [(0, 100, 100), (13, 61, 100), (5, 6, 10), (0, 90, 7)] {
            let (low, high) = (serial(after), serial(before));
            let query = RunQuery { job: None, after: Some(low), before: Some(high), limit };
            let expected: Vec<Run> = ended
                .clone()
                .filter(|run| run.job_id.is_some_and(|job| of.contains(&job)))
                .filter(|run| run.serial > low && run.serial < high)
                .take(limit)
                .cloned()
                .collect();
            assert_eq!(ended_of_jobs(&store, of, &query).unwrap(), Some(expected));
        }
    }
    store.commit(vec![vec![Op::Delete(key::ended_runs_listed())]]).unwrap();
    assert_eq!(ended_of_jobs(&store, &jobs, &query).unwrap(), None, "an older store");
}
