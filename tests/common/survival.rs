//! A server that ends in the middle of its work, again and again, however that comes about: what was
//! acknowledged stays, what was running goes on, nothing is done twice, and all that was decided
//! comes out again.
//!
//! What was acknowledged and what was run is noted by the test, which does not end with the server.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetcron::client::Context;
use fleetcron::engine::Page;
use fleetcron::reenact::Verified;
use fleetcron::remote::Remote;
use fleetcron::{DeliveryState, JobSpec, Response, Run, Serial};
use futures_util::TryStreamExt as _;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::fleet::{
    News, Record, answer, apply, bare, client, connect, ended, explained, job, runs_of, work,
};
use super::server::{Place, Server};
use super::{run, within};

/// What waits for the client that is away must not end, however often the server is killed.
fn options(store: &str) -> [&str; 4] {
    ["--queue-limit", "10000", "--store", store]
}

const PRESENT: [&str; 4] = ["c-1", "c-2", "c-3", "c-4"];
const ALL: usize = PRESENT.len() + 1;
const PERIOD: Duration = Duration::from_millis(200);

/// What the server has acknowledged.
#[derive(Default)]
struct Acknowledged {
    submitted: Mutex<Vec<Serial>>,
    answers: Mutex<Vec<Response>>,
}

/// The jobs: one for all, one that takes longer than its period.
fn jobs() -> Vec<JobSpec> {
    let every = json!({ "every": "200ms" });
    vec![
        job(json!({
            "name": "tick", "target": "group:crew", "command": "work",
            "catch_up": "latest", "overlap": "allow", "rule": every,
        })),
        job(json!({
            "name": "slow", "target": "client:c-1", "command": "slow", "overlap": "allow",
            "rule": every,
        })),
    ]
}

/// A client that stays up; its `slow` takes longer than the period of the job that sends it.
async fn stays(server: &Server, id: &str, record: &Record) {
    let noted = record.clone();
    let builder = client(&server.listen, id, record);
    let builder = builder.on("slow", move |cx: Context, params: Value| {
        noted.note(&cx, &params);
        async move {
            sleep(PERIOD * 2).await;
            Ok(answer(&cx))
        }
    });
    connect(builder).await;
}

/// Submits until the server is gone, and notes what was acknowledged; reads the answers too.
async fn submit_on(remote: Remote, noted: Arc<Acknowledged>, first: usize) {
    for number in (first..).step_by(10) {
        let Ok(run) = remote.submit(work("group:crew", number)).await else { return };
        noted.submitted.lock().unwrap().push(run.serial);
        let Ok(answers) = remote.responses(run.serial).try_collect::<Vec<_>>().await else {
            return;
        };
        noted.answers.lock().unwrap().extend(answers);
    }
}

/// One life of the server: submissions in flight until `tick` has been seen to fire since this
/// life began and enough was acknowledged in it; then its end.
async fn live_and_die(
    server: &mut Server,
    noted: &Arc<Acknowledged>,
    news: &mut News,
    way: &impl End,
) {
    let acknowledged = || noted.submitted.lock().unwrap().len();
    let before = acknowledged();
    let mut submitters = JoinSet::new();
    for first in 0..4 {
        submitters.spawn(submit_on(server.remote(), Arc::clone(noted), first));
    }
    let (mut ticks, mut slow) = (BTreeSet::new(), 0);
    while ticks.len() < 4 || slow < 2 || acknowledged() < before + 30 {
        let one = within("a command at a client", news.recv()).await.unwrap();
        match one.job.as_ref().map(fleetcron::JobName::as_str) {
            Some("tick") => _ = ticks.insert(one.serial),
            Some("slow") => slow += 1,
            _ => {}
        }
    }
    way.end(server).await;
    within("the submitters to notice", submitters.join_all()).await;
    // What is seen from here on was sent by the next life.
    while news.try_recv().is_ok() {}
}

/// What was acknowledged is there.
async fn all_is_there(remote: &Remote, noted: &Acknowledged) {
    let jobs = remote.list(Page::first()).await.unwrap();
    let specs: Vec<_> = jobs.into_iter().map(|view| view.job.spec).collect();
    let mut wanted = self::jobs();
    wanted.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(specs, wanted);
    let crew = remote.clients(Page::first(), Some("crew".parse().unwrap())).await.unwrap();
    let ids: Vec<&str> = crew.iter().map(|client| client.id.as_str()).collect();
    assert_eq!(ids, ["away", "c-1", "c-2", "c-3", "c-4"]);

    let submitted = noted.submitted.lock().unwrap().clone();
    for serial in &submitted {
        let run = remote.run(*serial).await.unwrap();
        assert_eq!(run.counts.total as usize, ALL, "{run:?}");
        assert!(run.ended_at.is_none(), "the delivery to the client that is away waits: {run:?}");
    }
    let away = &crew[0];
    assert!(away.open >= submitted.len() as u64, "{} waiting for {away:?}", submitted.len());
    let answers = noted.answers.lock().unwrap().clone();
    for answer in answers {
        let kept = remote.response(answer.serial, answer.client.clone()).await.unwrap();
        assert_eq!(kept, Some(answer));
    }
}

/// Each run has reached each client, once in effect, and in order the one that was away.
fn once_each(record: &Record, runs: &[Run]) {
    let expected: BTreeSet<Serial> = runs.iter().map(|run| run.serial).collect();
    record.has_each_once(PRESENT.into_iter().chain(["away"]), &expected);
    assert!(record.serials("away").is_sorted(), "serial order");
}

/// The firings keep to the rule: one phase, none twice.
fn phase_is_kept(runs: &[Run]) {
    for pair in runs.windows(2) {
        let apart = pair[1].scheduled_at.since(pair[0].scheduled_at);
        assert!(apart >= PERIOD, "{pair:?}");
        assert_eq!(apart.as_millis() % PERIOD.as_millis(), 0, "{pair:?}");
    }
}

/// How a server ends.
pub trait End {
    /// Ends it; whatever was acknowledged before has to be there when this is done.
    async fn end(&self, server: &mut Server);

    /// What is looked at before the server is started again.
    async fn between(&self, _server: &Server) {}
}

/// A server with a store of this kind ends so often in this way.
pub async fn survives(store: &str, place: &Place, ends: usize, way: &impl End) {
    let (record, mut news) = Record::new();
    let noted = Arc::new(Acknowledged::default());
    let mut server = place.start_with(&options(store)).await;
    server.define("away", &["crew"]).await;
    for id in PRESENT {
        server.define(id, &["crew"]).await;
        stays(&server, id, &record).await;
    }
    apply(&server.remote(), jobs()).await;
    for _ in 0..ends {
        live_and_die(&mut server, &noted, &mut news, way).await;
        way.between(&server).await;
        server = place.start_with(&options(store)).await;
        all_is_there(&server.remote(), &noted).await;
    }
    let remote = server.remote();
    for job in ["tick", "slow"] {
        remote.pause(job.parse().unwrap()).await.unwrap();
    }
    let (late, record_late) = (bare(&server.listen, "away").concurrency(1), record.clone());
    connect(late.on("work", move |cx: Context, params: Value| {
        record_late.note(&cx, &params);
        async move { Ok(answer(&cx)) }
    }))
    .await;

    let ticks = runs_of(&remote, "tick").await;
    let submitted = noted.submitted.lock().unwrap().clone();
    let mut runs = Vec::new();
    for serial in submitted {
        runs.push(ended(&remote, serial).await);
    }
    for run in &ticks {
        runs.push(ended(&remote, run.serial).await);
    }
    for run in &runs {
        assert_eq!(run.counts.succeeded as usize, ALL, "{run:?}");
    }
    once_each(&record, &runs);
    phase_is_kept(&ticks);
    let slow = runs_of(&remote, "slow").await;
    phase_is_kept(&slow);
    for run in slow {
        let run = ended(&remote, run.serial).await;
        let response = remote.response(run.serial, "c-1".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(response.outcome.state, DeliveryState::Succeeded, "{response:?}");
    }
    let answers = noted.answers.lock().unwrap().len();
    assert!(answers >= ends, "{answers} answers were read before an end");
    let times = format!("{} submits, {} firings", submitted_total(&noted), ticks.len());
    let due = all_is_explained(&remote).await;
    println!(
        "{store}: {ends} ends, {times}, {answers} answers read, {due} firings due: nothing lost, \
         doubled or unexplained"
    );
    comes_out_again(&mut server, ends).await;
}

/// Of each moment at which a job was due it is told what became of it. Gives how many there were.
async fn all_is_explained(remote: &Remote) -> u64 {
    let mut due = 0;
    for job in ["tick", "slow"] {
        let (_, sums) = explained(remote, job).await;
        assert_eq!((sums.unexplained, sums.cut_at), (0, None), "{job}: {sums:?}");
        due += sums.expected;
    }
    due
}

fn submitted_total(noted: &Acknowledged) -> usize {
    noted.submitted.lock().unwrap().len()
}

/// What the server's lives have recorded is decided on once more.
async fn comes_out_again(server: &mut Server, ends: usize) {
    server.process.signal(Signal::SIGTERM);
    assert_eq!(within("the server's end", server.process.ended()).await, Some(0));
    let data = server.data.to_str().unwrap();
    let args = ["verify", "--data", data, "--output", "json"];
    let ran = run(server.home(), &args).await.ok();
    let verified: Verified = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((verified.difference, verified.pages_missing), (None, 0), "{}", ran.stdout);
    assert_eq!(verified.starts, ends as u64 + 1, "{}", ran.stdout);
}
