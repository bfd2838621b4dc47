//! What a restart brings back: all that was stored, and nothing that was not.

use super::*;

fn ended(bench: &Bench, serial: Serial, id: &str) -> Option<DeliveryState> {
    let client = id.parse().unwrap();
    let response = crate::history::response(&bench.store, serial, &client).unwrap();
    response.map(|response| response.outcome.state)
}

#[test]
fn a_firing_is_not_caught_up_again_after_a_restart() {
    let mut bench = Bench::new();
    bench.apply(every("tick", "client:a", 10));
    bench.wait_until(at(10));
    let [run] = &bench.runs_put()[..] else { panic!("one run") };
    let before = bench.state("tick");
    assert_eq!(before.last_serial, Some(run.serial));
    bench.restart(at(11));
    assert_eq!(bench.state("tick"), before);
    assert!(bench.runs_put().is_empty(), "once is once");
    assert_eq!(bench.connect("a", 1, &[]), [run.serial]);
}

#[test]
fn a_run_and_its_jobs_standing_are_one_unit() {
    let mut bench = Bench::new();
    bench.apply(every("tick", "client:a", 10));
    bench.now = at(10);
    bench.deadlines();
    let [unit] = &bench.engine.take().units[..] else { panic!("one unit") };
    assert!(unit.iter().any(|change| matches!(change, Change::PutRun(_))));
    assert!(unit.iter().any(|change| matches!(change, Change::PutJobState(..))));
}

#[test]
fn counters_survive_and_come_down_to_nothing() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let first = bench.submit("all").serial;
    bench.succeed(1, first);
    let second = bench.submit("client:a").serial;
    bench.restart(at(1));
    assert_eq!((bench.client("a").open, bench.status().deliveries_open), (1, 3));
    for (id, session) in [("a", 2), ("b", 3), ("c", 4)] {
        for serial in bench.connect(id, session, &[]) {
            bench.succeed(session, serial);
        }
        assert_eq!(bench.client(id).open, 0);
    }
    let status = bench.status();
    assert_eq!((status.deliveries_open, status.runs_open), (0, 0));
    let run = crate::history::run(&bench.store, first).unwrap().unwrap();
    assert_eq!(run.counts.succeeded, 3, "those before the restart and those after it");
    for (serial, id) in [(first, "a"), (first, "b"), (first, "c"), (second, "a")] {
        assert_eq!(ended(&bench, serial, id), Some(DeliveryState::Succeeded), "{serial} {id}");
    }
}

#[test]
fn serials_rise_although_the_clock_went_back() {
    let mut bench = Bench::new();
    bench.now = at(100);
    let earlier = bench.submit("all").serial;
    bench.restart(at(50));
    assert!(bench.submit("all").serial > earlier);
    bench.now = at(200);
    bench.apply(every("tick", "all", 10));
    bench.wait_until(at(210));
    let fired = bench.runs_put()[0].serial;
    assert!(bench.submit("all").serial > fired);
}

#[test]
fn what_fired_by_a_clock_that_was_ahead_is_sent_after_a_restart() {
    let mut bench = Bench::new();
    bench.now = at(300);
    let fired = bench.submit("client:a").serial;
    bench.restart(at(50));
    assert_eq!(bench.connect("a", 1, &[]), [fired], "it has fired, whatever the clock says now");
}

#[test]
fn what_a_person_did_survives() {
    let mut bench = Bench::new();
    for name in ["paused", "resumed", "triggered", "removed", "pruned"] {
        bench.apply(every(name, "all", 1_000));
    }
    bench.call(Request::PauseJob(Pause::new("paused".parse().unwrap())));
    bench.call(Request::PauseJob(Pause::new("resumed".parse().unwrap())));
    bench.restart(at(1));
    assert_eq!(bench.state("paused").paused.map(|paused| paused.at), Some(at(0)));
    bench.call(Request::ResumeJob("resumed".parse().unwrap()));
    bench.call(Request::RemoveJob("removed".parse().unwrap()));
    let Reply::Run(run) = bench.call(Request::TriggerJob("triggered".parse().unwrap())) else {
        panic!()
    };
    bench.restart(at(2));
    assert_eq!(bench.state("resumed").paused, None);
    assert_eq!(bench.state("triggered").last_serial, Some(run.serial));
    let gone = bench.ask(Request::GetJob("removed".parse().unwrap()));
    assert!(matches!(gone, Err(RequestError::NotFound { .. })), "{gone:?}");
    let jobs = vec![every("paused", "all", 1_000), every("resumed", "all", 1_000)];
    bench.call(Request::Apply(Apply { jobs, prune: true, ..Apply::default() }));
    bench.restart(at(3));
    assert_eq!(bench.status().jobs, 2);
}

#[test]
fn what_was_missed_is_known_after_a_restart() {
    let mut bench = Bench::new();
    let mut spec = every("tick", "all", 10);
    spec.catch_up = CatchUp::Skip;
    bench.apply(spec);
    bench.restart(at(35));
    // It would be worked out again, but as what a later start makes of it.
    let changes = &bench.changes[..];
    assert!(matches!(changes, [Change::PutJobState(..), Change::PutMissed(_)]), "{changes:?}");
    let state = bench.state("tick");
    assert_eq!(state.missed.as_ref().map(|missed| missed.total), Some(3));
    bench.restart(at(36));
    assert_eq!(bench.state("tick"), state);
}

#[test]
fn presence_is_stored() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    bench.now = at(5);
    bench.disconnect(1);
    bench.restart(at(9));
    let presence = bench.client("a").presence;
    assert_eq!((presence.connected_at, presence.disconnected_at), (Some(at(0)), Some(at(5))));
    assert_eq!(presence.reason.as_deref(), Some("test"));
}

#[test]
fn what_a_client_may_have_taken_gets_time_to_be_told_of() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let mut submission = Submission::new("client:a".parse().unwrap(), "noop".parse().unwrap());
    submission.expires_after = Some(Duration::from_secs(10));
    let Reply::Run(run) = bench.call(Request::Submit(submission.clone())) else { panic!() };
    bench.accept(1, run.serial);
    bench.restart(at(60));
    assert!(bench.ends().is_empty(), "the client may hold it");
    bench.now = at(70);
    assert!(bench.connect("a", 2, &[run.serial]).is_empty());
    bench.wait_until(at(120));
    assert!(bench.ends().is_empty(), "it does");
    bench.succeed(2, run.serial);
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Succeeded)]);
    bench.disconnect(2);
    let Reply::Run(run) = bench.call(Request::Submit(submission)) else { panic!() };
    bench.restart(at(200));
    bench.wait_until(at(230));
    assert_eq!(ended(&bench, run.serial, "a"), Some(DeliveryState::Expired), "time is up");
}

#[test]
fn a_cancelled_run_stays_cancelled() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    bench.connect("b", 2, &[]);
    let serial = bench.submit("group:abc").serial;
    bench.call(Request::CancelRun(serial));
    bench.restart(at(1));
    assert!(bench.connect("a", 3, &[]).is_empty(), "not sent any more");
    assert_eq!(ended(&bench, serial, "a"), Some(DeliveryState::Cancelled));
    assert!(bench.connect("b", 4, &[serial]).is_empty());
    let asks = |effect: &Effect| matches!(effect, Effect::Cancel { session: SessionId(4), .. });
    assert!(bench.effects.iter().any(asks), "who has it is asked again");
}

/// A crash may fall between the unit of the client and those of its runs.
#[test]
fn a_client_whose_removal_was_cut_short_leaves_nothing_open() {
    let mut bench = Bench::new();
    let serial = bench.submit("client:b").serial;
    let request = Request::RemoveClient("b".parse().unwrap());
    bench.engine.handle(
        at(0),
        Input::Call { call: CallId(99), actor: crate::Actor::Library, request, entropy: 1 },
    );
    let units = bench.engine.take().units;
    let [client, run] = &units[..] else { panic!("{units:?}") };
    assert!(matches!(client[..], [Change::PutClient(_)]));
    assert!(matches!(run[0], Change::PutRun(_)));
    records::write(&bench.store, &units[..1]).unwrap();
    bench.restart(at(1));
    assert_eq!(bench.ends(), [("b".into(), DeliveryState::Removed)]);
    assert_eq!(ended(&bench, serial, "b"), Some(DeliveryState::Removed));
    assert_eq!(bench.status().deliveries_open, 0);
}

/// Two firings of a job in one commit are two units; its standing is in the second.
#[test]
fn a_run_that_a_crash_left_behind_its_jobs_standing_is_not_begun_anew() {
    let mut bench = Bench::new();
    let mut spec = every("tick", "client:a", 10);
    spec.catch_up = CatchUp::All;
    bench.apply(spec);
    bench.now = at(20);
    bench.deadlines();
    let units = bench.engine.take().units;
    assert_eq!(units.len(), 2);
    records::write(&bench.store, &units[..1]).unwrap();
    bench.restart(at(20));
    assert_eq!(bench.runs_put().len(), 1, "only the second is new");
    assert_eq!((bench.status().deliveries_open, bench.client("a").open), (2, 2));
    assert_eq!(bench.connect("a", 1, &[]).len(), 2);
}
