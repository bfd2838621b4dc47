//! The command line: what there is to say, and nothing of what it does.
//!
//! A subcommand has its arguments and its work in one file of its own; this one has the list and
//! what all of them share.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::error::CliError;
use super::{
    agent, apply, calendars, clients, demo, events, explain, forecast, jobs, replay, run, runs,
    serve, soak, status, store, verify,
};
use crate::store::StoreKind;

/// A cron for a whole fleet: jobs kept by one server, delivered to every client they are for.
#[derive(Debug, Parser)]
#[command(name = "fleetcron", version, max_term_width = 100, after_help = super::EXIT_CODES)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every subcommand understands.
#[expect(clippy::doc_markdown, reason = "the help shows these texts as they stand")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Global {
    /// The server's URL, such as http://127.0.0.1:7401. Default: from the access file.
    #[arg(long, global = true, env = "FLEETCRON_SERVER", value_name = "URL")]
    pub(super) server: Option<String>,
    /// The token that opens the server. Default: from the access file.
    #[arg(long, global = true, env = "FLEETCRON_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
    /// The access file. Default: ./fleetcron-data/access.toml, then
    /// ~/.config/fleetcron/access.toml.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) access: Option<PathBuf>,
    /// How results are written to standard output.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub(super) output: Format,
    /// How log lines are written to standard error.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub(super) log: LogFormat,
    /// Log more: -v information, -vv details. RUST_LOG overrides it.
    #[arg(short, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

/// The kinds of store, as flags name them.
pub(super) fn store_kind() -> impl TypedValueParser<Value = StoreKind> {
    PossibleValuesParser::new(StoreKind::ALL.map(StoreKind::name))
        .try_map(|text| text.parse::<StoreKind>())
}

/// How results are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// JSON, for programs.
    Json,
    /// One JSON object a line; of history alone.
    Ndjson,
    /// Comma-separated values, by RFC 4180; of history alone.
    Csv,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// One line of text.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// See it work: a server, three agents and the jobs of a directory.
    Demo(demo::DemoArgs),
    /// Keep jobs in a store and deliver them to the clients that connect.
    Serve(serve::ServeArgs),
    /// Run the programs that this machine's own list allows, when the server says so.
    Agent(agent::AgentArgs),
    /// Bring about the jobs and calendars that files define.
    Apply(apply::ApplyArgs),
    /// Run a command on clients now.
    Run(run::RunArgs),
    /// List, show, foresee, explain, pause, resume, trigger and remove jobs.
    Jobs(jobs::JobsArgs),
    /// Foresee all that fires in a span: how much, when most, and what comes next.
    Forecast(forecast::ForecastArgs),
    /// Explain a job's firings or a client's day: what was to be, and what became of it.
    Explain(explain::ExplainArgs),
    /// List, show, follow and cancel runs.
    Runs(runs::RunsArgs),
    /// Run past runs again, make up for firings of the past, and list, show and cancel that.
    #[command(visible_alias = "replays")]
    Replay(replay::ReplayArgs),
    /// List, follow and export what has happened, from the ledger.
    History(events::EventsArgs),
    /// List, show, add, group and remove clients.
    Clients(clients::ClientsArgs),
    /// List, show and remove calendars: days that many jobs leave out. Files and apply set them.
    Calendars(calendars::CalendarsArgs),
    /// Decide again on what a store has recorded, or see what other definitions would have changed.
    Verify(verify::VerifyArgs),
    /// Try a real server and its clients with faults, for minutes or days: is anything lost?
    Soak(soak::SoakArgs),
    /// Hold some of a soak's clients.
    #[command(hide = true)]
    SoakClients(soak::SoakClientsArgs),
    /// Count everything.
    Status,
    /// Copy the server's store while it goes on, as of one commit.
    Backup(store::BackupArgs),
    /// Write jobs, runs and clients of the server as lines of JSON to standard output.
    Export(store::ExportArgs),
    /// Back up, restore, check, count, export and import the store of a server that does not run.
    Store(store::StoreArgs),
}

impl Command {
    /// How much more a command logs than others: those that run long tell what they do.
    pub(super) fn talks(&self) -> u8 {
        u8::from(matches!(self, Self::Serve(_) | Self::Agent(_)))
    }

    /// Does what the subcommand says.
    pub(super) async fn execute(self, global: &Global) -> super::Done {
        let form = match global.output {
            Format::Table | Format::Json => None,
            Format::Ndjson => Some("ndjson"),
            Format::Csv => Some("csv"),
        };
        if let Some(form) = form.filter(|_| !matches!(self, Self::History(_))) {
            let message = format!("--output {form} is for history alone; write table or json");
            return Err(CliError::Usage(message));
        }
        match self {
            Self::Demo(args) => demo::execute(args).await,
            Self::Serve(args) => serve::execute(args).await,
            Self::Agent(args) => agent::execute(args).await,
            Self::Apply(args) => apply::execute(args, global).await,
            Self::Run(args) => run::execute(args, global).await,
            Self::Jobs(args) => jobs::execute(args, global).await,
            Self::Forecast(args) => forecast::execute(args, global).await,
            Self::Explain(args) => explain::execute(args, global).await,
            Self::Runs(args) => runs::execute(args, global).await,
            Self::Replay(args) => replay::execute(args, global).await,
            Self::History(args) => events::execute(args, global).await,
            Self::Clients(args) => clients::execute(args, global).await,
            Self::Calendars(args) => calendars::execute(args, global).await,
            Self::Verify(args) => verify::execute(args, global).await,
            Self::Soak(args) => soak::execute(args, global).await,
            Self::SoakClients(args) => soak::execute_clients(args).await,
            Self::Status => status::execute(global).await,
            Self::Backup(args) => store::back_up(args, global).await,
            Self::Export(args) => store::export(args, global).await,
            Self::Store(args) => store::execute(args, global).await,
        }
    }
}

/// How many items a list shows at most when nothing is said.
pub(super) const LIST_LIMIT: usize = 1_000;

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_all_share_may_stand_anywhere() {
        for line in [
            "fleetcron --server http://h:1 --output json -v jobs list",
            "fleetcron jobs list -v --output json --server http://h:1",
        ] {
            let global = parse(line).unwrap().global;
            assert_eq!(global.server.as_deref(), Some("http://h:1"));
            assert_eq!(
                (global.output, global.log, global.verbose),
                (Format::Json, LogFormat::Human, 1)
            );
        }
    }

    #[test]
    fn lists_need_no_word() {
        for line in ["fleetcron jobs", "fleetcron runs --job a", "fleetcron clients --group web"] {
            parse(line).unwrap();
        }
    }

    #[test]
    fn a_bad_value_is_told() {
        let error = parse("fleetcron run ping --to web-01").unwrap_err();
        assert!(error.contains("'web-01'") && error.contains("client:ID"), "{error}");
        let error = parse("fleetcron run ping --to all --timeout 5").unwrap_err();
        assert!(error.contains("5m"), "{error}");
        let error = parse("fleetcron jobs show a%b").unwrap_err();
        assert!(error.contains("job name \"a%b\" is not valid"), "{error}");
        assert!(parse("fleetcron run ping").unwrap_err().contains("--to"));
        assert!(parse("fleetcron runs show 17").unwrap_err().contains("is not a ULID"));
    }
}
