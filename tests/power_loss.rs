//! The power of a machine, the server's or a client's, is cut in the middle of its work, again and
//! again: what was acknowledged stays, what was running goes on or its end is known, nothing is done
//! twice, and all that was decided comes out again.
//!
//! The store, or the client's journal, is on an ext4 of its own, which is shut down without any flush
//! while they work: what was not brought to the device by then never comes there, data, sizes and
//! names of files alike. Then the process is killed, the file system mounted again, the store
//! checked, and a process started on it. What was acknowledged and what was run is noted elsewhere.
//!
//! `FLEETCRON_POWER_CUTS=100 cargo test --test power_loss` cuts it so often. Needs root and loop
//! devices; `FLEETCRON_SKIP_POWER_LOSS=1` skips it where there are none.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::print_stdout, reason = "it tells how much was looked at")]

mod common;

use std::collections::HashMap;
use std::path::Path;

use fleetcron::remote::Remote;
use fleetcron::{DeliveryState, Json, Serial, Submission};
use nix::sys::signal::Signal;
use serde_json::json;

use common::disk::{Disk, is_skipped};
use common::fleet::ended;
use common::server::{Place, Process, Server, token_of};
use common::survival::{End, survives};
use common::{eventually, number, run, within, write};

/// How often the power is cut unless told otherwise.
const CUTS: usize = 4;

/// The size of the file system in MiB.
const SIZE: u64 = 512;

/// Cuts the power of a process and its disk, and starts the machine again. The process is halted
/// first: no program lives on without power, and one that did could be told of a sync in that moment
/// that it had succeeded.
fn cut(disk: &Disk, process: &mut Process) {
    process.signal(Signal::SIGSTOP);
    disk.cut();
    process.kill();
    disk.remount();
}

struct PowerCut(Disk);

impl End for PowerCut {
    async fn end(&self, server: &mut Server) {
        cut(&self.0, &mut server.process);
    }

    async fn between(&self, server: &Server) {
        let data = server.data.to_str().unwrap();
        let home = tempfile::tempdir().unwrap();
        run(home.path(), &["store", "check", "--data", data]).await.ok();
    }
}

async fn loses_power(store: &str) {
    if is_skipped() {
        return;
    }
    let way = PowerCut(Disk::ext4(SIZE, "defaults"));
    let place = Place::with_data(way.0.path().join("data"));
    survives(store, &place, cuts(), &way).await;
}

fn cuts() -> usize {
    number("FLEETCRON_POWER_CUTS", CUTS)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_power_cuts_and_nothing_runs_twice() {
    loses_power("sled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_it_does_in_fjall() {
    loses_power("fjall").await;
}

/// A command whose effect is a line in a file that is elsewhere.
const LIST: &str = r#"
[[command]]
name = "effect"
program = "sh"
args = ["-c", "echo \"$1 $PPID\" >> effects; echo done", "sh", "{number}"]
working_dir = "ELSEWHERE"
env = ["PATH"]
params.number = { type = "string" }
"#;

/// How often each number stands in the file of effects.
fn effects(elsewhere: &Path) -> HashMap<String, usize> {
    let text = std::fs::read_to_string(elsewhere.join("effects")).unwrap_or_default();
    let mut times = HashMap::new();
    for line in text.lines() {
        let number = line.split(' ').next().unwrap();
        *times.entry(number.to_owned()).or_default() += 1;
    }
    times
}

/// Submits without an end, and notes what was acknowledged.
async fn submit_on(remote: Remote, taken: &mut Vec<(String, Serial)>) {
    loop {
        let number = taken.len().to_string();
        let mut submission =
            Submission::new("client:web-01".parse().unwrap(), "effect".parse().unwrap());
        submission.params = Json::new(&json!({ "number": number })).unwrap();
        // What is not acknowledged any more when this is dropped has the same number as the next.
        let serial = remote.submit(submission).await.unwrap().serial;
        taken.push((number, serial));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_power_is_cut_runs_nothing_twice_and_loses_no_answer() {
    if is_skipped() {
        return;
    }
    let disk = Disk::ext4(64, "defaults");
    let server = Server::new().await;
    server.define("web-01", &[]).await;
    let elsewhere = server.home();
    let list = LIST.replace("ELSEWHERE", elsewhere.to_str().unwrap());
    let list = write(elsewhere, "agent.toml", &list);
    let token_file = write(elsewhere, "token", &format!("{}\n", token_of("web-01")));
    let args = [
        "agent",
        "--config",
        list.to_str().unwrap(),
        "--client",
        "web-01",
        "--token-file",
        token_file.to_str().unwrap(),
        "--connect",
        &server.listen,
        "--log",
        "json",
    ];
    let mut taken = Vec::new();
    for _ in 0..cuts() {
        let mut agent = Process::start(&disk.path(), &args);
        let before = effects(elsewhere).len();
        tokio::select! {
            () = submit_on(server.remote(), &mut taken) => {}
            () = eventually("effects", async || {
                (effects(elsewhere).len() >= before + 25).then_some(())
            }) => {}
        }
        cut(&disk, &mut agent);
        // What was sent and not acknowledged to the test counts under a number of its own.
        taken.push((format!("after cut {}", taken.len()), taken.last().unwrap().1));
    }
    let _agent = Process::start(&disk.path(), &args);
    let remote = server.remote();
    let mut sums = HashMap::<DeliveryState, usize>::new();
    for (number, serial) in taken.iter().filter(|(number, _)| !number.starts_with("after")) {
        ended(&remote, *serial).await;
        let response = remote.response(*serial, "web-01".parse().unwrap()).await.unwrap().unwrap();
        *sums.entry(response.outcome.state).or_default() += 1;
        let times = effects(elsewhere).get(number).copied().unwrap_or_default();
        let allowed = match response.outcome.state {
            DeliveryState::Succeeded => 1..=1,
            // Interrupted, before or after its effect.
            DeliveryState::Failed => 0..=1,
            // It could not be written down, and was not run.
            DeliveryState::Rejected => 0..=0,
            other => panic!("{other}: {response:?}"),
        };
        let lines = std::fs::read_to_string(elsewhere.join("effects")).unwrap();
        assert!(
            allowed.contains(&times),
            "{times} effects of {number}, with the agents' process ids: {response:?}\n{lines}"
        );
    }
    println!("agent: {} cuts, {sums:?}: nothing lost or doubled", cuts());
    assert!(sums[&DeliveryState::Succeeded] > cuts(), "{sums:?}");
    within("the server", server.remote().status()).await.unwrap();
}
