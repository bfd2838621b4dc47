//! Commands for one of 1,000 clients each, every one a run of its own: executed and answered, the
//! answer durable, a second.
//!
//! They are submitted by the handle of a node inside another program, so that what HTTP costs is
//! left to `submit`. Beside it the bare store: the very batches that the node has committed,
//! grouped as it did, straight into a new store.

use super::capture;
use super::load::Load;
use super::node_part::{NodePart, Told};
use super::options::{NodeLoad, Note, Options};
use super::pace::as_float;
use super::process::processor_seconds;
use super::report::Figure;
use super::stores::unicast_target;
use super::taken::Executed;

const CLIENTS: usize = 1_000;
const SECONDS: u32 = 20;
const SECONDS_QUICK: u32 = 5;

/// What part of the bare store should remain.
const TARGET: f64 = 0.7;

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let seconds = if options.quick { SECONDS_QUICK } else { SECONDS };
    let node = NodePart::start(NodeLoad::Unicast, CLIENTS, seconds);
    let load = Load::start(&node.listen, CLIENTS, Note::Runs);
    let before = processor_seconds(load.id());
    let (told, commits) = node.work();
    let clients = (processor_seconds(load.id()) - before) * 1e6 / count(told.submitted.len());
    let executed = Executed::parse(&load.end(), &told.submitted, 1);
    let bare = Bare::of(&told, commits);
    let figure = |name: &str, value, unit| Figure::new(format!("unicast.{name}"), value, unit);
    vec![
        figure("commands / bare store", told.rate, "per s")
            .beside(bare.rate)
            .ratio_at_least(TARGET)
            .at_least(unicast_target()),
        figure("server processor", told.processor * 1e6 / as_float(told.commands), "us/command"),
        figure("clients processor", clients, "us/command"),
        figure("operations", bare.ops, "per command"),
        figure("commands together", bare.together, "per commit"),
        figure("came", count(executed.came), "deliveries"),
        figure("missing", count(executed.missing()), "deliveries").must_be_zero(),
        figure("doubled", count(executed.doubled), "deliveries").must_be_zero(),
        figure("strange", count(executed.strange), "deliveries").must_be_zero(),
        figure("left open", as_float(told.left_open), "runs").must_be_zero(),
    ]
}

fn count(count: usize) -> f64 {
    as_float(count as u64)
}

/// What the store alone does of the same commits.
pub(crate) struct Bare {
    /// Commands a second.
    pub(crate) rate: f64,
    /// Operations for each command.
    pub(crate) ops: f64,
    /// Commands in one commit.
    pub(crate) together: f64,
}

impl Bare {
    /// Writes what was taken down.
    pub(crate) fn of(told: &Told, commits: Vec<Vec<fleetcron::store::Batch>>) -> Self {
        let captured = as_float(told.captured);
        let ops = count(capture::ops(&commits)) / captured;
        let together = captured / count(commits.len());
        let took = capture::replay(commits);
        Self { rate: captured / took.as_secs_f64(), ops, together }
    }
}
