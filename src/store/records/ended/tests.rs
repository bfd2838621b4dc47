//! Ended runs are listed with their end, and forgotten part by part, wherever a crash comes.

use std::sync::Arc;

use super::*;
use crate::engine::PageEntry;
use crate::id::ClientNo;
use crate::json::Json;
use crate::run::{DeliveryState, LateAnswer, Outcome};
use crate::store::MemoryStore;
use crate::store::faulty::FaultyStore;
use crate::store::records::tests::{a_run, at, serial};
use crate::store::records::{load, write};

fn ended(n: i64, job: Option<JobId>) -> Run {
    let own = a_run(n, 3);
    Run { job_id: job, ended_at: Some(at(n + 5)), bytes: 700, ..own }
}

/// A run with so many pages, two of them with large results, and a late answer.
fn large(n: i64, pages: u32) -> Vec<Vec<Change>> {
    let job = Some(JobId::from_parts(at(0), 9));
    let outcome = |page: u32| match page {
        0 | 7 => Outcome::succeeded(Json::new(&"x".repeat(90_000)).unwrap()),
        _ => Outcome::ended(DeliveryState::Failed, "no"),
    };
    let page = |page: u32| {
        let client = ClientNo(page);
        let (at, outcome) = (at(n), outcome(page));
        let entry = PageEntry { client, at, attempt: 1, retried: false, outcome };
        Change::PutPage { serial: serial(n), page, entries: vec![entry] }
    };
    let answer = LateAnswer {
        client: "web-1".parse().unwrap(),
        at: at(n),
        attempt: 1,
        outcome: Outcome::ended(DeliveryState::Failed, "late"),
    };
    let mut unit: Vec<Change> = (0..pages).map(page).collect();
    unit.push(Change::PutRun(Arc::new(ended(n, job))));
    let client = ClientNo(1);
    unit.push(Change::PutLate { serial: serial(n), client, answer: Box::new(answer) });
    vec![unit]
}

fn keys(store: &MemoryStore) -> Vec<Vec<u8>> {
    store.scan(&[]..&[255], Order::Up, usize::MAX).unwrap().into_iter().map(|it| it.0).collect()
}

fn count(store: &MemoryStore, n: i64) -> usize {
    [key::OPEN, key::MARK, key::PAGE, key::RESULT, key::LATE]
        .into_iter()
        .map(|kind| walk(store, key::of_run(kind, serial(n)), Order::Up).count())
        .sum()
}

#[test]
fn an_ended_run_is_listed_by_its_job_and_an_open_one_is_not() {
    let store = MemoryStore::new();
    let job = JobId::from_parts(at(0), 9);
    let open = Run { ended_at: None, ..ended(3, Some(job)) };
    let unit = [ended(1, Some(job)), ended(2, None), open].map(|run| Change::PutRun(Arc::new(run)));
    write(&store, &[unit.to_vec()]).unwrap();
    let listed = |job| -> Vec<EndedRun> {
        walk(&store, key::ended_of(job), Order::Up)
            .map(|entry| {
                let (key, value) = entry.unwrap();
                ended_run(&key, &value).unwrap()
            })
            .collect()
    };
    let expected = |n: i64, job| EndedRun {
        job,
        serial: serial(n),
        ended_at: at(n + 5),
        bytes: 700,
        deliveries: 3,
    };
    assert_eq!(listed(Some(job)), [expected(1, Some(job))]);
    assert_eq!(listed(None), [], "nobody asks for those of no job");
    let error = ended_run(&key::ended(None, serial(1)), b"short").unwrap_err().to_string();
    assert!(error.contains("5 bytes, not 20"), "{error}");
}

#[test]
fn a_large_run_goes_part_by_part_and_a_crash_leaves_it_marked_and_found() {
    for crash in 0_usize.. {
        let memory = MemoryStore::new();
        load(&memory).unwrap();
        let empty = keys(&memory);
        write(&memory, &large(1, 500)).unwrap();
        let all = count(&memory, 1);
        assert!(all > 500);
        // So many parts are written, then comes a crash.
        let store = FaultyStore::failing_after(memory, crash);
        let mut survived = false;
        for _ in 0..=crash {
            survived = write(&store, &[vec![Change::ForgetRun(serial(1))]]).is_ok();
        }
        let parts = store.commits();
        assert!(parts.iter().all(|part| part.len() == 1 && part[0] <= MAX_OPS), "{parts:?}");
        let memory = store.into_inner();
        load(&memory).unwrap();
        let left = count(&memory, 1);
        let record = run(&memory, serial(1)).unwrap();
        let noted = memory.get(&key::forgetting(serial(1))).unwrap().is_some();
        match record {
            Some(run) if left == all => assert!(!run.forgotten && !noted && crash == 0),
            Some(run) => assert!(run.forgotten && noted && left > 0),
            None => {
                assert!(left == 0 && !noted);
                assert_eq!(keys(&memory), empty);
                assert!(crash > 2, "it took several parts");
                return;
            }
        }
        assert!(!survived);
        // What is left is gone after the restart.
        for _ in 0..10 {
            write(&memory, &[vec![Change::ForgetRun(serial(1))]]).unwrap();
        }
        assert_eq!(keys(&memory), empty);
    }
}

#[test]
fn several_runs_are_one_part_together_and_share_the_flush_of_others() {
    let store = FaultyStore::new(MemoryStore::new());
    for n in 0..40 {
        write(&store, &large(n, 10)).unwrap();
    }
    let before = store.commits().len();
    let forget = (0..40).map(|n| Change::ForgetRun(serial(n))).collect();
    let others = |n: i64| vec![Change::PutRun(Arc::new(a_run(n, 1)))];
    write(&store, &[others(100), forget, others(101)]).unwrap();
    let commits = store.commits().split_off(before);
    assert_eq!(commits.len(), 1, "one flush: {commits:?}");
    assert_eq!(commits[0].len(), 3);
    assert!(commits[0][1] <= MAX_OPS && commits[0][1] > MAX_OPS / 2, "{commits:?}");
    let memory = store.into_inner();
    let left: Vec<i64> = (0..40).filter(|n| run(&memory, serial(*n)).unwrap().is_some()).collect();
    let first = *left.first().unwrap();
    assert_eq!(left, (first..40).collect::<Vec<_>>(), "the first go first");
    let partly = count(&memory, first) < count(&memory, 39);
    assert_eq!(run(&memory, serial(first)).unwrap().is_some_and(|run| run.forgotten), partly);
    assert!(run(&memory, serial(first + 1)).unwrap().is_some_and(|run| !run.forgotten));
    assert_eq!(count(&memory, first + 1), count(&memory, 39), "untouched");
}

#[test]
fn what_the_same_commit_has_put_is_seen() {
    let store = MemoryStore::new();
    load(&store).unwrap();
    let empty = keys(&store);
    let mut units = large(1, 20);
    units.push(vec![Change::ForgetRun(serial(1))]);
    write(&store, &units).unwrap();
    assert_eq!(keys(&store), empty);
}
