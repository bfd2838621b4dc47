//! A fleet of 15,000 clients comes back at once, to a server that was killed and started again; for
//! each a command of its own waits. Until all are connected, and until all commands are answered.
//!
//! Once with the settings that a server has by itself, which let in 2,000 clients a second, and
//! once with the door wide open.

use std::time::{Duration, Instant};

use fleetcron::remote::Remote;
use fleetcron::{Node, Serial};
use futures_util::{StreamExt as _, stream};
use tempfile::TempDir;

use super::load::{self, Load};
use super::options::{Note, Options};
use super::pace::{as_float, submission};
use super::process::{allow_sockets, resident};
use super::report::Figure;
use super::server::{Server, directory};
use super::stores;
use super::taken::Executed;

const CLIENTS: usize = 15_000;
const CLIENTS_QUICK: usize = 3_000;

/// Submissions under way at once.
const CALLERS: usize = 1_000;

/// How long until all are back and have answered, at most, in seconds.
const TARGET: f64 = 5.0;

/// A door that is wide open.
const OPEN: [&str; 6] =
    ["--admit-rate", "100000", "--admit-burst", "100000", "--drain-rate", "100000"];

/// What has not come to pass by then counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let clients = if options.quick { CLIENTS_QUICK } else { CLIENTS };
    allow_sockets(clients);
    let mut figures = storm("storm", clients, &[]);
    figures.extend(storm("storm.wide open", clients, &OPEN));
    figures
}

/// One storm, to a server with these settings.
fn storm(name: &str, clients: usize, settings: &[&str]) -> Vec<Figure> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let most = clients.to_string();
    let settings = [&["--max-connections", &most], settings].concat();
    let server = Server::start_on(directory(), &settings);
    runtime.block_on(server.define(clients));
    let listen = server.listen.clone();
    let load = Load::start(&listen, clients, Note::Runs);
    let directory = server.end();
    let submitted = runtime.block_on(queue(&directory, clients));
    let spawned = Instant::now();
    let server = Server::start_at(&listen, directory, &settings);
    let started = spawned.elapsed();
    let (connected, drained, left) = runtime.block_on(all_back(&server.remote(), clients));
    let memory = resident(server.id());
    let executed = Executed::parse(&load.end(), &submitted, 1);
    let figure = |what: &str, value, unit| Figure::new(format!("{name}.{what}"), value, unit);
    vec![
        figure("server started", started.as_secs_f64(), "s"),
        figure("all connected", connected.as_secs_f64(), "s"),
        figure("all answered", drained.as_secs_f64(), "s").at_most(TARGET),
        figure("server memory", memory / 1_048_576.0, "MiB"),
        figure("came", as_float(executed.came as u64), "deliveries"),
        figure("missing", as_float(executed.missing() as u64), "deliveries").must_be_zero(),
        figure("doubled", as_float(executed.doubled as u64), "deliveries").must_be_zero(),
        figure("left", as_float(left), "deliveries and clients").must_be_zero(),
    ]
}

/// Submits a command for each client while no server runs.
async fn queue(directory: &TempDir, clients: usize) -> Vec<Serial> {
    let store = stores::open(&directory.path().join("data"));
    let node = Node::start(store).unwrap();
    let handle = &node.handle();
    let submit = |number| async move {
        let submission = submission(&format!("client:{}", load::name(number)));
        handle.submit(submission).await.unwrap().serial
    };
    let submitted = stream::iter(0..clients).map(submit).buffer_unordered(CALLERS);
    let submitted = submitted.collect().await;
    node.stop().await.unwrap();
    submitted
}

/// Since the server serves: until all are connected, until nothing is open; and how much is left
/// of both when the patience ends.
async fn all_back(remote: &Remote, clients: usize) -> (Duration, Duration, u64) {
    let begun = Instant::now();
    let mut connected = None;
    loop {
        let status = remote.status().await.unwrap();
        let passed = begun.elapsed();
        let away = clients as u64 - status.clients_connected;
        if away == 0 {
            connected.get_or_insert(passed);
        }
        let left = away + status.deliveries_open;
        if left == 0 || passed > PATIENCE {
            return (connected.unwrap_or(passed), passed, left);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
