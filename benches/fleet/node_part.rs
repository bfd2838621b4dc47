//! A node with its listener inside another program, and a load from within: submissions by its
//! handle. A process of its own.
//!
//! It says where it listens, takes a line when its clients are connected, does its work and tells
//! what that came to. Then it goes on a little while its commits are taken down for the store
//! alone to do.

use std::sync::Arc;
use std::time::Duration;

use fleetcron::engine::NewClient;
use fleetcron::server::Server;
use fleetcron::time::SystemClock;
use fleetcron::{Handle, Node, Serial, TokenHash, node};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::capture::{self, Capturing};
use super::options::{NodeArgs, NodeLoad};
use super::pace::{Pace, Paced, submission};
use super::process::{Part, processor_seconds};
use super::{load, stores};

/// Clients that are defined at once.
const AT_ONCE: usize = 256;

/// Runs that are open in [`NodeLoad::Unicast`], at most.
const OPEN: usize = 4_096;

/// Submissions that one caller makes together in [`NodeLoad::Batches`].
pub(crate) const TOGETHER: usize = 1_000;

/// Callers of the other loads.
const CALLERS: usize = 64;

/// A load that clients execute is warm after that.
const WARM_UP: Duration = Duration::from_secs(1);

/// What the load came to, and what was taken down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Commands a second: ended, or without clients submitted.
    pub(crate) rate: f64,
    /// Commands in the measurement.
    pub(crate) commands: u64,
    /// The processor time of this process in the measurement, in seconds.
    pub(crate) processor: f64,
    /// Every run.
    pub(crate) submitted: Vec<Serial>,
    /// Runs that have not ended though they should have.
    pub(crate) left_open: u64,
    /// Commands in what was taken down.
    pub(crate) captured: u64,
}

impl From<Paced<f64>> for Told {
    /// Of a load at whose begin and end the processor time was looked at.
    fn from(paced: Paced<f64>) -> Self {
        Self {
            rate: paced.rate(),
            commands: paced.deliveries,
            processor: paced.looks.1 - paced.looks.0,
            submitted: paced.submitted,
            left_open: paced.left_open,
            captured: 0,
        }
    }
}

/// Runs the node and its load.
pub(crate) async fn run(args: &NodeArgs) {
    let store = Arc::new(Capturing::new(stores::open(&args.data.join("data"))));
    let clock = Arc::new(SystemClock);
    let node = Node::start_with(store.clone(), clock, node::Options::default()).unwrap();
    let handle = node.handle();
    define(&handle, args.clients).await;
    let server = Server::builder(handle.clone()).bind("127.0.0.1:0").await.unwrap();
    println!("{}", server.local_addr().expect("it listens"));
    let mut line = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut line).await.unwrap();
    let measured = Duration::from_secs(args.seconds.into());
    let mut told = match args.load {
        NodeLoad::Unicast => unicast(&handle, args, measured).await,
        NodeLoad::Callers => submits(&handle, args, measured, CALLERS, 1).await,
        NodeLoad::Batches => submits(&handle, args, measured, 1, TOGETHER).await,
    };
    // The same once more, as long as it takes for enough commits.
    store.begin();
    let again = Duration::from_secs(args.captured_seconds.into());
    let more = match args.load {
        NodeLoad::Unicast => unicast(&handle, args, again).await,
        NodeLoad::Callers => submits(&handle, args, again, CALLERS, 1).await,
        NodeLoad::Batches => submits(&handle, args, again, 1, TOGETHER).await,
    };
    let commits = store.end();
    capture::save(&commits, &args.data.join(CAPTURED));
    told.captured = more.submitted.len() as u64;
    told.submitted.extend(more.submitted);
    told.left_open = told.left_open.max(more.left_open);
    println!("{}", serde_json::to_string(&told).unwrap());
    server.shutdown().await;
    node.stop().await.unwrap();
}

/// The file of what was taken down.
const CAPTURED: &str = "commits";

async fn define(handle: &Handle, clients: usize) {
    let define = |number| {
        let id = load::name(number).parse().unwrap();
        let token = Some(TokenHash::of(&load::token(number)));
        async move { handle.add_client(NewClient { id, groups: [].into(), token }).await.unwrap() }
    };
    stream::iter(0..clients).map(define).buffer_unordered(AT_ONCE).for_each(async |_| {}).await;
}

/// Each command for one of the clients in turn, all of which execute them.
async fn unicast(handle: &Handle, args: &NodeArgs, measured: Duration) -> Told {
    let callers = CALLERS * 4;
    let pace = Pace { open: OPEN, callers, clients: 1, warm_up: WARM_UP, measured };
    let next = |number| to_one(number, args.clients);
    pace.keep(handle, next, || processor_seconds(std::process::id())).await.into()
}

fn to_one(number: usize, clients: usize) -> fleetcron::Submission {
    submission(&format!("client:{}", load::name(number % clients)))
}

/// Callers that each submit so many together, wait for all of these, and do it again. The clients
/// are away.
async fn submits(
    handle: &Handle,
    args: &NodeArgs,
    measured: Duration,
    callers: usize,
    together: usize,
) -> Told {
    let begun = std::time::Instant::now();
    let before = processor_seconds(std::process::id());
    let caller = |number: usize| async move {
        let mut submitted = Vec::new();
        let mut next = number;
        while begun.elapsed() < measured {
            let from = next;
            next += together * callers;
            let new = (0..together).map(|n| to_one(from + n * callers, args.clients));
            let new = new.map(|submission| handle.submit(submission));
            for run in futures_util::future::join_all(new).await {
                submitted.push(run.unwrap().serial);
            }
        }
        submitted
    };
    let submitted = futures_util::future::join_all((0..callers).map(caller)).await.concat();
    let took = begun.elapsed();
    let commands = submitted.len() as u64;
    Told {
        rate: super::pace::as_float(commands) / took.as_secs_f64(),
        commands,
        processor: processor_seconds(std::process::id()) - before,
        submitted,
        left_open: 0,
        captured: 0,
    }
}

/// The process of the node, as the benchmark sees it.
pub(crate) struct NodePart {
    part: Part,
    directory: tempfile::TempDir,
    /// Where clients connect.
    pub(crate) listen: String,
}

impl NodePart {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(load: NodeLoad, clients: usize, seconds: u32) -> Self {
        let directory = super::server::directory();
        let (clients, seconds_text) = (clients.to_string(), seconds.to_string());
        let captured = (seconds / 4).max(1).to_string();
        let args = ["node", "--load", load.name(), "--clients", &clients];
        let times = ["--seconds", &seconds_text, "--captured-seconds", &captured, "--data"];
        let path = directory.path().to_str().expect("a path of letters");
        let mut part = Part::start(&[&args[..], &times[..], &[path]].concat());
        let listen = part.line();
        Self { part, directory, listen }
    }

    /// Lets it work, and gives what came of it and the commits that were taken down.
    pub(crate) fn work(mut self) -> (Told, Vec<Vec<fleetcron::store::Batch>>) {
        self.part.tell("go");
        let told = serde_json::from_str(&self.part.line()).unwrap();
        self.part.end();
        let commits = capture::load(&self.directory.path().join(CAPTURED));
        (told, commits)
    }
}
