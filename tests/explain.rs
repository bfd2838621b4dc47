//! Explanations of a server that failed, was killed and paused: each firing is told with its reason,
//! on the command line, over HTTP and by the remote.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::time::Duration;

use fleetcron::client::Context;
use fleetcron::explain::{ClientQuery, Fate, Item, LateBecause};
use fleetcron::remote::Remote;
use fleetcron::time::{Clock as _, SystemClock};
use fleetcron::{DeliveryState, JobName, Pause, PauseTerms};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use common::fleet::{Record, apply, client, connect, ended, explained, job, runs_of, work};
use common::server::{Place, Process, Server, token_of};
use common::{Ran, eventually, write};

/// What the agent may run.
const LIST: &str = r#"
[agent]
token_file = "token"

[[command]]
name = "fail"
program = "sh"
args = ["-c", "echo cannot open the disk >&2; exit 3"]
env = ["PATH"]
"#;

fn name(job: &str) -> JobName {
    job.parse().unwrap()
}

async fn cli(server: &Server, line: &str) -> Ran {
    server.cli(&line.split(' ').collect::<Vec<_>>()).await
}

fn once(job_name: &str, target: &str, command: &str, more: &Value) -> fleetcron::JobSpec {
    let mut spec = json!({
        "name": job_name, "target": target, "command": command, "rule": "now",
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    job(spec)
}

/// Defines the fleet and connects it, but for `away-01`.
async fn fleet(server: &Server) -> (Process, fleetcron::client::ClientHandle) {
    for id in ["web-01", "db-01", "away-01"] {
        server.define(id, &["crew"]).await;
    }
    let list = write(server.home(), "agent.toml", LIST);
    write(server.home(), "token", &format!("{}\n", token_of("db-01")));
    let config = ["agent", "--config", list.to_str().unwrap(), "--log", "json"];
    let whom = ["--connect", &server.listen, "--client", "db-01"];
    let agent = Process::start(server.home(), &[&config[..], &whom].concat());
    agent.stderr.json("connected", &[("client", "db-01")]).await;
    let builder = client(&server.listen, "web-01", &Record::new().0);
    // It runs until it is asked to stop.
    let builder = builder.on("slow", |_: Context, _: Value| async {
        std::future::pending::<()>().await;
        Ok(Value::Null)
    });
    (agent, connect(builder).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_firing_is_told_with_its_reason() {
    let place = Place::new();
    let mut server = place.start().await;
    let (_agent, web) = fleet(&server).await;
    let remote = server.remote();
    let every = json!({ "every": "300ms" });
    apply(
        &remote,
        vec![
            once("ok", "client:web-01", "work", &json!({})),
            once("fails", "client:db-01", "fail", &json!({})),
            once("waits", "client:away-01", "work", &json!({})),
            once("leaves", "group:crew", "work", &json!({ "offline": "drop" })),
            once("nobody", "group:none", "work", &json!({})),
            job(json!({ "name": "slow", "target": "client:web-01", "command": "slow",
                        "rule": every })),
            job(json!({ "name": "tick", "target": "client:web-01", "command": "work",
                        "catch_up_window": "1h", "rule": every })),
        ],
    )
    .await;
    for job in ["ok", "fails", "waits", "leaves", "nobody"] {
        let first = async || runs_of(&remote, job).await.first().map(|run| run.serial);
        let serial = eventually("the run of a job that fires at once", first).await;
        if job != "waits" {
            ended(&remote, serial).await;
        }
    }

    // A success, and its exit code.
    let ran = cli(&server, "explain ok").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("DUE") && ran.stdout.contains("succeeded"), "{ran:?}");
    assert!(ran.stderr.contains("job ok: 1 firings were due"), "{ran:?}");
    assert!(ran.stderr.contains("1 deliveries: 1 succeeded"), "{ran:?}");

    // A command that fails: its reason, and the first line that it said.
    let ran = cli(&server, "explain fails").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("failed") && ran.stdout.contains("exit code 3"), "{ran:?}");
    assert!(ran.stdout.contains("cannot open the disk"), "{ran:?}");

    // A client that is away, whose delivery waits: that is no failure.
    let ran = cli(&server, "explain waits").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("1 open") && ran.stdout.contains("the client has never connected"));

    // One that is not delivered to whoever is away, and one for nobody.
    let ran = cli(&server, "explain leaves").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("away-01 skipped: the client was away"), "{ran:?}");
    let ran = cli(&server, "explain leaves --client web-01").await;
    assert_eq!(ran.code, 0, "only what was for this client: {ran:?}");
    let ran = cli(&server, "explain nobody").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("nobody") && ran.stdout.contains("\"none\""), "{ran:?}");

    overlap_and_pause(&server, &remote).await;
    killed(&place, &mut server).await;
    cancelled(&server).await;
    days_of_clients(&server).await;
    drop(web);
}

/// The first runs on, the next are skipped and name it; then the job is paused.
async fn overlap_and_pause(server: &Server, remote: &Remote) {
    let (firings, _) = eventually("a firing that is skipped", async || {
        let told = explained(remote, "slow").await;
        (told.1.deliveries.skipped > 0).then_some(told)
    })
    .await;
    assert_eq!(firings[0].fate, Fate::Open, "{firings:?}");
    let skipped = &firings[1].deliveries[0];
    assert_eq!((skipped.state, skipped.by), (DeliveryState::Skipped, Some(firings[0].serial)));
    let ran = cli(server, "explain slow --only problems").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let why = format!("run {} has not ended on this client", firings[0].serial);
    assert!(ran.stdout.contains(&why) && !ran.stdout.contains("open"), "{ran:?}");

    let terms = PauseTerms { reason: Some("moving house".into()), ..PauseTerms::default() };
    remote.pause_with(Pause { job: name("slow"), terms }).await.unwrap();
    eventually("a firing that waits for the end of the pause", async || {
        (explained(remote, "slow").await.1.paused > 0).then_some(())
    })
    .await;
    let ran = cli(server, "explain slow").await;
    assert!(ran.stdout.contains("the job is paused since"), "{ran:?}");
    assert!(ran.stdout.contains(": moving house"), "{ran:?}");
}

/// The server is killed over firings that are due: one is made up for, the others are missed.
async fn killed(place: &Place, server: &mut Server) {
    eventually("a run before the end", async || {
        let (_, sums) = explained(&server.remote(), "tick").await;
        (sums.deliveries.succeeded > 0).then_some(())
    })
    .await;
    server.process.kill();
    let back = SystemClock.now().plus(Duration::from_millis(1_500));
    eventually("a while without a server", async || (SystemClock.now() >= back).then_some(()))
        .await;
    *server = place.start().await;
    let (firings, sums) = eventually("a firing that is made up for", async || {
        let told = explained(&server.remote(), "tick").await;
        (told.1.caught_up > 0).then_some(told)
    })
    .await;
    assert_eq!(sums.unexplained, 0, "{firings:?}");
    assert!(sums.missed >= 2, "{sums:?}");
    let late = firings.iter().find_map(|firing| firing.late_because.as_ref());
    let Some(LateBecause::Down(down)) = late else { panic!("{firings:?}") };
    assert!(!down.in_order && down.from.is_some_and(|from| from < down.to), "{down:?}");
    let ran = cli(server, "explain tick").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("missed"), "{ran:?}");
    assert!(ran.stdout.contains("the server was down from"));
    assert!(ran.stdout.contains("catch_up is latest") && ran.stdout.contains("caught up: the"));

    let ran = cli(server, "--output json explain tick").await;
    let lines: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let missed = lines.iter().find(|line| line["fate"] == "missed").unwrap();
    assert_eq!((&missed["kind"], &missed["expected"]), (&json!("firing"), &json!(true)));
    assert_eq!(missed["reason"], "the server was down");
    let last = lines.last().unwrap();
    assert_eq!((&last["kind"], &last["unexplained"]), (&json!("sums"), &json!(0)));
}

/// Whoever cancels a run is named.
async fn cancelled(server: &Server) {
    let remote = server.remote();
    let serial = runs_of(&remote, "waits").await[0].serial;
    remote.submit(work("client:away-01", 1)).await.unwrap();
    let ran = cli(server, "explain --client away-01").await;
    let line = ran.stdout.lines().find(|line| line.contains("submit")).unwrap();
    assert!(line.contains("queued") && line.contains("1 wait before it"), "{ran:?}");
    remote.cancel(serial).await.unwrap();
    let ran = cli(server, "explain waits").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("the run was cancelled by token:"), "{ran:?}");
}

/// The other way: what a client was to get, and when it was away.
async fn days_of_clients(server: &Server) {
    let ran = cli(server, "explain --client web-01").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("away") && ran.stdout.contains("the server was down"), "{ran:?}");
    assert!(ran.stdout.contains("tick") && ran.stdout.contains("slow"), "{ran:?}");
    assert!(ran.stderr.contains("client web-01 from"), "{ran:?}");
    let ran = cli(server, "explain --client away-01").await;
    assert!(ran.stdout.contains("it had not connected since it was defined"), "{ran:?}");
    assert!(ran.stderr.contains("1 cancelled, 1 skipped"), "{ran:?}");

    let query = ClientQuery::new("db-01".parse().unwrap());
    let items: Vec<Item> = server.remote().explain_client(query).try_collect().await.unwrap();
    let failed = items.iter().find_map(|item| match item {
        Item::Delivery(one) if one.delivery.state == DeliveryState::Failed => Some(one),
        _ => None,
    });
    let failed = failed.unwrap();
    assert_eq!(failed.job, Some(name("fails")));
    assert_eq!(failed.delivery.result.as_deref(), Some("cannot open the disk"));
    assert!(matches!(items.last(), Some(Item::Sums(_))), "{items:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_explained_is_refused_by_name() {
    let server = Server::new().await;
    server.define("web-01", &["web"]).await;
    let remote = server.remote();
    apply(&remote, vec![once("db/backup", "all", "work", &json!({}))]).await;
    let ran = cli(&server, "explain db/backap").await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.contains("did you mean \"db/backup\"?"), "{ran:?}");
    let ran = cli(&server, "explain db/backup --client web-02").await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.contains("no client named \"web-02\""), "{ran:?}");
    let ran = cli(&server, "explain db/backup --group wob").await;
    assert!(ran.code == 4 && ran.stderr.contains("did you mean \"web\"?"), "{ran:?}");
    let ran = cli(&server, "explain db/backup --since 1h --until 2h").await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("is not before until"), "{ran:?}");
    let ran = cli(&server, "explain db/backup --since 9000h").await;
    assert!(ran.code == 2 && ran.stderr.contains("the longest span is 366 days"), "{ran:?}");
    for line in ["explain", "explain db/backup --only some", "explain x --client a --group b"] {
        assert_eq!(cli(&server, line).await.code, 2, "{line}");
    }
    let get = async |path: &str| {
        let url = format!("{}{path}", server.access.server);
        let request = reqwest::Client::new().get(url).bearer_auth(&server.access.token);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = get("/v1/jobs/db%2Fbackup/explain?only=all").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.trim_end().lines().last().unwrap().starts_with("{\"kind\":\"sums\""), "{text}");
    assert_eq!(get("/v1/jobs/none/explain").await.0, 404);
    assert_eq!(get("/v1/clients/none/explain").await.0, 404);
    let (status, text) = get("/v1/jobs/db%2Fbackup/explain?until=2999-01-01T00:00:00Z").await;
    assert!(status != 200 && text.contains("is still to come"), "{status} {text}");
    let (status, text) = get("/v1/jobs/db%2Fbackup/explain?client=a&group=b").await;
    assert!(status != 200 && text.contains("give one of them"), "{status} {text}");
    assert_eq!(get("/v1/clients/web-01/explain?all=true").await.0, 400);
}
