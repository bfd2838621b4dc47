//! How many are under way at a time, and how fast they start.

use super::*;
use crate::policy::Retry;

#[test]
fn so_many_are_under_way_and_no_more() {
    let mut fleet = Fleet::new(10);
    let serial = fleet.submit(r#"{"max_in_flight": 3}"#);
    assert_eq!(fleet.at_work(serial).len(), 3);
    let progress = fleet.progress(serial);
    assert_eq!((progress.held_back, progress.accepted, progress.in_flight), (7, 3, 3));
    assert_eq!(progress.max_in_flight, Some(3));
    assert_eq!(progress.estimated_end, None, "nothing has ended yet");
    for open in (1..=10).rev() {
        assert_eq!(fleet.at_work(serial).len(), open.min(3));
        let one = fleet.at_work(serial)[0];
        let state = if open % 2 == 0 { DeliveryState::Failed } else { DeliveryState::Succeeded };
        fleet.answer(one, serial, state);
    }
    let counts = fleet.stored(serial).counts;
    assert_eq!((counts.succeeded, counts.failed, counts.open()), (5, 5, 0));
}

#[test]
fn a_share_of_places_rounds_up() {
    let mut fleet = Fleet::new(15);
    let serial = fleet.submit(r#"{"max_in_flight": "10%"}"#);
    assert_eq!(fleet.at_work(serial).len(), 2);
    let mut few = Fleet::new(1);
    let serial = few.submit(r#"{"max_in_flight": "0.01%"}"#);
    assert_eq!(few.at_work(serial).len(), 1);
}

#[test]
fn who_is_away_holds_no_place_and_takes_one_on_its_return() {
    let mut fleet = Fleet::away(4);
    fleet.come(1);
    let serial = fleet.submit(r#"{"max_in_flight": 1}"#);
    assert_eq!(fleet.at_work(serial), [1], "wherever it is in the order");
    fleet.come(2);
    fleet.come(3);
    assert_eq!(fleet.at_work(serial), [1], "the place is taken");
    fleet.answer(1, serial, DeliveryState::Succeeded);
    assert_eq!(fleet.at_work(serial).len(), 1);
    fleet.succeed(serial, 2);
    assert_eq!(fleet.at_work(serial), [0; 0]);
    assert_eq!(fleet.state(serial).released, 4, "the last has had its turn");
    fleet.come(4);
    assert_eq!(fleet.at_work(serial), [4]);
}

#[test]
fn what_a_client_has_taken_keeps_its_place_while_it_is_away() {
    let mut fleet = Fleet::new(3);
    let serial = fleet.submit(r#"{"max_in_flight": 1}"#);
    let first = fleet.at_work(serial)[0];
    fleet.leave(first);
    assert_eq!(fleet.started(serial), [first], "its host may be starting anew");
    assert_eq!(fleet.progress(serial).in_flight, 1);
    fleet.come(first);
    fleet.answer(first, serial, DeliveryState::Succeeded);
    assert_eq!(fleet.at_work(serial).len(), 1);
}

#[test]
fn what_a_client_has_not_taken_gives_its_place_back() {
    let mut fleet = Fleet::new(3);
    fleet.takes = false;
    let serial = fleet.submit(r#"{"max_in_flight": 1}"#);
    let first = fleet.at_work(serial)[0];
    fleet.leave(first);
    fleet.running.remove(&(first, serial));
    let second = fleet.at_work(serial);
    assert_eq!(second.len(), 1);
    fleet.come(first);
    assert_eq!(fleet.at_work(serial), second, "it waits for a place");
    fleet.answer(second[0], serial, DeliveryState::Succeeded);
    assert_eq!(fleet.at_work(serial), [first], "it had its turn before the third");
}

#[test]
fn who_has_lost_what_it_had_taken_waits_for_a_place_like_others() {
    let mut fleet = Fleet::new(3);
    let serial = fleet.submit(r#"{"max_in_flight": 1}"#);
    let first = fleet.at_work(serial)[0];
    fleet.leave(first);
    fleet.running.clear();
    fleet.come(first);
    assert_eq!(fleet.at_work(serial), [first], "its own place has become free");
    assert_eq!(fleet.started(serial), [first, first]);
}

#[test]
fn a_pause_between_attempts_keeps_its_place() {
    let mut fleet = Fleet::new(3);
    let retry = Retry::new(2, Duration::from_secs(60), Duration::from_secs(60)).unwrap();
    let serial = fleet.submit_with(r#"{"max_in_flight": 1, "abort_on": ["any=1%"]}"#, |it| {
        it.retry = retry;
    });
    let first = fleet.at_work(serial)[0];
    fleet.fail(first, serial);
    assert_eq!(fleet.at_work(serial), [0; 0], "nobody else gets it");
    let progress = fleet.progress(serial);
    assert_eq!((progress.in_flight, progress.queued, progress.held_back), (1, 1, 2));
    fleet.wait_until(at(70));
    assert_eq!(fleet.at_work(serial), [first], "and an attempt that is tried again ends nothing");
    fleet.answer(first, serial, DeliveryState::Succeeded);
    assert_eq!(fleet.at_work(serial).len(), 1);
}

#[test]
fn a_rate_spaces_the_starts_and_a_restart_does_not_hurry_it() {
    let mut fleet = Fleet::new(8);
    let serial = fleet.submit(r#"{"rate": 2}"#);
    fleet.wait_until(at(1));
    let offsets = |fleet: &Fleet| -> Vec<i64> {
        fleet.starts.iter().map(|(when, ..)| when.millis() - at(0).millis()).collect()
    };
    assert_eq!(offsets(&fleet), [0, 500, 1_000]);
    assert_eq!(fleet.progress(serial).rate.unwrap().to_string(), "2");
    fleet.restart(at(1));
    fleet.come_all();
    assert_eq!(fleet.starts.len(), 3, "what was earned before is forgotten");
    fleet.wait_until(at(4));
    assert_eq!(offsets(&fleet)[3..], [1_500, 2_000, 2_500, 3_000, 3_500]);
    assert_eq!(fleet.bench.engine.rollouts.next_deadline(), None, "all have started");
}

#[test]
fn a_rate_grows_with_successes() {
    let mut fleet = Fleet::new(20);
    let growth =
        r#"{"rate": {"per_second": 1, "growth": {"factor": 4, "after": 2}, "max_per_second": 10}}"#;
    let serial = fleet.submit(growth);
    fleet.wait_until(at(1));
    assert_eq!(fleet.starts.len(), 2);
    fleet.succeed(serial, 2);
    fleet.wait_until(at(2));
    assert_eq!(fleet.starts.len(), 6, "4 a second");
    fleet.succeed(serial, 2);
    fleet.wait_until(at(3));
    assert_eq!(fleet.starts.len(), 16, "10 a second, not 16");
}

#[test]
fn spread_comes_first_and_places_after_it() {
    let mut fleet = Fleet::new(10);
    let mut spec = every("tick", "group:fleet", 3_600);
    spec.spread = Some(Duration::from_secs(600));
    spec.rollout = Some(serde_json::from_str(r#"{"max_in_flight": 2}"#).unwrap());
    fleet.bench.apply(spec);
    fleet.wait_until(at(3_600));
    let early = fleet.starts.len();
    assert!(early < 2, "their moments are spread over ten minutes: {early}");
    fleet.wait_until(at(4_200));
    assert_eq!(fleet.starts.len(), 2, "two at a time");
    let serial = fleet.starts[0].2;
    assert_eq!(fleet.succeed(serial, 100), 10);
}

#[test]
fn who_is_away_at_its_turn_is_skipped_where_a_run_drops_those_away() {
    let mut fleet = Fleet::new(3);
    let serial = fleet.submit_with(r#"{"max_in_flight": 1}"#, |it| it.offline = Offline::Drop);
    let first = fleet.at_work(serial)[0];
    let others: Vec<u64> = (1..=3).filter(|client| *client != first).collect();
    fleet.leave(others[0]);
    fleet.leave(others[1]);
    assert_eq!(fleet.run(serial).unwrap().counts.skipped, 0, "their turn is still to come");
    fleet.answer(first, serial, DeliveryState::Succeeded);
    let counts = fleet.stored(serial).counts;
    assert_eq!((counts.succeeded, counts.skipped, counts.open()), (1, 2, 0));
}

#[test]
fn held_back_deliveries_expire_and_are_cancelled_like_queued_ones() {
    let mut fleet = Fleet::new(5);
    let serial = fleet.submit_with(r#"{"max_in_flight": 1}"#, |it| {
        it.expires_after = Some(Duration::from_secs(60));
    });
    fleet.wait_until(at(60));
    assert_eq!(fleet.run(serial).unwrap().counts.expired, 4);
    fleet.succeed(serial, 1);
    let serial = fleet.submit(r#"{"max_in_flight": 1}"#);
    fleet.bench.call(Request::CancelRun(serial));
    assert_eq!(fleet.run(serial).unwrap().counts.cancelled, 4);
    fleet.succeed(serial, 1);
    assert_eq!(fleet.stored(serial).counts.open(), 0);
}

fn job(overlap: Overlap, scope: OverlapScope) -> JobSpec {
    let mut spec = every("tick", "group:fleet", 60);
    (spec.overlap, spec.overlap_scope) = (overlap, scope);
    spec.rollout = Some(serde_json::from_str(r#"{"max_in_flight": 1}"#).unwrap());
    spec
}

fn runs_of(fleet: &Fleet) -> Vec<Serial> {
    let serials: BTreeSet<Serial> = fleet.starts.iter().map(|(_, _, serial)| *serial).collect();
    serials.into_iter().collect()
}

#[test]
fn a_firing_is_skipped_where_an_earlier_rollout_is_still_to_come() {
    let mut fleet = Fleet::new(3);
    fleet.bench.apply(job(Overlap::Skip, OverlapScope::Client));
    fleet.wait_until(at(60));
    fleet.succeed(fleet.starts[0].2, 1);
    fleet.wait_until(at(120));
    let [first, second] = runs_of(&fleet)[..] else { panic!("{:?}", fleet.starts) };
    assert_eq!(fleet.started(second), [fleet.started(first)[0]], "the one that is through");
    assert_eq!(fleet.run(second).unwrap().counts.skipped, 2);
}

#[test]
fn a_queued_firing_comes_after_the_earlier_one_on_each_client() {
    let mut fleet = Fleet::new(3);
    fleet.bench.apply(job(Overlap::Queue, OverlapScope::Client));
    fleet.wait_until(at(120));
    let first = fleet.starts[0].2;
    assert_eq!(fleet.starts.len(), 1, "the second run waits behind the first");
    let one = fleet.at_work(first)[0];
    fleet.answer(one, first, DeliveryState::Succeeded);
    let second = *runs_of(&fleet).last().unwrap();
    assert_eq!((fleet.started(first).len(), fleet.started(second)), (2, vec![one]));
    fleet.bench.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
    while let Some((client, serial)) = fleet.running.keys().next().copied() {
        fleet.answer(client, serial, DeliveryState::Succeeded);
    }
    assert_eq!(fleet.stored(first).counts.succeeded, 3);
    assert_eq!(fleet.stored(second).counts.succeeded, 3);
}

#[test]
fn a_firing_replaces_what_an_earlier_rollout_holds_back() {
    let mut fleet = Fleet::new(3);
    fleet.bench.apply(job(Overlap::Replace, OverlapScope::Client));
    fleet.wait_until(at(60));
    let first = fleet.starts[0].2;
    fleet.wait_until(at(120));
    let counts = fleet.stored(first).counts;
    assert_eq!((counts.superseded, counts.open()), (3, 0));
    assert_eq!(runs_of(&fleet).len(), 2);
}

#[test]
fn a_run_held_for_its_whole_job_begins_its_rollout_when_it_may() {
    let mut fleet = Fleet::new(3);
    fleet.bench.apply(job(Overlap::Queue, OverlapScope::Job));
    fleet.wait_until(at(120));
    let first = fleet.starts[0].2;
    fleet.bench.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
    fleet.succeed(first, 2);
    assert_eq!(runs_of(&fleet), [first]);
    fleet.succeed(first, 1);
    let [_, second] = runs_of(&fleet)[..] else { panic!("{:?}", fleet.starts) };
    assert_eq!(fleet.succeed(second, 10), 3);
}

#[test]
fn the_same_clients_of_a_job_come_first_each_time() {
    let mut fleet = Fleet::new(20);
    let mut spec = job(Overlap::Allow, OverlapScope::Client);
    spec.rule = Rule::every(Duration::from_secs(60)).unwrap();
    fleet.bench.apply(spec);
    for minute in 1..=2 {
        fleet.wait_until(at(minute * 60));
        let serial = fleet.starts.last().unwrap().2;
        fleet.succeed(serial, 20);
    }
    let [first, second] = runs_of(&fleet)[..] else { panic!("{:?}", fleet.starts) };
    assert_eq!(fleet.started(first), fleet.started(second));
    let one = fleet.submit(r#"{"max_in_flight": 1}"#);
    fleet.succeed(one, 20);
    assert_ne!(fleet.started(one), fleet.started(first), "a run without a job has its own order");
}
