//! Each cell of the overlap table: policy, scope, and where the earlier delivery stands.

use super::*;

/// A job every 10 s with a policy; `a` and `b` are connected and hold its first delivery.
fn busy(overlap: Overlap, scope: OverlapScope) -> (Bench, Serial) {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    bench.connect("b", 2, &[]);
    let mut spec = every("tick", "group:ab", 10);
    for id in ["a", "b"] {
        let add = ["ab".parse().unwrap()].into();
        let change = crate::engine::Regroup { id: id.parse().unwrap(), add, remove: [].into() };
        bench.call(Request::GroupClient(change));
    }
    (spec.overlap, spec.overlap_scope) = (overlap, scope);
    bench.apply(spec);
    bench.wait_until(at(10));
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    (bench, sent[0])
}

fn cancelled(bench: &Bench) -> Vec<Serial> {
    let asked = bench.effects.iter().filter_map(|effect| match effect {
        Effect::Cancel { serial, .. } => Some(*serial),
        _ => None,
    });
    asked.collect()
}

fn reason_of_last_run(bench: &Bench) -> String {
    bench.runs_put().last().and_then(|run| run.reason.clone()).unwrap_or_default()
}

#[test]
fn skip_by_client_skips_where_it_runs_and_names_what_stood_in_the_way() {
    let (mut bench, first) = busy(Overlap::Skip, OverlapScope::Client);
    bench.succeed(2, first);
    bench.wait_until(at(20));
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Skipped)]);
    assert_eq!(bench.sent().len(), 1, "b has ended its first");
    let second = bench.sent()[0];
    let response =
        crate::history::response(&bench.store, second, &"a".parse().unwrap()).unwrap().unwrap();
    let expected = format!("run {first} has not ended on this client");
    assert_eq!(response.outcome.reason, Some(expected));
}

#[test]
fn queue_by_client_holds_one_and_skips_the_next() {
    let (mut bench, first) = busy(Overlap::Queue, OverlapScope::Client);
    bench.succeed(2, first);
    bench.wait_until(at(20));
    assert_eq!(bench.sent().len(), 2, "at a it waits for its turn: the client sees to it");
    let in_turn = |effect: &Effect| match effect {
        Effect::Send { dispatch, .. } => dispatch.in_turn,
        _ => true,
    };
    assert!(bench.effects.iter().all(in_turn) && bench.ends().is_empty());
    bench.wait_until(at(30));
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Skipped)], "one runs and one waits");
}

#[test]
fn replace_by_client_ends_the_earlier_one_and_sends_the_new_one() {
    let (mut bench, first) = busy(Overlap::Replace, OverlapScope::Client);
    bench.succeed(2, first);
    bench.wait_until(at(20));
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Superseded)]);
    assert_eq!(cancelled(&bench), [first]);
    assert_eq!(bench.sent().len(), 2);
}

#[test]
fn allow_by_client_sends_both() {
    let (mut bench, _) = busy(Overlap::Allow, OverlapScope::Client);
    bench.wait_until(at(20));
    assert!(bench.ends().is_empty());
    assert_eq!(bench.sent().len(), 2);
}

#[test]
fn skip_by_job_skips_the_run_while_it_runs_anywhere() {
    let (mut bench, first) = busy(Overlap::Skip, OverlapScope::Job);
    bench.succeed(2, first);
    bench.wait_until(at(20));
    assert!(bench.sent().is_empty());
    assert_eq!(reason_of_last_run(&bench), format!("skipped: run {first} has not ended"));
    bench.succeed(1, first);
    bench.wait_until(at(30));
    assert_eq!(bench.sent().len(), 2);
}

#[test]
fn queue_by_job_holds_one_run_until_the_earlier_has_ended_everywhere() {
    let (mut bench, first) = busy(Overlap::Queue, OverlapScope::Job);
    bench.succeed(2, first);
    bench.wait_until(at(20));
    assert!(bench.sent().is_empty() && bench.ends().is_empty(), "it is held");
    let held = bench.runs_put()[0].serial;
    bench.wait_until(at(30));
    assert_eq!(reason_of_last_run(&bench), format!("skipped: run {held} waits already"));
    assert!(bench.connect("b", 3, &[]).is_empty(), "not by a new connection either");
    bench.succeed(1, first);
    assert_eq!(bench.sent(), [held, held]);
}

#[test]
fn replace_by_job_ends_the_earlier_run_everywhere() {
    let (mut bench, first) = busy(Overlap::Replace, OverlapScope::Job);
    bench.wait_until(at(20));
    assert_eq!(bench.ends().len(), 2);
    assert_eq!(cancelled(&bench), [first, first]);
    assert_eq!(bench.sent().len(), 2);
}

#[test]
fn allow_by_job_sends_both() {
    let (mut bench, _) = busy(Overlap::Allow, OverlapScope::Job);
    bench.wait_until(at(20));
    assert_eq!(bench.sent().len(), 2);
}

#[test]
fn a_client_that_is_away_without_it_stands_in_nobodys_way() {
    for scope in [OverlapScope::Client, OverlapScope::Job] {
        for overlap in [Overlap::Skip, Overlap::Queue] {
            let (mut bench, first) = busy(overlap, scope);
            bench.succeed(1, first);
            bench.disconnect(2);
            bench.wait_until(at(20));
            assert_eq!(bench.sent().len(), 1, "{overlap:?} {scope:?}: a gets the second");
            assert!(bench.ends().is_empty(), "b gets both when it returns");
        }
    }
}

#[test]
fn a_client_that_is_away_with_it_still_runs_it() {
    let (mut bench, first) = busy(Overlap::Skip, OverlapScope::Client);
    bench.accept(2, first);
    bench.succeed(1, first);
    bench.disconnect(2);
    bench.wait_until(at(20));
    assert_eq!(bench.ends(), [("b".into(), DeliveryState::Skipped)]);
}

#[test]
fn a_held_run_goes_when_the_client_in_its_way_goes() {
    let (mut bench, first) = busy(Overlap::Queue, OverlapScope::Job);
    bench.succeed(2, first);
    bench.wait_until(at(20));
    let held = bench.runs_put()[0].serial;
    bench.disconnect(1);
    assert_eq!(bench.sent(), [held], "to b; a gets both when it returns");
}

#[test]
fn a_held_run_is_held_over_a_restart_until_the_clients_have_spoken() {
    let (mut bench, first) = busy(Overlap::Queue, OverlapScope::Job);
    bench.succeed(2, first);
    bench.wait_until(at(20));
    let held = bench.runs_put()[0].serial;
    bench.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
    bench.restart(at(21));
    assert!(bench.connect("a", 3, &[first]).is_empty());
    assert!(bench.connect("b", 4, &[]).is_empty());
    bench.wait_until(at(52));
    assert!(bench.sent().is_empty(), "a still runs the first");
    bench.succeed(3, first);
    assert_eq!(bench.sent(), [held, held]);
}

#[test]
fn a_client_that_has_what_is_held_after_a_restart_does_not_get_it_again() {
    let (mut bench, first) = busy(Overlap::Queue, OverlapScope::Job);
    bench.disconnect(1);
    bench.disconnect(2);
    bench.wait_until(at(20));
    let second = bench.runs_put()[0].serial;
    assert_eq!(bench.connect("a", 3, &[first]), [second], "the first stood in nobody's way");
    bench.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
    bench.restart(at(21));
    assert_eq!(bench.connect("a", 4, &[first, second]), []);
    assert_eq!(bench.connect("b", 5, &[first]), [], "the second is held");
    bench.succeed(4, first);
    bench.succeed(5, first);
    bench.wait_until(at(52));
    assert_eq!(bench.sent(), [second], "to b alone");
}

#[test]
fn a_client_that_returns_with_what_has_ended_is_asked_to_stop_it() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let mut spec = every("tick", "client:a", 10);
    spec.offline = Offline::Latest;
    bench.apply(spec);
    bench.wait_until(at(10));
    let first = bench.sent()[0];
    bench.disconnect(1);
    bench.wait_until(at(20));
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Superseded)], "nobody knew it had it");
    let sent = bench.connect("a", 2, &[first]);
    assert_eq!((sent.len(), cancelled(&bench)), (1, vec![first]));
    assert!(bench.changes.iter().all(|change| !matches!(change, Change::PutPage { .. })));
}

#[test]
fn nobody_who_never_returns_holds_a_run_for_ever() {
    let (mut bench, first) = busy(Overlap::Queue, OverlapScope::Job);
    bench.succeed(2, first);
    bench.wait_until(at(20));
    let held = bench.runs_put()[0].serial;
    bench.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
    bench.restart(at(21));
    assert!(bench.connect("b", 4, &[]).is_empty());
    bench.wait_until(at(52));
    assert_eq!(bench.sent(), [held]);
}
