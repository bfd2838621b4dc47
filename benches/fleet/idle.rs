//! What a connection costs that only stands: the server's memory for each, as the slope between
//! few and 15,000, and the processor's time for all their heartbeats.
//!
//! All clients are defined before, so that the registry is in neither. The store's cache is the
//! smallest that a server can be told; what it takes of it for the presence of the clients counts.

use std::time::Duration;

use super::load::Load;
use super::options::{Note, Options};
use super::process::{allow_sockets, resident};
use super::report::Figure;
use super::server::{Server, directory};

const FEW: usize = 1_000;
const MANY: usize = 15_000;
const FEW_QUICK: usize = 500;
const MANY_QUICK: usize = 3_000;

/// For how long the heartbeats are looked at: several of each client.
const SECONDS: u64 = 60;
const SECONDS_QUICK: u64 = 30;

/// After the last has connected, until the memory is looked at.
const SETTLING: Duration = Duration::from_secs(3);

/// Bytes for a connection, at most.
const TARGET_BYTES: f64 = 4_096.0;

/// Processor time for all heartbeats, at most, in per cent of a core.
const TARGET_PROCESSOR: f64 = 2.0;

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let (few, many, seconds) =
        if options.quick { (FEW_QUICK, MANY_QUICK, SECONDS_QUICK) } else { (FEW, MANY, SECONDS) };
    allow_sockets(many);
    let most = many.to_string();
    let server = Server::start_on(directory(), &["--cache", "16", "--max-connections", &most]);
    tokio::runtime::Runtime::new().unwrap().block_on(server.define(many));
    let before = settled(&server);
    let first = Load::of(&server.listen, 0..few, Note::Runs);
    let with_few = settled(&server);
    let others = Load::of(&server.listen, few..many, Note::Runs);
    let with_many = settled(&server);
    let begin = server.processor_seconds();
    std::thread::sleep(Duration::from_secs(seconds));
    let used = server.processor_seconds() - begin;
    let after = resident(server.id());
    for load in [first, others] {
        load.end();
    }
    let float = |count: usize| super::pace::as_float(count as u64);
    let slope = (with_many - with_few) / float(many - few);
    let percent = used * 100.0 / super::pace::as_float(seconds);
    let mib = |bytes: f64| bytes / 1_048_576.0;
    vec![
        Figure::new("idle.memory", slope, "bytes/connection").at_most(TARGET_BYTES),
        Figure::new("idle.heartbeats", percent, "% of a core").at_most(TARGET_PROCESSOR),
        Figure::new("idle.connections", float(many), "clients"),
        Figure::new("idle.server without connections", mib(before), "MiB"),
        Figure::new(format!("idle.server with {few}"), mib(with_few), "MiB"),
        Figure::new("idle.server with all", mib(with_many), "MiB"),
        Figure::new("idle.server at the end", mib(after), "MiB"),
    ]
}

/// The server's memory a while after what has happened.
fn settled(server: &Server) -> f64 {
    std::thread::sleep(SETTLING);
    resident(server.id())
}
