//! The command line of the benchmarks, and the one of the processes that they start.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use fleetcron::store::StoreKind;

use super::BENCHMARKS;

/// Measure the server and its clients as processes, each beside a baseline.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(name = "fleet", max_term_width = 100)]
pub(crate) struct Options {
    /// Short: for a first look, not for figures to quote.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Ten million jobs in `stored`, too: takes some 20 GiB of memory, 10 of disk, and long.
    #[arg(long, conflicts_with = "quick")]
    pub(crate) full: bool,
    /// Only this benchmark.
    #[arg(long, value_name = "NAME", value_parser = names())]
    pub(crate) only: Option<String>,
    /// One JSON object a line in place of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// How often each is measured; the value is the median.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeats: u32,
    /// Keep every firing in a file in this directory, a line each: the job, when it was due (ms
    /// since 1970) and how late it was (µs).
    #[arg(long, value_name = "DIR")]
    pub(crate) raw: Option<PathBuf>,
    /// End with 1, too, if a target is not met.
    #[arg(long)]
    pub(crate) strict: bool,
    /// The kind of the store: sled or fjall.
    #[arg(long, value_name = "KIND", default_value_t, global = true)]
    pub(crate) store: StoreKind,
    /// Cargo says it to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    pub(crate) part: Option<Part>,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(BENCHMARKS.iter().map(|benchmark| benchmark.name))
}

/// A process that a benchmark starts.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Clients of the server.
    #[command(hide = true)]
    Clients(ClientArgs),
    /// The same jobs by `tokio-cron-scheduler`.
    #[command(hide = true)]
    CronScheduler(JobArgs),
    /// The same jobs by one timer each.
    #[command(hide = true)]
    TimerLoop(JobArgs),
    /// A server without engine and store.
    #[command(hide = true)]
    RawServer(RawArgs),
    /// A node with a load of its own.
    #[command(hide = true)]
    Node(NodeArgs),
    /// Callers over HTTP.
    #[command(hide = true)]
    Callers(CallerArgs),
    /// A store that is opened and read.
    #[command(hide = true)]
    StoreAlone(StoreArgs),
    /// An engine with many clients.
    #[command(hide = true)]
    Fanout(FanoutArgs),
}

/// What the clients note of each command.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Note {
    /// The job, when it was due and how late it is.
    Firings,
    /// The serial.
    Runs,
    /// Only that there was one more.
    Count,
}

/// What a node's own load is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum NodeLoad {
    /// Commands for one client each, which execute them.
    Unicast,
    /// Callers that submit one after the other.
    Callers,
    /// One caller that submits many together.
    Batches,
}

impl Note {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Firings => "firings",
            Self::Runs => "runs",
            Self::Count => "count",
        }
    }
}

impl NodeLoad {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Callers => "callers",
            Self::Batches => "batches",
        }
    }
}

/// What the clients are told.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// Where the server listens.
    #[arg(long)]
    pub(crate) address: String,
    /// The number of the first.
    #[arg(long)]
    pub(crate) first: usize,
    /// How many clients there are.
    #[arg(long)]
    pub(crate) clients: usize,
    /// What they note.
    #[arg(long, value_enum)]
    pub(crate) note: Note,
}

/// What the server without engine and store is told.
#[derive(Debug, Args)]
pub(crate) struct RawArgs {
    /// How many clients there are.
    #[arg(long)]
    pub(crate) clients: usize,
    /// Runs that are open at once.
    #[arg(long)]
    pub(crate) open: usize,
    /// For how many seconds.
    #[arg(long)]
    pub(crate) seconds: u32,
}

/// What a node with a load of its own is told.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The load.
    #[arg(long, value_enum)]
    pub(crate) load: NodeLoad,
    /// A directory of its own.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Clients to define.
    #[arg(long)]
    pub(crate) clients: usize,
    /// For how many seconds.
    #[arg(long)]
    pub(crate) seconds: u32,
    /// And for how many more, the commits of which are taken down.
    #[arg(long)]
    pub(crate) captured_seconds: u32,
}

/// What the reader of a store is told.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The store's directory.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Its cache, in MiB.
    #[arg(long)]
    pub(crate) cache: u64,
}

/// What the engine with many clients is told.
#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    /// Clients.
    #[arg(long)]
    pub(crate) clients: u64,
    /// Commands for all of them.
    #[arg(long)]
    pub(crate) commands: u32,
}

/// What the callers over HTTP are told.
#[derive(Debug, Clone, Args)]
pub(crate) struct CallerArgs {
    /// Where the server's HTTP interface is.
    #[arg(long)]
    pub(crate) address: String,
    /// The token that opens it.
    #[arg(long)]
    pub(crate) token: String,
    /// Callers.
    #[arg(long)]
    pub(crate) callers: usize,
    /// The clients that they submit for.
    #[arg(long)]
    pub(crate) clients: usize,
    /// For how many seconds.
    #[arg(long)]
    pub(crate) seconds: u32,
}

/// What a scheduler in a process of its own is told.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// Jobs, each once a second.
    #[arg(long)]
    pub(crate) jobs: u32,
    /// For how many seconds.
    #[arg(long)]
    pub(crate) seconds: u32,
}
