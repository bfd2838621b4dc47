//! Replays: what runs again, to whom, when, and what becomes of it.

mod backfill;
mod crash;

use super::*;
use crate::engine::NewReplay;
use crate::history::{self, Selected};
use crate::id::{ClientId, ReplayId};
use crate::replay::{LeftOut, Replay, ReplayKind, ReplayPlan, ReplayTerms, RunSelection};

impl Bench {
    fn fail(&mut self, session: u64, serial: Serial) {
        let outcome = Outcome::ended(DeliveryState::Failed, "exit code 1");
        let attempt = serial.into();
        self.input(Input::Responded { session: SessionId(session), attempt, outcome });
    }

    fn new_replay(&self, select: &RunSelection, terms: ReplayTerms) -> NewReplay {
        let whole = terms.target.is_some();
        let selected = history::select_runs(&self.store, select, whole).unwrap();
        let Selected { parts, left_out } = selected;
        let (kind, job) = (ReplayKind::Again, select.job.clone());
        NewReplay { kind, job, from: None, to: None, terms, left_out, again: true, parts }
    }

    fn try_again(
        &mut self,
        select: &RunSelection,
        terms: ReplayTerms,
    ) -> Result<Replay, RequestError> {
        let new = self.new_replay(select, terms);
        match self.ask(Request::Replay(Box::new(new)))? {
            Reply::Replay(replay) => Ok(*replay),
            other => panic!("{other:?}"),
        }
    }

    fn again(&mut self, select: &RunSelection, terms: ReplayTerms) -> Replay {
        self.try_again(select, terms).unwrap()
    }

    fn plan(&mut self, select: &RunSelection, terms: ReplayTerms) -> ReplayPlan {
        let new = self.new_replay(select, terms);
        match self.call(Request::PlanReplay(Box::new(new))) {
            Reply::ReplayPlan(plan) => *plan,
            other => panic!("{other:?}"),
        }
    }

    fn stored(&self, id: ReplayId) -> Replay {
        history::replay(&self.store, id).unwrap().unwrap()
    }

    /// The runs of a replay, by item, as they are in the store.
    fn made(&self, id: ReplayId) -> Vec<Run> {
        let query = history::RunQuery { limit: 1_000, ..Default::default() };
        let runs = history::runs(&self.store, &query).unwrap();
        let mut runs: Vec<Run> = runs
            .into_iter()
            .filter(|run| run.replay_of.is_some_and(|of| of.replay == id))
            .collect();
        runs.sort_by_key(|run| run.replay_of.map(|of| of.item));
        for (item, run) in (0_u32..).zip(&runs) {
            assert_eq!(run.replay_of.map(|of| of.item), Some(item), "each item once");
            assert_eq!(history::replay_run(&self.store, id, item).unwrap(), Some(run.serial));
        }
        runs
    }

    /// Fires a job at `count` occurrences, 10 s apart; a answers each with success, b with
    /// failure.
    fn past(&mut self, spec: JobSpec, count: i64) -> Vec<Serial> {
        self.connect("a", 1, &[]);
        self.connect("b", 2, &[]);
        self.apply(spec);
        let mut serials = Vec::new();
        for n in 1..=count {
            self.wait_until(at(10 * n));
            let run = self.runs_put().pop().expect("it fires");
            self.succeed(1, run.serial);
            self.fail(2, run.serial);
            serials.push(run.serial);
        }
        self.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
        serials
    }
}

/// A job for a and b.
fn tick() -> JobSpec {
    let mut spec = every("tick", "client:a or client:b", 10);
    spec.params = r#"{"n": 7}"#.parse().unwrap();
    spec.overlap = Overlap::Skip;
    spec
}

fn failed() -> RunSelection {
    RunSelection {
        from: Some(at(0)),
        states: vec![DeliveryState::Failed],
        ..RunSelection::default()
    }
}

fn all() -> RunSelection {
    RunSelection { states: Vec::new(), ..failed() }
}

fn terms(json: &str) -> ReplayTerms {
    serde_json::from_str(json).unwrap()
}

fn ids(names: &[&str]) -> Vec<ClientId> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn what_failed_runs_again_as_it_was_where_it_failed_and_nowhere_else() {
    let mut bench = Bench::new();
    let originals = bench.past(tick(), 3);
    let mut changed = tick();
    changed.params = r#"{"n": 8}"#.parse().unwrap();
    bench.apply(changed);
    let plan = bench.plan(&failed(), ReplayTerms::default());
    assert_eq!((plan.runs.len(), plan.deliveries), (3, 3));
    assert!(plan.runs.iter().all(|run| run.clients == ids(&["b"]) && run.deliveries == 1));
    bench.wait_until(at(100));
    let replay = bench.again(&failed(), ReplayTerms::default());
    for (n, original) in originals.iter().enumerate() {
        let sent: Vec<Serial> = bench.made(replay.id).iter().map(|run| run.serial).collect();
        assert_eq!(sent.len(), n + 1, "one after the other: the job's runs may not overlap");
        bench.succeed(2, sent[n]);
        let run = &bench.made(replay.id)[n];
        assert_eq!(run.command.params.text(), r#"{"n": 7}"#, "as it was recorded");
        assert_eq!((run.cause, run.counts.total), (Cause::Replay, 1));
        assert_eq!((run.scheduled_at, run.fired_at), (original.time(), at(100)));
        assert_eq!(run.replay_of.and_then(|of| of.serial), Some(*original));
        assert_eq!(run.job.as_ref().map(JobName::as_str), Some("tick"));
        assert!(run.job_id.is_some() && run.serial > *original);
        let to_b = history::response(&bench.store, run.serial, &"b".parse().unwrap()).unwrap();
        assert_eq!(to_b.map(|it| it.outcome.state), Some(DeliveryState::Succeeded));
    }
    let ended = bench.stored(replay.id);
    assert_eq!((ended.started, ended.ended, ended.ended_at), (3, 3, Some(at(100))));
    assert_eq!((ended.counts.total, ended.counts.succeeded), (3, 3));
    assert!(ended.all_succeeded());
    let state = bench.state("tick");
    assert_eq!(state.last_serial, Some(originals[2]), "a replay is no firing of its own");
}

#[test]
fn it_goes_to_another_target_if_one_is_said() {
    let mut bench = Bench::new();
    let originals = bench.past(tick(), 2);
    bench.connect("c", 3, &[]);
    let to_c = || terms(r#"{"target": "client:c", "overlap": "allow"}"#);
    assert_eq!(bench.plan(&failed(), to_c()).runs[0].clients, ids(&["c"]));
    let replay = bench.again(&failed(), to_c());
    let runs = bench.made(replay.id);
    assert_eq!(runs.len(), 2, "they may overlap");
    for (run, original) in runs.iter().zip(&originals) {
        assert_eq!((run.target.to_string().as_str(), run.counts.total), ("client:c", 1));
        assert_eq!(run.overlap, Overlap::Allow);
        assert_eq!(run.replay_of.and_then(|of| of.serial), Some(*original));
        bench.succeed(3, run.serial);
    }
    assert!(bench.stored(replay.id).all_succeeded());
    let error = bench.try_again(&failed(), terms(r#"{"target": "client:z"}"#)).unwrap_err();
    assert!(error.to_string().starts_with("no client named \"z\""), "{error}");
}

#[test]
fn a_speed_keeps_the_spacing_and_lets_the_overlap_policy_judge() {
    let mut bench = Bench::new();
    bench.past(tick(), 4);
    bench.wait_until(at(100));
    let plan = bench.plan(&failed(), terms(r#"{"speed": 2}"#));
    let after: Vec<_> = plan.runs.iter().map(|run| run.after_ms).collect();
    assert_eq!(after, [Some(0), Some(5_000), Some(10_000), Some(15_000)]);
    let replay = bench.again(&failed(), terms(r#"{"speed": 2}"#));
    let first = bench.made(replay.id)[0].serial;
    bench.wait_until(at(104));
    assert_eq!(bench.made(replay.id).len(), 1);
    bench.wait_until(at(105));
    let second = bench.made(replay.id)[1].serial;
    assert_eq!(bench.ends(), [("b".to_owned(), DeliveryState::Skipped)], "the first still runs");
    bench.succeed(2, first);
    for seconds in [110, 115] {
        bench.wait_until(at(seconds));
        let serial = bench.made(replay.id).pop().unwrap().serial;
        bench.succeed(2, serial);
    }
    let runs = bench.made(replay.id);
    let fired: Vec<_> = runs.iter().map(|run| run.fired_at).collect();
    assert_eq!(fired, [at(100), at(105), at(110), at(115)]);
    assert_eq!(runs[1].serial, second);
    let ended = bench.stored(replay.id);
    assert_eq!((ended.counts.succeeded, ended.counts.skipped), (3, 1));
    assert!(ended.ended_at.is_some() && !ended.all_succeeded());
}

#[test]
fn only_so_many_are_under_way_and_who_is_away_takes_no_place() {
    let mut bench = Bench::new();
    let mut spec = tick();
    spec.overlap = Overlap::Allow;
    bench.past(spec, 6);
    let replay = bench.again(&failed(), terms(r#"{"max_open": 2}"#));
    let runs = bench.made(replay.id);
    assert_eq!(runs.len(), 2);
    bench.succeed(2, runs[1].serial);
    assert_eq!(bench.made(replay.id).len(), 3, "one ended, one began");
    bench.accept(2, runs[0].serial);
    bench.disconnect(2);
    // Of the two at b it has taken the first, and may be running it; the other waits.
    assert_eq!(bench.made(replay.id).len(), 6, "what waits for b is in nobody's way");
    let waiting: Vec<Serial> = bench.made(replay.id)[2..].iter().map(|run| run.serial).collect();
    assert_eq!(bench.connect("b", 3, &[runs[0].serial]), waiting);
    for serial in [&[runs[0].serial], &waiting[..]].concat() {
        bench.succeed(3, serial);
    }
    assert!(bench.stored(replay.id).all_succeeded());
    assert_eq!(bench.stored(replay.id).counts.total, 6);
}

#[test]
fn clients_that_were_removed_are_left_out_and_counted() {
    let mut bench = Bench::new();
    bench.past(tick(), 2);
    bench.call(Request::RemoveClient("a".parse().unwrap()));
    let plan = bench.plan(&all(), ReplayTerms::default());
    assert_eq!((plan.deliveries, plan.left_out.removed), (2, 2));
    let replay = bench.again(&all(), ReplayTerms::default());
    assert_eq!((replay.deliveries, replay.left_out.removed, replay.items), (2, 2, 2));
    // The second item waits for the first; until its turn b is removed, too.
    bench.call(Request::RemoveClient("b".parse().unwrap()));
    let runs = bench.made(replay.id);
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].counts.removed, 1);
    let (total, reason) = (runs[1].counts.total, runs[1].reason.as_deref());
    assert_eq!((total, reason), (0, Some("its clients were removed")));
    let ended = bench.stored(replay.id);
    assert_eq!((ended.left_out.removed, ended.ended, ended.counts.total), (3, 2, 1));
    assert!(ended.ended_at.is_some());
    let error = bench.try_again(&all(), ReplayTerms::default()).unwrap_err().to_string();
    assert!(error.contains("deliveries were to clients that were removed since"), "{error}");
}

#[test]
fn a_replay_that_is_cancelled_makes_no_further_run_and_cancels_those_that_are_open() {
    let mut bench = Bench::new();
    bench.past(tick(), 3);
    let replay = bench.again(&failed(), ReplayTerms::default());
    let [open] = &bench.made(replay.id)[..] else { panic!("one at a time") };
    bench.call(Request::CancelReplay(replay.id));
    let asks =
        |effect: &Effect| matches!(effect, Effect::Cancel { serial, .. } if *serial == open.serial);
    assert!(bench.effects.iter().any(asks), "b is asked to stop");
    let stopped = bench.stored(replay.id);
    assert_eq!((stopped.cancelled_at, stopped.ended_at), (Some(at(30)), None), "b has one");
    let outcome = Outcome::ended(DeliveryState::Cancelled, "asked to stop");
    let attempt = open.serial.into();
    bench.input(Input::Responded { session: SessionId(2), attempt, outcome });
    let ended = bench.stored(replay.id);
    assert_eq!((ended.started, ended.ended, ended.counts.cancelled), (1, 1, 1));
    assert!(ended.ended_at.is_some());
    let error = bench.ask(Request::CancelReplay(replay.id)).unwrap_err().to_string();
    assert_eq!(error, format!("replay {} is not open: it has ended or never was", replay.id));
}

#[test]
fn a_job_that_is_gone_is_no_obstacle_to_running_again() {
    let mut bench = Bench::new();
    bench.past(tick(), 2);
    bench.call(Request::RemoveJob("tick".parse().unwrap()));
    let replay = bench.again(&failed(), ReplayTerms::default());
    let runs = bench.made(replay.id);
    assert_eq!(runs.len(), 2, "without a job nothing is to overlap with");
    for run in &runs {
        assert_eq!((run.job_id, run.job.as_ref().map(JobName::as_str)), (None, Some("tick")));
        bench.succeed(2, run.serial);
    }
    assert!(bench.stored(replay.id).all_succeeded());
}

#[test]
fn the_expiry_is_as_long_as_it_was_and_begins_anew() {
    let mut bench = Bench::new();
    let mut spec = tick();
    spec.expires_after = Some(Duration::from_secs(60));
    bench.past(spec, 1);
    bench.disconnect(2);
    bench.wait_until(at(500));
    let replay = bench.again(&failed(), ReplayTerms::default());
    assert_eq!(bench.made(replay.id)[0].expires_at, Some(at(560)));
    bench.wait_until(at(560));
    assert_eq!(bench.stored(replay.id).counts.expired, 1);
    let select = RunSelection { from: Some(at(500)), ..all() };
    bench.wait_until(at(1_000));
    let twice = bench.again(&select, ReplayTerms::default());
    assert_eq!(bench.made(twice.id)[0].expires_at, Some(at(1_060)), "also of a replay's own run");
}

#[test]
fn what_fails_again_does_not_pause_the_job() {
    let mut bench = Bench::new();
    let mut spec = tick();
    spec.pause_on_failure = Some(5.try_into().unwrap());
    bench.past(spec, 3);
    bench.call(Request::ResumeJob("tick".parse().unwrap()));
    let before = bench.state("tick").failures;
    let replay = bench.again(&failed(), ReplayTerms::default());
    for n in 0..3 {
        let serial = bench.made(replay.id)[n].serial;
        bench.fail(2, serial);
    }
    assert_eq!(bench.stored(replay.id).counts.failed, 3);
    assert_eq!(bench.state("tick").failures, before);
}

#[test]
fn limits_are_told_with_their_numbers() {
    let mut bench = Bench::new();
    bench.past(tick(), 2);
    let mut new = bench.new_replay(&failed(), ReplayTerms::default());
    let item = new.parts.items[0].clone();
    new.parts.items = vec![item.clone(); crate::MAX_REPLAY_ITEMS + 1];
    let error = bench.ask(Request::Replay(Box::new(new.clone()))).unwrap_err().to_string();
    assert_eq!(error, "it would be 10001 runs; the most is 10000: choose less");
    new.parts.items = vec![item; crate::MAX_REPLAY_ITEMS];
    let mut made = Vec::new();
    let refused = loop {
        match bench.ask(Request::Replay(Box::new(new.clone()))) {
            Ok(Reply::Replay(replay)) => made.push(replay.id),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(made.len(), 10);
    assert!(matches!(&refused, RequestError::Limit(text) if text.contains("this one 10000")));
    new.parts.items.truncate(1);
    bench.call(Request::CancelReplay(made.remove(0)));
    // The run of the one that was cancelled is still at b, and it open.
    for _ in made.len() + 1..crate::MAX_REPLAYS {
        bench.call(Request::Replay(Box::new(new.clone())));
    }
    let refused = bench.ask(Request::Replay(Box::new(new.clone()))).unwrap_err().to_string();
    assert_eq!(refused, "64 replays are open, which is the most");
    for id in made {
        bench.call(Request::CancelReplay(id));
    }
    let nothing = RunSelection { from: Some(at(9_999)), ..RunSelection::default() };
    let error = bench.try_again(&nothing, ReplayTerms::default()).unwrap_err().to_string();
    assert_eq!(error, "nothing is to run: no run or delivery is so");
    assert_eq!(bench.plan(&nothing, ReplayTerms::default()).left_out, LeftOut::default());
}

#[test]
fn replays_begin_in_bounded_parts_and_make_way_for_others() {
    let mut bench = Bench::new();
    let mut spec = tick();
    spec.overlap = Overlap::Allow;
    bench.past(spec, 1);
    let mut new = bench.new_replay(&failed(), terms(r#"{"max_open": 1000}"#));
    new.parts.items = vec![new.parts.items[0].clone(); 500];
    let request = Request::Replay(Box::new(new));
    bench.engine.handle(
        bench.now,
        Input::Call { call: CallId(999), actor: crate::Actor::Library, request, entropy: 5 },
    );
    let units = bench.engine.take().units;
    assert!(units.len() < 100, "{} units at once", units.len());
    records::write(&bench.store, &units).unwrap();
    assert!(bench.engine.next_deadline().is_some_and(|at| at <= bench.now), "it goes on at once");
    bench.settle();
    let id = history::replays(&bench.store, &Page::first()).unwrap()[0].id;
    assert_eq!(bench.made(id).len(), 500);
}

#[test]
fn while_the_job_runs_where_it_is_to_run_again_it_waits_for_it() {
    let mut bench = Bench::new();
    bench.past(tick(), 2);
    let Reply::Run(running) = bench.call(Request::TriggerJob("tick".parse().unwrap())) else {
        panic!()
    };
    let replay = bench.again(&failed(), ReplayTerms::default());
    bench.succeed(1, running.serial);
    assert!(bench.made(replay.id).is_empty(), "b runs it yet; the policy would skip the replay's");
    bench.succeed(2, running.serial);
    assert_eq!(bench.made(replay.id).len(), 1);
    bench.call(Request::CancelReplay(replay.id));
    // What is to go to c alone is not hindered by what runs at b.
    let to_c = bench.again(&failed(), terms(r#"{"target": "client:c"}"#));
    assert_eq!(bench.made(to_c.id).len(), 2, "c is away: it waits in nobody's way");
    let now = bench.again(&failed(), terms(r#"{"overlap": "replace"}"#));
    assert_eq!(bench.made(now.id).len(), 1, "what it would replace is not waited for");
}
