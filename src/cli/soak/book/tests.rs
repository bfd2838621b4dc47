//! Outside ledgers and histories that are right, and broken on purpose in each way.

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::cli::soak::args::SoakArgs;
use crate::cli::soak::plan::client_name;
use crate::explain::{Fate, Firing};
use crate::history::Recorded;
use crate::id::JobId;
use crate::time::Timestamp;

/// Numbers of jobs of certain kinds: for one client, for all, slow and run again after a kill.
const ONE: usize = 0;
const ALL: usize = 2;
const SLOW: usize = 4;

/// A submit for all clients, and one for one that is run again after a kill.
const TO_ALL: u64 = 19;
const AGAIN: u64 = 6;

const LIFE: Life = (1, 0);
const NEXT: Life = (1, 1);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    args: SoakArgs,
}

/// A book, and a moment at which it was begun.
struct Desk {
    book: Book,
    now: i64,
}

impl Desk {
    fn new() -> Self {
        let args = Flags::parse_from(["soak", "--clients", "3", "--jobs", "8"]).args;
        let start: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let plan = Plan::new(&args, start).unwrap();
        Self { book: Book::new(Arc::new(plan)), now: start.millis() }
    }

    fn job(&self, job: usize) -> String {
        self.book.plan.jobs[job].spec.name.to_string()
    }

    /// The first moment at which a job is due.
    fn due(&self, job: usize) -> i64 {
        self.book.plan.jobs[job].due(self.now..self.now + 60_000).next().unwrap()
    }

    fn event(&mut self, mut event: Value) {
        event["no"] = 1.into();
        event["at"] = Timestamp::from_millis(self.now).to_string().into();
        let recorded: Recorded = serde_json::from_str(&event.to_string()).unwrap();
        self.book.event(&recorded.event, self.now);
    }

    fn started(&mut self, job: Option<usize>, serial: Serial, total: u32) {
        let (job, cause) = match job {
            Some(job) => (Some(self.job(job)), "scheduled"),
            None => (None, "submit"),
        };
        let at = serial.time().to_string();
        self.event(json!({
            "event": "run_started", "serial": serial, "job": job, "command": "soak.work",
            "cause": cause, "scheduled_at": at, "total": total, "away": 0,
        }));
    }

    fn answered(&mut self, serial: Serial, client: u32, state: &str, mut more: Value) {
        let mut response = json!({
            "serial": serial, "client": client_name(client), "state": state,
            "at": Timestamp::from_millis(self.now).to_string(),
        });
        let retried = more["retried"] == true;
        response.as_object_mut().unwrap().append(more.as_object_mut().unwrap());
        let mut event = json!({
            "event": if retried { "attempt_ended" } else { "delivery_ended" },
            "job": null, "command": "soak.work", "response": response,
        });
        if retried {
            event["next_at"] = Timestamp::from_millis(self.now).to_string().into();
        }
        self.event(event);
    }

    fn over(&mut self, serial: Serial) {
        self.event(json!({ "event": "run_ended", "serial": serial, "job": null, "counts": {} }));
    }

    fn begun(&mut self, life: Life, serial: Serial, client: u32, number: Option<u64>) {
        let client = client_name(client).parse().unwrap();
        self.book.take(life, &Line::Begun { at: self.now, serial, client, number }, self.now);
    }

    fn complete(&mut self, life: Life, serial: Serial, client: u32) {
        let client = client_name(client).parse().unwrap();
        self.book.take(life, &Line::Ended { at: self.now, serial, client }, self.now);
    }

    fn executed(&mut self, life: Life, serial: Serial, client: u32, number: Option<u64>) {
        self.begun(life, serial, client, number);
        self.complete(life, serial, client);
    }

    fn acknowledged(&mut self, serial: Serial, number: u64) {
        let line = Line::Acknowledged { at: self.now, serial, number, repeated: false };
        self.book.take((u32::MAX, 0), &line, self.now);
    }

    /// A submit to all that went as it was to go, up to its last client.
    fn submit(&mut self, serial: Serial) {
        self.acknowledged(serial, TO_ALL);
        self.started(None, serial, 3);
        for client in [0, 1] {
            self.executed(LIFE, serial, client, Some(TO_ALL));
            self.answered(serial, client, "succeeded", json!({}));
        }
    }

    /// The faults that were found once all is judged, with their reasons.
    fn found(mut self) -> Vec<(Fault, String)> {
        self.book.judge_all();
        let sums = &self.book.sums;
        let counted = sums.lost + sums.doubled + sums.unexplained;
        assert_eq!(counted, self.book.offenders.len() as u64);
        self.book.offenders.into_iter().map(|it| (it.fault, it.why)).collect()
    }

    /// The one fault that was found.
    fn one(self) -> (Fault, String) {
        let found = self.found();
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }
}

fn serial(at: i64) -> Serial {
    Serial::of_firing(JobId::from_bytes([7; 16]), Timestamp::from_millis(at))
}

#[test]
fn what_went_as_it_was_to_go_is_no_fault() {
    let mut desk = Desk::new();
    let (submit, run) = (serial(desk.now), serial(desk.due(ONE) + 2_000));
    desk.submit(submit);
    desk.executed(LIFE, submit, 2, Some(TO_ALL));
    desk.answered(submit, 2, "failed", json!({ "reason": "one of those" }));
    desk.over(submit);
    desk.started(Some(ONE), run, 1);
    desk.answered(run, 0, "skipped", json!({ "reason": "the client was away" }));
    desk.over(run);
    assert_eq!(desk.found(), []);
}

#[test]
fn what_a_client_neither_did_nor_ended_with_a_reason_is_lost() {
    let mut desk = Desk::new();
    let run = serial(desk.now);
    desk.submit(run);
    let (fault, why) = desk.one();
    assert_eq!(fault, Fault::Lost);
    assert!(why.starts_with("neither executed nor ended") && why.ends_with("to the last"), "{why}");

    let mut desk = Desk::new();
    desk.submit(run);
    desk.over(run);
    assert!(desk.one().1.ends_with("its run has ended"));

    let mut desk = Desk::new();
    desk.acknowledged(run, TO_ALL);
    assert_eq!(desk.one().0, Fault::Lost, "acknowledged, and the history does not have it");
}

#[test]
fn a_success_without_an_execution_is_lost() {
    let mut desk = Desk::new();
    let run = serial(desk.now);
    desk.submit(run);
    desk.begun(LIFE, run, 2, Some(TO_ALL));
    desk.answered(run, 2, "succeeded", json!({}));
    desk.over(run);
    let (fault, why) = desk.one();
    assert_eq!(fault, Fault::Lost);
    assert!(why.contains("no complete execution"), "{why}");
}

#[test]
fn a_run_that_reaches_fewer_than_its_target_has_is_lost() {
    let mut desk = Desk::new();
    let run = serial(desk.due(ALL));
    desk.started(Some(ALL), run, 2);
    for client in [0, 1] {
        desk.executed(LIFE, run, client, None);
        desk.answered(run, client, "succeeded", json!({}));
    }
    desk.over(run);
    let (fault, why) = desk.one();
    assert_eq!((fault, why.as_str()), (Fault::Lost, "its run went to 2 clients; its target has 3"));
}

/// A run of a job for one client, or a submit, that ended with this state, its executions first.
fn run_of(desk: &mut Desk, of: Result<usize, u64>, attempt: u32, executions: &[(Life, bool)]) {
    let run = serial(desk.now);
    let number = of.err();
    desk.started(of.ok(), run, if of == Ok(SLOW) { 3 } else { 1 });
    for (life, is_complete) in executions {
        desk.begun(*life, run, 0, number);
        if *is_complete {
            desk.complete(*life, run, 0);
        }
    }
    desk.answered(run, 0, "succeeded", json!({ "attempt": attempt }));
    for client in [1, 2].into_iter().filter(|_| of == Ok(SLOW)) {
        desk.answered(run, client, "expired", json!({ "reason": "late" }));
    }
    desk.over(run);
}

#[test]
fn a_second_execution_is_doubled_whatever_the_client_went_through() {
    for lives in [[LIFE, LIFE], [LIFE, NEXT]] {
        let mut desk = Desk::new();
        desk.book.killed(LIFE, Killed::at(desk.now, None));
        run_of(&mut desk, Ok(ONE), 1, &lives.map(|life| (life, true)));
        let (fault, why) = desk.one();
        assert_eq!(fault, Fault::Doubled);
        assert!(why.starts_with("executed 2 times; 1 are permitted"), "{why}");
    }
}

#[test]
fn each_attempt_permits_an_execution() {
    let mut desk = Desk::new();
    run_of(&mut desk, Ok(ONE), 2, &[(LIFE, true), (LIFE, true)]);
    assert_eq!(desk.found(), []);
    let mut desk = Desk::new();
    run_of(&mut desk, Ok(ONE), 2, &[(LIFE, true), (LIFE, true), (NEXT, true)]);
    assert_eq!(desk.one().0, Fault::Doubled);
}

#[test]
fn a_kill_permits_another_execution_only_where_it_cut_one_short_that_is_to_run_again() {
    for of in [Ok(SLOW), Err(AGAIN)] {
        // Not killed.
        let mut desk = Desk::new();
        run_of(&mut desk, of, 1, &[(LIFE, true), (NEXT, true)]);
        assert_eq!(desk.one().0, Fault::Doubled);
        // Cut short.
        let mut desk = Desk::new();
        desk.book.killed(LIFE, Killed::at(desk.now + 60_000, None));
        run_of(&mut desk, of, 1, &[(LIFE, false), (NEXT, true)]);
        assert_eq!(desk.found(), []);
        // Complete a moment before, and long before.
        for (killed_after, faults) in [(1_999, 0), (2_001, 1)] {
            let mut desk = Desk::new();
            desk.book.killed(LIFE, Killed::at(desk.now + killed_after, None));
            run_of(&mut desk, of, 1, &[(LIFE, true), (NEXT, true)]);
            assert_eq!(desk.found().len(), faults, "{of:?} {killed_after}");
        }
        // The process stood still in between.
        for (paused_after, faults) in [(1_999, 0), (2_001, 1)] {
            let mut desk = Desk::new();
            let paused = (desk.now + paused_after, desk.now + 9_500);
            desk.book.killed(LIFE, Killed::at(desk.now + 10_000, Some(paused)));
            run_of(&mut desk, of, 1, &[(LIFE, true), (NEXT, true)]);
            assert_eq!(desk.found().len(), faults, "{of:?} {paused_after}");
        }
        // Twice in one life.
        let mut desk = Desk::new();
        run_of(&mut desk, of, 1, &[(LIFE, true), (LIFE, true)]);
        assert_eq!(desk.one().0, Fault::Doubled);
    }
}

#[test]
fn two_runs_for_one_key_and_two_ends_and_two_starts_are_doubled() {
    let mut desk = Desk::new();
    let (run, other) = (serial(desk.now), serial(desk.now + 1));
    desk.acknowledged(run, TO_ALL);
    desk.begun(LIFE, other, 0, Some(TO_ALL));
    assert!(desk.found().iter().any(|(fault, why)| {
        *fault == Fault::Doubled && why.contains("two runs under one key")
    }));

    let mut desk = Desk::new();
    run_of(&mut desk, Ok(ONE), 1, &[(LIFE, true)]);
    desk.answered(run, 0, "failed", json!({ "reason": "again" }));
    assert_eq!(
        desk.one(),
        (Fault::Doubled, "its delivery has ended twice, as succeeded and as failed".into())
    );

    let mut desk = Desk::new();
    run_of(&mut desk, Err(AGAIN), 1, &[(LIFE, true)]);
    desk.started(None, run, 1);
    assert_eq!(desk.one(), (Fault::Doubled, "its run has started twice".into()));
}

#[test]
fn what_nothing_explains_is_unexplained() {
    let fault = |state: &str, more: Value, executes: bool| {
        let mut desk = Desk::new();
        let run = serial(desk.now);
        desk.started(Some(ONE), run, 1);
        if executes {
            desk.executed(LIFE, run, 0, None);
        }
        desk.answered(run, 0, state, more);
        desk.over(run);
        desk.one()
    };
    assert!(fault("expired", json!({}), false).1.contains("without a reason"));
    assert!(
        fault("skipped", json!({ "reason": "away" }), true).1.contains("skipped, and executed")
    );

    let mut desk = Desk::new();
    let run = serial(desk.now);
    desk.executed(LIFE, run, 0, None);
    let (fault, why) = desk.one();
    assert_eq!(
        (fault, why.as_str()),
        (Fault::Unexplained, "executed, and the history has no such run")
    );

    let mut desk = Desk::new();
    desk.started(Some(ONE), run, 1);
    desk.executed(LIFE, run, 0, None);
    assert_eq!(desk.one(), (Fault::Unexplained, "executed, and open to the last".into()));
}

#[test]
fn a_run_is_judged_when_nothing_more_can_come_and_what_comes_all_the_same_is_doubled() {
    let mut desk = Desk::new();
    run_of(&mut desk, Ok(ONE), 1, &[(LIFE, true)]);
    let (run, now) = (serial(desk.now), desk.now);
    desk.book.settle(now + GRACE - 1, now);
    assert_eq!(desk.book.waiting(), 1);
    desk.book.settle(now + GRACE, now);
    assert_eq!(desk.book.waiting(), 0);
    desk.executed(LIFE, run, 0, None);
    desk.book.settle(now + 3 * GRACE, now + GRACE - 1);
    assert_eq!(desk.book.waiting(), 1, "an event may tell of it: they are not read so far");
    desk.book.settle(now + 3 * GRACE, now + GRACE);
    assert_eq!(desk.one().0, Fault::Doubled);
}

/// What explain tells of a job's firing.
fn told(at: i64, fate: Fate) -> Firing {
    let value = json!({
        "at": Timestamp::from_millis(at), "serial": serial(at), "cause": "scheduled",
        "expected": true, "problem": false, "fate": "succeeded",
    });
    Firing { fate, ..serde_json::from_value(value).unwrap() }
}

fn missed(reason: &str) -> Fate {
    let recorded_at = Timestamp::from_millis(0);
    Fate::Missed { reason: reason.into(), policy: None, count: None, recorded_at, down: None }
}

#[test]
fn firings_that_ran_or_are_told_with_a_reason_are_no_fault() {
    let mut desk = Desk::new();
    let span = desk.now..desk.now + 10_000;
    let due: Vec<i64> = desk.book.plan.jobs[ONE].due(span.clone()).collect();
    assert_eq!(due.len(), 5);
    let mut firings = Vec::new();
    for at in &due[..4] {
        desk.started(Some(ONE), serial(*at), 1);
        firings.push(told(*at, Fate::Open));
    }
    firings.push(told(due[4], missed("the server was down")));
    let wrong = desk.book.look(ONE, span.clone(), &firings);
    assert_eq!(wrong, []);
    desk.book.close(ONE, span, &firings, wrong);
    let sums = &desk.book.sums;
    assert_eq!((sums.firings_due, sums.firings_ran), (5, 4));
    assert_eq!(sums.firings_not_run["the server was down"], 1);
    // What is settled does not fire later.
    desk.started(Some(ONE), serial(due[4]), 1);
    assert_eq!(desk.book.offenders[0].fault, Fault::Doubled);
}

#[test]
fn firings_that_nobody_tells_of_and_those_told_of_in_two_ways_are_unexplained() {
    let look = |fires: bool, fate: Option<Fate>| {
        let mut desk = Desk::new();
        let at = desk.due(ONE);
        if fires {
            desk.started(Some(ONE), serial(at), 1);
        }
        let firings: Vec<Firing> = fate.map(|fate| told(at, fate)).into_iter().collect();
        let wrong = desk.book.look(ONE, at..at + 1, &firings);
        assert!(wrong.iter().all(|it| it.fault == Fault::Unexplained && it.due.is_some()));
        wrong.into_iter().map(|it| it.why).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(look(true, Some(Fate::Succeeded)), "");
    assert!(look(false, None).contains("did not fire, and explain does not tell"));
    assert!(look(true, None).contains("fired, and explain does not tell"));
    assert!(look(false, Some(Fate::Succeeded)).contains("and no event does"));
    assert!(look(true, Some(missed("down"))).contains("gives another fate"));
    assert!(look(false, Some(missed(""))).contains("without a reason"));
    assert!(look(false, Some(Fate::Due)).contains("still due"));
    let unexplained = Fate::Unexplained { reason: "nothing tells".into() };
    assert!(look(false, Some(unexplained)).contains("cannot explain it: nothing tells"));

    let mut desk = Desk::new();
    let at = desk.due(ONE) + 1;
    desk.started(Some(ONE), serial(at), 1);
    let wrong = desk.book.look(ONE, at..at + 10, &[told(at, Fate::Succeeded)]);
    let wrong: Vec<&str> = wrong.iter().map(|it| it.why.as_str()).collect();
    assert_eq!(wrong, ["explain tells of a firing that was not due", "fired, and was not due"]);
}

#[test]
fn a_moment_that_fires_twice_is_doubled() {
    let mut desk = Desk::new();
    let at = desk.due(ONE);
    desk.started(Some(ONE), serial(at), 1);
    desk.started(
        Some(ONE),
        Serial::of_firing(JobId::from_bytes([8; 16]), Timestamp::from_millis(at)),
        1,
    );
    assert_eq!(desk.book.offenders.len(), 1);
    assert_eq!(desk.book.offenders[0].why, "fired twice for one moment");
}
