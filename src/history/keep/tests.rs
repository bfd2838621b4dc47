//! What is too old or too much is found, in parts that are bounded.

use std::sync::Arc;

use super::*;
use crate::engine::Change;
use crate::store::records::tests::{a_run, at, serial};
use crate::store::{MemoryStore, records};

fn job() -> JobId {
    JobId::from_parts(at(0), 9)
}

/// Runs of a job; every second has ended, 10 ms after it was due, and takes 1,000 bytes.
fn many(count: i64) -> MemoryStore {
    let store = MemoryStore::new();
    let run = |n: i64| {
        let ended_at = (n % 2 == 0).then(|| at(n + 10));
        let run = Run { job_id: Some(job()), ended_at, bytes: 1_000, ..a_run(n, 0) };
        Change::PutRun(Arc::new(run))
    };
    let units: Vec<Vec<Change>> = (0..count).map(|n| vec![run(n)]).collect();
    records::write(&store, &units).unwrap();
    store
}

fn serials(runs: &[EndedRun]) -> Vec<Serial> {
    runs.iter().map(|run| run.serial).collect()
}

#[test]
fn runs_that_ended_before_a_moment_are_found_oldest_first() {
    let store = many(400);
    let none = BTreeSet::new();
    let before = |moment, after| {
        let query = OldRunsQuery { after, before: Some(at(moment)), except: &none };
        serials(&old_runs(&store, &query).unwrap().runs)
    };
    assert_eq!(before(10, None), []);
    assert_eq!(before(15, None), [serial(0), serial(2), serial(4)]);
    assert_eq!(before(15, Some(serial(0))), [serial(2), serial(4)]);
    assert_eq!(before(10_000, None).len(), 200);
    let own = BTreeSet::from([job()]);
    let query = OldRunsQuery { after: None, before: None, except: &own };
    assert_eq!(old_runs(&store, &query).unwrap().runs, [], "their job has an age of its own");
}

#[test]
fn every_read_is_bounded_and_says_where_to_go_on() {
    let count = 2 * i64::try_from(LOOKED_AT).unwrap() + 10;
    let store = many(count);
    let none = BTreeSet::new();
    let (mut after, mut found, mut parts) = (None, Vec::new(), 0);
    loop {
        let query = OldRunsQuery { after, before: None, except: &none };
        let part = old_runs(&store, &query).unwrap();
        assert!(part.runs.len() <= LOOKED_AT / 2);
        found.extend(serials(&part.runs));
        (after, parts) = (part.last, parts + 1);
        if !part.more {
            break;
        }
    }
    assert_eq!(parts, 3);
    let all: Vec<Serial> = (0..count).step_by(2).map(serial).collect();
    assert_eq!(found, all);

    let (mut after, mut found) = (None, Vec::new());
    loop {
        let part = census(&store, &(at(0)..at(count)), after).unwrap();
        found.extend(serials(&part.runs));
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, all);
}

#[test]
fn what_is_beyond_a_jobs_limits_is_found_in_parts() {
    let count = 4 * i64::try_from(LOOKED_AT).unwrap();
    let store = many(count);
    let keep = Keep::new(Some(3), None, None).unwrap();
    let jobs = [(job(), keep), (JobId::from_parts(at(0), 10), keep)];
    let (mut within, mut found, mut rest) = (None, Vec::new(), &jobs[..]);
    while !rest.is_empty() {
        let part = beyond(&store, rest, at(count), within).unwrap();
        assert!(part.runs.len() <= LOOKED_AT);
        found.extend(serials(&part.runs));
        (within, rest) = (part.within, &rest[part.done..]);
    }
    let all: Vec<Serial> = (0..count).step_by(2).map(serial).collect();
    assert_eq!(found, all[..all.len() - 3]);
    let bytes = Keep::new(None, None, Some(4_500)).unwrap();
    let part = beyond(&store, &[(job(), bytes)], at(count), None).unwrap();
    assert_eq!(part.runs[0].serial, serial(0));
    assert_eq!(part.within.unwrap().cut.too_much, Some(all[all.len() - 5]));
}
