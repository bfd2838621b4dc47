//! Targets from outside: labels that the owner sets, facts that agents report, expressions, and
//! clients that come into the target of an open run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use common::server::{Place, Process, Server, token_of};
use common::{eventually, within, write};
use fleetcron::{ClientView, DeliveryState, Membership, Serial, Submission};
use serde_json::{Value, json};

const LIST: &str = r#"
[labels]
rack = "r7"
tier = "front"

[[command]]
name = "greet"
program = "printf"
args = ["hello"]
"#;

/// Starts an agent and waits until it is connected; `more` are further arguments.
async fn agent(server: &Server, id: &str, more: &[&str]) -> Process {
    let list = write(server.home(), "agent.toml", LIST);
    let token = write(server.home(), &format!("token-{id}"), &token_of(id));
    let (list, token) = (list.to_str().unwrap(), token.to_str().unwrap());
    let known = ["agent", "--config", list, "--token-file", token, "--log", "json"];
    let whom = ["--connect", &server.listen, "--client", id];
    let agent = Process::start(server.home(), &[&known[..], &whom[..], more].concat());
    agent.stderr.json("connected", &[("client", id)]).await;
    agent
}

/// The client, once the server knows its facts.
async fn known(server: &Server, id: &str) -> ClientView {
    eventually("the facts of a client", async || {
        let view = server.remote().client(id.parse().unwrap()).await.unwrap();
        view.facts.is_some().then_some(view)
    })
    .await
}

fn facts(view: &ClientView) -> Value {
    serde_json::to_value(&view.facts).unwrap()
}

async fn run(server: &Server, target: &str) -> (u32, String) {
    let ran = server.cli(&["run", "greet", "--to", target, "--output", "json"]).await.ok();
    let run: fleetcron::Run = serde_json::from_str(&ran.stdout).unwrap();
    (run.counts.total, run.reason.unwrap_or_default())
}

async fn states(server: &Server, serial: Serial) -> Vec<String> {
    let open = server.remote().open_deliveries(serial).await.unwrap();
    open.into_iter().map(|open| format!("{} {}", open.client, open.state)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_say_of_themselves_is_shown_and_not_trusted_by_itself() {
    let place = Place::new();
    let server = place.start().await;
    server.define("web-01", &["web"]).await;
    server.define("web-02", &["web"]).await;
    let mut first = agent(&server, "web-01", &["--label", "tier=back", "--label", "zone=a"]).await;
    let view = known(&server, "web-01").await;
    let told = facts(&view);
    assert_eq!(told["labels"], json!({"rack": "r7", "tier": "back", "zone": "a"}));
    assert_eq!(told["os"], json!(std::env::consts::OS));
    assert_eq!(told["arch"], json!(std::env::consts::ARCH));
    assert_eq!(told["version"], json!(env!("CARGO_PKG_VERSION")));
    assert!(view.trusted.is_empty() && view.labels.is_empty());
    let (total, reason) = run(&server, "group:web and label.rack = r7").await;
    assert_eq!(total, 0);
    assert_eq!(reason, "no client has a label rack that counts for targets");

    let labelled = server.cli(&["clients", "label", "web-02", "rack=r8", "tier="]).await.ok();
    assert!(labelled.stdout.contains("rack=r8, tier="), "{labelled:?}");
    let shown = server.cli(&["clients", "show", "web-01"]).await.ok();
    assert!(shown.stdout.contains("rack=r7, tier=back, zone=a"), "{shown:?}");
    assert_eq!(run(&server, "label.rack = r8 or label.rack = r7").await.0, 1);
    assert_eq!(run(&server, "group:web and not label.tier").await.0, 1);
    server.cli(&["clients", "label", "web-02", "tier-"]).await.ok();
    assert_eq!(run(&server, "group:web and not label.tier").await.0, 2);

    // The server comes back and trusts some: what was said before counts at once.
    drop(server);
    let server = place.start_with(&["--trust-labels", "rack,os"]).await;
    let view = server.remote().client("web-01".parse().unwrap()).await.unwrap();
    assert_eq!(facts(&view), told, "it is stored");
    assert_eq!(view.trusted.iter().map(ToString::to_string).collect::<Vec<_>>(), ["os", "rack"]);
    assert_eq!(run(&server, "label.rack = r7").await.0, 1);
    assert_eq!(run(&server, "label.rack = r8").await.0, 1, "what the owner has set is stored, too");
    assert_eq!(run(&server, "label.zone = a").await.0, 0, "it is not among the trusted");
    server.cli(&["clients", "label", "web-01", "rack=r9"]).await.ok();
    assert_eq!(run(&server, "label.rack = r7").await.0, 0, "the owner's label wins");
    first.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_run_reaches_the_agent_that_comes_later() {
    let place = Place::new();
    let server = place.start_with(&["--trust-labels", "all"]).await;
    server.define("web-01", &["web"]).await;
    server.define("late", &[]).await;
    let target = "label.rack = r7 or group:web";
    let mut submission = Submission::new(target.parse().unwrap(), "greet".parse().unwrap());
    submission.membership = Membership::Open;
    let run = server.remote().submit(submission).await.unwrap();
    assert_eq!((run.counts.total, run.membership), (1, Membership::Open));
    let _late = agent(&server, "late", &[]).await;
    let remote = server.remote();
    let response = eventually("the answer of who came later", async || {
        remote.response(run.serial, "late".parse().unwrap()).await.unwrap()
    })
    .await;
    assert_eq!(response.outcome.state, DeliveryState::Succeeded, "{response:?}");
    assert_eq!(remote.run(run.serial).await.unwrap().counts.total, 2);
    assert_eq!(states(&server, run.serial).await, ["web-01 queued"]);
    server.cli(&["clients", "group", "web-01", "--remove", "web"]).await.ok();
    let ended = within("the end of the run", remote.wait(run.serial)).await.unwrap();
    assert_eq!((ended.counts.succeeded, ended.counts.removed), (1, 1));
    let removed = remote.response(run.serial, "web-01".parse().unwrap()).await.unwrap().unwrap();
    let reason = removed.outcome.reason.unwrap();
    assert_eq!(reason, "no longer in label.rack = r7 or group:web");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_may_have_an_expression_and_open_membership() {
    let server = Server::new().await;
    for id in ["web-01", "web-02", "db-01"] {
        server.define(id, &[&id[..id.len() - 3]]).await;
    }
    let text = "[[job]]\nname = \"sweep\"\ntarget = \"(group:web or group:dc) and not client:web-02\"\n\
                command = \"greet\"\nmembership = \"open\"\nrule = { every = \"1h\" }\n";
    let file = write(server.home(), "job.toml", text);
    let file = file.to_str().unwrap();
    let applied = server.cli(&["apply", file]).await.ok();
    assert!(applied.stderr.contains("no client is in group \"dc\" yet"), "{applied:?}");
    let again = server.cli(&["apply", file, "--output", "json"]).await.ok();
    assert!(again.stdout.contains("\"keep\""), "{again:?}");
    let forecast = |target: &'static str| {
        let server = &server;
        async move {
            let args = ["forecast", "--for", "1h", "--target", target, "--output", "json"];
            let told = server.cli(&args).await.ok();
            let told: Value = serde_json::from_str(&told.stdout).unwrap();
            told["total"]["deliveries"].as_u64().unwrap()
        }
    };
    assert_eq!(forecast("client:web-01 or client:db-01").await, 1);
    assert_eq!(forecast("all and not group:web").await, 0);
    let ran = server.cli(&["jobs", "trigger", "sweep"]).await.ok();
    let serial: Serial = ran.stdout.trim().parse().unwrap();
    server.define("web-03", &["web"]).await;
    assert_eq!(states(&server, serial).await, ["web-01 queued", "web-03 queued"]);
}
