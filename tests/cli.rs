//! The program's client side against a real node: what it prints, where, and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use fleetcron::api::{self, Tokens};
use fleetcron::node::{OUTBOUND, ToSession, outbox};
use fleetcron::store::MemoryStore;
use fleetcron::{DeliveryState, Handle, Json, Node, Outcome, Proof};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

struct World {
    handle: Handle,
    url: String,
    dir: tempfile::TempDir,
    _node: Node,
}

async fn world() -> World {
    let node = Node::start(Arc::new(MemoryStore::new())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stopping = CancellationToken::new();
    let router = api::router(node.handle(), Tokens::new(["secret"]), stopping.clone());
    tokio::spawn(api::serve(listener, router, stopping));
    World { handle: node.handle(), url, dir: tempfile::tempdir().unwrap(), _node: node }
}

impl World {
    /// Runs the program with these words; the result has its exit code and what it printed.
    async fn run(&self, words: &str) -> Ran {
        self.run_with("secret", words).await
    }

    async fn run_with(&self, token: &str, words: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetcron"));
        command.args(words.split(' ')).current_dir(self.dir.path()).env_remove("RUST_LOG");
        command.env("FLEETCRON_SERVER", &self.url).env("FLEETCRON_TOKEN", token);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        output.await.unwrap().into()
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// Connects a client that ends every command in the same way.
async fn client(handle: &Handle, id: &str, outcome: Outcome) {
    let (outbound, mut inbound) = outbox(OUTBOUND);
    let id = id.parse().unwrap();
    let session = handle.connect(id, Proof::Vouched, Vec::new(), outbound).await.unwrap();
    let handle = handle.clone();
    tokio::spawn(async move {
        while let Some(message) = inbound.recv().await {
            if let ToSession::Command(dispatch) = message {
                handle.responded(session, dispatch.serial.into(), outcome.clone()).await.unwrap();
            }
        }
    });
}

#[tokio::test]
async fn a_run_that_succeeds_everywhere_exits_with_0_and_shows_its_answers() {
    let world = &world().await;
    for id in ["web-01", "web-02"] {
        let added = world.run(&format!("clients add {id} --group web")).await;
        assert_eq!((added.code, added.out.trim().len()), (0, 64), "{}", added.err);
        client(&world.handle, id, Outcome::succeeded(Json::new("done").unwrap())).await;
    }
    let ran = world.run("run ping --to group:web --wait").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<_> = ran.out.lines().collect();
    assert!(lines[0].starts_with("CLIENT  STATE      RAN  WHEN"), "{}", ran.out);
    assert!(lines[1].starts_with("web-01  succeeded") && lines[1].ends_with("\"done\""));
    assert_eq!(lines.len(), 3);
    assert!(ran.err.contains("2 succeeded, of 2"), "{}", ran.err);

    let ran = world.run("--output json run ping --to client:web-01 --wait").await;
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["responses"][0]["result"], "done");
    assert_eq!(value["run"]["counts"]["succeeded"], 1);

    let ran = world.run("clients").await;
    assert!(ran.out.lines().nth(1).unwrap().starts_with("web-01  connected"), "{}", ran.out);
    assert!(ran.err.contains("2 clients defined, 2 connected"), "{}", ran.err);
}

#[tokio::test]
async fn a_run_that_fails_somewhere_exits_with_1() {
    let world = &world().await;
    world.run("clients add a").await;
    let failed = Outcome::ended(DeliveryState::Failed, "disk full");
    client(&world.handle, "a", failed).await;
    let ran = world.run("run ping --to all --wait").await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.out.contains("failed") && ran.out.contains("disk full"), "{}", ran.out);
}

#[tokio::test]
async fn a_wait_that_is_over_exits_with_1_and_tells_what_is_open() {
    let world = &world().await;
    world.run("clients add away").await;
    let ran = world.run("run ping --to all --wait --timeout 50ms").await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.out.contains("away    queued"), "{}", ran.out);
    assert!(ran.err.contains("1 of 1 deliveries are still open"), "{}", ran.err);

    let serial = world.run("run ping --to all").await.out.trim().to_owned();
    let shown = world.run(&format!("runs show {serial}")).await;
    assert!(shown.out.contains("1 open") && shown.out.contains("away    queued"), "{}", shown.out);
    let cancelled = world.run(&format!("runs cancel {serial}")).await;
    assert_eq!(cancelled.code, 0, "{}", cancelled.err);
    let followed = world.run(&format!("runs follow {serial}")).await;
    assert_eq!(followed.code, 1, "a cancelled delivery did not succeed");
    assert!(followed.out.contains("away  cancelled"), "{}", followed.out);
    let listed = world.run("runs").await;
    assert_eq!(listed.out.lines().count(), 3, "{}", listed.out);
    assert!(listed.out.lines().nth(1).unwrap().starts_with(&serial), "the newest is the first");
}

#[tokio::test]
async fn apply_shows_the_difference_and_then_makes_it() {
    let world = &world().await;
    let write = |period: &str| {
        let jobs = format!(
            r#"[{{"name": "db/backup", "target": "all", "command": "dump", "rule": {{"every": "{period}"}}}}]"#
        );
        std::fs::write(world.path().join("jobs.json"), jobs).unwrap();
    };
    write("1h");
    let ran = world.run("apply jobs.json --dry-run").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "+ db/backup"), "{}", ran.out);
    assert!(lines[1].starts_with("    next: 2") && lines[1].matches(", ").count() == 2);
    assert_eq!(lines[2], "dry run: 1 to create, 0 to update, 0 to remove; 0 unchanged");
    assert!(world.run("jobs").await.err.contains("no jobs"));

    let ran = world.run("apply jobs.json").await;
    assert_eq!(ran.out, "+ db/backup\n1 created, 0 updated, 0 removed; 0 unchanged\n");
    write("2h");
    let ran = world.run("apply jobs.json").await;
    assert!(ran.out.starts_with("~ db/backup\n    rule.every: "), "{}", ran.out);
    let ran = world.run("apply jobs.json").await;
    assert_eq!(ran.out, "0 created, 0 updated, 0 removed; 1 unchanged\n");

    let ran = world.run("jobs pause db/backup").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "paused db/backup\n"), "{}", ran.err);
    assert!(world.run("jobs").await.out.contains("db/backup  paused"));
    let ran = world.run("jobs pause db/ --for 2h --reason moving").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    assert!(ran.err.contains("1 of 1 were paused already and stay as they are"), "{}", ran.err);
    let ran = world.run("jobs resume --all").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "resumed db/backup\n"), "{}", ran.err);
    let ran = world.run("jobs pause db/backup --until 2999-01-01T00:00:00Z --reason moving").await;
    assert!(
        ran.out.starts_with("paused db/backup, until 2999-01-01 00:00:00Z (in "),
        "{}",
        ran.out
    );
    assert!(ran.out.ends_with("): moving\n"), "{}", ran.out);
    assert!(world.run("jobs").await.out.contains("db/backup  paused, ends in "));
    assert!(world.run("jobs show db/backup").await.out.contains("): moving"));
    let other = "name = 'cleanup'\ntarget = 'all'\ncommand = 'clean'\nrule.every = '1d'\npause_on_failure = 3\n";
    std::fs::write(world.path().join("jobs.toml"), other).unwrap();
    let ran = world.run("apply jobs.toml --prune").await;
    assert!(ran.out.contains("- db/backup\n") && ran.out.contains("+ cleanup\n"), "{}", ran.out);
    assert!(ran.out.ends_with("\n1 created, 0 updated, 1 removed; 0 unchanged\n"), "{}", ran.out);
    assert!(world.run("jobs show cleanup").await.out.contains("after 3 in a row; now 0"));
}

/// Jobs that begin to fire in the year 2100, so that the test knows when.
const FAR: &str = r#"[
    {"name": "report", "target": "group:web", "command": "report",
     "rule": {"cron": "30 6 * * *", "time_zone": "Europe/Stockholm", "start": "2100-01-01T00:00:00Z"}},
    {"name": "sweep", "target": "client:a", "command": "sweep",
     "rule": {"every": "2m", "from": "2100-01-01T00:00:00Z", "end": "2100-01-01T05:58:00Z"}}
]"#;

async fn far() -> World {
    let world = world().await;
    for id in ["a", "b"] {
        world.run(&format!("clients add {id} --group web")).await;
    }
    std::fs::write(world.path().join("far.json"), FAR).unwrap();
    assert_eq!(world.run("apply far.json").await.code, 0);
    world
}

#[tokio::test]
async fn the_next_firings_of_a_job_are_told_in_utc_and_in_its_zone() {
    let world = &far().await;
    let ran = world.run("jobs next report --count 2").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.out);
    assert!(lines[0].starts_with("NEXT") && lines[0].ends_with("LOCAL"), "{}", ran.out);
    assert!(lines[1].starts_with("2100-01-01 05:30:00.000Z  in "), "{}", ran.out);
    assert!(lines[1].ends_with("Fri 01-01 06:30:00 Europe/Stockholm"), "{}", ran.out);
    assert_eq!(ran.err, "");

    let ran = world.run("jobs next sweep --count 1000 --output json").await;
    let next: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(next["firings"].as_array().unwrap().len(), 180);
    assert_eq!(next["firings"][1], "2100-01-01T00:02:00.000Z");
    assert_eq!(ran.err, "job sweep: then its rule ends\n");

    world.run("jobs pause sweep").await;
    let ran = world.run("jobs next sweep").await;
    assert!(ran.err.starts_with("job sweep is paused since 2"), "{}", ran.err);
    assert!(ran.out.contains("2100-01-01 00:18:00.000Z"), "{}", ran.out);
}

#[tokio::test]
async fn a_forecast_is_a_heat_map_the_busiest_minutes_and_the_next_firings() {
    let world = &far().await;
    let ran = world.run("forecast --from 2100-01-01T00:00:00Z --for 6h --limit 2").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<_> = ran.out.lines().collect();
    assert!(ran.out.is_ascii() && lines.iter().all(|line| line.len() <= 80), "{}", ran.out);
    let hour = "=.".repeat(30);
    assert_eq!(lines[1], format!("01-01 00:00 {hour}"));
    assert_eq!(lines[6], format!("01-01 05:00 {}@{}", &hour[..30], &hour[31..]));
    assert_eq!(lines[7], "deliveries in each minute:  . none  = 1  o 2  @ 3");
    let minute = lines[10].split_whitespace().collect::<Vec<_>>();
    assert_eq!(minute[..2], ["2100-01-01", "05:30Z"], "{}", ran.out);
    assert_eq!(minute[minute.len() - 2..], ["2", "3"], "{}", ran.out);
    assert_eq!(lines.iter().filter(|line| line.ends_with("client:a  sweep")).count(), 2);
    let told = "181 firings of 2 jobs with 182 deliveries, from 2100-01-01T00:00:00.000Z to ";
    assert!(ran.err.starts_with(told), "{}", ran.err);

    let ran = world
        .run("forecast --from 2100-01-01T00:00:00Z --for 7days --target client:b --output json")
        .await;
    let seen: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&seen["total"]["firings"], &seen["total"]["deliveries"]), (&7.into(), &7.into()));
    assert_eq!((&seen["jobs"], &seen["bucket"]), (&1.into(), &"30m".into()));
    let ran = world.run("forecast").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    assert!(ran.err.starts_with("0 firings of 0 jobs with 0 deliveries, from 2"), "{}", ran.err);
}

#[tokio::test]
async fn a_dry_run_shows_the_next_firings_before_and_after() {
    let world = &far().await;
    let text = FAR.replace("30 6", "0 7").replace("\"sweep\"}", "\"swept\"}");
    std::fs::write(world.path().join("far.json"), text).unwrap();
    let next = "    next: 2100-01-01 05:30:00Z, 2100-01-02 05:30:00Z, 2100-01-03 05:30:00Z → \
                2100-01-01 06:00:00Z, 2100-01-02 06:00:00Z, 2100-01-03 06:00:00Z";
    let ran = world.run("apply far.json --dry-run").await;
    assert!(ran.out.lines().any(|line| line == next), "{}", ran.out);
    assert_eq!(ran.out.matches("next: ").count(), 1, "the rule of the other stays: {}", ran.out);
    let ran = world.run("apply far.json --dry-run --output json").await;
    let changes: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(changes["jobs"][0]["next"]["before"][0], "2100-01-01T05:30:00.000Z");
    assert_eq!(changes["jobs"][0]["next"]["after"][2], "2100-01-03T06:00:00.000Z");
    assert!(changes["jobs"][1].get("next").is_none(), "{changes}");
    assert_eq!(world.run("apply far.json").await.out.matches("next: ").count(), 0);
}

#[tokio::test]
async fn refusals_have_their_exit_codes_and_the_servers_words() {
    let world = &world().await;
    let ran = world.run("jobs show backup").await;
    assert_eq!((ran.code, ran.out.as_str()), (4, ""));
    assert_eq!(ran.err, "error: no job named \"backup\"\n");
    let ran = world.run("jobs remove a b").await;
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("no job named \"a\"") && ran.err.contains("no job named \"b\""));
    assert!(ran.err.ends_with("2 of 2 could not be done\n"), "{}", ran.err);
    assert_eq!(world.run_with("wrong", "status").await.code, 3);
    assert_eq!(world.run("--server http://127.0.0.1:1 status").await.code, 3);
    assert_eq!(world.run("run ping").await.code, 2);
    assert_eq!(world.run("apply nowhere.json").await.code, 2);
    assert_eq!(world.run("--version").await.code, 0);
}

#[tokio::test]
async fn a_closed_pipe_is_no_reason_to_complain() {
    let world = &world().await;
    let shell =
        format!("{} status | true; echo ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_fleetcron"));
    let mut command = Command::new("bash");
    command.arg("-c").arg(shell).env("FLEETCRON_SERVER", &world.url);
    command.env("FLEETCRON_TOKEN", "secret");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let ran = Ran::from(output);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("0\n", ""));
}
