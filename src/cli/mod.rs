//! The command line.
//!
//! Promises: standard output carries data, standard error the rest; a closed pipe ends the
//! program quietly; every error names the thing and the value. Exit codes:
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | it is done |
//! | 1 | it was done and did not succeed: a delivery ended otherwise, or not in time; a store is not sound; what is explained has problems; a soak found a fault |
//! | 2 | the command line, a file or a value in it is not valid |
//! | 3 | the server cannot be reached, or does not let the caller in |
//! | 4 | the server, or a store, refuses: no such thing, or not in a state for it |
//! | 5 | a server or an agent cannot start or cannot go on, a store or a file cannot be used |
//!
//! May import everything; nothing imports it.

mod agent;
mod apply;
mod args;
mod artefacts;
mod calendars;
mod clients;
mod clock;
mod connect;
mod demo;
mod error;
mod events;
mod explain;
mod explained;
mod forecast;
mod heat;
mod history;
mod jobs;
mod open_files;
mod output;
mod pauses;
mod progress;
mod reasons;
mod replay;
mod rollouts;
mod run;
mod runs;
mod seen;
mod sentence;
mod serve;
mod service;
mod show;
mod signals;
mod soak;
mod statistics;
mod status;
mod store;
mod tries;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use args::{Cli, LogFormat};
use error::CliError;

/// Where a server keeps its data unless told otherwise.
const DATA: &str = "fleetcron-data";

/// How a command ends: whether what was asked for succeeded, or why it could not be done.
type Done = Result<Verdict, CliError>;

/// How a command that was done turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It succeeded.
    Succeeded,
    /// It did not, and its output says how.
    Failed,
}

/// The exit codes, for `--help`.
const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 a delivery did not succeed, a store is not sound, a soak found a fault; 2 not valid; 3 the server \
cannot be reached or does not let you in; 4 the server or a store refuses; 5 a server or an agent \
cannot start or go on, a store cannot be used";

/// Reads the command line, does what it says, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap. If they cannot be printed nothing can.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    start_log(cli.global.log, cli.global.verbose + cli.command.talks());
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Usage(format!("cannot start: {error}")))
        .and_then(|runtime| runtime.block_on(cli.command.execute(&cli.global)));
    match done {
        Ok(Verdict::Succeeded) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(1),
        Err(error) => {
            if !error.is_closed_pipe() {
                output::complain(&error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn start_log(format: LogFormat, verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info,tokio_cron_scheduler=warn,fjall=warn,lsm_tree=warn",
        _ => "fleetcron=debug,info,tokio_cron_scheduler=warn",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => builder.with_ansi(output::colours(&console::Term::stderr())).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
