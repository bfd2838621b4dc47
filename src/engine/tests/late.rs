//! Answers that come after the server's own end.

use super::*;
use crate::engine::RUN_GRACE;
use crate::history;
use crate::policy::{Retry, Timeout};
use crate::run::{Attempt, LateAnswer};

/// A command that may run for 10 s, tried so often.
fn limited(attempts: u32) -> Submission {
    let mut submission = Submission::new("client:a".parse().unwrap(), "noop".parse().unwrap());
    let second = Duration::from_secs(1);
    submission.retry = Retry::new(attempts, second, second).unwrap();
    submission.timeout = Timeout::new(30 * second, Some(10 * second)).unwrap();
    submission
}

fn start(bench: &mut Bench, submission: Submission) -> Serial {
    let Reply::Run(run) = bench.call(Request::Submit(submission)) else { panic!() };
    run.serial
}

/// The client takes an attempt, begins it and says no more until the server gives it up.
fn overrun(bench: &mut Bench, session: u64, attempt: Attempt) {
    let session = SessionId(session);
    bench.input(Input::Accepted { session, attempt });
    bench.input(Input::Started { session, attempt });
    let seconds = 10 + i64::try_from(RUN_GRACE.as_secs()).unwrap();
    let until = bench.now.plus(Duration::from_secs(u64::try_from(seconds).unwrap()));
    bench.wait_until(until);
}

fn answer(bench: &mut Bench, session: u64, attempt: Attempt, result: &str) {
    let outcome = Outcome::succeeded(result.parse().unwrap());
    bench.input(Input::Responded { session: SessionId(session), attempt, outcome });
    let ack =
        |effect: &Effect| matches!(effect, Effect::Ack { attempt: acked, .. } if *acked == attempt);
    assert!(bench.effects.iter().any(ack), "whatever it is, the client can forget it");
}

fn noted(bench: &Bench, serial: Serial) -> Option<LateAnswer> {
    history::late_answer(&bench.store, serial, &"a".parse().unwrap()).unwrap()
}

fn told(bench: &Bench) -> usize {
    let late = |effect: &&Effect| matches!(effect, Effect::Notify(event) if matches!(event.what, What::LateAnswer { .. }));
    bench.effects.iter().filter(late).count()
}

#[test]
fn a_late_answer_is_noted_and_the_first_end_stands() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = start(&mut bench, limited(1));
    overrun(&mut bench, 1, serial.into());
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::TimedOut)]);
    bench.now = at(100);
    answer(&mut bench, 1, serial.into(), "42");
    assert!(bench.ends().is_empty());
    assert_eq!(told(&bench), 1);
    let late = noted(&bench, serial).unwrap();
    assert_eq!((late.at, late.attempt), (at(100), 1));
    assert_eq!(late.outcome, Outcome::succeeded("42".parse().unwrap()));
    let client = "a".parse().unwrap();
    let first = history::response(&bench.store, serial, &client).unwrap().unwrap();
    assert_eq!(first.outcome.state, DeliveryState::TimedOut);
    bench.now = at(101);
    answer(&mut bench, 1, serial.into(), "43");
    assert_eq!((told(&bench), bench.changes.len()), (0, 0), "the same again is a duplicate");
    bench.restart(at(102));
    assert_eq!(noted(&bench, serial), Some(late), "it is in the store");
}

#[test]
fn a_duplicate_of_a_recorded_answer_is_no_late_answer() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = bench.submit("client:a").serial;
    bench.succeed(1, serial);
    bench.disconnect(1);
    bench.connect("a", 2, &[serial]);
    answer(&mut bench, 2, serial.into(), "42");
    assert_eq!((told(&bench), noted(&bench, serial)), (0, None));
}

#[test]
fn an_attempt_that_was_given_up_is_answered_late_and_the_last_note_stays() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = start(&mut bench, limited(2));
    let [first, second] = [1, 2].map(|number| Attempt { serial, number });
    overrun(&mut bench, 1, first);
    answer(&mut bench, 1, first, "1");
    assert_eq!(noted(&bench, serial).map(|late| late.attempt), Some(1));
    assert_eq!(bench.client("a").open, 1, "the delivery goes on");
    bench.wait_until(at(20));
    overrun(&mut bench, 1, second);
    assert_eq!(bench.client("a").open, 0);
    answer(&mut bench, 1, second, "2");
    assert_eq!(noted(&bench, serial).map(|late| late.attempt), Some(2));
}

#[test]
fn what_a_client_took_along_and_the_server_let_expire_is_answered_late() {
    for sent in [true, false] {
        let mut bench = Bench::new();
        if sent {
            bench.connect("a", 1, &[]);
        }
        let mut submission = limited(1);
        submission.expires_after = Some(Duration::from_secs(5));
        let serial = start(&mut bench, submission);
        if sent {
            bench.disconnect(1);
        }
        bench.wait_until(at(6));
        assert_eq!(bench.ends(), [("a".into(), DeliveryState::Expired)]);
        bench.connect("a", 2, &[serial]);
        answer(&mut bench, 2, serial.into(), "1");
        assert_eq!(noted(&bench, serial).is_some(), sent, "nobody had it that was never sent");
    }
}

#[test]
fn a_large_result_is_left_out_and_a_late_answer_goes_with_its_run() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = start(&mut bench, limited(1));
    overrun(&mut bench, 1, serial.into());
    answer(&mut bench, 1, serial.into(), &format!("\"{}\"", "x".repeat(5_000)));
    assert_eq!(noted(&bench, serial).map(|late| late.outcome.result), Some(None));
    // The latest run of all is not forgotten.
    bench.submit("client:b");
    bench.call(Request::ForgetRuns(vec![serial]));
    assert_eq!(noted(&bench, serial), None);

    let serial = start(&mut bench, limited(1));
    overrun(&mut bench, 1, serial.into());
    bench.submit("client:b");
    bench.call(Request::ForgetRuns(vec![serial]));
    answer(&mut bench, 1, serial.into(), "1");
    assert_eq!(noted(&bench, serial), None, "a run that is forgotten gets no notes");
}

#[test]
fn a_crash_before_the_commit_leaves_no_note_without_its_end() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = start(&mut bench, limited(1));
    let session = SessionId(1);
    bench.input(Input::Accepted { session, attempt: serial.into() });
    bench.input(Input::Started { session, attempt: serial.into() });
    bench.now = at(15);
    bench.deadlines();
    let outcome = Outcome::succeeded(Json::null());
    bench.engine.handle(at(15), Input::Responded { session, attempt: serial.into(), outcome });
    let units = bench.engine.take().units;
    assert!(matches!(units[0][0], Change::PutRun(_)), "{units:?}");
    assert!(matches!(units[1][0], Change::PutLate { .. }), "{units:?}");
}
