//! Firings, from a job file on the command line to the answers of clients, and what those get
//! who were away or whose server was.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use fleetcron::client::{ClientHandle, Context};
use fleetcron::time::{Clock as _, SystemClock};
use fleetcron::{Cause, DeliveryState, Serial};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use common::fleet::{
    News, Record, answer, apply, bare, client, connect, ended, job, leave, runs_of, work,
};
use common::server::{Place, Server};
use common::{eventually, within, write};

const EVERY_SECOND: &str = r#"
name = "tick"
target = "group:web"
command = "work"
params = { number = 7 }
rule.cron = "* * * * * *"
"#;

/// Takes news until each of `clients` has begun `count` commands.
async fn begun(news: &mut News, clients: &[&str], count: usize) {
    let mut counts = BTreeMap::<String, usize>::new();
    let enough = |counts: &BTreeMap<String, usize>| {
        clients.iter().all(|client| counts.get(*client).is_some_and(|begun| *begun >= count))
    };
    while !enough(&counts) {
        let one = within("a command at a client", news.recv()).await.unwrap();
        *counts.entry(one.client).or_default() += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_file_fires_at_each_member_of_its_group_exactly_once() {
    let server = Server::new().await;
    let (record, mut news) = Record::new();
    for (id, group) in [("web-1", "web"), ("web-2", "web"), ("web-3", "web"), ("db-1", "db")] {
        server.define(id, &[group]).await;
        connect(client(&server.listen, id, &record)).await;
    }
    let file = write(server.home(), "tick.toml", EVERY_SECOND);
    let applied = server.cli(&["apply", file.to_str().unwrap()]).await.ok();
    assert!(applied.stdout.contains("+ tick\n"), "{applied:?}");
    assert!(applied.stdout.ends_with("1 created, 0 updated, 0 removed; 0 unchanged\n"));

    let web = ["web-1", "web-2", "web-3"];
    begun(&mut news, &web, 5).await;
    let remote = server.remote();
    remote.pause("tick".parse().unwrap()).await.unwrap();
    let runs = runs_of(&remote, "tick").await;
    assert!(runs.len() >= 5, "{runs:?}");
    for run in &runs {
        let run = ended(&remote, run.serial).await;
        assert_eq!((run.counts.total, run.counts.succeeded), (3, 3), "{run:?}");
        assert_eq!(run.cause, Cause::Scheduled);
    }
    let serials: Vec<Serial> = runs.iter().map(|run| run.serial).collect();
    for id in web {
        assert_eq!(record.serials(id), serials, "{id}: each firing once, in order");
    }
    assert!(record.serials("db-1").is_empty(), "it is not in the group");
    for pair in runs.windows(2) {
        assert_eq!(pair[1].scheduled_at.since(pair[0].scheduled_at), Duration::from_secs(1));
    }
    answers_can_be_read(&server, serials[2]).await;
}

/// By serial and client, over HTTP and by the command line.
async fn answers_can_be_read(server: &Server, serial: Serial) {
    let shown = server.cli(&["runs", "show", &serial.to_string(), "--output", "json"]).await.ok();
    let shown = shown.json();
    assert_eq!(shown["run"]["serial"], json!(serial));
    assert_eq!(shown["open"], json!([]));
    for id in ["web-1", "web-2", "web-3"] {
        let response = server.remote().response(serial, id.parse().unwrap()).await.unwrap();
        let response = response.expect("an answer is recorded");
        assert_eq!(response.outcome.state, DeliveryState::Succeeded);
        let result: Value = response.outcome.result.unwrap().to().unwrap();
        assert_eq!(result, json!({ "client": id, "serial": serial }));
        let rows = shown["responses"].as_array().unwrap();
        let row = rows.iter().find(|row| row["client"] == id).expect("a row for each client");
        assert_eq!((&row["state"], &row["result"]), (&json!("succeeded"), &result));
    }
}

/// A client whose handler waits for the gate, one command at a time.
async fn gated(server: &Server, record: &Record, gate: &watch::Receiver<bool>) -> ClientHandle {
    let (record, gate) = (record.clone(), gate.clone());
    let builder = bare(&server.listen, "away").concurrency(1);
    connect(builder.on("work", move |cx: Context, params: Value| {
        let (record, mut gate) = (record.clone(), gate.clone());
        async move {
            record.note(&cx, &params);
            gate.wait_for(|open| *open).await.unwrap();
            Ok(answer(&cx))
        }
    }))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_away_gets_what_each_policy_says_in_serial_order() {
    let server = Server::new().await;
    let remote = server.remote();
    let (record, mut news) = Record::new();
    let (open, gate) = watch::channel(true);
    for id in ["away", "witness"] {
        server.define(id, &["pair"]).await;
    }
    connect(client(&server.listen, "witness", &record)).await;
    let away = gated(&server, &record, &gate).await;
    leave(&server, &away).await;
    let jobs = ["queue", "latest", "drop"].map(|policy| {
        job(json!({
            "name": policy, "target": "group:pair", "command": "work", "offline": policy,
            "rule": { "every": "200ms", "count": 5 },
        }))
    });
    apply(&remote, jobs.into()).await;
    begun(&mut news, &["witness"], 15).await;
    assert!(record.serials("away").is_empty());

    // The first command is held at the gate until a newer one has been accepted by the server.
    open.send_replace(false);
    gated(&server, &record, &gate).await;
    let newer = remote.submit(work("client:away", 0)).await.unwrap().serial;
    open.send_replace(true);
    ended(&remote, newer).await;

    let mut runs = BTreeMap::new();
    for policy in ["queue", "latest", "drop"] {
        let serials: Vec<Serial> =
            runs_of(&remote, policy).await.iter().map(|run| run.serial).collect();
        assert_eq!(serials.len(), 5, "{policy}: the rule's count");
        runs.insert(policy, serials);
    }
    let mut expected = runs["queue"].clone();
    expected.push(runs["latest"][4]);
    expected.sort();
    expected.push(newer);
    assert_eq!(record.serials("away"), expected);

    let mut states = Vec::new();
    for serial in runs["latest"].iter().chain(&runs["drop"]) {
        ended(&remote, *serial).await;
        let response = remote.response(*serial, "away".parse().unwrap()).await.unwrap().unwrap();
        let reason = response.outcome.reason.is_some_and(|reason| !reason.is_empty());
        states.push((response.outcome.state, reason));
    }
    assert_eq!(states[..4], [(DeliveryState::Superseded, true); 4], "latest");
    assert_eq!(states[4].0, DeliveryState::Succeeded, "latest");
    assert_eq!(states[5..], [(DeliveryState::Skipped, true); 5], "drop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_shot_that_was_due_while_the_server_was_down_fires_once_over_two_restarts() {
    let place = Place::new();
    let (record, _news) = Record::new();
    let mut server = place.start().await;
    server.define("web-1", &[]).await;
    let due = SystemClock.now().plus(Duration::from_secs(3));
    let one_shot =
        json!({ "name": "once", "target": "all", "command": "work", "rule": { "at": due } });
    apply(&server.remote(), vec![job(one_shot)]).await;
    server.process.kill();
    let left = due.since(SystemClock.now());
    assert!(left > Duration::ZERO, "the server was to be down before the job was due");
    sleep(left).await;

    let mut server = place.start().await;
    connect(client(&server.listen, "web-1", &record)).await;
    let runs = runs_of(&server.remote(), "once").await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!((runs[0].cause, runs[0].scheduled_at), (Cause::CatchUp, due));
    let run = ended(&server.remote(), runs[0].serial).await;
    assert_eq!(run.counts.succeeded, 1, "{run:?}");

    server.process.kill();
    let server = place.start().await;
    // What is submitted now is answered after whatever a second firing would have sent.
    let after = server.remote().submit(work("client:web-1", 0)).await.unwrap().serial;
    ended(&server.remote(), after).await;
    assert_eq!(record.serials("web-1"), [run.serial, after]);
    assert_eq!(runs_of(&server.remote(), "once").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_jobs_than_are_at_hand_fire_each_in_its_turn_over_a_crash() {
    const JOBS: usize = 120;
    let place = Place::new();
    let (record, _news) = Record::new();
    let few = ["--jobs-at-hand", "16"];
    let mut server = place.start_with(&few).await;
    server.define("web-1", &[]).await;
    connect(client(&server.listen, "web-1", &record)).await;
    let jobs = (0..JOBS).map(|number| {
        job(json!({
            "name": format!("many/{number:03}"), "target": "all", "command": "work",
            "params": { "number": number }, "rule": { "every": "700ms", "count": 4 },
        }))
    });
    apply(&server.remote(), jobs.collect()).await;
    let done = async |remote: &fleetcron::remote::Remote, each: usize| {
        for number in 0..JOBS {
            let name = format!("many/{number:03}");
            let fired = async || (runs_of(remote, &name).await.len() >= each).then_some(());
            eventually("a job's firings", fired).await;
        }
    };
    done(&server.remote(), 2).await;
    server.process.kill();

    let server = place.start_with(&few).await;
    let remote = server.remote();
    assert_eq!(remote.status().await.unwrap().jobs, JOBS as u64);
    done(&remote, 3).await;
    for number in 0..JOBS {
        let runs = runs_of(&remote, &format!("many/{number:03}")).await;
        // What was due while the server was down is caught up with once.
        assert!((3..=4).contains(&runs.len()), "{number}: {runs:?}");
        for run in &runs {
            let run = ended(&remote, run.serial).await;
            assert_eq!(run.counts.succeeded, 1, "{run:?}");
        }
    }
    let serials = record.serials("web-1");
    let once: std::collections::BTreeSet<_> = serials.iter().collect();
    assert_eq!(once.len(), serials.len(), "none is executed twice");
}
