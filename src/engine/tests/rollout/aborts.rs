//! Aborts: at which end exactly, and what becomes of the others.

use super::*;
use crate::policy::Retry;

/// Every delivery's end in the store: client, state and reason.
fn ends(fleet: &Fleet, serial: Serial) -> Vec<(String, DeliveryState, Option<String>)> {
    (1..=fleet.clients)
        .filter_map(|client| {
            let id = format!("r{client}").parse().unwrap();
            let response = crate::history::response(&fleet.bench.store, serial, &id).unwrap()?;
            Some((id.to_string(), response.outcome.state, response.outcome.reason))
        })
        .collect()
}

#[test]
fn it_aborts_at_its_limit_and_not_one_before() {
    let mut fleet = Fleet::new(20);
    let serial = fleet.submit(r#"{"max_in_flight": 1, "abort_on": ["failed=25%@10"]}"#);
    for n in 1..=9 {
        let one = fleet.at_work(serial)[0];
        let state = if n <= 2 { DeliveryState::Failed } else { DeliveryState::Succeeded };
        fleet.answer(one, serial, state);
    }
    assert_eq!(fleet.state(serial).standing, Standing::Going, "2 of 9, and 10 do not count yet");
    fleet.succeed(serial, 1);
    assert_eq!(fleet.state(serial).standing, Standing::Going, "2 of 10 are 20 %");
    let one = fleet.at_work(serial)[0];
    fleet.fail(one, serial);
    let reason = "the rollout was aborted: 3 of 11 ended deliveries failed, the limit is 25 %";
    let run = fleet.stored(serial);
    assert_eq!(run.reason.as_deref(), Some(reason));
    assert_eq!(run.rollout_state.as_ref().unwrap().aborted(), Some(reason));
    assert_eq!((run.counts.cancelled, run.counts.failed, run.counts.open()), (9, 3, 0));
    assert!(run.ended_at.is_some());
    let cancelled = ends(&fleet, serial);
    let cancelled = cancelled.iter().filter(|(_, state, _)| *state == DeliveryState::Cancelled);
    assert!(cancelled.clone().all(|(_, _, why)| why.as_deref() == Some(reason)));
    assert_eq!(cancelled.count(), 9);
    assert_eq!(fleet.started(serial).len(), 11);
}

#[test]
fn what_clients_have_goes_on_and_is_not_tried_again() {
    let mut fleet = Fleet::new(10);
    let retry = Retry::new(2, Duration::from_secs(1), Duration::from_secs(1)).unwrap();
    let text = r#"{"max_in_flight": 4, "abort_on": ["rejected=1%"]}"#;
    let serial = fleet.submit_with(text, |it| it.retry = retry);
    let at_work = fleet.at_work(serial);
    fleet.fail(at_work[0], serial);
    assert_eq!(fleet.state(serial).standing, Standing::Going, "it is tried again");
    fleet.answer(at_work[1], serial, DeliveryState::Rejected);
    assert_eq!(fleet.run(serial).unwrap().counts.cancelled, 7, "the one in its pause, too");
    assert_eq!(fleet.at_work(serial), [at_work[2], at_work[3]]);
    fleet.fail(at_work[2], serial);
    let run = fleet.run(serial).unwrap();
    assert_eq!((run.counts.failed, run.counts.retried), (1, 1), "its failure is its end");
    fleet.answer(at_work[3], serial, DeliveryState::Succeeded);
    fleet.wait_until(at(100));
    assert_eq!(fleet.started(serial).len(), 4);
    assert_eq!(fleet.stored(serial).counts.open(), 0);
}

#[test]
fn an_abort_survives_a_restart() {
    let mut fleet = Fleet::new(10);
    let serial = fleet.submit(r#"{"max_in_flight": 3, "abort_on": ["any=1%"]}"#);
    let at_work = fleet.at_work(serial);
    fleet.answer(at_work[0], serial, DeliveryState::TimedOut);
    fleet.restart(at(10));
    // One of those at work has forgotten it.
    fleet.running.remove(&(at_work[1], serial));
    fleet.come_all();
    fleet.wait_until(at(1_000));
    assert_eq!(fleet.started(serial).len(), 3, "nothing is sent any more");
    fleet.answer(at_work[2], serial, DeliveryState::Succeeded);
    let counts = fleet.stored(serial).counts;
    assert_eq!((counts.timed_out, counts.cancelled, counts.succeeded), (1, 8, 1));
    assert!(ends(&fleet, serial).iter().all(|(_, state, why)| {
        *state != DeliveryState::Cancelled || why.as_ref().unwrap().contains("was aborted: 1 of 1")
    }));
}

#[test]
fn failures_before_and_after_a_restart_are_counted_together() {
    let mut fleet = Fleet::new(10);
    let serial = fleet.submit(r#"{"max_in_flight": 1, "abort_on": ["failed=50%@4"]}"#);
    for state in [DeliveryState::Failed, DeliveryState::Succeeded, DeliveryState::Succeeded] {
        let one = fleet.at_work(serial)[0];
        fleet.answer(one, serial, state);
    }
    fleet.restart(at(10));
    fleet.come_all();
    let one = fleet.at_work(serial)[0];
    fleet.fail(one, serial);
    assert_eq!(fleet.stored(serial).counts.cancelled, 6, "2 of 4");
}

#[test]
fn an_abort_comes_before_a_wave_that_could_not_succeed() {
    let mut fleet = Fleet::new(20);
    let text = r#"{"waves": ["25%"], "abort_on": ["failed=20%@5"]}"#;
    let serial = fleet.submit(text);
    let at_work = fleet.at_work(serial);
    fleet.fail(at_work[0], serial);
    assert!(matches!(fleet.state(serial).standing, Standing::Held { .. }));
    fleet.succeed(serial, 4);
    let run = fleet.stored(serial);
    let state = run.rollout_state.unwrap();
    assert_eq!(
        state.aborted().unwrap(),
        "the rollout was aborted: 1 of 5 ended deliveries failed, the limit is 20 %",
        "a run that is held is aborted all the same"
    );
    assert_eq!((run.counts.cancelled, run.counts.open()), (15, 0));
}

#[test]
fn a_run_whose_last_delivery_fails_has_nothing_to_abort() {
    let mut fleet = Fleet::new(2);
    let serial = fleet.submit(r#"{"max_in_flight": 1, "abort_on": ["failed=50%@2"]}"#);
    fleet.succeed(serial, 1);
    let last = fleet.at_work(serial)[0];
    fleet.fail(last, serial);
    let run = fleet.stored(serial);
    assert_eq!((run.reason, run.rollout_state.unwrap().standing), (None, Standing::Going));
}

#[test]
fn an_abort_lets_the_held_run_of_the_job_go() {
    let mut fleet = Fleet::new(4);
    let mut spec = every("tick", "group:fleet", 60);
    (spec.overlap, spec.overlap_scope) = (Overlap::Queue, OverlapScope::Job);
    let text = r#"{"max_in_flight": 1, "abort_on": ["failed=1%"]}"#;
    spec.rollout = Some(serde_json::from_str(text).unwrap());
    fleet.bench.apply(spec);
    fleet.wait_until(at(120));
    let (_, client, first) = fleet.starts[0];
    assert_eq!(fleet.starts.len(), 1);
    fleet.fail(client, first);
    assert_eq!(fleet.stored(first).counts.cancelled, 3);
    assert_eq!(fleet.starts.len(), 2, "the next begins in the same decision");
    assert_ne!(fleet.starts[1].2, first);
}
