//! The agent's journal: agents that are killed, and what their successors make of it. Commands
//! count their own effects, a line in a file each time they are run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::path::{Path, PathBuf};

use fleetcron::{DeliveryState, JobSpec, Json, OnClientCrash, Outcome, Serial, Submission};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use common::fleet::{apply, ended, job};
use common::server::{Place, Process, Server, token_of};
use common::{eventually, within, write};

const ID: &str = "web-01";

/// `effect` writes its process's id into a file, as its effect, and ends when there is a gate.
const LIST: &str = r#"
[[command]]
name = "effect"
program = "sh"
args = ["-c", "echo $$ >> effects; while ! [ -e gate ]; do sleep 0.02; done; echo done", "sh", "{note}"]
working_dir = "HOME"
env = ["PATH"]
params.note = { type = "string", max_length = 8192, default = "" }
"#;

/// A server, a place for its agent, and what the agent's commands did.
struct Field {
    place: Place,
    list: PathBuf,
}

impl Field {
    fn new() -> Self {
        let place = Place::new();
        let home = place.dir.path();
        let list = write(home, "agent.toml", &LIST.replace("HOME", home.to_str().unwrap()));
        write(home, "token", &format!("{}\n", token_of(ID)));
        Self { place, list }
    }

    fn home(&self) -> &Path {
        self.place.dir.path()
    }

    fn args(&self, listen: &str, more: &[&str]) -> Vec<String> {
        let list = self.list.to_str().unwrap();
        let all = ["agent", "--config", list, "--client", ID, "--token-file", "token"];
        let all = [&all[..], &["--connect", listen, "--log", "json"], more].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    /// Starts the agent.
    fn agent(&self, listen: &str, more: &[&str]) -> Process {
        Process::start(self.home(), &self.args(listen, more))
    }

    /// Starts the agent, and waits until it is connected.
    async fn connected(&self, server: &Server, more: &[&str]) -> Process {
        let agent = self.agent(&server.listen, more);
        agent.stderr.json("connected", &[("client", ID)]).await;
        agent
    }

    /// A server with a client that is defined.
    async fn server(&self) -> Server {
        let server = self.place.start().await;
        server.define(ID, &[]).await;
        server
    }

    /// The processes that were the effects so far.
    fn effects(&self) -> Vec<Pid> {
        let text = std::fs::read_to_string(self.home().join("effects")).unwrap_or_default();
        // A line that is still being written has no end.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| Pid::from_raw(line.trim().parse().unwrap())).collect()
    }

    async fn begun(&self, count: usize) {
        eventually(&format!("effect {count}"), async || {
            (self.effects().len() >= count).then_some(())
        })
        .await;
    }

    /// Lets every command end, those to come as well.
    fn open_gate(&self) {
        write(self.home(), "gate", "");
    }

    /// Kills the agent while its command runs, and ends that too, as a power cut would.
    async fn crash(&self, agent: &mut Process) {
        agent.kill();
        for pid in self.effects() {
            // It may have ended by itself.
            let _ = kill(pid, Signal::SIGKILL);
            let what = format!("the end of process {pid}");
            eventually(&what, async || (kill(pid, None) == Err(Errno::ESRCH)).then_some(())).await;
        }
    }

    fn journal(&self) -> PathBuf {
        self.home().join(format!(".local/state/fleetcron/journal-{ID}"))
    }

    /// Waits until the journal has written something down about a run.
    async fn written(&self, serial: Serial, what: &str) {
        let file = self.journal().join("journal");
        let record = format!("{{\"{what}\":{{\"serial\":\"{serial}\"");
        eventually(&record, async || {
            let bytes = std::fs::read(&file).ok()?;
            String::from_utf8_lossy(&bytes).contains(&record).then_some(())
        })
        .await;
    }
}

async fn submit(server: &Server, policy: OnClientCrash, note: &str) -> Serial {
    let mut submission =
        Submission::new(format!("client:{ID}").parse().unwrap(), "effect".parse().unwrap());
    submission.on_client_crash = policy;
    submission.params = Json::new(&json!({ "note": note })).unwrap();
    server.remote().submit(submission).await.unwrap().serial
}

async fn outcome(server: &Server, serial: Serial) -> Outcome {
    let remote = server.remote();
    ended(&remote, serial).await;
    remote.response(serial, ID.parse().unwrap()).await.unwrap().unwrap().outcome
}

fn assert_interrupted(outcome: &Outcome) {
    assert_eq!(outcome.state, DeliveryState::Failed, "{outcome:?}");
    let reason = "interrupted: the client ended while it ran";
    assert_eq!(outcome.reason.as_deref(), Some(reason));
}

fn assert_done(outcome: &Outcome) {
    assert_eq!(outcome.state, DeliveryState::Succeeded, "{outcome:?}");
    let result: Value = outcome.result.as_ref().unwrap().to().unwrap();
    assert_eq!(result["stdout"], "done\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ran_when_the_agent_was_killed_fails_and_does_not_run_again() {
    let field = Field::new();
    let server = field.server().await;
    let mut agent = field.connected(&server, &[]).await;
    let serial = submit(&server, OnClientCrash::Fail, "").await;
    field.begun(1).await;
    field.crash(&mut agent).await;
    field.open_gate();
    let mut agent = field.connected(&server, &[]).await;
    assert_interrupted(&outcome(&server, serial).await);
    let again = submit(&server, OnClientCrash::Fail, "").await;
    assert_done(&outcome(&server, again).await);
    assert_eq!(field.effects().len(), 2, "one of each");
    assert!(agent.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_may_run_again_does_with_its_parameters() {
    let field = Field::new();
    let server = field.server().await;
    let spec: JobSpec = job(json!({
        "name": "again", "target": "all", "command": "effect", "params": { "note": "of the job" },
        "rule": { "at": "2100-01-01T00:00:00Z" }, "on_client_crash": "retry",
    }));
    apply(&server.remote(), vec![spec]).await;
    let shown = server.cli(&["jobs", "show", "again"]).await.ok().stdout;
    let line = shown.lines().find(|line| line.starts_with("on_client_crash")).unwrap();
    assert!(line.ends_with(" retry"), "{shown}");

    let mut agent = field.connected(&server, &[]).await;
    let serial = server.remote().trigger("again".parse().unwrap()).await.unwrap().serial;
    field.begun(1).await;
    field.crash(&mut agent).await;
    field.open_gate();
    let _agent = field.connected(&server, &[]).await;
    assert_done(&outcome(&server, serial).await);
    assert_eq!(field.effects().len(), 2);

    let submitted = ["run", "effect", "--to", "all", "--on-client-crash", "retry"];
    let submitted = server.cli(&submitted).await.ok().stdout.trim().parse().unwrap();
    assert_done(&outcome(&server, submitted).await);
    let run = server.remote().run(submitted).await.unwrap();
    assert_eq!(run.on_client_crash, OnClientCrash::Retry);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_outlives_the_agent_while_the_server_is_gone() {
    let field = Field::new();
    let mut server = field.server().await;
    let mut agent = field.connected(&server, &[]).await;
    let serial = submit(&server, OnClientCrash::Retry, "").await;
    field.begun(1).await;
    server.process.kill();
    field.open_gate();
    field.written(serial, "ended").await;
    field.crash(&mut agent).await;
    // Killed once more, before there is a server to tell.
    let mut agent = field.agent(&server.listen, &[]);
    agent.stderr.json("not connected", &[]).await;
    field.crash(&mut agent).await;

    let _agent = field.agent(&server.listen, &[]);
    let server = field.place.start().await;
    assert_done(&outcome(&server, serial).await);
    field.written(serial, "acknowledged").await;
    assert_eq!(field.effects().len(), 1, "once in effect");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_cut_short_are_dealt_with_while_the_server_is_away() {
    let field = Field::new();
    let mut server = field.server().await;
    let mut agent = field.connected(&server, &[]).await;
    let again = submit(&server, OnClientCrash::Retry, "again").await;
    let once = submit(&server, OnClientCrash::Fail, "once").await;
    field.begun(2).await;
    server.process.kill();
    field.crash(&mut agent).await;
    field.open_gate();
    let mut agent = field.agent(&server.listen, &[]);
    field.written(again, "ended").await;
    assert_eq!(field.effects().len(), 3, "that which may run again has, without the server");
    field.crash(&mut agent).await;

    let server = field.place.start().await;
    let _agent = field.connected(&server, &[]).await;
    assert_done(&outcome(&server, again).await);
    assert_interrupted(&outcome(&server, once).await);
    assert_eq!(field.effects().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_accepted_and_not_begun_runs_in_the_next_life() {
    let field = Field::new();
    let server = field.server().await;
    let mut agent = field.connected(&server, &["--concurrency", "1"]).await;
    let first = submit(&server, OnClientCrash::Fail, "").await;
    field.begun(1).await;
    let second = submit(&server, OnClientCrash::Fail, "").await;
    eventually("the second to be accepted", async || {
        let open = server.remote().open_deliveries(second).await.unwrap();
        (open[0].state == DeliveryState::Accepted).then_some(())
    })
    .await;
    field.crash(&mut agent).await;
    field.open_gate();
    let _agent = field.connected(&server, &[]).await;
    assert_interrupted(&outcome(&server, first).await);
    assert_done(&outcome(&server, second).await);
    assert_eq!(field.effects().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_a_journal_runs_again_what_it_had_forgotten() {
    let field = Field::new();
    let server = field.server().await;
    let mut agent = field.connected(&server, &["--no-journal"]).await;
    let serial = submit(&server, OnClientCrash::Fail, "").await;
    field.begun(1).await;
    field.crash(&mut agent).await;
    field.open_gate();
    let _agent = field.connected(&server, &["--no-journal"]).await;
    assert_done(&outcome(&server, serial).await);
    assert_eq!(field.effects().len(), 2);
    assert!(!field.journal().exists());
}

/// The file may have 4 KiB; what would make it longer fails, having been written in part.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_journal_cannot_hold_is_rejected_and_the_agent_goes_on() {
    let field = Field::new();
    field.open_gate();
    let server = field.server().await;
    let limit = "trap '' XFSZ; ulimit -f 8";
    let args = field.args(&server.listen, &[]);
    let mut agent = Process::start_after(field.home(), limit, &args);
    agent.stderr.json("connected", &[("client", ID)]).await;
    for _ in 0..2 {
        let long = submit(&server, OnClientCrash::Retry, &"x".repeat(5_000)).await;
        let outcome = outcome(&server, long).await;
        assert_eq!(outcome.state, DeliveryState::Rejected, "{outcome:?}");
        let file = field.journal().join("journal");
        let why = "cannot be written: File too large (os error 27)";
        let reason = format!("the client's journal {} {why}", file.display());
        assert_eq!(outcome.reason, Some(reason));
    }
    let told = [("error", "File too large (os error 27)")];
    agent.stderr.json("the client's journal cannot be written", &told).await;
    assert_eq!(field.effects(), []);
    for done in 1..=20 {
        let short = submit(&server, OnClientCrash::Fail, "").await;
        assert_done(&outcome(&server, short).await);
        assert_eq!(field.effects().len(), done, "what fits runs, though it fills up again");
    }
    assert!(agent.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_the_journal_is_told_who_has_it() {
    let field = Field::new();
    let server = field.server().await;
    let agent = field.connected(&server, &["--journal", "journal"]).await;
    let mut second = field.agent(&server.listen, &["--journal", "journal"]);
    assert_eq!(within("the second agent's end", second.ended()).await, Some(5));
    let told = format!("the journal journal is in use by process {}", agent.pid());
    assert!(second.stderr.text().contains(&told), "{}", second.stderr.text());
}
