//! Pauses with reasons and ends, of one job and of many.

use super::*;
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
