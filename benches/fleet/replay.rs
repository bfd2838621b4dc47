//! How fast a history is decided on once more: a node works and records what it is told, then all
//! of it goes through the engine again, and every write is compared. Beside it the rate at which
//! the node was told it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleetcron::engine::NewClient;
use fleetcron::node::{OUTBOUND, ToSession, outbox};
use fleetcron::reenact::{Source, verify};
use fleetcron::{Attempt, Handle, Json, Node, Outcome, Proof};
use futures_util::{StreamExt as _, stream};

use super::load;
use super::options::Options;
use super::pace::{Pace, as_float, submission};
use super::report::Figure;
use super::server::directory;
use super::stores;

const CLIENTS: usize = 1_000;
const SECONDS: u64 = 20;
const SECONDS_QUICK: u64 = 5;

/// Every so many commands one is for all; the others are for one client each.
const BROADCAST: usize = 200;

/// Inputs a second, at least.
const TARGET: f64 = 1_000_000.0;

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let seconds = if options.quick { SECONDS_QUICK } else { SECONDS };
    let directory = directory();
    let data = directory.path().join("data");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let worked = runtime.block_on(work(stores::open(&data), Duration::from_secs(seconds)));
    drop(runtime);
    let store = stores::open(&data);
    let begun = Instant::now();
    let verified = verify(Source { store: store.as_ref(), base: None }, &mut |_| ()).unwrap();
    let took = begun.elapsed();
    let rate = |took: Duration| as_float(verified.inputs) / took.as_secs_f64();
    if let Some(difference) = &verified.difference {
        eprintln!("{difference:?}");
    }
    vec![
        Figure::new("replay.inputs / as they came", rate(took), "per s")
            .beside(rate(worked))
            .at_least(TARGET),
        Figure::new("replay.all inputs", as_float(verified.inputs), "inputs"),
        Figure::new("replay.commits", as_float(verified.commits), "commits"),
        Figure::new("replay.events", as_float(verified.events), "events"),
        Figure::new(
            "replay.differences",
            as_float(u64::from(verified.difference.is_some()) + verified.pages_missing),
            "commits and pages",
        )
        .must_be_zero(),
    ]
}

/// A node at work, with clients inside the program; gives how long it took.
async fn work(store: Arc<dyn fleetcron::store::Store>, measured: Duration) -> Duration {
    let node = Node::start(store).unwrap();
    let handle = node.handle();
    let begun = Instant::now();
    let clients = stream::iter(0..CLIENTS);
    clients.for_each_concurrent(256, |number| define(&handle, number)).await;
    for number in 0..CLIENTS {
        tokio::spawn(answering_client(handle.clone(), number));
    }
    while handle.status().await.unwrap().clients_connected < CLIENTS as u64 {
        tokio::task::yield_now().await;
    }
    let pace = Pace { open: 1_024, callers: 256, clients: 1, warm_up: Duration::ZERO, measured };
    let next = |number: usize| match number % BROADCAST {
        0 => submission("all"),
        _ => submission(&format!("client:{}", load::name(number % CLIENTS))),
    };
    pace.keep(&handle, next, || ()).await;
    let took = begun.elapsed();
    node.stop().await.unwrap();
    took
}

async fn define(handle: &Handle, number: usize) {
    let id = load::name(number).parse().unwrap();
    handle.add_client(NewClient { id, groups: [].into(), token: None }).await.unwrap();
}

async fn answering_client(handle: Handle, number: usize) {
    let (outbound, mut inbound) = outbox(OUTBOUND);
    let id = load::name(number).parse().unwrap();
    let session = handle.connect(id, Proof::Vouched, Vec::new(), outbound).await.unwrap();
    while let Some(message) = inbound.recv().await {
        if let ToSession::Command(dispatch) = message {
            let attempt = Attempt::from(dispatch.serial);
            let outcome = Outcome::succeeded(Json::null());
            // The node stops before its clients do.
            if handle.accepted(session, attempt).await.is_err()
                || handle.responded(session, attempt, outcome).await.is_err()
            {
                return;
            }
        }
    }
}
