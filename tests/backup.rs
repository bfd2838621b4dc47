//! Backups and exports of a server under load, as processes: what was acknowledged before is in
//! them, what they hold is sound, and a server that stands on one goes on where it was.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetcron::client::{ClientBuilder, ClientHandle, Context};
use fleetcron::engine::Page;
use fleetcron::remote::Remote;
use fleetcron::store::{StoreKind, kind_at};
use fleetcron::{DeliveryState, JobSpec, Response, Run, Serial};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use common::fleet::{
    News, Record, answer, apply, bare, client, connect, ended, job, runs_of, work,
};
use common::server::{Place, Server};
use common::{Ran, eventually, run, within};

const PRESENT: [&str; 4] = ["c-1", "c-2", "c-3", "c-4"];
const ALL: usize = PRESENT.len() + 1;
const PERIOD: Duration = Duration::from_secs(1);
const SUBMITTERS: usize = 4;

/// What the server has acknowledged: to each submitter its serials in order, and answers.
#[derive(Default)]
struct Acknowledged {
    submitted: [Mutex<Vec<Serial>>; SUBMITTERS],
    answers: Mutex<Vec<Response>>,
}

impl Acknowledged {
    fn submitted(&self) -> Vec<Vec<Serial>> {
        self.submitted.iter().map(|one| one.lock().unwrap().clone()).collect()
    }

    fn count(&self) -> usize {
        self.submitted().iter().map(Vec::len).sum()
    }
}

fn jobs() -> Vec<JobSpec> {
    let of = |name: &str| {
        job(json!({
            "name": name, "target": "group:crew", "command": "work", "catch_up": "all",
            "overlap": "allow", "rule": { "every": "1s" },
        }))
    };
    (0..5).map(|n| of(&format!("tick/{n}"))).collect()
}

/// Submits one after the other until the server is gone.
async fn submit_on(remote: Remote, noted: Arc<Acknowledged>, which: usize) {
    for number in (which..).step_by(SUBMITTERS) {
        let Ok(run) = remote.submit(work("group:crew", number)).await else { return };
        noted.submitted[which].lock().unwrap().push(run.serial);
        let Ok(answers) = remote.responses(run.serial).try_collect::<Vec<_>>().await else {
            return;
        };
        noted.answers.lock().unwrap().extend(answers);
    }
}

/// A server, its clients with their journals, and its jobs under way.
async fn under_load(
    place: &Place,
    record: &Record,
) -> (Server, Vec<ClientHandle>, Arc<Acknowledged>, JoinSet<()>) {
    let server = place.start().await;
    let noted = Arc::new(Acknowledged::default());
    server.define("away", &["crew"]).await;
    let mut clients = Vec::new();
    for id in PRESENT {
        server.define(id, &["crew"]).await;
        clients.push(connect(journalled(place, &server, id, record)).await);
    }
    apply(&server.remote(), jobs()).await;
    let mut submitters = JoinSet::new();
    for which in 0..SUBMITTERS {
        submitters.spawn(submit_on(server.remote(), Arc::clone(&noted), which));
    }
    (server, clients, noted, submitters)
}

/// A client with a journal, in which it finds what it had when it is started again.
fn journalled(place: &Place, server: &Server, id: &str, record: &Record) -> ClientBuilder {
    client(&server.listen, id, record).journal(place.dir.path().join(format!("journal-{id}")))
}

/// Waits until so many more submits were acknowledged and a job has fired since.
async fn go_on(noted: &Acknowledged, news: &mut News, more: usize) {
    while news.try_recv().is_ok() {}
    let before = noted.count();
    let mut ticked = false;
    while !ticked || noted.count() < before + more {
        ticked |= within("a command at a client", news.recv()).await.unwrap().job.is_some();
    }
}

async fn offline(place: &Path, args: &[&str]) -> Ran {
    run(place, args).await
}

/// The check of the store in `data` finds nothing.
async fn sound(home: &Path, data: &str) -> Value {
    let checked = offline(home, &["store", "check", "--data", data, "--output", "json"]).await;
    let report = checked.ok().json();
    assert_eq!(report["sound"], json!(true), "{report}");
    report
}

/// Runs that fire from now on and have been answered by all who are there.
async fn fired_and_answered(remote: &Remote) -> Vec<Serial> {
    let before = runs_of(remote, "tick/0").await.len();
    eventually("two more firings with their answers", async || {
        let runs = runs_of(remote, "tick/0").await;
        let mut answered = Vec::new();
        for run in runs.iter().skip(before) {
            let counts = remote.run(run.serial).await.unwrap().counts;
            answered.extend((counts.succeeded as usize == PRESENT.len()).then_some(run.serial));
        }
        (answered.len() >= 2).then_some(answered)
    })
    .await
}

/// Of each submitter the restored server has all that was acknowledged before the backup began,
/// and of what was acknowledged later the first ones: one moment. Gives what it has.
async fn as_of_one_moment(
    remote: &Remote,
    before: &[Vec<Serial>],
    after: &[Vec<Serial>],
) -> Vec<Serial> {
    let mut kept = Vec::new();
    for (before, after) in before.iter().zip(after) {
        let mut has = Vec::new();
        for serial in after {
            has.push(remote.run(*serial).await.is_ok());
        }
        let count = has.iter().take_while(|has| **has).count();
        assert!(count >= before.len(), "{} were acknowledged, {count} are there", before.len());
        assert!(!has[count..].contains(&true), "there is a hole: {has:?}");
        kept.extend_from_slice(&after[..count]);
    }
    kept
}

/// The firings of a job have no gap and none twice.
fn without_a_gap(runs: &[Run]) {
    for pair in runs.windows(2) {
        assert_eq!(pair[1].scheduled_at.since(pair[0].scheduled_at), PERIOD, "{pair:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_a_restored_backup_goes_on_and_nothing_is_lost_or_done_twice() {
    let place = Place::new();
    let (record, mut news) = Record::new();
    let (mut server, mut clients, noted, submitters) = under_load(&place, &record).await;
    go_on(&noted, &mut news, 40).await;
    let answered = noted.answers.lock().unwrap().clone();
    let before = noted.submitted();
    let fired: BTreeSet<Serial> = record.all().into_iter().map(|one| one.serial).collect();
    server.cli(&["backup", "fleet.backup"]).await.ok();
    // What fires and is acknowledged from here on is not in the backup.
    go_on(&noted, &mut news, 40).await;
    let lost = fired_and_answered(&server.remote()).await;
    server.process.kill();
    within("the submitters to notice", submitters.join_all()).await;
    let after = noted.submitted();
    // Half of the clients end, too, and know by their journals alone what they have run.
    for client in clients.drain(..2) {
        within("a client's end", client.stop()).await;
    }
    let home = place.dir.path();
    std::fs::rename(home.join("data"), home.join("lost")).unwrap();

    // The one that is made is of the other kind.
    let args = ["store", "restore", "fleet.backup", "--data", "data", "--store", "fjall"];
    offline(home, &args).await.ok();
    let report = sound(home, "data").await;
    assert!(report["kinds"].as_array().unwrap().len() > 8, "{report}");
    sound(home, "lost").await;
    let refused = offline(home, &["store", "restore", "fleet.backup", "--data", "data"]).await;
    assert!(refused.code == 5 && refused.stderr.contains("is not empty"), "{refused:?}");

    let server = place.start().await;
    assert_eq!(server.remote().status().await.unwrap().store, Some(StoreKind::Fjall));
    for id in &PRESENT[..2] {
        clients.push(connect(journalled(&place, &server, id, &record)).await);
    }
    let remote = server.remote();
    let crew = remote.clients(Page::first(), Some("crew".parse().unwrap())).await.unwrap();
    assert_eq!(crew.len(), ALL);
    let kept = as_of_one_moment(&remote, &before, &after).await;
    for answer in answered {
        let kept = remote.response(answer.serial, answer.client.clone()).await.unwrap();
        assert_eq!(kept, Some(answer));
    }
    // It goes on firing: first what it missed, with the serials that they had.
    while news.try_recv().is_ok() {}
    let seen = within("a job that fires", async {
        loop {
            let one = news.recv().await.unwrap();
            if one.job.is_some() {
                return one.serial;
            }
        }
    });
    assert!(!fired.contains(&seen.await), "a client runs what it had not run");
    for job in jobs() {
        remote.pause(job.name).await.unwrap();
    }
    finish(&server, &record, &kept).await;
    // What had fired after the backup has fired again, with the serial that it had.
    for serial in lost {
        let run = remote.run(serial).await.unwrap();
        assert_eq!(run.counts.succeeded as usize, ALL, "{run:?}");
    }
}

/// The one that was away comes; then every run of the restored server ends as succeeded.
async fn finish(server: &Server, record: &Record, kept: &[Serial]) {
    let remote = server.remote();
    let away = record.clone();
    connect(bare(&server.listen, "away").concurrency(1).on(
        "work",
        move |cx: Context, params: Value| {
            away.note(&cx, &params);
            async move { Ok(answer(&cx)) }
        },
    ))
    .await;
    let mut expected: BTreeSet<Serial> = kept.iter().copied().collect();
    for job in jobs() {
        let runs = runs_of(&remote, job.name.as_str()).await;
        without_a_gap(&runs);
        assert!(runs.len() > 2, "{}: {runs:?}", job.name);
        expected.extend(runs.iter().map(|run| run.serial));
    }
    for serial in &expected {
        let run = ended(&remote, *serial).await;
        assert_eq!(run.counts.succeeded as usize, ALL, "{run:?}");
        let response = remote.response(*serial, "c-1".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(response.outcome.state, DeliveryState::Succeeded);
    }
    record.has_each_once(PRESENT.into_iter().chain(["away"]), &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_under_load_adds_up_and_makes_a_store() {
    let place = Place::new();
    let (record, mut news) = Record::new();
    let (mut server, _clients, noted, submitters) = under_load(&place, &record).await;
    let home = place.dir.path();
    for round in 0..5 {
        go_on(&noted, &mut news, 10).await;
        let before = noted.submitted().concat();
        let text = server.cli(&["export"]).await.ok().stdout;
        let file = format!("export-{round}");
        common::write(home, &file, &text);
        let data = format!("imported-{round}");
        let kind = StoreKind::ALL[round % 2];
        let args = ["store", "import", &file, "--data", &data, "--store", kind.name()];
        offline(home, &args).await.ok();
        assert_eq!(kind_at(home.join(&data)).unwrap(), Some(kind));
        sound(home, &data).await;
        for serial in before {
            assert!(text.contains(&format!("\"serial\":\"{serial}\",\"cause\":")), "{serial}");
        }
        let again = offline(home, &["store", "export", "--data", &data]).await.ok().stdout;
        let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&again), lines(&text), "the same, but for when it was made");
    }
    // A part of it, into a store that has none of it; and again, when all of it is there.
    let text = server.cli(&["export", "--job", "tick/1"]).await.ok().stdout;
    common::write(home, "part", &text);
    let unknown = server.cli(&["export", "--job", "tick/9"]).await;
    assert!(unknown.code == 4 && unknown.stderr.contains("no job named \"tick/9\""), "{unknown:?}");
    let stats = server.cli(&["store", "stats", "--output", "json"]).await.ok().json();
    assert!(stats["records"].as_u64() > Some(50), "{stats}");
    server.process.kill();
    within("the submitters to notice", submitters.join_all()).await;
    for (open, code) in [(&["--ended-only"][..], 0), (&[], 4)] {
        let args = [&["store", "import", "part", "--data", "part-data"], open].concat();
        let ran = offline(home, &args).await;
        assert_eq!(ran.code, code, "{ran:?}");
    }
    sound(home, "part-data").await;
}
