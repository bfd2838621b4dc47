//! Much at once: a thousand commands for one client, a hundred clients at a time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::collections::{BTreeSet, HashSet};

use fleetcron::remote::Remote;
use fleetcron::{Serial, Submission};
use futures_util::{StreamExt as _, stream};

use common::fleet::{Record, client, connect, ended, work};
use common::server::Server;

const COMMANDS: usize = 1_000;
const CLIENTS: u32 = 100;
const EACH: usize = 10;
/// Requests under way at a time.
const AT_ONCE: usize = 100;
/// The most memory that a server may take for this, in MiB.
const MEMORY: u64 = 400;

/// Submits all of these, many at a time, and gives their serials.
async fn submit_all(remote: &Remote, submissions: Vec<Submission>) -> Vec<Serial> {
    let submit = |one| async move { remote.submit(one).await.unwrap().serial };
    stream::iter(submissions).map(submit).buffer_unordered(AT_ONCE).collect().await
}

/// Waits for the end of all of these, and checks that everybody has answered well.
async fn all_succeed(remote: &Remote, serials: &[Serial], clients: u32) {
    let mut runs = stream::iter(serials.to_vec())
        .map(|serial| async move { ended(remote, serial).await })
        .buffer_unordered(AT_ONCE);
    while let Some(run) = runs.next().await {
        let counts = (run.counts.total, run.counts.succeeded);
        assert_eq!(counts, (clients, clients), "{run:?}");
    }
}

fn sorted(serials: &[Serial]) -> Vec<Serial> {
    let unique: BTreeSet<Serial> = serials.iter().copied().collect();
    unique.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_commands_to_one_client_are_answered_whether_it_is_away_or_there() {
    let mut server = Server::new().await;
    let remote = server.remote();
    let (record, _news) = Record::new();
    server.define("one", &[]).await;
    let submissions = || (0..COMMANDS).map(|number| work("client:one", number)).collect();

    let away = submit_all(&remote, submissions()).await;
    let view = remote.client("one".parse().unwrap()).await.unwrap();
    assert_eq!((view.open, view.connected), (COMMANDS as u64, false));
    let handle = connect(client(&server.listen, "one", &record).concurrency(1)).await;
    all_succeed(&remote, &away, 1).await;
    assert_eq!(record.serials("one"), sorted(&away), "each once, in serial order");

    let there = submit_all(&remote, submissions()).await;
    all_succeed(&remote, &there, 1).await;
    let ran = record.serials("one");
    assert_eq!(ran.len(), 2 * COMMANDS);
    assert_eq!(sorted(&ran[COMMANDS..]), sorted(&there), "each once");

    assert!(handle.is_connected());
    assert!(server.process.is_alive());
    assert!(server.process.rss_mib() < MEMORY, "{} MiB", server.process.rss_mib());
    let status = remote.status().await.unwrap();
    assert_eq!((status.runs_open, status.deliveries_open), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_answer_one_command_to_all_and_ten_each_at_once() {
    let mut server = Server::new().await;
    let remote = server.remote();
    let (record, _news) = Record::new();
    let ids: Vec<String> = (0..CLIENTS).map(|number| format!("c-{number:03}")).collect();
    let mut handles = Vec::new();
    for id in &ids {
        server.define(id, &[]).await;
        handles.push(connect(client(&server.listen, id, &record)).await);
    }
    let to_each =
        ids.iter().flat_map(|id| (0..EACH).map(move |n| work(&format!("client:{id}"), n)));
    let (to_all, each) = tokio::join!(
        submit_all(&remote, vec![work("all", 0)]),
        submit_all(&remote, to_each.collect()),
    );
    all_succeed(&remote, &to_all, CLIENTS).await;
    all_succeed(&remote, &each, 1).await;
    for id in &ids {
        let ran = record.serials(id);
        let once: HashSet<_> = ran.iter().collect();
        assert_eq!((ran.len(), once.len()), (1 + EACH, 1 + EACH), "{id}");
        assert!(ran.contains(&to_all[0]), "{id}");
    }
    assert!(handles.iter().all(fleetcron::client::ClientHandle::is_connected));
    assert!(server.process.is_alive());
    assert!(server.process.rss_mib() < MEMORY, "{} MiB", server.process.rss_mib());
    assert_eq!(remote.status().await.unwrap().clients_connected, u64::from(CLIENTS));
}
