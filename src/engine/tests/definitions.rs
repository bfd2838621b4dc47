//! Jobs that are stored and not at hand.

use super::*;
use crate::engine::{Definitions, JobHead, StoredJobs, Unread};
use crate::id::JobId;
use crate::job::Job;
use crate::schedule::When;

/// A store with so many jobs, each due an hour after the one before.
fn filled(jobs: i64) -> Bench {
    let mut bench = Bench::new();
    for n in 0..jobs {
        let mut spec = bench_job(&format!("job/{n:03}"));
        let period = Duration::from_secs(100 * 86_400);
        spec.rule.when = When::Every { period, from: Some(at(3_600 * (n + 1))) };
        bench.apply(spec);
    }
    bench
}

fn bench_job(name: &str) -> JobSpec {
    let rule = Rule::every(Duration::from_secs(100 * 86_400)).unwrap();
    JobSpec::new(name.parse().unwrap(), "client:a".parse().unwrap(), "do".parse().unwrap(), rule)
}

#[test]
fn few_jobs_stay_at_hand_and_all_fire() {
    let mut bench = filled(40);
    assert!(bench.engine.jobs.at_hand() <= 2, "{}", bench.engine.jobs.at_hand());
    bench.restart(at(10));
    assert!(bench.engine.jobs.at_hand() <= 2);
    let status = bench.status();
    assert_eq!((status.jobs, status.jobs_active), (40, 40));
    let dues: Vec<_> = (0..40).map(|n| bench.state(&format!("job/{n:03}")).next_due).collect();
    for due in dues {
        bench.wait_until(due.unwrap());
        assert_eq!(bench.runs_put().len(), 1, "{due:?}");
    }
    assert!(bench.engine.jobs.at_hand() <= 2);
}

#[test]
fn what_is_changed_stays_at_hand_until_it_is_durable() {
    let mut bench = filled(8);
    let jobs: Vec<JobName> = (0..8).map(|n| format!("job/{n:03}").parse().unwrap()).collect();
    for job in &jobs {
        let terms = crate::pause::PauseTerms::default();
        let request = Request::PauseJob(Pause { job: job.clone(), terms });
        let call = CallId(1_000);
        let actor = crate::Actor::Library;
        bench.engine.handle(bench.now, Input::Call { call, actor, request, entropy: 0 });
    }
    // Nothing of it is written, and an earlier decision becomes durable again.
    bench.engine.durable(0);
    assert_eq!(bench.engine.jobs.at_hand(), 8);
    for job in &jobs {
        assert!(bench.engine.jobs.find(job).unwrap().state.paused.is_some(), "{job:?}");
    }
    bench.settle();
    assert!(bench.engine.jobs.at_hand() <= 1);
    for job in &jobs {
        assert!(bench.engine.jobs.find(job).unwrap().state.paused.is_some(), "{job:?}");
    }
}

#[test]
fn questions_do_not_fill_the_memory() {
    let mut bench = filled(30);
    for _ in 0..3 {
        match bench.call(Request::ListJobs(Page::first())) {
            Reply::Jobs(views) => assert_eq!(views.len(), 30),
            other => panic!("{other:?}"),
        }
        assert!(bench.engine.jobs.at_hand() <= 2);
    }
}

/// A store that cannot be read.
#[derive(Debug)]
struct Broken;

impl Definitions for Broken {
    fn read(&self, id: JobId) -> Result<(Job, JobState), Unread> {
        Err(Unread(format!("{id} is gone").into()))
    }
}

#[test]
fn a_job_that_cannot_be_read_is_told() {
    let bench = filled(3);
    let all = records::load(&bench.store).unwrap();
    let heads = all.jobs.iter().map(|(job, state)| JobHead::of(job, state)).collect();
    let stored = StoredJobs { heads, definitions: Arc::new(Broken), at_hand: 10 };
    let snapshot = super::super::Snapshot { stored_jobs: Some(stored), ..Default::default() };
    let mut engine = Engine::restore(snapshot, at(10));
    assert_eq!(engine.next_deadline(), all.jobs[0].1.next_due);
    assert!(engine.failure().is_none());
    engine.handle_deadline(all.jobs[0].1.next_due.unwrap());
    let error = engine.failure().unwrap().to_string();
    assert_eq!(error, format!("{} is gone", all.jobs[0].0.id));
}
