//! Pauses with reasons and ends, of one job and of many.

use super::*;
use DeliveryState::{Failed, Rejected, Succeeded, TimedOut};

use crate::pause::{JobSelection, PauseTerms, Paused, SelectionChange};

fn name(text: &str) -> JobName {
    text.parse().unwrap()
}

fn terms(reason: Option<&str>, until: Option<Timestamp>) -> PauseTerms {
    PauseTerms { reason: reason.map(str::to_owned), until, lasting: None }
}

impl Bench {
    fn pause(&mut self, job: &str, terms: PauseTerms) {
        self.call(Request::PauseJob(Pause { job: name(job), terms }));
    }

    fn pause_all(&mut self, jobs: &str, terms: PauseTerms) -> SelectionChange {
        match self.call(Request::PauseJobs { jobs: jobs.parse().unwrap(), terms }) {
            Reply::Selection(change) => change,
            other => panic!("{other:?}"),
        }
    }

    fn resume_all(&mut self, jobs: &str) -> SelectionChange {
        match self.call(Request::ResumeJobs(jobs.parse().unwrap())) {
            Reply::Selection(change) => change,
            other => panic!("{other:?}"),
        }
    }

    fn scheduled(&self) -> Vec<(Cause, Timestamp)> {
        self.runs_put().iter().map(|run| (run.cause, run.scheduled_at)).collect()
    }
}

#[test]
fn a_pause_ends_by_itself_and_each_catch_up_policy_applies() {
    for (policy, caught) in [
        (CatchUp::Latest, vec![at(30)]),
        (CatchUp::All, vec![at(10), at(20), at(30)]),
        (CatchUp::Skip, vec![]),
    ] {
        let mut bench = Bench::new();
        let mut spec = every("tick", "all", 10);
        spec.catch_up = policy;
        bench.apply(spec);
        bench.pause("tick", terms(Some("moving"), Some(at(35))));
        let paused = Paused { at: at(0), reason: Some("moving".into()), until: Some(at(35)) };
        assert_eq!(bench.state("tick").paused, Some(paused));
        assert_eq!(bench.engine.next_deadline(), Some(at(35)));
        bench.wait_until(at(34));
        assert!(bench.runs_put().is_empty());
        bench.wait_until(at(35));
        let expected: Vec<_> = caught.into_iter().map(|at| (Cause::CatchUp, at)).collect();
        assert_eq!(bench.scheduled(), expected, "{policy:?}");
        assert_eq!(bench.state("tick").paused, None);
        assert_eq!(bench.engine.next_deadline(), Some(at(40)), "{policy:?}");
        bench.wait_until(at(40));
        assert_eq!(bench.scheduled(), [(Cause::Scheduled, at(40))]);
    }
}

#[test]
fn a_firing_at_the_very_end_of_a_pause_is_no_missed_one() {
    let mut bench = Bench::new();
    bench.apply(every("tick", "all", 10));
    bench.pause("tick", terms(None, Some(at(10))));
    bench.wait_until(at(10));
    assert_eq!(bench.scheduled(), [(Cause::Scheduled, at(10))]);
    assert_eq!(bench.state("tick").missed, None);
}

#[test]
fn a_pause_that_ends_while_the_server_is_down_ends_at_its_start() {
    let mut bench = Bench::new();
    bench.apply(every("tick", "all", 10));
    bench.pause("tick", terms(None, Some(at(35))));
    bench.restart(at(20));
    assert!(bench.state("tick").paused.is_some(), "it lasts beyond a restart");
    bench.restart(at(105));
    assert_eq!(bench.scheduled(), [(Cause::CatchUp, at(100))], "one policy over all of it");
    let state = bench.state("tick");
    assert_eq!((state.paused, state.next_due), (None, Some(at(110))));
    assert_eq!(state.missed.unwrap().total, 9);
}

#[test]
fn a_resume_by_hand_comes_before_the_end_and_the_end_is_forgotten() {
    let mut bench = Bench::new();
    bench.apply(every("tick", "all", 1_000));
    bench.pause("tick", terms(None, Some(at(35))));
    bench.now = at(5);
    bench.call(Request::ResumeJob(name("tick")));
    assert_eq!(bench.engine.next_deadline(), Some(at(1_000)));
    bench.now = at(6);
    bench.pause("tick", PauseTerms::default());
    bench.wait_until(at(2_000));
    assert!(bench.state("tick").paused.is_some());
}

#[test]
fn the_latest_word_on_a_paused_job_stands_and_its_beginning_stays() {
    let mut bench = Bench::new();
    bench.apply(every("tick", "all", 10));
    bench.pause("tick", terms(Some("one"), Some(at(35))));
    bench.now = at(5);
    bench.pause("tick", terms(Some("two"), None));
    let paused = Paused { at: at(0), reason: Some("two".into()), until: None };
    assert_eq!(bench.state("tick").paused, Some(paused));
    assert_eq!(bench.engine.next_deadline(), None);
    bench.pause("tick", terms(Some("two"), None));
    assert!(bench.changes.is_empty(), "nothing new, nothing stored");
}

#[test]
fn a_removed_job_does_not_wake() {
    let mut bench = Bench::new();
    bench.apply(every("tick", "all", 10));
    bench.pause("tick", terms(None, Some(at(35))));
    bench.call(Request::RemoveJob(name("tick")));
    assert_eq!(bench.engine.next_deadline(), None);
}

#[test]
fn an_end_that_has_passed_is_refused() {
    let mut bench = Bench::new();
    bench.apply(every("tick", "all", 10));
    let pause = Pause { job: name("tick"), terms: terms(None, Some(at(0))) };
    let error = bench.ask(Request::PauseJob(pause)).unwrap_err();
    assert_eq!(error, RequestError::Invalid(format!("until {0} has passed; it is {0}", at(0))));
    let request = Request::PauseJobs { jobs: JobSelection::All, terms: terms(None, Some(at(0))) };
    assert!(matches!(bench.ask(request), Err(RequestError::Invalid(_))));
    assert_eq!(bench.state("tick").paused, None);
}

#[test]
fn a_group_is_paused_and_resumed_as_a_whole() {
    let mut bench = Bench::new();
    for job in ["db", "db/a", "db/b", "db/c/d", "dba", "web/a"] {
        bench.apply(every(job, "all", 10));
    }
    bench.pause("db/b", terms(Some("broken"), None));
    let change = bench.pause_all("db/", terms(Some("moving"), Some(at(35))));
    assert_eq!(bench.changes.len(), 2);
    assert_eq!(change.changed, [name("db/a"), name("db/c/d")]);
    assert_eq!(change.unchanged, [name("db/b")]);
    assert_eq!(bench.status().jobs_active, 3);
    bench.restart(at(5));
    assert_eq!(bench.state("db/a").paused.unwrap().reason.as_deref(), Some("moving"));
    bench.wait_until(at(35));
    assert_eq!(bench.state("db/a").paused, None);
    let broken = bench.state("db/b").paused.unwrap();
    assert_eq!(broken.reason.as_deref(), Some("broken"), "another's pause does not end with it");
    let change = bench.resume_all("db/");
    assert_eq!(change.changed, [name("db/b")]);
    assert_eq!(change.unchanged, [name("db/a"), name("db/c/d")]);
    assert_eq!(bench.state("db/b").paused, None);
    assert_eq!(bench.pause_all("all", PauseTerms::default()).changed.len(), 6);
    assert_eq!(bench.status().jobs_active, 0);
}

#[test]
fn a_resumed_group_catches_up_like_each_of_its_jobs() {
    let mut bench = Bench::new();
    bench.apply(every("db/a", "all", 10));
    bench.apply(every("db/b", "all", 10));
    bench.pause_all("db/", PauseTerms::default());
    bench.now = at(45);
    bench.resume_all("db/");
    assert_eq!(bench.scheduled(), [(Cause::CatchUp, at(40)), (Cause::CatchUp, at(40))]);
    assert_eq!(bench.engine.next_deadline(), Some(at(50)));
}

#[test]
fn a_group_that_nobody_is_in_is_named_with_a_suggestion() {
    let mut bench = Bench::new();
    let all = Request::ResumeJobs(JobSelection::All);
    let error = bench.ask(all).unwrap_err().to_string();
    assert_eq!(error, "no group of jobs named \"all\"");
    bench.apply(every("web/a", "all", 10));
    let jobs = "wep/".parse().unwrap();
    let error = bench.ask(Request::PauseJobs { jobs, terms: PauseTerms::default() }).unwrap_err();
    assert_eq!(error.to_string(), "no group of jobs named \"wep/\"; did you mean \"web/\"?");
}

fn failing(limit: i64) -> JobSpec {
    let mut spec = every("tick", "group:abc", 10);
    spec.pause_on_failure = Some(limit.try_into().unwrap());
    spec
}

impl Bench {
    /// Waits for the job's next run and lets its clients a, b and c end it so.
    fn run_ends(&mut self, seconds: i64, ends: [DeliveryState; 3]) -> Serial {
        self.wait_until(at(seconds));
        let serial = self.sent()[0];
        for (session, state) in (1..).zip(ends) {
            let session = SessionId(session);
            let outcome = match state {
                DeliveryState::Succeeded => Outcome::succeeded(Json::null()),
                state => Outcome::ended(state, "test"),
            };
            self.input(Input::Responded { session, attempt: serial.into(), outcome });
        }
        serial
    }

    fn with_clients() -> Self {
        let mut bench = Self::new();
        for (session, id) in (1..).zip(["a", "b", "c"]) {
            bench.connect(id, session, &[]);
        }
        bench
    }
}

#[test]
fn a_job_pauses_after_so_many_failed_runs_in_a_row_and_names_the_last() {
    let mut bench = Bench::with_clients();
    bench.apply(failing(3));
    bench.run_ends(10, [Succeeded, Failed, Succeeded]);
    bench.run_ends(20, [TimedOut, TimedOut, Succeeded]);
    assert_eq!(bench.state("tick").failures, 2);
    let last = bench.run_ends(30, [Failed; 3]);
    let paused = bench.state("tick").paused.unwrap();
    let reason = format!("3 failed runs in a row, the last {last}");
    assert_eq!((paused.reason, paused.until), (Some(reason), None));
    bench.wait_until(at(100));
    assert!(bench.runs_put().is_empty());
    bench.call(Request::ResumeJob(name("tick")));
    let state = bench.state("tick");
    assert_eq!((state.paused, state.failures), (None, 0));
}

#[test]
fn a_run_that_succeeds_everywhere_begins_the_count_anew_and_others_count_as_nothing() {
    let mut bench = Bench::with_clients();
    bench.apply(failing(2));
    bench.run_ends(10, [Failed; 3]);
    bench.run_ends(20, [Rejected, Succeeded, Succeeded]);
    assert_eq!(bench.state("tick").failures, 1);
    bench.run_ends(30, [Succeeded; 3]);
    assert_eq!(bench.state("tick").failures, 0);
    bench.run_ends(40, [Failed; 3]);
    assert_eq!(bench.state("tick").paused, None);
}

#[test]
fn the_count_of_failed_runs_and_the_pause_survive_restarts() {
    let mut bench = Bench::with_clients();
    bench.apply(failing(2));
    bench.run_ends(10, [Failed; 3]);
    bench.restart(at(11));
    assert_eq!(bench.state("tick").failures, 1);
    for (session, id) in (1..).zip(["a", "b", "c"]) {
        bench.connect(id, session, &[]);
    }
    bench.run_ends(20, [Failed; 3]);
    let state = bench.state("tick");
    assert!(state.paused.is_some());
    bench.restart(at(21));
    assert_eq!(bench.state("tick"), state);
}

#[test]
fn without_a_limit_nothing_is_counted_and_a_new_limit_begins_anew() {
    let mut bench = Bench::with_clients();
    let mut spec = failing(2);
    bench.apply(spec.clone());
    bench.run_ends(10, [Failed; 3]);
    spec.pause_on_failure = None;
    bench.apply(spec.clone());
    assert_eq!(bench.state("tick").failures, 0);
    bench.run_ends(20, [Failed; 3]);
    assert_eq!(bench.state("tick").failures, 0);
}

#[test]
fn a_run_that_fails_while_the_job_is_paused_leaves_the_pause_as_it_is() {
    let mut bench = Bench::with_clients();
    bench.apply(failing(1));
    bench.wait_until(at(10));
    let serial = bench.sent()[0];
    bench.pause("tick", terms(Some("moving"), Some(at(35))));
    for session in 1..=3 {
        let outcome = Outcome::ended(Failed, "test");
        bench.input(Input::Responded {
            session: SessionId(session),
            attempt: serial.into(),
            outcome,
        });
    }
    let state = bench.state("tick");
    assert_eq!(state.failures, 1);
    assert_eq!(state.paused.unwrap().reason.as_deref(), Some("moving"));
}
