//! Live output, JSON values and artefacts of an agent's programs, from end to end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use fleetcron::live::Live;
use fleetcron::{DeliveryState, Json, Outcome, Serial, Submission};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use common::fleet::ended;
use common::server::{Process, Server, token_of};
use common::{within, write};

/// What the agent of these tests may run. `talk` prints, and waits for a file.
const LIST: &str = r#"
[agent]
token_file = "token"

[[command]]
name = "talk"
program = "sh"
args = ["-c", '''
echo "::progress 40 copying"
printf 'one\ntw'
echo warned >&2
while [ ! -e "$1" ]; do sleep 0.05; done
printf 'o\nbye'
''', "sh", "{file}"]
env = ["PATH"]
progress = true
params.file = { type = "path", below = "HOME" }

[[command]]
name = "flood"
program = "sh"
args = ["-c", '''
head -c 200000000 /dev/zero | tr '\0' 'x'
while [ ! -e "$1" ]; do sleep 0.05; done
''', "sh", "{file}"]
env = ["PATH"]
params.file = { type = "path", below = "HOME" }

[[command]]
name = "echo"
program = "printf"
args = ["%s", "{text}"]
result = "json"
artefacts = ["out/report.html", "link", "none"]
working_dir = "HOME/work"
params.text = { type = "string" }
"#;

async fn agent(server: &Server, id: &str) -> Process {
    server.define(id, &["web"]).await;
    let home = server.home().to_str().unwrap();
    fs::create_dir_all(server.home().join("work/out")).unwrap();
    let list = write(server.home(), "agent.toml", &LIST.replace("HOME", home));
    let token = write(server.home(), &format!("{id}.token"), &format!("{}\n", token_of(id)));
    let journal = server.home().join(format!("journal-{id}"));
    let (list, token) = (list.to_str().unwrap(), token.to_str().unwrap());
    let args = [
        "agent",
        "--config",
        list,
        "--log",
        "json",
        "--connect",
        &server.listen,
        "--client",
        id,
        "--token-file",
        token,
        "--journal",
        journal.to_str().unwrap(),
    ];
    let agent = Process::start(server.home(), &args);
    agent.stderr.json("connected", &[("client", id)]).await;
    agent
}

/// A submission that names a file for which the program waits.
async fn submit(server: &Server, target: &str, command: &str) -> (Serial, PathBuf) {
    let file = server.home().join(format!("go-{command}"));
    let mut submission = Submission::new(target.parse().unwrap(), command.parse().unwrap());
    submission.params = Json::new(&json!({ "file": file })).unwrap();
    (server.remote().submit(submission).await.unwrap().serial, file)
}

async fn echo(server: &Server, text: &str) -> (Serial, Outcome) {
    let target = "client:web-01".parse().unwrap();
    let mut submission = Submission::new(target, "echo".parse().unwrap());
    submission.params = Json::new(&json!({ "text": text })).unwrap();
    let remote = server.remote();
    let serial = remote.submit(submission).await.unwrap().serial;
    ended(&remote, serial).await;
    let response = remote.response(serial, "web-01".parse().unwrap()).await.unwrap().unwrap();
    (serial, response.outcome)
}

fn result(outcome: &Outcome) -> Value {
    outcome.result.as_ref().expect("a result").to().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn output_and_progress_are_seen_before_the_program_ends() {
    let server = Server::new().await;
    let _agent = agent(&server, "web-01").await;
    let (serial, go) = submit(&server, "client:web-01", "talk").await;
    let (mut out, mut err, mut progress) = (String::new(), String::new(), None);
    let mut seen = server.remote().output(serial, Some("web-01".parse().unwrap()), true);
    let watching = async {
        while progress.is_none() || out != "one\ntw" || err.is_empty() {
            match &*seen.try_next().await.unwrap().expect("the run has not ended") {
                Live::Output { piece, .. } if piece.stream as u8 == 0 => out += &piece.text,
                Live::Output { piece, .. } => err += &piece.text,
                Live::Progress { progress: told, .. } => progress = Some(told.to_string()),
                other => panic!("{other:?}"),
            }
        }
    };
    within("the output of a program that runs", watching).await;
    assert_eq!((err.as_str(), progress.as_deref()), ("warned\n", Some("40 % copying")));
    // One who comes late sees what is kept, and the delivery tells its progress.
    let kept: Vec<_> = server.remote().output(serial, None, false).try_collect().await.unwrap();
    assert_eq!(kept.len(), 3, "{kept:?}");
    let open = server.remote().open_deliveries(serial).await.unwrap();
    assert_eq!(open[0].progress.as_ref().unwrap().percent, Some(40));
    let shown = server.cli(&["runs", "show", &serial.to_string()]).await.ok();
    assert!(shown.stdout.contains("40 % copying"), "{shown:?}");
    fs::write(go, "").unwrap();
    let rest: Vec<_> = within("the end of the output", seen.try_collect::<Vec<_>>()).await.unwrap();
    let text: String = rest
        .iter()
        .filter_map(|live| match &**live {
            Live::Output { piece, .. } => Some(piece.text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(text, "o\nbye");
    assert!(matches!(&**rest.last().unwrap(), Live::Ended { .. }), "{rest:?}");
    ended(&server.remote(), serial).await;
    let kept: Vec<_> = server.remote().output(serial, None, true).try_collect().await.unwrap();
    assert!(kept.is_empty(), "what has ended is in the response: {kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_whole_lines_with_the_clients_name() {
    let server = Server::new().await;
    let _agents = (agent(&server, "web-01").await, agent(&server, "web-02").await);
    let go = server.home().join("go");
    let params = json!({ "file": go }).to_string();
    let access = server.data.join("access.toml");
    let access = access.to_str().unwrap();
    let args = |format| {
        let words = ["run", "talk", "--to", "group:web", "--params", &params, "--wait", "--follow"];
        [&words[..], &["--access", access, "--output", format]].concat()
    };
    let mut run = Process::start(server.home(), &args("table"));
    let follow = Process::start(server.home(), &args("json"));
    for id in ["web-01", "web-02"] {
        run.stdout.line(&[&format!("{id} | one")]).await;
        run.stdout.line(&[&format!("{id} ! warned")]).await;
        run.stderr.line(&[&format!("{id}: 40 % copying")]).await;
        follow.stdout.line(&["\"live\":\"output\"", id, "one"]).await;
    }
    assert!(!run.stdout.text().contains("| tw"), "half a line: {}", run.stdout.text());
    fs::write(go, "").unwrap();
    assert_eq!(within("the end of the run", run.ended()).await, Some(0));
    let text = run.stdout.text();
    for id in ["web-01", "web-02"] {
        for line in ["two", "bye"] {
            assert!(text.contains(&format!("{id} | {line}\n")), "{text}");
        }
    }
    let table = text.find("CLIENT").expect("the answers come last");
    assert!(text.rfind(" | ").unwrap() < table && !text.contains('\u{1b}'), "{text}");
    follow.stdout.ended().await;
    for line in follow.stdout.text().lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_holds_up_nobody() {
    let server = Server::new().await;
    let agents = (agent(&server, "web-01").await, agent(&server, "web-02").await);
    let (serial, go) = submit(&server, "client:web-01", "flood").await;
    let mut seen = server.remote().output(serial, None, true);
    let first = within("the first of the flood", seen.try_next()).await.unwrap().unwrap();
    assert!(matches!(&*first, Live::Output { .. }), "{first:?}");
    // A watcher that reads nothing more holds up nobody either.
    for client in ["web-02", "web-01"] {
        let mut other =
            Submission::new(format!("client:{client}").parse().unwrap(), "echo".parse().unwrap());
        other.params = Json::new(&json!({ "text": "1" })).unwrap();
        let other = server.remote().submit(other).await.unwrap();
        assert!(ended(&server.remote(), other.serial).await.all_succeeded());
    }
    assert!(server.remote().run(serial).await.unwrap().ended_at.is_none());
    fs::write(go, "").unwrap();
    assert!(ended(&server.remote(), serial).await.all_succeeded());
    let remote = server.remote();
    let response = remote.response(serial, "web-01".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(result(&response.outcome)["stdout_cut"], 200_000_000 - 65_536);
    let rss = (server.process.rss_mib(), agents.0.rss_mib());
    assert!(rss.0 < 200 && rss.1 < 100, "memory of server and agent: {rss:?} MiB");
    for agent in [&agents.0, &agents.1] {
        assert!(!agent.stderr.text().contains("disconnected"), "{}", agent.stderr.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_json_where_that_is_asked_for() {
    let server = Server::new().await;
    let _agent = agent(&server, "web-01").await;
    let (_, outcome) = echo(&server, "{\"free\": 1.50}\n").await;
    assert_eq!(outcome.state, DeliveryState::Succeeded);
    let text = outcome.result.as_ref().unwrap().text();
    assert!(text.contains("\"value\":{\"free\": 1.50}"), "as it was printed: {text}");
    assert_eq!(
        (&result(&outcome)["stdout"], &result(&outcome)["exit_code"]),
        (&json!(""), &json!(0))
    );
    let (_, outcome) = echo(&server, "free: 1").await;
    assert_eq!(outcome.state, DeliveryState::Failed);
    assert!(outcome.reason.as_ref().unwrap().contains("its result is not JSON"), "{outcome:?}");
    assert_eq!(result(&outcome)["stdout"], "free: 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn artefacts_come_with_the_result_and_are_written_where_they_are_wanted() {
    let server = Server::new().await;
    let _agent = agent(&server, "web-01").await;
    let work = server.home().join("work");
    write(&work, "out/report.html", "<p>fine</p>");
    write(server.home(), "secret", "not for the server");
    symlink("../secret", work.join("link")).unwrap();
    let (serial, outcome) = echo(&server, "1").await;
    let artefacts = &result(&outcome)["artefacts"];
    assert_eq!((&artefacts[0]["name"], &artefacts[0]["size"]), (&json!("report.html"), &json!(11)));
    assert!(artefacts[1]["omitted"].as_str().unwrap().contains("is not below"), "{artefacts}");
    assert!(artefacts[1].get("base64").is_none(), "{artefacts}");
    assert_eq!(artefacts[2]["omitted"], "does not exist");

    let to = server.home().join("got");
    let serial = serial.to_string();
    let args = ["runs", "artefacts", &serial, "--client", "web-01", "--to", to.to_str().unwrap()];
    let ran = server.cli(&args).await;
    assert_eq!(ran.code, 1, "two of three are not there: {ran:?}");
    assert!(ran.stdout.contains("got/report.html") && ran.stderr.contains("\"link\""), "{ran:?}");
    assert_eq!(fs::read_to_string(to.join("report.html")).unwrap(), "<p>fine</p>");
    write(&to, "report.html", "mine");
    let ran = server.cli(&args).await;
    assert!(ran.stderr.contains("--force"), "{ran:?}");
    assert_eq!(fs::read_to_string(to.join("report.html")).unwrap(), "mine");
    server.cli(&[&args[..], &["--force"]].concat()).await;
    assert_eq!(fs::read_to_string(to.join("report.html")).unwrap(), "<p>fine</p>");
}
