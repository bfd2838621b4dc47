//! What a job keeps of its past, from outside: over HTTP, by the remote and on the command line.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use fleetcron::api::{self, Tokens};
use fleetcron::history::PastQuery;
use fleetcron::remote::Remote;
use fleetcron::store::MemoryStore;
use fleetcron::{Apply, JobName, JobSpec, Node, RevisionChange};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use common::{Ran, run};

struct World {
    node: Node,
    url: String,
    remote: Remote,
    home: tempfile::TempDir,
}

fn spec(every: &str) -> JobSpec {
    let rule = json!({ "every": every });
    let job = json!({ "name": "db/backup", "target": "all", "command": "work", "rule": rule });
    serde_json::from_value(job).unwrap()
}

fn name() -> JobName {
    "db/backup".parse().unwrap()
}

impl World {
    async fn apply(&self, spec: JobSpec) {
        self.remote.apply(Apply { jobs: vec![spec], ..Apply::default() }).await.unwrap();
    }

    async fn get(&self, path: &str) -> Value {
        let request = reqwest::Client::new().request(Method::GET, format!("{}{path}", self.url));
        let answer = request.bearer_auth("secret").send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    async fn cli(&self, args: &[&str]) -> Ran {
        let given = ["--server", &self.url, "--token", "secret"];
        run(self.home.path(), &[args, &given[..]].concat()).await
    }
}

/// A node on which a job was created, changed twice and removed; then another took its name, one
/// whose moment had passed.
async fn world() -> World {
    let node = Node::start(std::sync::Arc::new(MemoryStore::new())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stopping = CancellationToken::new();
    let router = api::router(node.handle(), Tokens::new(["secret"]), stopping.clone());
    tokio::spawn(api::serve(listener, router, stopping));
    let remote = Remote::new(&url, "secret").unwrap();
    let world = World { node, url, remote, home: tempfile::tempdir().unwrap() };
    world.apply(spec("1h")).await;
    world.apply(spec("2h")).await;
    world.apply(JobSpec { description: Some("nightly".into()), ..spec("2h") }).await;
    world.remote.remove(name()).await.unwrap();
    let passed = json!({
        "name": "db/backup", "target": "all", "command": "work", "catch_up": "skip",
        "rule": { "at": "2026-01-01T00:00:00Z" },
    });
    world.apply(serde_json::from_value(passed).unwrap()).await;
    world
}

fn query(limit: usize) -> PastQuery {
    PastQuery { limit, ..PastQuery::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_and_missed_rows_are_read_over_http_page_by_page() {
    use RevisionChange::{Changed, Created, Removed};
    let world = world().await;
    let (remote, handle) = (&world.remote, world.node.handle());
    let all = remote.revisions(name(), query(100)).await.unwrap();
    let told: Vec<_> = all.iter().map(|it| (it.change, it.revision)).collect();
    let expected = [(Created, 1), (Removed, 4), (Changed, 3), (Changed, 2), (Created, 1)];
    assert_eq!(told, expected);
    assert_eq!(all, handle.revisions(name(), query(100)).await.unwrap());
    let mut read = Vec::new();
    loop {
        let before = read.last().map(fleetcron::JobRevision::place);
        let part = remote.revisions(name(), PastQuery { before, limit: 2 }).await.unwrap();
        if part.is_empty() {
            break;
        }
        read.extend(part);
    }
    assert_eq!(read, all);
    let later = remote.revision(name(), 1, None).await.unwrap();
    assert_eq!(later, all[0], "that of the job that has the name");
    assert_eq!(remote.revision(name(), 1, Some(all[4].job)).await.unwrap(), all[4]);
    let missed = remote.missed(name(), query(100)).await.unwrap();
    let [row] = &missed[..] else { panic!("{missed:?}") };
    assert_eq!((row.job, row.no, row.count, row.counted_exactly), (all[0].job, 1, 1, true));
    assert_eq!(row.reason, "it had passed when the job was defined");
    let after = PastQuery { before: Some(row.place()), limit: 5 };
    assert_eq!(remote.missed(name(), after).await.unwrap(), []);

    let first = &world.get("/v1/jobs/db%2Fbackup/revisions?limit=3").await[2];
    assert_eq!((&first["change"], &first["revision"]), (&json!("changed"), &json!(3)));
    assert_eq!(first["diff"][0]["field"], "description");
    assert_eq!(first["diff"][0]["after"], "\"nightly\"");
    let removed = world.get("/v1/jobs/db%2Fbackup/revisions/4").await;
    assert_eq!(removed.as_object().unwrap().keys().len(), 4, "{removed}");
    assert_eq!(world.get("/v1/jobs/db%2Fbackup/missed").await[0]["policy"], "skip");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named() {
    let world = world().await;
    let refusal = async |path: &str| {
        let request = reqwest::Client::new().request(Method::GET, format!("{}{path}", world.url));
        let answer = request.bearer_auth("secret").send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (status, body["error"]["message"].as_str().unwrap().to_owned())
    };
    let near = "no job named \"db/backpu\"; did you mean \"db/backup\"?";
    assert_eq!(refusal("/v1/jobs/db%2Fbackpu/revisions").await, (404, near.to_owned()));
    world.remote.remove(name()).await.unwrap();
    for path in ["revisions", "revisions/1", "missed"] {
        let refused = refusal(&format!("/v1/jobs/db%2Fbackpu/{path}")).await;
        assert_eq!(refused, (404, near.to_owned()), "a removed job is suggested as well");
    }
    let other = "01JD0000000000000000000000";
    for (path, status, part) in [
        ("revisions/9", 404, "no revision named \"9 of db/backup\"".to_owned()),
        (&format!("revisions/1?job={other}"), 404, format!("\"1 of db/backup ({other})\"")),
        ("revisions/x", 422, "revision \"x\" is not a number from 1 to 4294967295".into()),
        ("revisions/0", 422, "revision \"0\"".into()),
        ("revisions?before=5", 400, "query parameter before=\"5\" is not valid: \"5\" is".into()),
        ("revisions?after=5", 400, "no query parameter \"after\"".into()),
        ("missed?limit=1001", 400, "it is 1 to 1000".into()),
        ("missed?before=x", 400, "query parameter before=\"x\"".into()),
    ] {
        let (got, message) = refusal(&format!("/v1/jobs/db%2Fbackup/{path}")).await;
        assert_eq!((got, message.contains(&part)), (status, true), "{path}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_both_in_one_order_of_time() {
    let world = world().await;
    let ran = world.cli(&["jobs", "history", "db/backup"]).await.ok();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let expected = [
        ("missed", "1 firing, of 2026-01-01T00:00:00.000Z: it had passed when the job was defined"),
        ("created", "work to all, "),
        ("removed", "-"),
        ("changed", "description: (none) → \"nightly\""),
        ("changed", "rule.every: \"1h\" → \"2h\""),
        ("created", "work to all, every 1h"),
    ];
    assert!(lines[0].starts_with("WHEN") && lines.len() == 7, "{}", ran.stdout);
    for (line, (what, details)) in lines[1..].iter().zip(expected) {
        assert!(line.contains(&format!("  {what}  ")) && line.contains(details), "{line}");
    }
    let ran = world.cli(&["jobs", "history", "db/backup", "--limit", "2"]).await.ok();
    assert_eq!(ran.stdout.lines().count(), 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("--limit shows more"), "{}", ran.stderr);

    world.remote.remove(name()).await.unwrap();
    let ran = world.cli(&["jobs", "history", "db/backup", "--output", "json"]).await.ok();
    let items: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let kinds: Vec<_> = items.iter().map(|item| item["kind"].as_str().unwrap()).collect();
    let revision = "revision";
    assert_eq!(
        kinds,
        [revision, "missed", revision, revision, revision, revision, revision],
        "of removed jobs too"
    );
    assert_eq!(items[0]["change"], "removed");

    for (args, code, part) in [
        (&["jobs", "history", "db/backpu"][..], 4, "did you mean \"db/backup\"?"),
        (&["jobs", "history", "elsewhere"], 4, "error: no job named \"elsewhere\""),
        (&["jobs", "history"], 2, "<NAME>"),
        (&["jobs", "history", "a%b"], 2, "job name \"a%b\" is not valid"),
        (&["jobs", "history", "a", "--limit", "few"], 2, "'few'"),
    ] {
        let ran = world.cli(args).await;
        assert_eq!((ran.code, ran.stderr.contains(part)), (code, true), "{args:?}: {ran:?}");
    }
}
