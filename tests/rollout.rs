//! Rollouts, with fifty agents as processes of their own: waves of a quarter, hosts that fail, an
//! abort where its limit says so, and an approval.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::collections::BTreeMap;

use fleetcron::rollout::{Rollout, Standing};
use fleetcron::{DeliveryState, Response, Run, Serial, Submission};
use futures_util::TryStreamExt as _;

use common::fleet::ended;
use common::server::{Process, Server, token_of};
use common::{eventually, write};

/// Hosts of the fleet.
const HOSTS: usize = 50;

/// What an agent of these tests may run. A host with the file `broken` in its directory fails.
const LIST: &str = r#"
[[command]]
name = "upgrade"
program = "sh"
args = ["-c", "test ! -e \"$1/broken\"", "sh", "{home}"]
env = ["PATH"]
params.home = { type = "string", pattern = "HOME", default = "HOME" }
"#;

fn host(number: usize) -> String {
    format!("host-{number:02}")
}

/// A server and its agents, each a process with a directory of its own.
struct Fleet {
    server: Server,
    _agents: Vec<Process>,
}

impl Fleet {
    /// Agents of so many hosts; one host of five fails.
    async fn new(hosts: usize) -> Self {
        let server = Server::new().await;
        let mut agents = Vec::new();
        for number in 0..hosts {
            let id = host(number);
            server.define(&id, &["hosts"]).await;
            let home = server.home().join(&id);
            std::fs::create_dir_all(&home).unwrap();
            if number.is_multiple_of(5) {
                write(&home, "broken", "");
            }
            let list = write(&home, "agent.toml", &LIST.replace("HOME", home.to_str().unwrap()));
            let token = write(&home, "token", &format!("{}\n", token_of(&id)));
            let (list, token) = (list.to_str().unwrap(), token.to_str().unwrap());
            let what = ["agent", "--config", list, "--log", "json", "--token-file", token];
            let whom = ["--connect", &server.listen, "--client", &id];
            agents.push(Process::start(&home, &[&what[..], &whom].concat()));
        }
        for (number, agent) in agents.iter().enumerate() {
            agent.stderr.json("connected", &[("client", &host(number))]).await;
        }
        Self { server, _agents: agents }
    }

    async fn upgrade(&self, rollout: &str) -> Run {
        let mut submission =
            Submission::new("group:hosts".parse().unwrap(), "upgrade".parse().unwrap());
        submission.rollout = Some(serde_json::from_str::<Rollout>(rollout).unwrap());
        self.server.remote().submit(submission).await.unwrap()
    }

    async fn responses(&self, serial: Serial) -> Vec<Response> {
        self.server.remote().responses(serial).try_collect().await.unwrap()
    }
}

fn by_state(responses: &[Response]) -> BTreeMap<DeliveryState, usize> {
    let mut counts = BTreeMap::new();
    for response in responses {
        *counts.entry(response.outcome.state).or_default() += 1;
    }
    counts
}

/// Of the answers in their order, how many had come when the limit was reached: `percent` failed
/// of at least `minimum`.
fn limit_at(answers: &[DeliveryState], percent: usize, minimum: usize) -> Option<usize> {
    (minimum..=answers.len()).find(|ended| {
        let failed = answers[..*ended].iter().filter(|it| **it == DeliveryState::Failed).count();
        failed * 100 >= percent * ended
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_hosts_in_waves_of_a_quarter_abort_where_the_limit_says() {
    let fleet = Fleet::new(HOSTS).await;
    let remote = fleet.server.remote();
    // One at a time: whoever answers after the limit was reached had not been let go before.
    let rollout = r#"{
        "max_in_flight": 1,
        "waves": [{"share": "25%", "success": "20%"}, {"share": "50%", "success": "20%"},
                  {"share": "75%", "success": "20%"}, "100%"],
        "abort_on": ["failed=20%@10"]}"#;
    let run = fleet.upgrade(rollout).await;
    let run = ended(&remote, run.serial).await;
    let responses = fleet.responses(run.serial).await;
    assert_eq!(responses.len(), HOSTS, "each delivery ended once");
    let answers: Vec<DeliveryState> = responses
        .iter()
        .map(|response| response.outcome.state)
        .filter(|state| *state != DeliveryState::Cancelled)
        .collect();
    for response in &responses {
        let number: usize = response.client.as_str()[5..].parse().unwrap();
        let expected =
            if number.is_multiple_of(5) { DeliveryState::Failed } else { DeliveryState::Succeeded };
        let state = response.outcome.state;
        assert!(state == expected || state == DeliveryState::Cancelled, "{response:?}");
    }
    let counts = by_state(&responses);
    let failed = counts.get(&DeliveryState::Failed).copied().unwrap_or_default();
    match limit_at(&answers, 20, 10) {
        // Ten of fifty fail, so the limit of a fifth is met by the last at the latest.
        None => panic!("the limit was never reached: {answers:?}"),
        Some(HOSTS) => assert_eq!((failed, run.reason), (10, None)),
        Some(at) => {
            assert_eq!(answers.len(), at, "nobody was let go after the limit: {answers:?}");
            let reason = format!(
                "the rollout was aborted: {failed} of {at} ended deliveries failed, the limit is \
                 20 %"
            );
            assert_eq!(run.reason.as_deref(), Some(reason.as_str()));
            assert_eq!(counts[&DeliveryState::Cancelled], HOSTS - at);
            let cancelled =
                responses.iter().filter(|it| it.outcome.state == DeliveryState::Cancelled);
            for response in cancelled {
                assert_eq!(response.outcome.reason.as_deref(), Some(reason.as_str()));
            }
        }
    }
    let text = fleet.server.cli(&["runs", "progress", &run.serial.to_string()]).await.ok().stdout;
    assert!(text.contains(&format!("{failed} failed")), "{text}");

    approvals(&fleet).await;
}

/// A first wave of a quarter that cannot succeed is held; it goes on when somebody approves.
async fn approvals(fleet: &Fleet) {
    let remote = fleet.server.remote();
    let args = [
        "run",
        "upgrade",
        "--to",
        "group:hosts",
        "--waves",
        "50%,100%",
        "--wave-success",
        "60%",
        "--approve-waves",
    ];
    let ran = fleet.server.cli(&args).await.ok();
    let serial: Serial = ran.stdout.trim().parse().unwrap();
    // Of 25, at most 10 are broken: 60 % succeed.
    let progress = eventually("the need for an approval", async || {
        let progress = remote.progress(serial).await.unwrap();
        let waits = matches!(progress.rollout, Some(Standing::Approval { .. }));
        (waits && progress.counts.ended() == 25).then_some(progress)
    })
    .await;
    let wave = progress.wave.unwrap();
    assert_eq!((wave.number, wave.of, wave.deliveries, wave.open), (1, 2, 25, 0));
    assert_eq!((progress.held_back, progress.in_flight), (25, 0));
    let serial_text = serial.to_string();
    let text = fleet.server.cli(&["runs", "progress", &serial_text]).await.ok().stdout;
    assert!(text.contains("25 held back") && text.contains("runs approve"), "{text}");

    let approved = fleet.server.cli(&["runs", "approve", &serial_text]).await.ok();
    assert_eq!(approved.stdout, format!("approved {serial}; wave 2 begins\n"));
    let run = ended(&remote, serial).await;
    assert_eq!((run.counts.succeeded, run.counts.failed), (40, 10));
    let again = fleet.server.cli(&["runs", "approve", &serial_text]).await;
    assert_ne!(again.code, 0);
    assert!(again.stderr.contains("is not open: it has ended"), "{again:?}");
    let none = fleet.server.cli(&["runs", "progress", "01JD0000000000000000000000"]).await;
    assert!(none.stderr.contains("no run named"), "{none:?}");
}

/// A job's rollout outlives the server: what waits for an approval still does.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_rolled_out_over_a_restart_goes_on_when_it_is_approved() {
    let place = common::server::Place::new();
    let mut server = place.start().await;
    let (record, _news) = common::fleet::Record::new();
    let mut clients = Vec::new();
    for number in 0..4 {
        server.define(&host(number), &["hosts"]).await;
        let builder = common::fleet::client(&server.listen, &host(number), &record);
        clients.push(common::fleet::connect(builder).await);
    }
    let file = r#"
        name = "upgrade"
        target = "group:hosts"
        command = "work"
        rule = "now"
        params = { number = 1 }
        [rollout]
        max_in_flight = "50%"
        rate = { per_second = 50.5, growth = { factor = 1.5, after = 2 }, max_per_second = 100 }
        abort_on = ["any=50%@2"]
        [[rollout.waves]]
        share = "50%"
        approval = true
    "#;
    let file = write(server.home(), "upgrade.toml", file);
    server.cli(&["apply", file.to_str().unwrap()]).await.ok();
    let waiting = async |server: &Server| {
        eventually("the need for an approval", async || {
            let runs = common::fleet::runs_of(&server.remote(), "upgrade").await;
            let run = runs.into_iter().next()?;
            let state = run.rollout_state.as_ref()?;
            state.standing.wants_approval().then_some(run.serial)
        })
        .await
    };
    let serial = waiting(&server).await;
    server.process.kill();
    let server = place.start().await;
    assert_eq!(waiting(&server).await, serial);
    assert_eq!(record.all().len(), 2);
    for client in &clients {
        server.log().json("connected", &[("client", client.id().as_str())]).await;
    }
    server.remote().approve(serial).await.unwrap();
    let run = ended(&server.remote(), serial).await;
    assert!(run.all_succeeded(), "{run:?}");
    assert_eq!(record.all().len(), 4, "each ran it once");
}
