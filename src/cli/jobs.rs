//! `fleetcron jobs`: what is stored and how it stands.

use clap::{Args, Subcommand};

use super::args::{Global, LIST_LIMIT};
use super::connect::{connect, read_all};
use super::error::CliError;
use super::forecast::{self, NextArgs};
use super::output::{Field, NOTHING, Out, Tone, complain, moment, note, relative};
use super::{Done, Verdict, show};
use crate::id::JobName;
use crate::job::{JobStatus, JobView};
use crate::remote::{Remote, RemoteError};
use crate::time::{Timestamp, duration};

/// The arguments of `jobs`.
#[derive(Debug, Args)]
pub(super) struct JobsArgs {
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    command: Option<JobsCommand>,
}

/// The arguments of `jobs list`.
#[derive(Debug, Default, PartialEq, Args)]
struct ListArgs {
    /// Show at most so many. Default: 1000.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// List jobs in the order of their names.
    List(ListArgs),
    /// Show one job.
    Show {
        /// The job's name.
        name: JobName,
    },
    /// Show when a job fires next.
    Next(NextArgs),
    /// Stop jobs from firing until they are resumed.
    Pause(Names),
    /// Let paused jobs fire again.
    Resume(Names),
    /// Run jobs now, whatever their rules say.
    Trigger(Names),
    /// Remove jobs; their queued deliveries end as removed.
    Remove(Names),
}

#[derive(Debug, Args)]
struct Names {
    /// The jobs' names.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<JobName>,
}

pub(super) async fn execute(args: JobsArgs, global: &Global) -> Done {
    let out = Out::new(global);
    let command = match args.command {
        None => JobsCommand::List(args.list),
        Some(_) if args.list != ListArgs::default() => {
            return Err(CliError::Usage("--limit belongs after: jobs list".to_owned()));
        }
        Some(command) => command,
    };
    let remote = connect(global)?;
    match command {
        JobsCommand::List(args) => list(&out, &remote, args).await?,
        JobsCommand::Show { name } => show_one(&out, &remote.get(name).await?)?,
        JobsCommand::Next(args) => forecast::next(&out, &remote, args).await?,
        JobsCommand::Pause(args) => each(&out, &remote, Act::Pause, args.names).await?,
        JobsCommand::Resume(args) => each(&out, &remote, Act::Resume, args.names).await?,
        JobsCommand::Trigger(args) => each(&out, &remote, Act::Trigger, args.names).await?,
        JobsCommand::Remove(args) => each(&out, &remote, Act::Remove, args.names).await?,
    }
    Ok(Verdict::Succeeded)
}

/// What can be done to several jobs.
#[derive(Debug, Clone, Copy)]
enum Act {
    Pause,
    Resume,
    Trigger,
    Remove,
}

/// Does the same to each job. A refusal of one does not keep the others from it.
async fn each(out: &Out, remote: &Remote, act: Act, names: Vec<JobName>) -> Result<(), CliError> {
    let total = names.len();
    let mut codes = Vec::new();
    for name in names {
        match one(out, remote, act, name).await {
            Err(error @ CliError::Remote(RemoteError::Refused { .. })) if total > 1 => {
                complain(&error);
                codes.push(error.exit_code());
            }
            done => done?,
        }
    }
    match codes.first() {
        None => Ok(()),
        Some(exit_code) => {
            Err(CliError::Several { failed: codes.len(), total, exit_code: *exit_code })
        }
    }
}

async fn one(out: &Out, remote: &Remote, act: Act, name: JobName) -> Result<(), CliError> {
    match act {
        Act::Pause => {
            let job = remote.pause(name.clone()).await?;
            if out.is_json() { out.json(&job) } else { out.line(&format!("paused {name}")) }
        }
        Act::Resume => {
            let job = remote.resume(name.clone()).await?;
            if out.is_json() {
                return out.json(&job);
            }
            let next = next_due(&job, out.now);
            out.line(&format!("resumed {name}; next firing: {next}"))
        }
        Act::Trigger => {
            let run = remote.trigger(name).await?;
            if out.is_json() { out.json(&run) } else { out.line(&run.serial.to_string()) }
        }
        Act::Remove => {
            remote.remove(name.clone()).await?;
            if out.is_json() {
                out.json(&serde_json::json!({ "removed": name }))
            } else {
                out.line(&format!("removed {name}"))
            }
        }
    }
}

async fn list(out: &Out, remote: &Remote, args: ListArgs) -> Result<(), CliError> {
    let limit = args.limit.unwrap_or(LIST_LIMIT);
    let read = async |page| remote.list(page).await;
    let (jobs, more) = read_all(limit, |job: &JobView| job.job.spec.name.clone(), read).await?;
    if out.is_json() {
        out.json(&jobs)?;
    } else {
        let headings = ["NAME", "STATUS", "NEXT", "LAST RUN", "TARGET", "COMMAND", "RULE"];
        out.table(&headings, jobs.iter().map(|job| row(job, out.now)).collect())?;
    }
    if jobs.is_empty() {
        note("no jobs");
    }
    if more {
        note(&format!("there are more than {limit} jobs; --limit shows more"));
    }
    Ok(())
}

fn row(view: &JobView, now: Timestamp) -> Vec<Field> {
    let (spec, state) = (&view.job.spec, &view.state);
    let when = |at: Option<Timestamp>| {
        at.map_or_else(|| NOTHING.to_owned(), |at| relative(at, now)).into()
    };
    let next = state.next_due.filter(|_| state.status() == JobStatus::Active);
    vec![
        spec.name.as_str().into(),
        status(view),
        when(next),
        when(state.last_serial.map(crate::Serial::time)),
        spec.target.to_string().into(),
        spec.command.as_str().into(),
        show::rule(&spec.rule).into(),
    ]
}

fn status(view: &JobView) -> Field {
    let tone = match view.state.status() {
        JobStatus::Active => Tone::Good,
        JobStatus::Paused => Tone::Busy,
        JobStatus::Ended => Tone::Quiet,
    };
    Field::toned(view.state.status().to_string(), tone)
}

fn next_due(view: &JobView, now: Timestamp) -> String {
    match view.state.next_due {
        Some(at) => moment(at, now),
        None => "none, its rule has ended".to_owned(),
    }
}

fn show_one(out: &Out, view: &JobView) -> Result<(), CliError> {
    if out.is_json() {
        return out.json(view);
    }
    let JobView { job, state } = view;
    let spec = &job.spec;
    let mut pairs: Vec<(&str, Field)> = vec![("name", spec.name.as_str().into())];
    pairs.extend(spec.description.as_deref().map(|text| ("description", text.into())));
    pairs.push(("status", status(view)));
    pairs.push(("target", spec.target.to_string().into()));
    pairs.push(("command", format!("{} {}", spec.command, spec.params).into()));
    pairs.push(("rule", show::rule(&spec.rule).into()));
    let word = |value| serde_json::to_value(value).ok()?.as_str().map(str::to_owned);
    pairs.extend(word(serde_json::json!(spec.offline)).map(|text| ("offline", text.into())));
    if let Some(catch_up) = word(serde_json::json!(spec.catch_up)) {
        let window = duration::format(spec.catch_up_window);
        pairs.push(("catch_up", format!("{catch_up}, within {window}").into()));
    }
    if let (Some(overlap), Some(scope)) =
        (word(serde_json::json!(spec.overlap)), word(serde_json::json!(spec.overlap_scope)))
    {
        pairs.push(("overlap", format!("{overlap}, by {scope}").into()));
    }
    for (name, value) in [("spread", spec.spread), ("jitter", spec.jitter)] {
        pairs.extend(value.map(|value| (name, duration::format(value).into())));
    }
    pairs.extend(spec.expires_after.map(|after| ("expires_after", duration::format(after).into())));
    pairs.push(("next", next_due(view, out.now).into()));
    pairs.extend(state.paused_at.map(|at| ("paused", moment(at, out.now).into())));
    pairs.extend(state.last_serial.map(|serial| {
        ("last run", format!("{serial}, {}", moment(serial.time(), out.now)).into())
    }));
    if let Some(missed) = &state.missed {
        let last = moment(missed.last, out.now);
        let text = format!("{} firings, the last {last}: {}", missed.total, missed.reason);
        pairs.push(("missed", Field::toned(text, Tone::Busy)));
    }
    pairs.push(("occurrences", state.occurrences.to_string().into()));
    pairs.push((
        "revision",
        format!("{}, {}", job.revision, moment(job.updated_at, out.now)).into(),
    ));
    out.pairs(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_job_shows_no_next_firing() {
        let at = "2026-11-22T06:00:00Z";
        let mut view: JobView = serde_json::from_value(serde_json::json!({
            "id": "01JD0000000000000000000000", "revision": 1, "created_at": at, "updated_at": at,
            "spec": {"name": "a", "target": "all", "command": "ping", "rule": {"every": "5m"}},
            "state": {"next_due": "2026-11-22T06:05:00Z"},
        }))
        .unwrap();
        let now = at.parse().unwrap();
        assert!(format!("{:?}", row(&view, now)).contains("in 5m"));
        view.state.paused_at = Some(now);
        let row = format!("{:?}", row(&view, now));
        assert!(row.contains("paused") && !row.contains("in 5m"), "{row}");
    }
}
