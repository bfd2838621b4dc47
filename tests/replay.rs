//! Replays from outside: agents and servers as processes, the command line, and a server that is
//! killed in the middle of one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use fleetcron::client::{ClientBuilder, Context};
use fleetcron::handlers::HandlerError;
use fleetcron::remote::Remote;
use fleetcron::{
    Backfill, Cause, DeliveryState, Page, Replay, ReplayId, ReplayRun, ReplayTerms, Run, Serial,
};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use common::fleet::{Record, answer, apply, bare, connect, ended, job, runs_of};
use common::server::{Place, Process, Server, token_of};
use common::{eventually, within, write};

/// What each agent may run: it notes what it runs, and fails while a file is not there.
const LIST: &str = r#"
[agent]
token_file = "ID.token"

[[command]]
name = "work"
program = "sh"
args = ["-c", "echo $1 >> ID.ran; test -e ID.fixed", "sh", "{number}"]
env = ["PATH"]
working_dir = "HOME"
params.number = { type = "integer", min = 0, max = 1000 }
"#;

/// Starts an agent and waits until it is connected.
async fn agent(server: &Server, id: &str) -> Process {
    server.define(id, &["web"]).await;
    let list = LIST.replace("HOME", server.home().to_str().unwrap()).replace("ID", id);
    let list = write(server.home(), &format!("{id}.toml"), &list);
    write(server.home(), &format!("{id}.token"), &format!("{}\n", token_of(id)));
    let config = ["agent", "--config", list.to_str().unwrap(), "--log", "json"];
    let connect = ["--connect", &server.listen, "--client", id];
    let agent = Process::start(server.home(), &[&config[..], &connect[..]].concat());
    agent.stderr.json("connected", &[("client", id)]).await;
    agent
}

/// The numbers that an agent has run, in its order.
fn ran(server: &Server, id: &str) -> Vec<u32> {
    let text = std::fs::read_to_string(server.home().join(format!("{id}.ran"))).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

async fn replay_runs(remote: &Remote, id: ReplayId) -> Vec<ReplayRun> {
    remote.replay_runs(id, false).try_collect().await.unwrap()
}

/// The clients of a run that have answered, and how.
async fn answers(remote: &Remote, serial: Serial) -> Vec<(String, DeliveryState)> {
    let responses: Vec<_> = remote.responses(serial).try_collect().await.unwrap();
    responses.into_iter().map(|it| (it.client.to_string(), it.outcome.state)).collect()
}

fn id_of(replay: &Value) -> ReplayId {
    replay["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_in_a_span_runs_again_where_it_failed_and_nowhere_else() {
    let server = Server::new().await;
    let remote = server.remote();
    let ids = ["web-01", "web-02", "web-03"];
    let mut agents = Vec::new();
    for id in ids {
        agents.push(agent(&server, id).await);
    }
    for id in &ids[..2] {
        write(server.home(), &format!("{id}.fixed"), "");
    }
    let mut originals = Vec::new();
    for number in 1..=3 {
        let work = json!({
            "name": "nightly", "target": "group:web", "command": "work",
            "params": { "number": number }, "rule": { "at": "2100-01-01T00:00:00Z" },
        });
        apply(&remote, vec![job(work)]).await;
        let serial = remote.trigger("nightly".parse().unwrap()).await.unwrap().serial;
        let run = ended(&remote, serial).await;
        assert_eq!((run.counts.succeeded, run.counts.failed), (2, 1));
        originals.push(serial);
    }
    let failed = ["replay", "run", "--job", "nightly", "--last", "1h", "--state", "failed"];
    let plan = server.cli(&[&failed[..], &["--dry-run", "--output", "json"]].concat()).await;
    let plan = plan.ok().json();
    write(server.home(), "web-03.fixed", "");
    let followed = server.cli(&[&failed[..], &["--follow", "--output", "json"]].concat()).await;
    assert_eq!(followed.code, 0, "{followed:?}");
    let runs: Vec<ReplayRun> =
        followed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(runs.len(), 3);
    for (n, made) in runs.iter().enumerate() {
        let (run, planned) = (&made.run, &plan["runs"][n]);
        assert_eq!(run.replay_of.and_then(|of| of.serial), Some(originals[n]));
        assert_eq!(planned["serial"], originals[n].to_string());
        assert_eq!(planned["scheduled_at"], run.scheduled_at.to_string());
        assert_eq!((&planned["clients"], &planned["deliveries"]), (&json!(["web-03"]), &json!(1)));
        assert_eq!(run.cause, Cause::Replay);
        let expected = vec![("web-03".to_owned(), DeliveryState::Succeeded)];
        assert_eq!(answers(&remote, run.serial).await, expected, "as planned");
    }
    assert_eq!(plan["deliveries"], 3);
    assert_eq!(ran(&server, "web-01"), [1, 2, 3]);
    assert_eq!(ran(&server, "web-02"), [1, 2, 3]);
    assert_eq!(ran(&server, "web-03"), [1, 2, 3, 1, 2, 3], "with what each run had then");

    let shown = server.cli(&["runs", "show", &runs[0].run.serial.to_string()]).await.ok();
    assert!(shown.stdout.contains(&format!("again {}", originals[0])), "{}", shown.stdout);
    let list = server.cli(&["replays"]).await.ok().stdout;
    assert!(list.contains("nightly") && list.contains("succeeded"), "{list}");
    // What a replay has made succeeded, and what failed did so for good.
    let again = server.cli(&[&failed[..], &["--output", "json"]].concat()).await.ok().json();
    assert_eq!(again["items"], 3, "the originals are as they were");
    let replay = within("its end", remote.wait_replay(id_of(&again))).await.unwrap();
    assert!(replay.all_succeeded());
}

/// A job that was due each hour of a day that is long over.
fn hourly(command: &str, overlap: &str) -> fleetcron::JobSpec {
    job(json!({
        "name": "hourly", "target": "group:web", "command": command, "catch_up": "skip",
        "overlap": overlap, "rule": { "every": "1h", "from": "2026-01-01T00:00:00Z" },
    }))
}

fn hours(from: u32, to: u32) -> Backfill {
    let at = |hour: u32| format!("2026-01-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24);
    let terms = ReplayTerms::default();
    let (from, to) = (at(from).parse().unwrap(), Some(at(to).parse().unwrap()));
    Backfill { from, to, again: false, terms }
}

/// A client whose commands end when they are let.
fn gated(listen: &str, id: &str, record: &Record, gate: &Arc<Semaphore>) -> ClientBuilder {
    let (record, gate) = (record.clone(), Arc::clone(gate));
    bare(listen, id).on("work", move |cx: Context, params: Value| {
        record.note(&cx, &params);
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await?.forget();
            Ok(answer(&cx))
        }
    })
}

/// Each item once, in its order, for the occurrence that it was to be.
fn check_items(runs: &[ReplayRun], replay: &Replay) {
    assert_eq!(runs.len(), replay.items as usize);
    let serials: Vec<Serial> = runs.iter().map(|made| made.run.serial).collect();
    assert!(serials.is_sorted(), "{serials:?}");
    let due: BTreeSet<_> = runs.iter().map(|made| made.run.scheduled_at).collect();
    assert_eq!(due.len(), runs.len(), "each occurrence once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_in_the_middle_goes_on_and_runs_each_item_once() {
    let place = Place::new();
    let mut server = place.start().await;
    let (record, mut news) = Record::new();
    let gate = Arc::new(Semaphore::new(0));
    for id in ["a", "b"] {
        server.define(id, &["web"]).await;
        connect(gated(&server.listen, id, &record, &gate)).await;
    }
    apply(&server.remote(), vec![hourly("work", "queue")]).await;
    let name = || "hourly".parse().unwrap();
    let replay = server.remote().backfill(name(), hours(0, 60)).await.unwrap();
    assert_eq!(replay.items, 60);
    for _ in 0..3 {
        for _ in 0..20 {
            within("a command", news.recv()).await.unwrap();
            gate.add_permits(1);
        }
        server.process.kill();
        server = place.start().await;
        let cut = server.remote().replay(replay.id).await.unwrap();
        assert!(cut.started < 60 && cut.ended_at.is_none(), "in the middle: {cut:?}");
    }
    gate.add_permits(1_000);
    let remote = server.remote();
    let ended = within("its end", remote.wait_replay(replay.id)).await.unwrap();
    assert_eq!((ended.started, ended.ended, ended.counts.succeeded), (60, 60, 120), "{ended:?}");
    let runs = replay_runs(&remote, replay.id).await;
    check_items(&runs, &ended);
    let of_job: BTreeSet<Serial> =
        runs_of(&remote, "hourly").await.iter().map(|run| run.serial).collect();
    assert_eq!(of_job, runs.iter().map(|made| made.run.serial).collect(), "and no other");
    for id in ["a", "b"] {
        let executed = record.serials(id);
        assert_eq!(executed.iter().collect::<BTreeSet<_>>().len(), 60, "{id} has run all");
        assert_eq!(executed.len(), 60, "{id} has run each once");
    }
    let again = remote.backfill(name(), hours(0, 60)).await.unwrap_err().to_string();
    assert!(again.contains("all 60 occurrences have a run"), "{again}");
    let more = remote.plan_backfill(name(), hours(0, 62)).await.unwrap();
    assert_eq!((more.runs.len(), more.left_out.had_run), (2, 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cancelled_stops_and_its_open_runs_end() {
    let server = Server::new().await;
    server.define("a", &["web"]).await;
    let (record, mut news) = Record::new();
    let noted = record.clone();
    let builder = bare(&server.listen, "a").on("hold", move |cx: Context, params: Value| {
        noted.note(&cx, &params);
        async move {
            cx.cancel.cancelled().await;
            Err::<Value, _>(HandlerError::cancelled("asked to stop"))
        }
    });
    connect(builder).await;
    let remote = server.remote();
    apply(&remote, vec![hourly("hold", "allow")]).await;
    let line = [
        "replay",
        "backfill",
        "hourly",
        "--from",
        "2026-01-01T00:00:00Z",
        "--to",
        "2026-01-01T10:00:00Z",
        "--max-open",
        "2",
    ];
    let plan = server.cli(&[&line[..], &["--dry-run"]].concat()).await.ok();
    assert_eq!(plan.stdout.lines().count(), 11, "{}", plan.stdout);
    assert!(plan.stderr.contains("10 runs with 10 deliveries would run"), "{}", plan.stderr);
    assert!(remote.replays(Page::first()).await.unwrap().is_empty(), "it only told");
    let made = server.cli(&[&line[..], &["--output", "json"]].concat()).await.ok().json();
    let id = id_of(&made);
    for _ in 0..2 {
        within("a command", news.recv()).await.unwrap();
    }
    let open = replay_runs(&remote, id).await;
    assert_eq!(open.len(), 2, "no more are under way");
    let cancelled = server.cli(&["replay", "cancel", &id.to_string()]).await.ok().stdout;
    assert!(cancelled.starts_with(&format!("cancelled {id}")), "{cancelled}");
    let replay = within("its end", remote.wait_replay(id)).await.unwrap();
    assert_eq!((replay.started, replay.counts.cancelled), (2, 2));
    assert_eq!(record.all().len(), 2, "nothing further began");
    let shown = server.cli(&["replay", "show", &id.to_string(), "--follow"]).await;
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(shown.stderr.contains("was cancelled: 2 of 10 runs; 2 cancelled"), "{shown:?}");
    let twice = server.cli(&["replay", "cancel", &id.to_string()]).await;
    assert_eq!(twice.code, 4);
    assert!(twice.stderr.contains("is not open"), "{}", twice.stderr);
    // Those that it did not run are still without one.
    let rest =
        server.remote().plan_backfill("hourly".parse().unwrap(), hours(0, 10)).await.unwrap();
    assert_eq!((rest.runs.len(), rest.left_out.had_run), (8, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_told_with_its_value() {
    let server = Server::new().await;
    apply(&server.remote(), vec![hourly("work", "skip")]).await;
    let unknown = "01JD0000000000000000000000";
    for (args, code, text) in [
        (&["replay", "show", unknown][..], 4, "no replay named \"01JD0000000000000000000000\""),
        (&["replay", "cancel", unknown], 4, "no replay named"),
        (&["replay", "run", "--serial", unknown], 4, "no run named"),
        (&["replay", "run", "--last", "1h", "--client", "zed"], 4, "no client named \"zed\""),
        (&["replay", "run", "--last", "1h"], 2, "nothing is to run: no run or delivery is so"),
        (&["replay", "run", "--last", "1h", "--target", "group:no"], 4, "no group named \"no\""),
        (&["replay", "show", "17"], 2, "replay \"17\" is not a ULID"),
        (&["replay", "--limit", "3", "show", unknown], 2, "--limit belongs after"),
        (
            &["replay", "backfill", "hourl", "--from", "2026-01-01T00:00:00Z"],
            4,
            "did you mean \"hourly\"",
        ),
        (
            &[
                "replay",
                "backfill",
                "hourly",
                "--from",
                "2026-01-01T00:00:00Z",
                "--to",
                "2999-01-01T00:00:00Z",
            ],
            2,
            "to 2999-01-01T00:00:00.000Z has not come yet",
        ),
        (
            &[
                "replay",
                "backfill",
                "hourly",
                "--from",
                "2020-01-01T00:00:00Z",
                "--to",
                "2026-01-01T00:00:00Z",
            ],
            2,
            "the job's rule has no occurrence there",
        ),
    ] {
        let ran = server.cli(args).await;
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(text), "{args:?}: {}", ran.stderr);
    }
    let http = reqwest::Client::new();
    for (path, body, status, text) in [
        ("replays", r#"{"select": {}}"#, 422, "say which runs"),
        ("replays", r#"{"select": {"since": 1}}"#, 422, "select.since"),
        (
            "replays",
            r#"{"select": {"from": "2026-01-01T00:00:00Z"}, "terms": {"max_open": 0}}"#,
            422,
            "max_open",
        ),
        ("replays?dry_run=perhaps", r#"{"select": {}}"#, 400, "query parameter dry_run="),
        ("jobs/hourly/backfill", "{}", 422, "from"),
    ] {
        let request = http.post(format!("{}/v1/{path}", server.access.server));
        let request = request.bearer_auth(&server.access.token);
        let answer = request.header("content-type", "application/json").body(body).send().await;
        let answer = answer.unwrap();
        let (got, body) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(got, status, "{path}: {body}");
        assert!(body.contains(text), "{path}: {body}");
    }
    let none: Vec<Run> = runs_of(&server.remote(), "hourly").await;
    assert!(none.is_empty(), "nothing has run");
    let none = eventually("no replays", async || server.remote().replays(Page::first()).await.ok());
    assert!(none.await.is_empty());
}
