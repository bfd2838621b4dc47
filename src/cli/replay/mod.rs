//! `fleetcron replay`: what ran runs again, and what should have run is made up for.

mod make;
mod show;

use clap::{Args, Subcommand};

use super::args::{Global, LIST_LIMIT};
use super::connect::{connect, read_all};
use super::error::CliError;
use super::output::{Out, note};
use super::{Done, Verdict};
use crate::engine::Page;
use crate::id::ReplayId;
use crate::remote::Remote;
use crate::replay::Replay;

/// The arguments of `replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    command: Option<ReplayCommand>,
}

/// The arguments of `replay list`.
#[derive(Debug, Default, PartialEq, Args)]
struct ListArgs {
    /// Show at most so many. Default: 1000.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum ReplayCommand {
    /// List replays, newest first.
    List(ListArgs),
    /// Run past runs, or those of their deliveries that ended so, again: with the command and the
    /// parameters that they had, to the same clients.
    Run(make::RunArgs),
    /// Make up for the occurrences of a job's rule in a span of the past that have no run.
    Backfill(make::BackfillArgs),
    /// Show a replay and the runs that it has made.
    Show {
        /// The replay's number.
        id: ReplayId,
        /// Show each run once it has ended, until the replay has.
        #[arg(long)]
        follow: bool,
    },
    /// Make no further run of a replay, and cancel those that are open.
    Cancel {
        /// The replay's number.
        id: ReplayId,
    },
}

pub(super) async fn execute(args: ReplayArgs, global: &Global) -> Done {
    let out = Out::new(global);
    let command = match args.command {
        None => ReplayCommand::List(args.list),
        Some(_) if args.list != ListArgs::default() => {
            let message = "--limit belongs after: replay list";
            return Err(CliError::Usage(message.to_owned()));
        }
        Some(command) => command,
    };
    match command {
        ReplayCommand::List(args) => list(&out, &connect(global)?, &args).await?,
        ReplayCommand::Run(args) => return make::run(args, &out, global).await,
        ReplayCommand::Backfill(args) => return make::backfill(args, &out, global).await,
        ReplayCommand::Show { id, follow } if follow => {
            return show::follow(&out, &connect(global)?, id).await;
        }
        ReplayCommand::Show { id, .. } => show::one(&out, &connect(global)?, id).await?,
        ReplayCommand::Cancel { id } => {
            let replay = connect(global)?.cancel_replay(id).await?;
            if out.is_json() {
                out.json(&replay)?;
            } else {
                let open = replay.started - replay.ended;
                out.line(&format!("cancelled {id}; {open} of its runs are open at clients"))?;
            }
        }
    }
    Ok(Verdict::Succeeded)
}

async fn list(out: &Out, remote: &Remote, args: &ListArgs) -> Result<(), CliError> {
    let limit = args.limit.unwrap_or(LIST_LIMIT);
    let read = async |page: Page<ReplayId>| remote.replays(page).await;
    let (replays, more) = read_all(limit, |replay: &Replay| replay.id, read).await?;
    if out.is_json() {
        out.json(&replays)?;
    } else {
        let rows = replays.iter().map(|replay| show::row(replay, out.now)).collect();
        out.table(&["REPLAY", "KIND", "JOB", "MADE", "RUNS", "OK", "STANDING"], rows)?;
    }
    if replays.is_empty() {
        note("no replays");
    }
    if more {
        note(&format!("there are more than {limit} replays; --limit shows more"));
    }
    Ok(())
}
