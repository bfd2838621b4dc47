//! Waves: when the next begins, what keeps it, and who lets it go on.

use super::*;

const THREE: &str = r#"{"waves": ["10%", "50%", "100%"]}"#;

const APPROVED: &str = r#"{"waves": [{"share": "10%", "approval": true}, "100%"]}"#;

#[test]
fn a_wave_begins_when_the_one_before_has_succeeded() {
    let mut fleet = Fleet::new(20);
    let serial = fleet.submit(THREE);
    assert_eq!(fleet.at_work(serial).len(), 2);
    fleet.succeed(serial, 1);
    assert_eq!(fleet.at_work(serial).len(), 1);
    let wave = fleet.progress(serial).wave.unwrap();
    assert_eq!((wave.number, wave.of, wave.deliveries), (1, 3, 2));
    assert_eq!((wave.succeeded, wave.open), (1, 1));
    fleet.succeed(serial, 1);
    assert_eq!(fleet.at_work(serial).len(), 8);
    assert_eq!(
        fleet.state(serial),
        RolloutState { released: 10, wave: 2, standing: Standing::Going }
    );
    fleet.succeed(serial, 8);
    assert_eq!(fleet.at_work(serial).len(), 10);
    assert_eq!(fleet.progress(serial).wave.unwrap().success, None, "nothing follows");
    fleet.succeed(serial, 10);
    assert_eq!(fleet.stored(serial).counts.succeeded, 20);
}

#[test]
fn waves_of_a_tiny_group_round_up_and_empty_ones_are_passed_over() {
    let mut fleet = Fleet::new(3);
    let text = r#"{"waves": ["1%", {"share": "2%", "approval": true}, "50%", "100%"]}"#;
    let serial = fleet.submit(text);
    assert_eq!(fleet.succeed(serial, 1), 1);
    let state = fleet.state(serial);
    assert_eq!((state.wave, state.released), (3, 2), "wave 2 has nobody of its own");
    assert_eq!(fleet.succeed(serial, 2), 2);
    let mut one = Fleet::new(1);
    let serial = one.submit(APPROVED);
    assert_eq!(one.succeed(serial, 1), 1);
    assert_eq!(one.stored(serial).counts.open(), 0, "nobody has to approve a wave of nobody");
}

#[test]
fn a_wave_needs_no_more_than_its_share_and_the_others_go_on() {
    let mut fleet = Fleet::new(10);
    let serial = fleet.submit(r#"{"waves": [{"share": "50%", "success": "60%"}, "100%"]}"#);
    let first = fleet.at_work(serial);
    fleet.fail(first[0], serial);
    fleet.answer(first[1], serial, DeliveryState::Succeeded);
    fleet.answer(first[2], serial, DeliveryState::Succeeded);
    assert_eq!(fleet.at_work(serial).len(), 2, "2 of 5 are not 60 %");
    fleet.answer(first[3], serial, DeliveryState::Succeeded);
    assert_eq!(fleet.at_work(serial).len(), 6, "the last of wave 1 and all of wave 2");
}

#[test]
fn a_wave_waits_its_time_and_then_for_its_approval() {
    let mut fleet = Fleet::new(10);
    let text = r#"{"waves": [{"share": "10%", "approval": true, "wait": "10m"}, "100%"]}"#;
    let serial = fleet.submit(text);
    let refused = fleet.approve(serial).unwrap_err();
    assert!(refused.ends_with("waits for no approval: wave 1 of 2 is under way"), "{refused}");
    fleet.wait_until(at(5));
    fleet.succeed(serial, 1);
    assert_eq!(fleet.state(serial).standing, Standing::Waiting { until: at(605) });
    let refused = fleet.approve(serial).unwrap_err();
    assert!(refused.contains("wave 1 of 2 has succeeded, and waits until"), "{refused}");
    fleet.restart(at(300));
    fleet.come_all();
    fleet.wait_until(at(604));
    assert_eq!(fleet.started(serial).len(), 1);
    fleet.wait_until(at(700));
    assert_eq!(fleet.state(serial).standing, Standing::Approval { since: at(605) });
    assert_eq!(fleet.progress(serial).estimated_end, None, "nobody can tell");
    assert_eq!(fleet.started(serial).len(), 1);
    fleet.approve(serial).unwrap();
    assert_eq!(fleet.at_work(serial).len(), 9);
    fleet.succeed(serial, 9);
    let refused = fleet.approve(serial).unwrap_err();
    assert!(refused.ends_with("is not open: it has ended or never was"), "{refused}");
}

#[test]
fn a_wait_without_approval_ends_by_itself() {
    let mut fleet = Fleet::new(10);
    let serial = fleet.submit(r#"{"waves": [{"share": "10%", "wait": "10m"}, "100%"]}"#);
    fleet.succeed(serial, 1);
    fleet.wait_until(at(599));
    assert_eq!(fleet.at_work(serial), [0; 0]);
    fleet.wait_until(at(600));
    assert_eq!(fleet.at_work(serial).len(), 9);
}

#[test]
fn an_approval_survives_a_restart_and_so_does_the_need_for_one() {
    let mut fleet = Fleet::new(10);
    let serial = fleet.submit(APPROVED);
    fleet.succeed(serial, 1);
    fleet.restart(at(100));
    fleet.come_all();
    fleet.wait_until(at(1_000));
    assert_eq!(fleet.at_work(serial), [0; 0], "still nobody has approved it");
    // The commit of the approval is the last thing that happens.
    let call = Input::Call {
        call: CallId(0),
        actor: crate::Actor::Library,
        request: Request::ApproveRun(serial),
        entropy: 0,
    };
    fleet.bench.input(call);
    fleet.restart(at(1_001));
    assert_eq!(fleet.state(serial).wave, 2);
    fleet.come_all();
    assert_eq!(fleet.at_work(serial).len(), 9, "it does not ask again");
}

#[test]
fn a_restart_in_the_middle_of_a_wave_goes_on_where_it_was() {
    let mut fleet = Fleet::new(20);
    let serial = fleet.submit(r#"{"max_in_flight": 3, "waves": ["50%", "100%"]}"#);
    fleet.succeed(serial, 4);
    let before = (fleet.started(serial), fleet.state(serial));
    assert_eq!((before.0.len(), before.1.released), (7, 7));
    fleet.restart(at(10));
    assert_eq!(fleet.state(serial), before.1);
    for client in 1..=19 {
        fleet.come(client);
    }
    assert_eq!(fleet.started(serial), before.0, "the last may be running it for all we know");
    fleet.come(20);
    assert_eq!(fleet.started(serial), before.0, "three are under way");
    assert_eq!(fleet.progress(serial).in_flight, 3);
    fleet.succeed(serial, 6);
    assert_eq!(fleet.state(serial).wave, 2, "4 before and 6 after it make the wave");
    fleet.succeed(serial, 10);
    let mut all = fleet.started(serial);
    all.sort_unstable();
    assert_eq!(all, (1..=20).collect::<Vec<_>>(), "each once");
}

#[test]
fn a_restart_waits_for_those_who_do_not_return_no_longer_than_they_get() {
    let mut fleet = Fleet::new(4);
    let serial = fleet.submit(r#"{"max_in_flight": 1}"#);
    let first = fleet.at_work(serial)[0];
    fleet.restart(at(10));
    (1..=4).filter(|client| *client != first).for_each(|client| fleet.come(client));
    fleet.wait_until(at(39));
    assert_eq!(fleet.started(serial), [first]);
    fleet.wait_until(at(40));
    assert_eq!(fleet.started(serial).len(), 2, "who is away holds no place that is known");
}

#[test]
fn a_wave_that_cannot_succeed_is_held_until_somebody_decides() {
    let mut fleet = Fleet::new(20);
    let serial = fleet.submit(r#"{"max_in_flight": 2, "waves": ["50%", "100%"]}"#);
    let first = fleet.at_work(serial)[0];
    fleet.fail(first, serial);
    let reason = "wave 1 of 2 cannot reach 100 %: 1 of its 10 deliveries did not succeed";
    assert_eq!(fleet.state(serial).standing, Standing::Held { reason: reason.into() });
    assert_eq!(fleet.succeed(serial, 20), 1, "what is under way goes on, nothing else");
    fleet.restart(at(10));
    fleet.come_all();
    fleet.wait_until(at(1_000));
    assert_eq!(fleet.at_work(serial), [0; 0]);
    fleet.approve(serial).unwrap();
    assert_eq!(fleet.state(serial).wave, 2);
    assert_eq!(fleet.succeed(serial, 20), 18, "the rest of wave 1, then wave 2");
    let counts = fleet.stored(serial).counts;
    assert_eq!((counts.succeeded, counts.failed), (19, 1));
}

#[test]
fn a_held_run_can_be_cancelled_and_is_then_not_approved() {
    let mut fleet = Fleet::new(20);
    let serial = fleet.submit(r#"{"waves": ["10%", "100%"]}"#);
    let first = fleet.at_work(serial)[0];
    fleet.fail(first, serial);
    fleet.bench.call(Request::CancelRun(serial));
    let refused = fleet.approve(serial).unwrap_err();
    assert!(refused.ends_with("waits for no approval: the run was cancelled"), "{refused}");
    fleet.succeed(serial, 1);
    let counts = fleet.stored(serial).counts;
    assert_eq!((counts.cancelled, counts.succeeded, counts.failed), (18, 1, 1));
}

#[test]
fn what_was_left_out_counts_neither_for_its_wave_nor_against_it() {
    let mut fleet = Fleet::new(10);
    fleet.leave(1);
    let serial = fleet.submit_with(r#"{"waves": ["90%"]}"#, |it| it.offline = Offline::Drop);
    assert_eq!(fleet.succeed(serial, 10), 9, "one was away, and skipped");
    assert_eq!(fleet.stored(serial).counts.skipped, 1);
}

#[test]
fn each_step_of_a_rollout_is_told() {
    let mut fleet = Fleet::new(10);
    let serial = fleet.submit(APPROVED);
    let client = fleet.at_work(serial)[0];
    let session = SessionId(client);
    let outcome = Outcome::succeeded(Json::null());
    fleet.bench.input(Input::Responded { session, attempt: serial.into(), outcome });
    let told = |fleet: &Fleet| {
        fleet.bench.effects.iter().find_map(|effect| match effect {
            Effect::Notify(event) => match &event.what {
                What::Rollout { wave, of, rollout, .. } => Some((*wave, *of, rollout.clone())),
                _ => None,
            },
            _ => None,
        })
    };
    assert_eq!(told(&fleet), Some((1, 2, Standing::Approval { since: at(0) })));
    fleet.bench.call(Request::ApproveRun(serial));
    assert_eq!(told(&fleet), Some((2, 2, Standing::Going)));
}

#[test]
fn the_end_is_estimated_from_the_pace_so_far() {
    let mut fleet = Fleet::new(20);
    let serial = fleet.submit(r#"{"max_in_flight": 1}"#);
    for second in 1..=5 {
        fleet.wait_until(at(second * 2));
        fleet.succeed(serial, 1);
    }
    let progress = fleet.progress(serial);
    assert_eq!(progress.ended_per_second, Some(0.5));
    assert_eq!(progress.estimated_end, Some(at(10 + 30)), "15 are open, one each 2 s");
}
