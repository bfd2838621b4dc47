//! The ledger of a busy node is counted in parts: together they are what a count of all is.

use std::sync::Arc;

use super::*;
use crate::engine::{Change, Event, PageEntry};
use crate::id::ClientNo;
use crate::run::{Cause, Counts, DeliveryState, Outcome, Run};
use crate::store::MemoryStore;
use crate::store::records::tests::{a_run, at, serial};
use crate::store::writer::{Commit, Writer};

fn job() -> JobId {
    JobId::from_parts(at(0), 9)
}

/// A store with runs of a job that fire 20 ms after they are due, and answers of three clients each.
fn written(runs: i64) -> MemoryStore {
    let store = MemoryStore::new();
    let mut writer = Writer::open(&store).unwrap();
    for n in 0..runs {
        let (fired_at, ended_at) = (at(n + 20), Some(at(n + 50)));
        let run = Run { job_id: Some(job()), fired_at, ended_at, ..a_run(n, 3) };
        let entry = |no: u32| PageEntry {
            client: ClientNo(no * 10),
            at: at(n + 50),
            attempt: 1,
            retried: no == 2,
            outcome: Outcome { ran_ms: Some(5), ..Outcome::ended(DeliveryState::Failed, "no") },
        };
        let (serial, job) = (serial(n), run.job.clone());
        let (scheduled_at, counts) = (run.scheduled_at, Counts { total: 3, ..Counts::default() });
        let command = run.command.name.clone();
        let cause = Cause::Scheduled;
        let (total, away) = (3, 0);
        let started = What::RunStarted {
            serial,
            job: job.clone(),
            command,
            cause,
            scheduled_at,
            total,
            away,
        };
        let ended = What::RunEnded { serial, job, counts };
        let event = |at, what| Arc::new(Event { at, actor: crate::Actor::Server, what });
        let entries = (0..3).map(entry).collect();
        let unit =
            vec![Change::PutRun(Arc::new(run)), Change::PutPage { serial, page: 0, entries }];
        let events = vec![event(at(n + 20), started), event(at(n + 50), ended)];
        let commit = Commit { units: vec![unit], events, ..Commit::default() };
        writer.write(&store, &commit).unwrap();
    }
    store
}

/// All statistics of a job or of clients in all hours.
fn all(delta: &Delta, subject: Subject) -> Statistics {
    let mut sum = Statistics::default();
    for (slot, record) in &delta.records {
        if slot.subject == subject && matches!(slot.span, Span::Hour(_)) {
            record.of.values().for_each(|it| sum.merge(it));
        }
    }
    sum
}

#[test]
fn what_happened_is_counted_by_job_and_by_client() {
    let store = written(10);
    let delta = count(&store, 1, None).unwrap();
    assert!(delta.is_last);
    let of_job = all(&delta, Subject::Job(job()));
    assert_eq!((of_job.fired, of_job.ended, of_job.retried), (10, 10, 10));
    assert_eq!(of_job.deliveries_of(DeliveryState::Failed), 20);
    assert_eq!(of_job.fired_late.max(), Some(20));
    assert_eq!((of_job.recorded_late.max(), of_job.ran.max()), (Some(50), Some(5)));
    // Clients 0 and 10 are in one page, 20 in the next: all it had was tried again.
    assert_eq!(all(&delta, Subject::Clients(0)).deliveries(), 20);
    let next = all(&delta, Subject::Clients(1));
    assert_eq!((next.deliveries(), next.retried, next.fired), (0, 10, 0));
}

#[test]
fn parts_of_the_ledger_come_to_the_whole_wherever_they_meet() {
    let store = written(10);
    let whole = count(&store, 1, None).unwrap();
    for middle in 1..=whole.until {
        let first = count(&store, 1, Some(middle)).unwrap();
        let second = count(&store, middle, None).unwrap();
        assert_eq!((first.until, second.from), (middle, middle));
        let mut sum = first.records;
        for (slot, record) in &second.records {
            sum.entry(*slot).or_default().merge(record);
        }
        let of = |records: &BTreeMap<Slot, Record>| -> Vec<_> {
            records.iter().map(|(slot, record)| (*slot, record.of.clone())).collect()
        };
        // A count ends between two entries, and several responses are one.
        if ends_an_entry(&store, middle) {
            assert_eq!(of(&sum), of(&whole.records), "at {middle}");
        }
    }
}

fn ends_an_entry(store: &MemoryStore, no: u64) -> bool {
    let pages = key::all(key::LEDGER);
    let entries = store.scan(&pages.start..&pages.end, Order::Up, usize::MAX).unwrap();
    entries.iter().any(|(key, value)| {
        let first = key::event_in(key).unwrap();
        ledger::entries(first, value).unwrap().any(|entry| {
            let entry = entry.unwrap();
            entry.no == no || entry.no + entry.events() == no
        })
    })
}

#[test]
fn a_run_that_somebody_has_forgotten_is_left_out() {
    let store = written(3);
    let gone = vec![crate::store::Op::Delete(key::run(serial(1)))];
    store.commit(vec![gone]).unwrap();
    let delta = count(&store, 1, None).unwrap();
    assert_eq!(all(&delta, Subject::Job(job())).fired, 2);
}
