//! Deliveries between fire and end, where several rules meet.

use super::*;
use crate::engine::{MAX_OPEN, Regroup};

fn expiring(target: &str) -> Submission {
    let mut submission = Submission::new(target.parse().unwrap(), "noop".parse().unwrap());
    submission.expires_after = Some(Duration::from_secs(10));
    submission
}

/// A fleet so large that its runs are wide.
fn large() -> Bench {
    let mut bench = Bench::new();
    for n in 0..100 {
        bench.add(&format!("many-{n}"), &["many"]);
    }
    bench
}

#[test]
fn a_wide_run_waits_for_its_clients_and_leaves_with_a_removed_one() {
    let mut bench = large();
    let serial = bench.submit("group:many").serial;
    assert_eq!(bench.connect("many-7", 1, &[]), [serial]);
    bench.call(Request::RemoveClient("many-7".parse().unwrap()));
    assert_eq!(bench.ends(), [("many-7".into(), DeliveryState::Removed)]);
    assert_eq!(bench.status().deliveries_open, 99);
}

#[test]
fn what_expires_at_a_client_is_withdrawn_and_makes_room() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let Reply::Run(first) = bench.call(Request::Submit(expiring("client:a"))) else { panic!() };
    for _ in 1..ROUTINE {
        bench.submit("client:a");
    }
    let next = bench.submit("client:a").serial;
    assert!(bench.sent().is_empty(), "the window is full");
    bench.wait_until(at(10));
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Expired)]);
    let withdrawn = |effect: &Effect| matches!(effect, Effect::Cancel { serial, .. } if *serial == first.serial);
    assert!(bench.effects.iter().any(withdrawn));
    assert_eq!(bench.sent(), [next]);
}

#[test]
fn a_client_that_is_away_with_a_delivery_keeps_it() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let mut spec = every("tick", "client:a", 10);
    spec.offline = Offline::Latest;
    bench.apply(spec);
    bench.wait_until(at(10));
    let taken = bench.sent()[0];
    bench.accept(1, taken);
    bench.disconnect(1);
    bench.wait_until(at(20));
    assert!(bench.ends().is_empty(), "what it has taken is not superseded");
    bench.call(Request::CancelRun(taken));
    assert!(bench.ends().is_empty(), "nor cancelled behind its back");
    bench.connect("a", 2, &[taken]);
    let asked =
        |effect: &Effect| matches!(effect, Effect::Cancel { serial, .. } if *serial == taken);
    assert!(bench.effects.iter().any(asked));
}

#[test]
fn what_a_client_has_lost_is_queued_again_and_can_be_cancelled() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let filler: Vec<Serial> = (0..ROUTINE).map(|_| bench.submit("client:a").serial).collect();
    bench.succeed(1, filler[0]);
    let lost = bench.submit("client:a").serial;
    bench.accept(1, lost);
    bench.disconnect(1);
    let held: Vec<Serial> = filler[1..].to_vec();
    bench.succeed(1, filler[1]);
    let more = bench.submit("client:a").serial;
    assert_eq!(bench.connect("a", 2, &held), [lost], "the window has room for one");
    bench.call(Request::CancelRun(more));
    assert_eq!(bench.ends().len(), 1, "it waits in line");
    bench.accept(2, lost);
    bench.disconnect(2);
    let mut full = held.clone();
    full.push(bench.submit("client:a").serial);
    bench.connect("a", 3, &full);
    bench.call(Request::CancelRun(lost));
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Cancelled)], "nobody has it");
}

#[test]
fn what_a_client_has_lost_expires() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let Reply::Run(run) = bench.call(Request::Submit(expiring("client:a"))) else { panic!() };
    bench.accept(1, run.serial);
    bench.disconnect(1);
    bench.wait_until(at(20));
    assert!(bench.ends().is_empty(), "the client has it");
    assert!(bench.connect("a", 2, &[]).is_empty(), "it is too late to send it again");
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Expired)]);
}

#[test]
fn a_removed_job_is_not_sent_to_those_who_lost_it() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    bench.apply(every("tick", "client:a", 10));
    bench.wait_until(at(10));
    bench.call(Request::RemoveJob("tick".parse().unwrap()));
    assert!(bench.ends().is_empty(), "it was sent");
    bench.disconnect(1);
    assert!(bench.connect("a", 2, &[]).is_empty());
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Removed)]);
}

#[test]
fn a_full_queue_skips_and_says_so() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    for _ in 0..MAX_OPEN {
        bench.submit("client:a");
    }
    assert!(bench.ends().is_empty());
    bench.submit("client:a");
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Skipped)]);
    assert_eq!(bench.client("a").open, u64::from(MAX_OPEN));
}

#[test]
fn who_left_a_group_gets_its_commands_no_more() {
    let mut bench = Bench::new();
    let remove = ["abc".parse().unwrap()].into();
    bench.call(Request::GroupClient(Regroup { id: "b".parse().unwrap(), add: [].into(), remove }));
    assert_eq!(bench.submit("group:abc").counts.total, 2);
}

#[test]
fn only_ended_runs_are_forgotten() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let (ended, open) = (bench.submit("client:a").serial, bench.submit("client:a").serial);
    bench.succeed(1, ended);
    bench.call(Request::ForgetRuns(vec![ended, open]));
    assert!(matches!(bench.changes[..], [Change::ForgetRun(serial)] if serial == ended));
}

#[test]
fn the_run_by_which_serials_go_on_is_not_forgotten() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let (first, last) = (bench.submit("client:a").serial, bench.submit("client:a").serial);
    bench.succeed(1, first);
    bench.succeed(1, last);
    let Reply::Forgetting(runs) = bench.call(Request::ForgetRuns(vec![first, last])) else {
        panic!("another reply")
    };
    assert_eq!(runs, [first]);
    // With the clock set back, too.
    bench.restart(at(0));
    assert!(bench.submit("client:a").serial > last);
}

#[test]
fn a_client_answers_for_nobody_else() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    bench.connect("b", 2, &[]);
    let serial = bench.submit("client:a").serial;
    let attempt = serial.into();
    for input in [
        Input::Accepted { session: SessionId(2), attempt },
        Input::Started { session: SessionId(2), attempt },
    ] {
        bench.input(input);
        assert!(bench.changes.is_empty() && bench.effects.is_empty());
    }
    bench.succeed(2, serial);
    assert!(bench.changes.is_empty() && bench.ends().is_empty(), "{:?}", bench.changes);
    let [Effect::Ack { session: SessionId(2), .. }] = &bench.effects[..] else {
        panic!("it can forget it: {:?}", bench.effects)
    };
    // Nor does it take another's by saying that it has it.
    assert_eq!(bench.connect("b", 3, &[serial]), []);
    assert_eq!(bench.status().deliveries_open, 1);
    bench.succeed(1, serial);
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Succeeded)]);
}

#[test]
fn a_removed_clients_token_is_gone() {
    let mut bench = Bench::new();
    bench.call(Request::RemoveClient("a".parse().unwrap()));
    let [Change::PutClient(record)] = &bench.changes[..] else { panic!("{:?}", bench.changes) };
    assert_eq!((record.token, record.removed_at), (None, Some(at(0))));
}
