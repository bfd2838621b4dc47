//! What group commit is worth: durable submissions a second through a node on each kind of store,
//! from many callers at once against one caller who waits for each; and one command to many
//! clients.
//!
//! `cargo bench --bench commit`. Rounds are interleaved and the median ratio is what counts: the
//! absolute figures are the machine's.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::path::Path;
use std::time::{Duration, Instant};

use fleetcron::engine::NewClient;
use fleetcron::node::{OUTBOUND, ToSession, outbox};
use fleetcron::store::{StoreKind, open_at};
use fleetcron::{Handle, Json, Node, Outcome, Proof, Submission};
use futures_util::{StreamExt, stream};

const ROUNDS: usize = 5;
const ALONE: u32 = 500;
const TOGETHER: u32 = 5_000;
const CALLERS: usize = 256;
const CLIENTS: usize = 10_000;

fn rate(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn submit(handle: &Handle, target: &str) -> fleetcron::Run {
    let submission = Submission::new(target.parse().unwrap(), "noop".parse().unwrap());
    handle.submit(submission).await.unwrap()
}

async fn add_client(handle: &Handle, id: &str) {
    let client = NewClient { id: id.parse().unwrap(), groups: [].into(), token: None };
    handle.add_client(client).await.unwrap();
}

/// Submissions a second, each durable when it counts, to a client that is away.
async fn submissions(kind: StoreKind, count: u32, callers: usize) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let node = open(kind, directory.path());
    let handle = node.handle();
    for n in 0..8 {
        add_client(&handle, &format!("c{n}")).await;
    }
    let begun = Instant::now();
    stream::iter(0..count)
        .for_each_concurrent(callers, |n| {
            let handle = &handle;
            async move {
                submit(handle, &format!("client:c{}", n % 8)).await;
            }
        })
        .await;
    let rate = rate(count, begun.elapsed());
    node.stop().await.unwrap();
    rate
}

/// From the submission of one command for all clients to the last recorded response.
async fn broadcast(handle: &Handle) -> Duration {
    let begun = Instant::now();
    let run = submit(handle, "all").await;
    let ended = handle.wait(run.serial).await.unwrap();
    assert!(ended.all_succeeded(), "{ended:?}");
    begun.elapsed()
}

async fn answering_client(handle: Handle, id: String) {
    let (outbound, mut inbound) = outbox(OUTBOUND);
    let session =
        handle.connect(id.parse().unwrap(), Proof::Vouched, Vec::new(), outbound).await.unwrap();
    while let Some(message) = inbound.recv().await {
        if let ToSession::Command(dispatch) = message {
            let outcome = Outcome::succeeded(Json::null());
            handle.responded(session, dispatch.serial.into(), outcome).await.unwrap();
        }
    }
}

fn open(kind: StoreKind, directory: &Path) -> Node {
    Node::start(open_at(directory, Some(kind).into()).unwrap()).unwrap()
}

#[tokio::main]
async fn main() {
    let mut alone = [Vec::new(), Vec::new()];
    let mut together = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (n, kind) in StoreKind::ALL.into_iter().enumerate() {
            alone[n].push(submissions(kind, ALONE, 1).await);
            together[n].push(submissions(kind, TOGETHER, CALLERS).await);
        }
    }
    for (kind, (alone, together)) in StoreKind::ALL.into_iter().zip(alone.into_iter().zip(together))
    {
        let ratio = median(together.iter().zip(&alone).map(|(many, one)| many / one).collect());
        println!("{kind}: submissions/s, 1 caller: {:.0}", median(alone));
        println!("{kind}: submissions/s, {CALLERS} callers: {:.0}", median(together));
        println!("{kind}: ratio, median of {ROUNDS} rounds: {ratio:.1}");
        broadcasts(kind).await;
    }
}

async fn broadcasts(kind: StoreKind) {
    let directory = tempfile::tempdir().unwrap();
    let node = open(kind, directory.path());
    let handle = node.handle();
    let ids: Vec<String> = (0..CLIENTS).map(|n| format!("c{n}")).collect();
    stream::iter(&ids).for_each_concurrent(256, |id| add_client(&handle, id)).await;
    for id in ids {
        tokio::spawn(answering_client(handle.clone(), id));
    }
    while handle.status().await.unwrap().clients_connected < CLIENTS as u64 {
        tokio::task::yield_now().await;
    }
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        took.push(broadcast(&handle).await.as_secs_f64() * 1_000.0);
    }
    println!(
        "{kind}: one command to {CLIENTS} clients and back, all durable: {:.0} ms",
        median(took)
    );
}
