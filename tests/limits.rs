//! How much runs at once, over a whole system: command line, server and client.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::path::Path;

use fleetcron::Serial;
use fleetcron::client::Context;
use serde_json::Value;
use tokio::sync::watch;

use common::fleet::{Record, answer, bare, connect, ended, work};
use common::server::{Place, Process, Server};
use common::{within, write};

#[tokio::test(flavor = "multi_thread")]
async fn an_urgent_command_overtakes_what_waits_at_a_client_that_may_run_one_at_once() {
    let server = Server::new().await;
    let remote = server.remote();
    server.define("one", &[]).await;
    let shown = server.cli(&["clients", "limit", "one", "1"]).await.ok();
    let limit = shown.stdout.lines().find(|line| line.starts_with("runs at once")).unwrap();
    assert!(limit.ends_with("at most 1"), "{limit}");

    let (record, mut news) = Record::new();
    let (open, gate) = watch::channel(false);
    let noted = record.clone();
    let builder = bare(&server.listen, "one").on("work", move |cx: Context, params: Value| {
        noted.note(&cx, &params);
        let mut gate = gate.clone();
        async move {
            // A test that has ended needs no answer.
            let _ = gate.wait_for(|open| *open).await;
            Ok(answer(&cx))
        }
    });
    let _client = connect(builder).await;
    let mut routine = Vec::new();
    for number in 0..3 {
        routine.push(remote.submit(work("client:one", number)).await.unwrap().serial);
    }
    within("the first command", news.recv()).await.unwrap();
    let urgent = ["run", "work", "--to", "client:one", "--priority", "urgent"];
    let urgent: Serial = server.cli(&urgent).await.ok().stdout.trim().parse().unwrap();
    let begun = within("the urgent command", news.recv()).await.unwrap();
    assert_eq!(begun.serial, urgent, "beside the one that runs, before those that wait");
    open.send_replace(true);
    for serial in &routine {
        assert!(ended(&remote, *serial).await.all_succeeded());
    }
    assert_eq!(record.serials("one"), [routine[0], urgent, routine[1], routine[2]]);
    let shown = server.cli(&["clients", "limit", "one", "none"]).await.ok();
    assert!(!shown.stdout.contains("runs at once"), "{}", shown.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_file_sets_a_limit_and_is_refused_where_it_cannot_hold() {
    let server = Server::new().await;
    let job = "name = \"a\"\ntarget = \"all\"\ncommand = \"work\"\nrule.every = \"1h\"\n";
    let good = format!("{job}priority = \"low\"\nper_client = 2\noverlap = \"allow\"\n");
    let file = write(server.home(), "a.toml", &good);
    server.cli(&["apply", file.to_str().unwrap()]).await.ok();
    let shown = server.cli(&["jobs", "show", "a"]).await.ok().stdout;
    let value = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!((value("priority").as_str(), value("per_client").as_str()), ("low", "2"));
    for (field, problem) in [
        ("per_client = 2", "a.toml:5: job \"a\": per_client: per_client 2 needs overlap \"allow\""),
        ("per_client = 0", "a.toml:5: job \"a\": per_client: \"0\" commands at once is not valid"),
    ] {
        let file = write(server.home(), "a.toml", &format!("{job}{field}\n"));
        let ran = server.cli(&["apply", file.to_str().unwrap()]).await;
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(problem), "{}", ran.stderr);
    }
}

/// Starts a server after what a shell does first, and gives its soft limit of open files when it
/// serves.
async fn open_files_after(first: &str, home: &Path) -> (Process, u64) {
    let addresses = ["serve", "--data", "data", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let args = [&addresses[..], &["--max-connections", "3000", "--log", "json"]].concat();
    let process = Process::start_after(home, first, &args);
    process.stderr.json("serving", &[]).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let soft = line.split_whitespace().next().unwrap().parse().unwrap();
    (process, soft)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_allows_itself_the_open_files_that_its_connections_need() {
    const WARNING: &str = "the system allows fewer open files than --max-connections may need";
    let home = tempfile::tempdir().unwrap();
    let (process, soft) = open_files_after("ulimit -Sn 64", home.path()).await;
    // Beside the clients' there are those of HTTP, 4,096 at most, and a few files.
    assert!(soft >= 3_000 + 4_096, "{soft}");
    assert!(!process.stderr.text().contains(WARNING));

    let home = tempfile::tempdir().unwrap();
    let (process, soft) = open_files_after("ulimit -Sn 64; ulimit -Hn 500", home.path()).await;
    assert_eq!(soft, 500, "as far as the system lets it");
    assert!(process.stderr.text().contains(WARNING));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_clients_are_let_in_than_a_server_is_told() {
    let place = Place::new();
    let server = place.start_with(&["--max-connections", "1"]).await;
    for id in ["one", "two"] {
        server.define(id, &[]).await;
    }
    let _first = connect(bare(&server.listen, "one")).await;
    let _second = bare(&server.listen, "two").start().unwrap();
    let refused = server.log().json("refused a connection", &[("client", "two")]).await;
    assert_eq!(refused["reason"], "1 connections are open, the most allowed", "{refused}");
}
