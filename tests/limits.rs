//! How much runs at once, over a whole system: command line, server and client.

mod common;

use fleetcron::Serial;
use fleetcron::client::Context;
use serde_json::Value;
use tokio::sync::watch;

use common::fleet::{Record, answer, bare, connect, ended, work};
use common::server::Server;
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
