//! Submissions a second, each durable before it is answered, for clients that are away: by 64
//! callers over HTTP, and by one caller inside the program, 1,000 at a time.
//!
//! Beside them the bare store: the batches that a node commits for as many callers, straight into
//! a new store.

use super::callers::Answered;
use super::node_part::{NodePart, TOGETHER, Told};
use super::options::{NodeLoad, Options};
use super::pace::as_float;
use super::process::{Part, processor_seconds};
use super::report::Figure;
use super::server::Server;
use super::unicast::Bare;

/// So many that no queue is ever full.
const CLIENTS: usize = 5_000;
const CALLERS: usize = 64;
const SECONDS: u32 = 15;
const SECONDS_QUICK: u32 = 5;

/// What should be reached over HTTP, in submissions a second.
const TARGET_HTTP: f64 = 10_000.0;

/// What part of the bare store should remain inside the program.
const TARGET: f64 = 0.7;

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let seconds = if options.quick { SECONDS_QUICK } else { SECONDS };
    let (http, server, callers) = over_http(seconds);
    let (one_each, bare_each) = inside(NodeLoad::Callers, seconds);
    let (batches, bare_batches) = inside(NodeLoad::Batches, seconds);
    let processor = |told: &Told| told.processor * 1e6 / as_float(told.commands);
    let together = format!("submit.1 caller, {TOGETHER} together / bare store");
    let handle = format!("submit.{CALLERS} callers by the handle / bare store");
    vec![
        Figure::new(
            format!("submit.{CALLERS} callers over HTTP / bare store"),
            http.rate(),
            "per s",
        )
        .beside(bare_each.rate)
        .at_least(TARGET_HTTP),
        Figure::new("submit.HTTP server processor", server, "us/submit"),
        Figure::new("submit.HTTP callers processor", callers, "us/submit"),
        Figure::new("submit.HTTP p99", http.p99_ms(), "ms"),
        Figure::new("submit.HTTP wrong answers", as_float(http.wrong), "answers").must_be_zero(),
        Figure::new(handle, one_each.rate, "per s").beside(bare_each.rate),
        Figure::new("submit.handle processor", processor(&one_each), "us/submit"),
        Figure::new(together, batches.rate, "per s")
            .beside(bare_batches.rate)
            .ratio_at_least(TARGET),
        Figure::new("submit.together processor", processor(&batches), "us/submit"),
        Figure::new("submit.operations", bare_batches.ops, "per submit"),
        Figure::new("submit.submits together", bare_batches.together, "per commit"),
    ]
}

/// What came of it, and microseconds of processor time of server and callers for each.
fn over_http(seconds: u32) -> (Answered, f64, f64) {
    let server = Server::start();
    tokio::runtime::Runtime::new().unwrap().block_on(server.define(CLIENTS));
    let access = server.access();
    let (seconds, callers) = (seconds.to_string(), CALLERS.to_string());
    let clients = CLIENTS.to_string();
    let args = ["callers", "--address", access.0, "--token", access.1];
    let counts = ["--callers", &callers, "--clients", &clients, "--seconds", &seconds];
    let mut part = Part::start(&[&args[..], &counts[..]].concat());
    let before = processor_seconds(server.id());
    part.tell("go");
    let answered: Answered = serde_json::from_str(&part.line()).unwrap();
    let each = 1e6 / as_float(answered.count);
    let used = (processor_seconds(server.id()) - before) * each;
    let callers = processor_seconds(part.id()) * each;
    part.end();
    (answered, used, callers)
}

fn inside(load: NodeLoad, seconds: u32) -> (Told, Bare) {
    let (told, commits) = NodePart::start(load, CLIENTS, seconds).work();
    let bare = Bare::of(&told, commits);
    (told, bare)
}
