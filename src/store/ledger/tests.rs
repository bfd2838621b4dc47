//! Pages of the ledger, written and read back.

use proptest::prelude::*;

use super::*;
use crate::actor::Actor;
use crate::engine::{Event, What};
use crate::id::{JobId, Serial};
use crate::run::{Cause, Counts, DeliveryState};
use crate::store::{MAX_VALUE, MemoryStore, Op};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn serial(n: u64) -> Serial {
    Serial::from_parts(at(1_000), n.into())
}

/// One of each form, chosen by `n`.
fn event(n: u64, millis: i64) -> Event {
    // A run has one job.
    let job = Some(format!("job-{}", n / 2 % 3).parse().unwrap());
    let client = format!("web-{}", n % 5).parse().unwrap();
    let serial = serial(n / 2);
    let what = match n % 7 {
        0 => What::RunStarted {
            serial,
            job,
            command: "work".parse().unwrap(),
            cause: Cause::from_code(u8::try_from(n % 4).unwrap()).unwrap(),
            scheduled_at: at(millis - 17),
            total: 1_000,
            away: 3,
        },
        1 => {
            let mut counts = Counts { total: 12, retried: 2, ..Counts::default() };
            counts.set(DeliveryState::Succeeded, 9);
            counts.set(DeliveryState::Removed, 3);
            What::RunEnded { serial, job, counts }
        }
        2 => What::Connected { client, queued: n },
        3 => What::Disconnected { client, reason: "it went — away".into() },
        4 => What::ClockJumped,
        5 => What::Job {
            job: "a/b".parse().unwrap(),
            id: JobId::from_parts(at(1), 7),
            change: "paused".into(),
            revision: Some(3),
            fields: Vec::new(),
            reason: Some("x".repeat(500)),
            until: Some(at(99)),
        },
        _ => What::Server {
            change: "stopped".into(),
            version: "1".into(),
            down_since: None,
            stopped_in_order: None,
        },
    };
    let actor = match n % 4 {
        0 => Actor::Server,
        1 => Actor::Chores,
        2 => Actor::token("ci").unwrap(),
        _ => Actor::Client("web-1".parse().unwrap()),
    };
    Event { at: at(millis), actor, what }
}

fn written(events: &[Event]) -> (MemoryStore, Head) {
    let mut builder = Builder::new(Head::new(), 0);
    for event in events {
        builder.event(event);
    }
    let (ops, head) = builder.finish(0xdead_beef);
    let store = MemoryStore::new();
    store.commit(vec![ops]).unwrap();
    (store, Head { next_commit: head.next_commit + 1, ..head })
}

fn all(store: &MemoryStore) -> Vec<Entry> {
    let keys = key::all(key::LEDGER);
    let pages = store.scan(&keys.start..&keys.end, Order::Up, usize::MAX).unwrap();
    let mut found = Vec::new();
    for (page_key, page) in pages {
        assert!(page.len() <= MAX_VALUE);
        let first = key::event_in(&page_key).unwrap();
        let before = found.len();
        found.extend(entries(first, &page).unwrap().map(Result::unwrap));
        let head = head(&page).unwrap();
        assert_eq!((head.commit, head.part, head.digest), (1, 0, 0xdead_beef));
        assert_eq!(head.events, (found.len() - before) as u64);
    }
    found
}

fn json(what: &What) -> String {
    serde_json::to_string(what).unwrap()
}

proptest! {
    #[test]
    fn what_was_written_comes_back_in_order(
        kinds in proptest::collection::vec((0_u64..10_000, 0_i64..50), 1..400),
    ) {
        let mut millis = 1_000;
        let events: Vec<Event> = kinds.into_iter().map(|(n, passed)| {
            millis += passed;
            event(n, millis)
        }).collect();
        let (store, head) = written(&events);
        let found = all(&store);
        prop_assert_eq!(found.len(), events.len());
        for ((entry, event), no) in found.iter().zip(&events).zip(1..) {
            let Item::Event(what) = &entry.item else { panic!("{entry:?}") };
            prop_assert_eq!((entry.no, entry.at, &entry.actor), (no, event.at, &event.actor));
            prop_assert_eq!(json(what), json(&event.what));
        }
        prop_assert_eq!(Head::of(&store).unwrap(), head, "it goes on where it ended");
    }

    #[test]
    fn reading_any_bytes_never_panics(
        mut page in proptest::collection::vec(any::<u8>(), 0..300), first in any::<u64>(),
    ) {
        for version in [None, Some(super::VERSION)] {
            if let (Some(version), Some(byte)) = (version, page.first_mut()) {
                *byte = version;
            }
            let _ = head(&page);
            if let Ok(entries) = entries(first, &page) {
                entries.for_each(drop);
            }
        }
    }

    #[test]
    fn a_page_that_is_cut_or_changed_is_an_error_or_another_page(cut in 0_usize..400, flip in any::<u8>()) {
        let events: Vec<Event> = (0..30).map(|n| event(n, 1_000)).collect();
        let (store, _) = written(&events);
        let mut page = store.get(&key::ledger(1)).unwrap().unwrap();
        let place = cut % page.len();
        page[place] ^= flip;
        if let Ok(entries) = entries(1, &page) {
            entries.for_each(drop);
        }
        page.truncate(place);
        let whole = entries(1, &page).is_ok_and(|mut entries| entries.all(|entry| entry.is_ok()));
        let count = entries(1, &page).map_or(0, Iterator::count);
        prop_assert!(!whole || count < 30);
    }
}

#[test]
fn times_never_go_back_whatever_the_clock_does() {
    let (store, head) = written(&[event(2, 5_000), event(0, 1_000), event(4, 6_000)]);
    let times: Vec<i64> = all(&store).iter().map(|entry| entry.at.millis()).collect();
    assert_eq!(times, [5_000, 5_000, 6_000]);
    let Item::Event(what) = &all(&store)[1].item else { panic!() };
    assert_eq!(json(what), json(&event(0, 1_000).what), "what it tells is as it was");
    assert_eq!(head.last_at, at(6_000));
}

#[test]
fn a_run_is_due_when_it_was_whatever_the_clock_does() {
    let (store, _) = written(&[event(2, 5_000), event(0, 1_000)]);
    let found = all(&store);
    let Item::Event(what) = &found[1].item else { panic!("{found:?}") };
    assert_eq!((found[1].at, json(what)), (at(5_000), json(&event(0, 1_000).what)));
}

#[test]
fn ends_of_deliveries_take_a_number_each() {
    let mut builder = Builder::new(Head { next_event: 10, ..Head::new() }, 3);
    let job = "a".parse().unwrap();
    builder.rows(serial(1), None, (4, 700), at(7));
    builder.rows(serial(1), Some(&job), (5, 3), at(8));
    builder.event(&event(2, 9));
    let (ops, head) = builder.finish(1);
    assert_eq!(head.next_event, 10 + 703 + 1);
    let [Op::Put(page_key, page)] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!(key::event_in(page_key), Some(10));
    let found: Vec<Entry> = entries(10, page).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.iter().map(|entry| entry.no).collect::<Vec<_>>(), [10, 710, 713]);
    let Item::Rows { serial: of, job: named, page: 5, rows: 3 } = &found[1].item else {
        panic!("{found:?}")
    };
    assert_eq!((*of, named), (serial(1), &Some(job)));
}

#[test]
fn a_batch_without_events_has_a_page_and_a_number() {
    let before = Head { last_at: at(77), stopped: true, ..Head::new() };
    let (ops, head) = Builder::new(before, 0).finish(0);
    assert_eq!((ops.len(), head.next_event, head.last_at, head.stopped), (1, 2, at(77), true));
}

#[test]
fn the_last_event_tells_whether_the_server_stopped_in_order() {
    let (_, head) = written(&[event(2, 1), event(6, 2)]);
    assert!(head.stopped);
    let (store, head) = written(&[event(6, 1), event(2, 2)]);
    assert!(!head.stopped && !Head::of(&store).unwrap().stopped);
    assert_eq!(Head::of(&MemoryStore::new()).unwrap().end(), None);
}
