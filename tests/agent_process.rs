//! The agent as a process of its own, with its list, against a server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::path::PathBuf;

use fleetcron::{DeliveryState, Json, Response, Serial, Submission};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use common::fleet::ended;
use common::server::{Process, Server, token_of};
use common::{eventually, within, write};

/// What the agent of these tests may run. `wait` writes its process's id and stays.
const LIST: &str = r#"
[agent]
token_file = "token"

[[command]]
name = "greet"
program = "printf"
args = ["hello %s", "{whom}"]
params.whom = { type = "string", pattern = "[a-z]+" }

[[command]]
name = "wait"
program = "sh"
args = ["-c", "echo $$ > \"$1\"; exec sleep 600", "sh", "{file}"]
env = ["PATH"]
params.file = { type = "path", below = "HOME" }
"#;

/// Starts an agent and waits until it is connected.
async fn agent(server: &Server, id: &str) -> Process {
    server.define(id, &[]).await;
    let home = server.home().to_str().unwrap();
    let list = write(server.home(), "agent.toml", &LIST.replace("HOME", home));
    write(server.home(), "token", &format!("{}\n", token_of(id)));
    let config = ["agent", "--config", list.to_str().unwrap(), "--log", "json"];
    let agent = Process::start(
        server.home(),
        &[&config[..], &["--connect", &server.listen, "--client", id]].concat(),
    );
    agent.stderr.json("connected", &[("client", id)]).await;
    agent
}

fn submission(id: &str, command: &str, params: &Value) -> Submission {
    let target = format!("client:{id}").parse().unwrap();
    let mut submission = Submission::new(target, command.parse().unwrap());
    submission.params = Json::new(params).unwrap();
    submission
}

async fn answer(server: &Server, id: &str, command: &str, params: Value) -> Response {
    let remote = server.remote();
    let serial = remote.submit(submission(id, command, &params)).await.unwrap().serial;
    ended(&remote, serial).await;
    remote.response(serial, id.parse().unwrap()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_what_its_list_allows_and_rejects_the_rest_by_name() {
    let server = Server::new().await;
    let mut agent = agent(&server, "web-01").await;
    let allowed = answer(&server, "web-01", "greet", json!({ "whom": "fleet" })).await;
    assert_eq!(allowed.outcome.state, DeliveryState::Succeeded, "{allowed:?}");
    let result: Value = allowed.outcome.result.unwrap().to().unwrap();
    assert_eq!((&result["stdout"], &result["exit_code"]), (&json!("hello fleet"), &json!(0)));

    let refused = answer(&server, "web-01", "reboot", json!({})).await;
    assert_eq!(refused.outcome.state, DeliveryState::Rejected);
    let reason = refused.outcome.reason.unwrap();
    assert_eq!(
        reason,
        "command \"reboot\" is not on this agent's list; allowed are 2: greet, wait"
    );
    let near = answer(&server, "web-01", "great", json!({ "whom": "x" })).await;
    assert!(near.outcome.reason.unwrap().contains("did you mean \"greet\"?"));
    let params = answer(&server, "web-01", "greet", json!({ "whom": "x; rm" })).await;
    assert_eq!(params.outcome.state, DeliveryState::Rejected);
    let reason = params.outcome.reason.unwrap();
    assert!(reason.contains("whom") && reason.contains("x; rm"), "{reason}");

    let ran = server.cli(&["run", "reboot", "--to", "client:web-01", "--wait"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("rejected") && ran.stdout.contains("reboot"), "{ran:?}");
    assert!(agent.is_alive());
}

/// A `wait` that runs: its serial and its process.
async fn waiting(server: &Server, id: &str) -> (Serial, Pid) {
    let file: PathBuf = server.home().join("pid");
    let wait = submission(id, "wait", &json!({ "file": file }));
    let serial = server.remote().submit(wait).await.unwrap().serial;
    let pid = eventually("the program's process id", async || {
        std::fs::read_to_string(&file).ok()?.trim().parse().ok()
    })
    .await;
    let pid = Pid::from_raw(pid);
    kill(pid, None).expect("it runs");
    (serial, pid)
}

async fn gone(pid: Pid) {
    eventually("the end of the program", async || {
        (kill(pid, None) == Err(Errno::ESRCH)).then_some(())
    })
    .await;
}

/// Sends SIGTERM, and waits until the agent has heard it.
async fn terminate(agent: &Process) {
    agent.signal(Signal::SIGTERM);
    let stopping = "stopping when what runs has ended; a second signal ends at once";
    agent.stderr.json(stopping, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_sigterm_it_lets_its_programs_end_and_hands_in_their_answers() {
    let server = Server::new().await;
    let mut agent = agent(&server, "web-01").await;
    let (serial, pid) = waiting(&server, "web-01").await;
    terminate(&agent).await;
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(within("the agent's end", agent.ended()).await, Some(0));
    let response = server.remote().response(serial, "web-01".parse().unwrap()).await.unwrap();
    let outcome = response.expect("the answer came before the agent's end").outcome;
    assert_eq!(outcome.state, DeliveryState::Failed, "{outcome:?}");
    assert!(outcome.reason.unwrap().contains("signal"), "a program that was interrupted");
}

/// Takes the half minute that programs have.
#[tokio::test(flavor = "multi_thread")]
async fn at_sigterm_programs_that_do_not_end_in_time_are_ended() {
    let server = Server::new().await;
    let mut agent = agent(&server, "web-01").await;
    let (serial, pid) = waiting(&server, "web-01").await;
    terminate(&agent).await;
    assert_eq!(within("the agent's end", agent.ended()).await, Some(0));
    gone(pid).await;
    let response = server.remote().response(serial, "web-01".parse().unwrap()).await.unwrap();
    let outcome = response.expect("the answer came before the agent's end").outcome;
    assert_eq!(outcome.state, DeliveryState::Cancelled, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_it_and_its_programs_at_once() {
    let server = Server::new().await;
    let mut agent = agent(&server, "web-01").await;
    let (serial, pid) = waiting(&server, "web-01").await;
    terminate(&agent).await;
    agent.signal(Signal::SIGTERM);
    assert_eq!(within("the agent's end", agent.ended()).await, Some(5));
    gone(pid).await;
    let open = server.remote().open_deliveries(serial).await.unwrap();
    assert_eq!(open.len(), 1, "it was not answered, and waits for the successor");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_the_server_dismisses_ends_with_its_reason_and_its_programs() {
    let server = Server::new().await;
    let mut agent = agent(&server, "web-01").await;
    let (_, pid) = waiting(&server, "web-01").await;
    server.cli(&["clients", "remove", "web-01"]).await.ok();
    assert_eq!(within("the agent's end", agent.ended()).await, Some(5));
    let told = agent.stderr.text();
    assert!(told.contains("the client was removed from the registry"), "{told}");
    gone(pid).await;
}
