//! Back-fills: the occurrences that have no run get one, and no other does.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::forecast;
use crate::job::Job;

impl Bench {
    fn job_now(&mut self, name: &str) -> Job {
        match self.call(Request::Outlook(name.parse().unwrap())) {
            Reply::Outlook(_, outlook) => (*outlook.job).clone(),
            other => panic!("{other:?}"),
        }
    }

    fn new_backfill(
        &mut self,
        (from, to): (Timestamp, Timestamp),
        again: bool,
        terms: ReplayTerms,
    ) -> NewReplay {
        let job = self.job_now("tick");
        let selected = history::select_occurrences(&self.store, &job, from..to, again).unwrap();
        let Selected { parts, left_out } = selected;
        let (kind, job) = (ReplayKind::Backfill, Some(job.spec.name));
        NewReplay { kind, job, from: Some(from), to: Some(to), terms, left_out, again, parts }
    }

    fn backfill(
        &mut self,
        span: (Timestamp, Timestamp),
        again: bool,
    ) -> Result<Replay, RequestError> {
        let new = self.new_backfill(span, again, ReplayTerms::default());
        match self.ask(Request::Replay(Box::new(new)))? {
            Reply::Replay(replay) => Ok(*replay),
            other => panic!("{other:?}"),
        }
    }

    /// Lets a and b answer until the replay has ended.
    fn answer_all(&mut self, id: ReplayId) {
        let mut n = 0;
        while self.stored(id).ended_at.is_none() {
            let run = self.made(id)[n].clone();
            for session in [1, 2] {
                self.succeed(session, run.serial);
            }
            n += 1;
        }
    }
}

/// The occurrences of a rule in a span, as a forecast would have told them when the job was made.
fn foretold(job: &Job, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let mut found = Vec::new();
    let (mut next, mut count) = (job.spec.rule.next_after(at(0), job.created_at), 0);
    while let Some(at) = next.filter(|at| *at < to) {
        count += 1;
        found.extend(Some(at).filter(|at| *at >= from));
        next = forecast::following(job, at, count);
    }
    found
}

#[test]
fn what_was_missed_is_made_up_for_in_order_with_what_the_job_has_now() {
    let mut bench = Bench::new();
    let mut spec = tick();
    spec.catch_up = CatchUp::Skip;
    bench.past(spec.clone(), 2);
    bench.wait_until(at(65));
    bench.call(Request::ResumeJob("tick".parse().unwrap()));
    spec.params = r#"{"n": 9}"#.parse().unwrap();
    bench.apply(spec);
    bench.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
    let replay = bench.backfill((at(0), at(61)), false).unwrap();
    assert_eq!((replay.items, replay.left_out.had_run), (4, 2));
    bench.answer_all(replay.id);
    let runs = bench.made(replay.id);
    let due: Vec<_> = runs.iter().map(|run| run.scheduled_at).collect();
    assert_eq!(due, [at(30), at(40), at(50), at(60)]);
    for run in &runs {
        assert_eq!((run.cause, run.counts.succeeded), (Cause::Backfill, 2));
        assert_eq!(run.command.params.text(), r#"{"n": 9}"#);
        assert!(run.serial.time() >= at(65), "behind all that was");
        assert_eq!(run.replay_of.and_then(|of| of.serial), None);
    }
    let error = bench.backfill((at(0), at(61)), false).unwrap_err().to_string();
    assert_eq!(error, "nothing is to run: all 6 occurrences have a run; `again` runs them again");
    assert_eq!(bench.backfill((at(0), at(61)), true).unwrap().items, 6);
}

#[test]
fn of_a_job_one_back_fill_is_open_at_a_time_unless_all_is_to_run_again() {
    let mut bench = Bench::new();
    bench.past(tick(), 1);
    bench.wait_until(at(100));
    let first = bench.backfill((at(20), at(50)), false).unwrap();
    let error = bench.backfill((at(50), at(90)), false).unwrap_err();
    assert!(matches!(&error, RequestError::Conflict(text) if text.contains(&first.id.to_string())));
    bench.backfill((at(20), at(50)), true).unwrap();
    bench.call(Request::CancelReplay(first.id));
}

#[test]
fn what_a_cancelled_back_fill_did_not_run_is_still_to_run() {
    let mut bench = Bench::new();
    bench.past(tick(), 1);
    bench.wait_until(at(100));
    let first = bench.backfill((at(20), at(70)), false).unwrap();
    assert_eq!(first.items, 5);
    let serial = bench.made(first.id)[0].serial;
    bench.call(Request::CancelReplay(first.id));
    for session in [1, 2] {
        bench.succeed(session, serial);
    }
    let second = bench.backfill((at(20), at(70)), false).unwrap();
    assert_eq!((second.items, second.left_out.had_run), (4, 1));
}

#[test]
fn a_back_fill_ends_with_its_job() {
    let mut bench = Bench::new();
    bench.past(tick(), 1);
    bench.wait_until(at(100));
    let replay = bench.backfill((at(20), at(70)), false).unwrap();
    let serial = bench.made(replay.id)[0].serial;
    bench.call(Request::RemoveJob("tick".parse().unwrap()));
    for session in [1, 2] {
        bench.succeed(session, serial);
    }
    let ended = bench.stored(replay.id);
    assert_eq!(ended.reason.as_deref(), Some("the job was removed"));
    assert_eq!((ended.started, ended.ended), (1, 1));
    assert!(ended.ended_at.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a job has fired and been away: a back-fill runs what the rule foretold and had no
    /// run, once, and afterwards nothing is left.
    #[test]
    fn every_occurrence_has_one_run_and_nothing_else_has(
        rule in prop_oneof![
            (1_u64..40).prop_map(|seconds| format!(r#"{{"every": "{seconds}s"}}"#)),
            (1_u64..40, 1_u64..12).prop_map(|(seconds, count)| {
                format!(r#"{{"every": "{seconds}s", "count": {count}}}"#)
            }),
            Just(r#"{"cron": "*/7 * * * * *"}"#.to_owned()),
            Just(r#"{"every": "3s", "from": "1972-09-27T00:01:00Z"}"#.to_owned()),
        ],
        away in prop::collection::btree_set(1_i64..12, 0..8),
        (from, length) in (1_i64..100, 1_i64..120),
    ) {
        let mut bench = Bench::new();
        let mut spec = every("tick", "client:a", 10);
        spec.catch_up = CatchUp::Skip;
        spec.rule = serde_json::from_str(&rule).unwrap();
        bench.apply(spec);
        for n in 1..12 {
            let job: JobName = "tick".parse().unwrap();
            if away.contains(&n) {
                bench.call(Request::PauseJob(Pause::new(job)));
            } else {
                bench.call(Request::ResumeJob(job));
            }
            bench.wait_until(at(10 * n));
        }
        bench.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
        let (from, to) = (at(from), at((from + length).min(110)));
        if from >= to {
            return Ok(());
        }
        let fired: BTreeSet<Timestamp> = all_runs(&bench).iter().map(|run| run.scheduled_at).collect();
        let job = bench.job_now("tick");
        let foretold = foretold(&job, from, to);
        let expected: Vec<_> = foretold.iter().copied().filter(|at| !fired.contains(at)).collect();
        let new = bench.new_backfill((from, to), false, ReplayTerms::default());
        let chosen: Vec<_> = new.parts.items.iter().map(|item| item.scheduled_at).collect();
        prop_assert_eq!(&chosen, &expected);
        prop_assert_eq!(new.left_out.had_run, (foretold.len() - expected.len()) as u64);
        if expected.is_empty() {
            return Ok(());
        }
        let replay = bench.backfill((from, to), false).unwrap();
        let made: Vec<_> = bench.made(replay.id).iter().map(|run| run.scheduled_at).collect();
        prop_assert_eq!(made, expected);
        let left = bench.new_backfill((from, to), false, ReplayTerms::default());
        prop_assert!(left.parts.items.is_empty());
        let all = bench.new_backfill((from, to), true, ReplayTerms::default());
        prop_assert_eq!(all.parts.items.len(), foretold.len());
    }
}

fn all_runs(bench: &Bench) -> Vec<Run> {
    let query = history::RunQuery { limit: 1_000, ..Default::default() };
    history::runs(&bench.store, &query).unwrap()
}
