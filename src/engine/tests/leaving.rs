//! A client that stops in order: it ends what it has, and what it has not taken waits for it.

use super::*;
use crate::policy::DeliveryMode;

fn leave(bench: &mut Bench, session: u64) {
    bench.input(Input::Leaving { session: SessionId(session) });
}

fn wait(bench: &mut Bench, serial: Serial) -> crate::engine::Wait {
    let asked = vec![(serial, "a".parse().unwrap())];
    match bench.call(Request::Waits(asked)) {
        Reply::Waits(_, mut waits) => waits.remove(0).expect("it is open"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_stopping_client_has_not_taken_waits_for_its_return() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let taken = bench.submit("client:a").serial;
    bench.accept(1, taken);
    let untaken = bench.submit("client:a").serial;
    assert_eq!(bench.sent(), [untaken]);
    leave(&mut bench, 1);
    let new = bench.submit("client:a").serial;
    assert!(bench.sent().is_empty(), "it takes nothing more");
    let waits = wait(&mut bench, untaken);
    assert_eq!((waits.state, waits.away), (DeliveryState::Queued, false));
    assert!(waits.reason.unwrap().starts_with("the client stops"), "{waits:?}");
    assert_eq!(wait(&mut bench, new).ahead, 1);
    // Long after it should have taken them.
    bench.wait_until(at(100));
    assert!(bench.ends().is_empty(), "{:?}", bench.ends());
    bench.succeed(1, taken);
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Succeeded)]);
    assert!(bench.sent().is_empty(), "room that becomes free is not used");
    bench.disconnect(1);
    assert_eq!(bench.client("a").queued, 2);
    assert_eq!(bench.connect("a", 2, &[]), [untaken, new]);
    bench.succeed(2, untaken);
    bench.succeed(2, new);
    assert_eq!(bench.status().deliveries_open, 0);
}

#[test]
fn what_is_cancelled_or_expires_meanwhile_ends_at_once() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let untaken = bench.submit("client:a").serial;
    leave(&mut bench, 1);
    bench.call(Request::CancelRun(untaken));
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Cancelled)]);
    let mut submission = Submission::new("client:a".parse().unwrap(), "noop".parse().unwrap());
    submission.expires_after = Some(Duration::from_secs(10));
    bench.call(Request::Submit(submission));
    bench.wait_until(at(10));
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Expired)]);
    leave(&mut bench, 7);
    assert!(bench.effects.is_empty(), "a connection that is not known");
}

/// That it was sent is stored before it is sent, and taken back, so that it is sent again even by
/// a server that was started again.
#[test]
fn what_may_be_sent_once_is_sent_again_if_it_was_not_taken() {
    for restarted in [false, true] {
        let mut bench = Bench::new();
        bench.connect("a", 1, &[]);
        let mut submission = Submission::new("client:a".parse().unwrap(), "noop".parse().unwrap());
        submission.delivery = DeliveryMode::AtMostOnce;
        let Reply::Run(run) = bench.call(Request::Submit(submission)) else { panic!() };
        assert_eq!(bench.sent(), [run.serial]);
        leave(&mut bench, 1);
        if restarted {
            bench.restart(at(1));
        } else {
            bench.disconnect(1);
        }
        assert_eq!(bench.connect("a", 2, &[]), [run.serial], "restarted: {restarted}");
        bench.succeed(2, run.serial);
        assert_eq!(bench.ends(), [("a".into(), DeliveryState::Succeeded)]);
    }
}

#[test]
fn a_stopping_client_in_a_rollout_gets_its_part_when_it_is_back() {
    let mut bench = Bench::new();
    for (session, id) in ["a", "b"].into_iter().enumerate() {
        bench.connect(id, session as u64, &[]);
    }
    let mut submission = Submission::new("group:abc".parse().unwrap(), "noop".parse().unwrap());
    submission.rollout = Some(serde_json::from_str(r#"{"max_in_flight": 1}"#).unwrap());
    let Reply::Run(run) = bench.call(Request::Submit(submission)) else { panic!() };
    let first = bench.effects.iter().find_map(|effect| match effect {
        Effect::Send { session, .. } => Some(*session),
        _ => None,
    });
    let SessionId(session) = first.expect("one is first");
    leave(&mut bench, session);
    bench.disconnect(session);
    let id = ["a", "b"][usize::try_from(session).unwrap()];
    let other = 1 - session;
    bench.succeed(other, run.serial);
    assert_eq!(bench.connect(id, 5, &[]), [run.serial]);
}
