//! What a server has recorded is decided on once more: the same comes out, over a kill too, and
//! changed definitions tell what they would have changed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use fleetcron::client::Context;
use fleetcron::reenact::{Change, Verified, WhatIf};
use fleetcron::{DeliveryState, JobSpec};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use common::fleet::{News, Record, answer, apply, client, connect, job};
use common::server::{Place, Server};
use common::{Ran, run, within};

/// How long `slow` takes: it is due again before it ends.
const SLOW: Duration = Duration::from_millis(500);

fn tick() -> Value {
    let rule = json!({ "every": "200ms" });
    json!({ "name": "tick", "target": "all", "command": "work", "overlap": "allow", "rule": rule })
}

fn slow() -> Value {
    let rule = json!({ "every": "200ms" });
    json!({
        "name": "slow", "target": "client:a", "command": "slow", "overlap": "skip", "rule": rule,
    })
}

fn jobs() -> Vec<JobSpec> {
    vec![job(tick()), job(slow())]
}

async fn clients(server: &Server, record: &Record) {
    let noted = record.clone();
    let builder = client(&server.listen, "a", record);
    let builder = builder.on("slow", move |cx: Context, params: Value| {
        noted.note(&cx, &params);
        async move {
            // The workload: it outlasts the period.
            sleep(SLOW).await;
            Ok(answer(&cx))
        }
    });
    connect(builder).await;
    connect(client(&server.listen, "b", record)).await;
}

/// Lets the fleet run until both jobs have run so often since now.
async fn run_for(news: &mut News, ticks: usize, slows: usize) {
    while news.try_recv().is_ok() {}
    let (mut tick, mut slow) = (BTreeSet::new(), BTreeSet::new());
    while tick.len() < ticks || slow.len() < slows {
        let one = within("a command at a client", news.recv()).await.unwrap();
        match one.job.as_ref().map(fleetcron::JobName::as_str) {
            Some("tick") => tick.insert(one.serial),
            _ => slow.insert(one.serial),
        };
    }
}

struct Recorded {
    place: Place,
    data: PathBuf,
}

/// A server that has run, was killed, has run again and was stopped.
async fn recorded() -> Recorded {
    let place = Place::new();
    let (record, mut news) = Record::new();
    let mut server = place.start().await;
    server.define("a", &[]).await;
    server.define("b", &[]).await;
    clients(&server, &record).await;
    apply(&server.remote(), jobs()).await;
    run_for(&mut news, 15, 4).await;
    server.process.kill();
    let mut server = place.start().await;
    run_for(&mut news, 10, 3).await;
    for job in ["tick", "slow"] {
        server.remote().pause(job.parse().unwrap()).await.unwrap();
    }
    server.process.signal(Signal::SIGTERM);
    assert_eq!(within("the server's end", server.process.ended()).await, Some(0));
    let data = server.data.clone();
    Recorded { place, data }
}

impl Recorded {
    async fn verify(&self, more: &[&str]) -> Ran {
        let data = self.data.to_str().unwrap();
        let args = [&["verify", "--data", data], more].concat();
        run(self.place.dir.path(), &args).await
    }

    async fn what_if(&self, jobs: &[Value]) -> WhatIf {
        let text = serde_json::to_string(jobs).unwrap();
        let file = common::write(self.place.dir.path(), "changed.json", &text);
        let changed = file.to_str().unwrap();
        let ran = self.verify(&["--changed", changed, "--output", "json"]).await.ok();
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_comes_out_again_and_what_would_have_is_told() {
    let recorded = recorded().await;
    let ran = recorded.verify(&["--output", "json"]).await.ok();
    let verified: Verified = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((verified.starts, &verified.difference), (2, &None), "{verified:?}");
    assert!(verified.inputs > 100 && verified.pages > 20, "{verified:?}");
    assert_eq!(verified.pages_missing, 0);
    let ran = recorded.verify(&[]).await.ok();
    assert!(ran.stdout.contains("the same decisions: "), "{ran:?}");

    // As they are: nothing differs, and every answer is given again.
    let same = recorded.what_if(&[tick(), slow()]).await;
    assert_eq!(same.changes, [], "{same:?}");
    assert!(same.answers_recorded > 40, "{same:?}");
    assert!(same.answers_given * 10 >= same.answers_recorded * 9, "{same:?}");

    // What was skipped since it still ran is run.
    let mut allowed = slow();
    allowed["overlap"] = "allow".into();
    let changed = recorded.what_if(&[tick(), allowed]).await;
    let skipped = changed.deliveries_before[&DeliveryState::Skipped];
    assert!(skipped >= 4, "{changed:?}");
    assert_eq!(changed.deliveries_after.get(&DeliveryState::Skipped), None, "{changed:?}");
    let run_now = |change: &Change| match change {
        Change::Delivery { firing, client, before, after } => {
            assert_eq!((firing.job.as_str(), client.as_str()), ("slow", "a"));
            assert_ne!(*after, Some(DeliveryState::Skipped));
            *before == Some(DeliveryState::Skipped)
        }
        other => panic!("{other:?}"),
    };
    let run_now = changed.changes.iter().filter(|change| run_now(change)).count();
    assert_eq!(run_now as u64, skipped, "{changed:?}");

    // Every other firing is gone.
    let mut rarer = tick();
    rarer["rule"]["every"] = "400ms".into();
    let changed = recorded.what_if(&[rarer, slow()]).await;
    let ticks = changed.changes.iter().filter(|change| {
        matches!(
            change, Change::FiringGone { firing, .. } if firing.job.as_str() == "tick"
        )
    });
    let (gone, all) = (ticks.count() as u64, changed.firings_before);
    assert_eq!((changed.firings_new, changed.firings_gone), (0, gone), "{changed:?}");
    assert!(gone >= 10 && changed.firings_after == all - gone, "{changed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_verified_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let ran = run(home, &["verify", "--data", "nowhere"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("there is no store in nowhere"), "{ran:?}");
    assert!(!home.join("nowhere").exists(), "nothing is made");

    let place = Place::new();
    let mut server = place.start_with(&["--no-recording"]).await;
    let data = server.data.to_str().unwrap().to_owned();
    let ran = run(home, &["verify", "--data", &data]).await;
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.stderr.contains("is in use by process"), "{ran:?}");
    server.process.signal(Signal::SIGTERM);
    within("the server's end", server.process.ended()).await;
    let ran = run(home, &["verify", "--data", &data]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("nothing is recorded in this store"), "{ran:?}");
    let ran = run(home, &["verify", "--since", "2026-01-01T00:00:00Z"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("--changed"), "{ran:?}");
}
