//! Submits that are made again.

use super::*;
use crate::idempotency::{Fingerprint, IDEMPOTENCY_WINDOW, MAX_REPEATS, Repeat, RepeatKey};

fn keyed(target: &str, key: &str) -> Submission {
    let mut submission = Submission::new(target.parse().unwrap(), "noop".parse().unwrap());
    submission.idempotency_key = Some(key.parse().unwrap());
    submission
}

fn unique(target: &str, seconds: u64) -> Submission {
    let mut submission = Submission::new(target.parse().unwrap(), "noop".parse().unwrap());
    submission.unique_within = Some(Duration::from_secs(seconds));
    submission
}

/// The run's serial, and whether it is an earlier one.
fn submit(bench: &mut Bench, submission: Submission) -> (Serial, bool) {
    match bench.call(Request::Submit(submission)) {
        Reply::Run(run) => (run.serial, false),
        Reply::Repeated(serial) => (serial, true),
        other => panic!("{other:?}"),
    }
}

fn remembered(bench: &Bench) -> Vec<Repeat> {
    records::load(&bench.store).unwrap().repeats
}

#[test]
fn a_key_gives_back_its_run_also_after_its_end_and_a_restart() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let (serial, repeated) = submit(&mut bench, keyed("client:a", "k"));
    assert!(!repeated);
    assert_eq!(submit(&mut bench, keyed("client:a", "k")), (serial, true));
    assert!(bench.sent().is_empty() && bench.changes.is_empty(), "a repeat does nothing");
    bench.succeed(1, serial);
    assert_eq!(submit(&mut bench, keyed("client:a", "k")), (serial, true));
    bench.restart(at(5));
    assert_eq!(submit(&mut bench, keyed("client:a", "k")), (serial, true));
    bench.call(Request::RemoveClient("a".parse().unwrap()));
    assert_eq!(submit(&mut bench, keyed("client:a", "k")), (serial, true), "the target is gone");
    let (other, repeated) = submit(&mut bench, keyed("client:b", "l"));
    assert!(!repeated && other != serial);
}

#[test]
fn a_key_with_another_submission_is_a_conflict_that_names_key_and_run() {
    let mut bench = Bench::new();
    let (serial, _) = submit(&mut bench, keyed("client:a", "order 7"));
    let mut others = vec![keyed("client:b", "order 7"); 4];
    others[1] = Submission { params: "[1]".parse().unwrap(), ..keyed("client:a", "order 7") };
    others[2] = Submission { offline: Offline::Drop, ..keyed("client:a", "order 7") };
    others[3] =
        Submission { unique_within: Some(Duration::from_secs(1)), ..keyed("client:a", "order 7") };
    for other in others {
        let error = bench.ask(Request::Submit(other)).unwrap_err();
        let RequestError::Conflict(message) = &error else { panic!("{error:?}") };
        assert!(
            message.contains("\"order 7\"") && message.contains(&serial.to_string()),
            "{message}"
        );
    }
    assert_eq!(bench.status().runs_open, 1);
    let spaced = Submission { params: "{ }".parse().unwrap(), ..keyed("client:a", "order 7") };
    assert_eq!(submit(&mut bench, spaced), (serial, true), "space means nothing");
}

#[test]
fn a_key_counts_for_a_day_and_is_then_forgotten_in_the_store_too() {
    let mut bench = Bench::new();
    let (serial, _) = submit(&mut bench, keyed("client:a", "k"));
    let day = i64::try_from(IDEMPOTENCY_WINDOW.as_secs()).unwrap();
    bench.wait_until(at(day - 1));
    assert_eq!(submit(&mut bench, keyed("client:a", "k")), (serial, true));
    bench.wait_until(at(day));
    let (second, repeated) = submit(&mut bench, keyed("client:a", "k"));
    assert!(!repeated && second != serial, "its time is up, though it is still in the store");
    bench.wait_until(at(day + 61));
    assert_eq!(remembered(&bench).len(), 1, "the second's own day runs");
    bench.wait_until(at(2 * day + 61));
    assert!(remembered(&bench).is_empty());
    assert_eq!(bench.engine.next_deadline(), None);
}

#[test]
fn what_ran_out_while_the_server_was_down_is_forgotten_at_its_start() {
    let mut bench = Bench::new();
    submit(&mut bench, keyed("client:a", "k"));
    bench.restart(at(2 * 86_400));
    assert!(remembered(&bench).is_empty());
}

#[test]
fn run_and_key_are_one_unit() {
    let mut bench = Bench::new();
    let request = Request::Submit(Submission {
        unique_within: Some(Duration::from_secs(5)),
        ..keyed("group:abc", "k")
    });
    bench.engine.handle(
        at(0),
        Input::Call { call: CallId(99), actor: crate::Actor::Library, request, entropy: 1 },
    );
    let units = bench.engine.take().units;
    let [unit] = &units[..] else { panic!("{units:?}") };
    assert!(unit.iter().any(|change| matches!(change, Change::PutRun(_))));
    let repeats = unit.iter().filter(|change| matches!(change, Change::PutRepeat(_)));
    assert_eq!(repeats.count(), 2);
}

/// The server stops before the unit: neither run nor key is there. After it: both are.
#[test]
fn a_crash_leaves_run_and_key_or_neither() {
    for written in 0..=1 {
        let mut bench = Bench::new();
        let request = Request::Submit(keyed("client:a", "k"));
        bench.engine.handle(
            at(0),
            Input::Call { call: CallId(99), actor: crate::Actor::Library, request, entropy: 1 },
        );
        let units = bench.engine.take().units;
        records::write(&bench.store, &units[..written]).unwrap();
        bench.restart(at(1));
        let (serial, repeated) = submit(&mut bench, keyed("client:a", "k"));
        assert_eq!(repeated, written == 1);
        assert!(crate::history::run(&bench.store, serial).unwrap().is_some());
        assert_eq!(bench.status().runs_open, 1, "the command runs once");
    }
}

#[test]
fn a_unique_submit_gives_back_the_same_command_within_its_time() {
    let mut bench = Bench::new();
    let (serial, _) = submit(&mut bench, unique("client:a", 60));
    bench.wait_until(at(59));
    assert_eq!(submit(&mut bench, unique("client:a", 60)), (serial, true));
    let lasting = Submission { offline: Offline::Drop, ..unique("client:a", 60) };
    assert_eq!(submit(&mut bench, lasting), (serial, true), "only what runs where counts");
    assert!(!submit(&mut bench, unique("client:b", 60)).1, "another target");
    let other = Submission { params: "1".parse().unwrap(), ..unique("client:a", 60) };
    assert!(!submit(&mut bench, other).1, "other parameters");
    let other = Submission { command: "other".parse().unwrap(), ..unique("client:a", 60) };
    assert!(!submit(&mut bench, other).1, "another command");
    bench.restart(at(59));
    assert_eq!(submit(&mut bench, unique("client:a", 60)), (serial, true));
    bench.wait_until(at(60));
    assert!(!submit(&mut bench, unique("client:a", 60)).1, "a repeat does not make it longer");
    bench.submit("client:c");
    assert!(!submit(&mut bench, unique("client:c", 60)).1, "one that was not unique counts not");
}

#[test]
fn of_two_times_the_shorter_counts_and_the_longer_is_kept() {
    let mut bench = Bench::new();
    let (first, _) = submit(&mut bench, unique("client:a", 3_600));
    bench.wait_until(at(100));
    let (second, repeated) = submit(&mut bench, unique("client:a", 60));
    assert!(!repeated && second != first);
    bench.wait_until(at(3_000));
    assert_eq!(submit(&mut bench, unique("client:a", 3_600)), (second, true));
}

#[test]
fn a_unique_repeat_under_a_key_is_known_by_the_key_for_its_day() {
    let mut bench = Bench::new();
    let (serial, _) = submit(&mut bench, unique("client:a", 60));
    let both = Submission { idempotency_key: Some("k".parse().unwrap()), ..unique("client:a", 60) };
    assert_eq!(submit(&mut bench, both.clone()), (serial, true));
    bench.restart(at(600));
    assert_eq!(submit(&mut bench, both), (serial, true));
}

#[test]
fn a_time_of_nothing_or_above_the_most_is_refused() {
    let mut bench = Bench::new();
    for seconds in [0, 30 * 86_400 + 1] {
        let error = bench.ask(Request::Submit(unique("client:a", seconds))).unwrap_err();
        let RequestError::Invalid(message) = &error else { panic!("{error:?}") };
        assert!(message.starts_with("unique_within "), "{message}");
    }
    assert!(!submit(&mut bench, unique("client:a", 30 * 86_400)).1);
}

#[test]
fn a_refused_submit_is_not_remembered() {
    let mut bench = Bench::new();
    bench.ask(Request::Submit(keyed("client:d", "k"))).unwrap_err();
    bench.add("d", &[]);
    assert!(!submit(&mut bench, keyed("client:d", "k")).1);
}

#[test]
fn a_full_table_refuses_and_says_when_there_is_room() {
    let mut bench = Bench::new();
    let mut snapshot = records::load(&bench.store).unwrap();
    let repeat = |n: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        Repeat {
            key: RepeatKey::Same(Fingerprint(bytes)),
            serial: Serial::from_bytes([1; 16]),
            at: at(0),
            until: at(100 + i64::try_from(n).unwrap()),
            content: Fingerprint(bytes),
        }
    };
    snapshot.repeats = (0..MAX_REPEATS).map(repeat).collect();
    bench.engine = Engine::restore(snapshot, at(0));
    let error = bench.ask(Request::Submit(keyed("client:a", "k"))).unwrap_err();
    let RequestError::Limit(message) = &error else { panic!("{error:?}") };
    assert!(message.contains("100000") && message.contains(&at(100).to_string()), "{message}");
    assert_eq!(bench.submit("client:a").counts.total, 1, "without a key it goes on");
    bench.now = at(100);
    assert!(!submit(&mut bench, keyed("client:a", "k")).1, "the oldest has gone");
    assert!(bench.ask(Request::Submit(keyed("client:a", "l"))).is_err());
}
