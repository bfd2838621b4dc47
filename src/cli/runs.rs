//! `fleetcron runs`: what has fired, and what came of it.

use clap::{Args, Subcommand};
use futures_util::TryStreamExt as _;
use serde_json::json;

use super::args::{Global, LIST_LIMIT};
use super::artefacts::ArtefactsArgs;
use super::connect::{connect, read_all};
use super::error::CliError;
use super::output::{Field, NOTHING, Out, note, relative};
use super::progress::Progress;
use super::run::verdict;
use super::{Done, Verdict, artefacts, rollouts, seen, show};
use crate::engine::Page;
use crate::history::RunQuery;
use crate::id::{ClientId, JobName, Serial};
use crate::remote::Remote;
use crate::run::{LateAnswer, Response, Run};
use crate::time::Timestamp;

/// The arguments of `runs`.
#[derive(Debug, Args)]
pub(super) struct RunsArgs {
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    command: Option<RunsCommand>,
}

/// The arguments of `runs list`.
#[derive(Debug, Default, PartialEq, Args)]
struct ListArgs {
    /// Only runs of this job.
    #[arg(long, value_name = "NAME")]
    job: Option<JobName>,
    /// Show at most so many. Default: 1000.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// List runs, newest first.
    List(ListArgs),
    /// Show one run, its responses and its open deliveries.
    Show {
        /// The run's serial.
        serial: Serial,
    },
    /// Show a run's responses as they come, until it has ended.
    Follow {
        /// The run's serial.
        serial: Serial,
        /// Show what the clients' commands print, and how far they are, too.
        #[arg(long)]
        live: bool,
        /// Show so much of this client alone.
        #[arg(long, value_name = "ID", requires = "live")]
        client: Option<ClientId>,
    },
    /// Write the files that a client's command has left.
    Artefacts(ArtefactsArgs),
    /// Show how far a run is: its deliveries by state, its rollout, its pace, its end.
    Progress {
        /// The run's serial.
        serial: Serial,
    },
    /// Let the next wave of a run's rollout begin.
    Approve {
        /// The run's serial.
        serial: Serial,
    },
    /// End a run: queued deliveries are cancelled, clients that have it are asked to stop.
    Cancel {
        /// The run's serial.
        serial: Serial,
        /// End only this client's delivery.
        #[arg(long, value_name = "ID")]
        client: Option<ClientId>,
    },
}

pub(super) async fn execute(args: RunsArgs, global: &Global) -> Done {
    let out = Out::new(global);
    let command = match args.command {
        None => RunsCommand::List(args.list),
        Some(_) if args.list != ListArgs::default() => {
            let message = "--job and --limit belong after: runs list";
            return Err(CliError::Usage(message.to_owned()));
        }
        Some(command) => command,
    };
    let remote = connect(global)?;
    match command {
        RunsCommand::List(args) => list(&out, &remote, args).await?,
        RunsCommand::Show { serial } => show_one(&out, &remote, serial).await?,
        RunsCommand::Follow { serial, live, client } => {
            return follow(&out, &remote, serial, (live, client)).await;
        }
        RunsCommand::Artefacts(args) => return artefacts::execute(args, &out, &remote).await,
        RunsCommand::Progress { serial } => {
            rollouts::progress(&out, &remote.progress(serial).await?)?;
        }
        RunsCommand::Approve { serial } => {
            let run = remote.approve(serial).await?;
            if out.is_json() {
                out.json(&run)?;
            } else {
                let wave = run.rollout_state.map_or(0, |state| state.wave);
                out.line(&format!("approved {serial}; wave {wave} begins"))?;
            }
        }
        RunsCommand::Cancel { serial, client } => {
            let run = match client {
                Some(client) => remote.cancel_delivery(serial, client).await?,
                None => remote.cancel(serial).await?,
            };
            if out.is_json() {
                out.json(&run)?;
            } else {
                let open = run.counts.open();
                out.line(&format!("cancelled {serial}; {open} deliveries at clients are open"))?;
            }
        }
    }
    Ok(Verdict::Succeeded)
}

async fn list(out: &Out, remote: &Remote, args: ListArgs) -> Result<(), CliError> {
    let limit = args.limit.unwrap_or(LIST_LIMIT);
    // Newest first: what comes after a run in the list is before it in time.
    let read = async |page: Page<Serial>| {
        let (job, limit) = (args.job.clone(), page.limit);
        remote.runs(RunQuery { job, before: page.after, after: None, limit }).await
    };
    let (runs, more) = read_all(limit, |run: &Run| run.serial, read).await?;
    if out.is_json() {
        out.json(&runs)?;
    } else {
        let headings = ["SERIAL", "JOB", "CAUSE", "COMMAND", "TARGET", "FIRED", "OK", "STANDING"];
        out.table(&headings, runs.iter().map(|run| row(run, out.now)).collect())?;
    }
    if runs.is_empty() {
        note("no runs");
    }
    if more {
        note(&format!("there are more than {limit} runs; --limit shows more"));
    }
    Ok(())
}

fn row(run: &Run, now: Timestamp) -> Vec<Field> {
    vec![
        run.serial.to_string().into(),
        run.job.as_ref().map_or(NOTHING, |job| job.as_str()).into(),
        run.cause.to_string().into(),
        run.command.name.as_str().into(),
        run.target.to_string().into(),
        relative(run.fired_at, now).into(),
        format!("{}/{}", run.counts.succeeded, run.counts.total).into(),
        show::standing(run),
    ]
}

async fn show_one(out: &Out, remote: &Remote, serial: Serial) -> Result<(), CliError> {
    let run = remote.run(serial).await?;
    let responses: Vec<Response> = remote.responses(serial).try_collect().await?;
    let mut open = match run.ended_at {
        Some(_) => Vec::new(),
        None => remote.open_deliveries(serial).await?,
    };
    // Asked for one after the other: a delivery may have ended in between.
    let ended: std::collections::HashSet<_> = responses.iter().map(|it| &it.client).collect();
    open.retain(|delivery| !ended.contains(&delivery.client));
    let read = async |page| remote.late_answers(serial, page).await;
    let (late, more) = read_all(LIST_LIMIT, |late: &LateAnswer| late.client.clone(), read).await?;
    if out.is_json() {
        let all = json!({ "run": run, "responses": responses, "open": open, "late": late });
        return out.json(&all);
    }
    show::run(out, &run)?;
    if !responses.is_empty() || !open.is_empty() {
        out.line("")?;
    }
    show::answers(out, &responses, &open)?;
    for answer in &late {
        out.line(&show::late_line(answer, out.now))?;
    }
    if more {
        note(&format!("there are more than {LIST_LIMIT} late answers"));
    }
    Ok(())
}

/// Shows responses, and with `live` what is seen of all clients or of one.
async fn follow(
    out: &Out,
    remote: &Remote,
    serial: Serial,
    (live, client): (bool, Option<ClientId>),
) -> Done {
    let bar = Progress::new(remote.run(serial).await?.counts.total);
    let answers = async {
        let mut responses = remote.follow(serial);
        while let Some(response) = responses.try_next().await? {
            bar.count(&response);
            bar.around(|| {
                if out.is_json() {
                    out.json_line(&response)
                } else {
                    out.line(&show::response_line(&response))
                }
            })?;
        }
        Ok::<_, CliError>(())
    };
    if live {
        tokio::try_join!(answers, seen::show(out, &bar, remote, (serial, client)))?;
    } else {
        answers.await?;
    }
    drop(bar);
    let run = remote.run(serial).await?;
    note(&format!("run {serial} has ended: {}", show::ends(&run).join(", ")));
    Ok(verdict(&run))
}
