//! Attempts: timeouts, retries, deliveries that are sent once, and cancellations.

use super::*;
use crate::engine::RUN_GRACE;
use crate::policy::{DeliveryMode, Retry, Timeout};
use crate::run::Attempt;

fn submit(bench: &mut Bench, change: impl FnOnce(&mut Submission)) -> Serial {
    let mut submission = Submission::new("client:a".parse().unwrap(), "noop".parse().unwrap());
    change(&mut submission);
    match bench.call(Request::Submit(submission)) {
        Reply::Run(run) => run.serial,
        other => panic!("{other:?}"),
    }
}

fn thrice(submission: &mut Submission) {
    let second = Duration::from_secs(1);
    submission.retry = Retry::new(3, second, second).unwrap();
}

fn limited(submission: &mut Submission) {
    submission.timeout =
        Timeout::new(Duration::from_secs(5), Some(Duration::from_secs(60))).unwrap();
}

fn answer(bench: &mut Bench, session: u64, attempt: Attempt, state: DeliveryState) {
    let outcome = Outcome::ended(state, "so it said");
    bench.input(Input::Responded { session: SessionId(session), attempt, outcome });
}

/// The attempts that the last decision sends.
fn attempts(bench: &Bench) -> Vec<u32> {
    let sent = bench.effects.iter().filter_map(|effect| match effect {
        Effect::Send { dispatch, .. } => Some(dispatch.attempt),
        _ => None,
    });
    sent.collect()
}

fn cancels(bench: &Bench) -> usize {
    bench.effects.iter().filter(|effect| matches!(effect, Effect::Cancel { .. })).count()
}

fn end(bench: &Bench, serial: Serial) -> Option<(DeliveryState, u32, String)> {
    let client = "a".parse().unwrap();
    let response = crate::history::response(&bench.store, serial, &client).unwrap()?;
    let outcome = response.outcome;
    Some((outcome.state, response.attempt, outcome.reason.unwrap_or_default()))
}

fn counts(bench: &Bench, serial: Serial) -> crate::Counts {
    crate::history::run(&bench.store, serial).unwrap().unwrap().counts
}

#[test]
fn what_failed_is_tried_again_after_its_pause_until_the_attempts_are_used_up() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = submit(&mut bench, thrice);
    assert_eq!(attempts(&bench), [1]);
    for number in 1..3 {
        answer(&mut bench, 1, Attempt { serial, number }, DeliveryState::Failed);
        assert!(bench.ends().is_empty(), "attempt {number} is no end");
        assert_eq!(end(&bench, serial), None);
        let due = bench.engine.next_deadline().unwrap();
        assert!(due <= bench.now.plus(Duration::from_millis(1_020)), "within its backoff");
        bench.wait_until(due);
        assert_eq!(attempts(&bench), [number + 1]);
    }
    answer(&mut bench, 1, Attempt { serial, number: 3 }, DeliveryState::Failed);
    let (state, attempt, _) = end(&bench, serial).unwrap();
    assert_eq!((state, attempt), (DeliveryState::Failed, 3));
    let counts = counts(&bench, serial);
    assert_eq!((counts.failed, counts.retried, counts.open()), (1, 2, 0));
    assert_eq!(bench.client("a").open, 0);
}

#[test]
fn what_was_rejected_is_not_tried_again() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = submit(&mut bench, thrice);
    answer(&mut bench, 1, serial.into(), DeliveryState::Rejected);
    assert_eq!(end(&bench, serial).unwrap().0, DeliveryState::Rejected);
    assert_eq!(counts(&bench, serial).retried, 0);
}

#[test]
fn an_answer_of_an_attempt_that_is_not_at_hand_is_acknowledged_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = submit(&mut bench, thrice);
    answer(&mut bench, 1, serial.into(), DeliveryState::Failed);
    let due = bench.engine.next_deadline().unwrap();
    bench.wait_until(due);
    answer(&mut bench, 1, serial.into(), DeliveryState::Succeeded);
    let acked = bench.effects.iter().any(
        |effect| matches!(effect, Effect::Ack { attempt, .. } if *attempt == Attempt::from(serial)),
    );
    assert!(acked, "so that the client can forget it");
    assert_eq!(end(&bench, serial), None);
    answer(&mut bench, 1, Attempt { serial, number: 2 }, DeliveryState::Succeeded);
    assert_eq!(end(&bench, serial).unwrap().1, 2);
}

#[test]
fn the_attempts_and_their_pauses_survive_a_restart() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = submit(&mut bench, thrice);
    answer(&mut bench, 1, serial.into(), DeliveryState::TimedOut);
    let due = bench.engine.next_deadline().unwrap();
    let now = bench.now;
    bench.restart(now);
    assert_eq!(bench.connect("a", 2, &[]), [], "not before its pause is over");
    assert_eq!(bench.engine.next_deadline(), Some(due), "the same pause");
    bench.wait_until(due);
    assert_eq!(attempts(&bench), [2]);
    // The client answers the first attempt, whose acknowledgement it never got, and the second.
    bench.restart(due);
    bench.input(Input::Connect {
        call: CallId(99),
        session: SessionId(3),
        client: "a".parse().unwrap(),
        proof: Proof::Token(TokenHash::of("a")),
        taken: vec![Attempt::from(serial)],
    });
    assert_eq!((cancels(&bench), attempts(&bench)), (1, vec![2]), "the first is given up");
    answer(&mut bench, 3, serial.into(), DeliveryState::Failed);
    answer(&mut bench, 3, Attempt { serial, number: 2 }, DeliveryState::Succeeded);
    let counts = counts(&bench, serial);
    assert_eq!((counts.succeeded, counts.retried), (1, 1));
}

#[test]
fn a_client_that_is_away_at_the_end_of_the_pause_gets_the_attempt_on_its_return() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = submit(&mut bench, thrice);
    answer(&mut bench, 1, serial.into(), DeliveryState::Failed);
    bench.disconnect(1);
    bench.wait_until(at(10));
    assert!(attempts(&bench).is_empty());
    assert_eq!(bench.connect("a", 2, &[]), [serial]);
    assert_eq!(attempts(&bench), [2]);
}

#[test]
fn a_cancelled_run_is_not_tried_again() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = submit(&mut bench, thrice);
    bench.call(Request::CancelRun(serial));
    assert_eq!(cancels(&bench), 1);
    answer(&mut bench, 1, serial.into(), DeliveryState::Failed);
    assert_eq!(end(&bench, serial).unwrap().0, DeliveryState::Failed);
    let serial = submit(&mut bench, thrice);
    answer(&mut bench, 1, serial.into(), DeliveryState::Failed);
    bench.call(Request::CancelRun(serial));
    assert_eq!(end(&bench, serial).unwrap().0, DeliveryState::Cancelled, "in its pause");
}

#[test]
fn what_is_not_taken_in_time_has_timed_out() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let (first, taken) = (submit(&mut bench, limited), submit(&mut bench, limited));
    bench.accept(1, taken);
    bench.wait_until(Timestamp::from_millis(4_999));
    assert_eq!(end(&bench, first), None);
    bench.wait_until(at(5));
    let (state, _, reason) = end(&bench, first).unwrap();
    assert_eq!(state, DeliveryState::TimedOut);
    assert_eq!(reason, "the client did not take it within 5s");
    assert_eq!(cancels(&bench), 1, "in case it comes to it later");
    assert_eq!(end(&bench, taken), None);
    // One that is away has not been asked: its time does not run.
    let third = submit(&mut bench, limited);
    bench.disconnect(1);
    bench.wait_until(at(60));
    assert_eq!(end(&bench, third), None);
    bench.connect("a", 2, &[taken]);
    bench.wait_until(at(66));
    assert_eq!(end(&bench, third).unwrap().0, DeliveryState::TimedOut);
}

#[test]
fn what_runs_too_long_has_timed_out_counted_from_its_beginning() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let (runs, waits) = (submit(&mut bench, limited), submit(&mut bench, limited));
    for serial in [runs, waits] {
        bench.accept(1, serial);
    }
    bench.wait_until(at(10));
    bench.input(Input::Started { session: SessionId(1), attempt: runs.into() });
    // Away or not: the client's own clock goes on.
    bench.disconnect(1);
    let due = at(10).plus(Duration::from_secs(60)).plus(RUN_GRACE);
    bench.wait_until(due.minus(Duration::from_millis(1)));
    assert_eq!(end(&bench, runs), None);
    bench.wait_until(due);
    let (state, _, reason) = end(&bench, runs).unwrap();
    assert_eq!(state, DeliveryState::TimedOut);
    assert_eq!(reason, "it ran longer than 1m, and the client did not end it");
    assert_eq!(end(&bench, waits), None, "it waits at the client for its turn");
    bench.connect("a", 2, &[runs, waits]);
    assert_eq!(cancels(&bench), 1, "what has ended it shall not run on with");
}

#[test]
fn what_is_sent_once_is_stored_as_sent_before_it_leaves_and_is_never_sent_again() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let once = |submission: &mut Submission| submission.delivery = DeliveryMode::AtMostOnce;
    let serial = submit(&mut bench, once);
    let marked = bench.changes.iter().any(|change| matches!(change, Change::PutMarks { .. }));
    assert!(marked && bench.sent() == [serial], "both in one decision");
    let now = bench.now;
    bench.restart(now);
    assert_eq!(bench.connect("a", 2, &[serial]), [], "the client has it");
    assert_eq!(end(&bench, serial), None);
    bench.disconnect(2);
    assert_eq!(bench.connect("a", 3, &[]), [], "the client has lost it");
    let (state, _, reason) = end(&bench, serial).unwrap();
    assert_eq!(state, DeliveryState::Failed);
    assert!(reason.contains("at_most_once"), "{reason}");
    // Nothing was sent to a client that was away all the time.
    bench.disconnect(3);
    let serial = submit(&mut bench, once);
    let now = bench.now;
    bench.restart(now);
    assert_eq!(bench.connect("a", 4, &[]), [serial]);
}

#[test]
fn attempts_that_at_most_once_forbids_are_refused() {
    let mut bench = Bench::new();
    let mut submission = Submission::new("client:a".parse().unwrap(), "noop".parse().unwrap());
    thrice(&mut submission);
    submission.delivery = DeliveryMode::AtMostOnce;
    let error = bench.ask(Request::Submit(submission)).unwrap_err().to_string();
    assert!(error.contains("retry has 3 attempts"), "{error}");
}

#[test]
fn one_delivery_is_cancelled_and_the_others_go_on() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = submit(&mut bench, |submission| submission.target = "all".parse().unwrap());
    bench.accept(1, serial);
    bench.call(Request::CancelDelivery(serial, "b".parse().unwrap()));
    assert_eq!(bench.ends(), [("b".to_owned(), DeliveryState::Cancelled)]);
    bench.call(Request::CancelDelivery(serial, "a".parse().unwrap()));
    assert_eq!(cancels(&bench), 1, "the client has it: it is asked");
    let now = bench.now;
    bench.restart(now);
    bench.connect("a", 2, &[serial]);
    assert_eq!(cancels(&bench), 1, "and asked again on its return");
    assert_eq!(counts(&bench, serial).open(), 2);
    let error = bench.ask(Request::CancelDelivery(serial, "b".parse().unwrap())).unwrap_err();
    assert!(error.to_string().contains("no open delivery for client \"b\""), "{error}");
}

#[test]
fn the_open_runs_of_a_job_are_cancelled_together() {
    let mut bench = Bench::new();
    bench.apply(every("tick", "client:a", 10));
    bench.wait_until(at(30));
    let Reply::Runs(runs) = bench.call(Request::CancelJob("tick".parse().unwrap())) else {
        panic!("runs")
    };
    assert_eq!(runs.len(), 3);
    assert_eq!(bench.client("a").open, 0);
    assert!(bench.ends().iter().all(|(_, state)| *state == DeliveryState::Cancelled));
    assert!(bench.state("tick").next_due.is_some(), "its rule goes on");
}
