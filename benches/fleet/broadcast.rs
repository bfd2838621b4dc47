//! Commands for all of 1,000 clients, up to 64 runs open: deliveries that were sent, executed and
//! answered, the answer durable, a second.
//!
//! Beside it the raw loopback: the same clients and frames without engine and store.

use std::path::Path;
use std::time::Duration;

use super::load::Load;
use super::node_part::Told;
use super::options::{Note, Options};
use super::pace::{Pace, as_float, submission};
use super::process::{Part, processor_seconds};
use super::report::Figure;
use super::server::Server;
use super::taken::Executed;

const CLIENTS: usize = 1_000;
const OPEN: usize = 64;
const SECONDS: u32 = 20;
const SECONDS_QUICK: u32 = 5;

/// Submissions under way at once: no more than the runs that end together.
const CALLERS: usize = 16;

/// What part of the raw loopback should remain.
const TARGET: f64 = 0.6;

/// One side of the comparison.
struct Measured {
    /// Deliveries a second.
    rate: f64,
    /// Runs that did not end.
    left_open: u64,
    executed: Executed,
    /// Processor time of the server and of the clients, in microseconds for each delivery.
    server: f64,
    clients: f64,
}

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let seconds = if options.quick { SECONDS_QUICK } else { SECONDS };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let raw = raw(seconds);
    let (fleet, growth) = runtime.block_on(by_the_server(seconds));
    let figure = |name: &str, of: fn(&Measured) -> f64, unit| {
        Figure::new(format!("broadcast.{name} / raw loopback"), of(&fleet), unit).beside(of(&raw))
    };
    vec![
        figure("deliveries", |it| it.rate, "per s").ratio_at_least(TARGET),
        figure("server processor", |it| it.server, "us/delivery"),
        figure("clients processor", |it| it.clients, "us/delivery"),
        Figure::new("broadcast.store growth", growth, "bytes/delivery"),
        figure("came", |it| float(it.executed.came), "deliveries"),
        figure("missing", |it| float(it.executed.missing()), "deliveries").must_be_zero(),
        figure("doubled", |it| float(it.executed.doubled), "deliveries").must_be_zero(),
        figure("strange", |it| float(it.executed.strange), "deliveries").must_be_zero(),
        figure("left open", |it| as_float(it.left_open), "runs").must_be_zero(),
    ]
}

fn float(count: usize) -> f64 {
    as_float(count as u64)
}

/// The server's side, and how many bytes its store has grown for each delivery.
async fn by_the_server(seconds: u32) -> (Measured, f64) {
    let server = Server::start();
    server.define(CLIENTS).await;
    let load = Load::start(&server.listen, CLIENTS, Note::Runs);
    let pace = Pace {
        open: OPEN,
        callers: CALLERS,
        clients: CLIENTS as u64,
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(seconds.into()),
    };
    let look = || Look {
        server: processor_seconds(server.id()),
        clients: processor_seconds(load.id()),
        bytes: size(&server.data()),
    };
    let paced = pace.keep(&server.remote(), |_| submission("all"), look).await;
    let executed = Executed::parse(&load.end(), &paced.submitted, CLIENTS);
    let (begin, end) = &paced.looks;
    let each = as_float(paced.deliveries);
    let growth = (as_float(end.bytes) - as_float(begin.bytes)) / each;
    let measured = Measured {
        server: (end.server - begin.server) * 1e6 / each,
        clients: (end.clients - begin.clients) * 1e6 / each,
        rate: paced.rate(),
        left_open: paced.left_open,
        executed,
    };
    (measured, growth)
}

/// What is looked at when the measurement begins and ends.
struct Look {
    server: f64,
    clients: f64,
    bytes: u64,
}

/// The raw side.
fn raw(seconds: u32) -> Measured {
    let (clients, open, seconds) = (CLIENTS.to_string(), OPEN.to_string(), seconds.to_string());
    let args = ["raw-server", "--clients", &clients, "--open", &open, "--seconds", &seconds];
    let mut server = Part::start(&args);
    let listen = server.line();
    let load = Load::start(&listen, CLIENTS, Note::Runs);
    let before = processor_seconds(load.id());
    server.tell("go");
    let told: Told = serde_json::from_str(&server.line()).unwrap();
    // Beside the measurement there are the warm-up and the end, which count as well.
    let clients = (processor_seconds(load.id()) - before) * 1e6;
    let clients = clients / as_float((told.submitted.len() * CLIENTS) as u64);
    let executed = Executed::parse(&load.end(), &told.submitted, CLIENTS);
    server.end();
    let processor = told.processor * 1e6 / as_float(told.commands);
    let Told { rate, left_open, .. } = told;
    Measured { rate, left_open, executed, server: processor, clients }
}

/// Bytes of all files in a directory; one that goes meanwhile counts as nothing.
pub(crate) fn size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => self::size(&entry.path()),
        found => found.map_or(0, |found| found.len()),
    };
    entries.map(size).sum()
}
