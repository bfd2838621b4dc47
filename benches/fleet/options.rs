//! The command line of the benchmarks, and the one of the processes that they start.

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use super::BENCHMARKS;

/// Measure the server and its clients as processes, each beside a baseline.
#[derive(Debug, Parser)]
#[command(name = "fleet", max_term_width = 100)]
pub(crate) struct Options {
    /// Short: for a first look, not for figures to quote.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only this benchmark.
    #[arg(long, value_name = "NAME", value_parser = names())]
    pub(crate) only: Option<String>,
    /// One JSON object a line in place of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// How often each is measured; the value is the median.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeats: u32,
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
}

/// What the clients are told.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// Where the server listens.
    #[arg(long)]
    pub(crate) address: String,
    /// How many clients there are.
    #[arg(long)]
    pub(crate) clients: usize,
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
