//! `fleetcron jobs`: what is stored and how it stands.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::args::{Global, LIST_LIMIT};
use super::connect::{connect, read_all};
use super::error::CliError;
use super::forecast::{self, NextArgs};
use super::history::{self, HistoryArgs};
use super::output::{Field, NOTHING, Out, Tone, complain, moment, note, relative};
use super::pauses::{self, PauseArgs, Selected};
use super::{Done, Verdict, show, statistics};
use crate::id::JobName;
use crate::job::{JobStatus, JobView};
use crate::remote::{Remote, RemoteError};
use crate::statistics::JobStatistics;
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
    /// Show what was changed of a job, and which firings it missed, the newest first.
    History(HistoryArgs),
    /// Stop jobs from firing, for a time or until they are resumed.
    Pause(PauseArgs),
    /// Let paused jobs fire again.
    Resume(Selected),
    /// Run jobs now, whatever their rules say.
    Trigger(Names),
    /// End the open runs of jobs: queued deliveries are cancelled, clients that have one are
    /// asked to stop.
    Cancel(Names),
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
        JobsCommand::Show { name } => show_one(&out, &remote, name).await?,
        JobsCommand::Next(args) => forecast::next(&out, &remote, args).await?,
        JobsCommand::History(args) => history::history(&out, &remote, args).await?,
        JobsCommand::Pause(args) => pauses::pause(&out, &remote, args).await?,
        JobsCommand::Resume(args) => pauses::resume(&out, &remote, args).await?,
        JobsCommand::Trigger(Names { names }) => {
            each(names, async |name| trigger(&out, &remote, name).await).await?;
        }
        JobsCommand::Cancel(Names { names }) => {
            each(names, async |name| cancel(&out, &remote, name).await).await?;
        }
        JobsCommand::Remove(Names { names }) => {
            each(names, async |name| remove(&out, &remote, name).await).await?;
        }
    }
    Ok(Verdict::Succeeded)
}

/// Does the same to each. A refusal of one does not keep the others from it.
pub(super) async fn each<T>(
    things: Vec<T>,
    act: impl AsyncFn(T) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let total = things.len();
    let mut codes = Vec::new();
    for thing in things {
        match act(thing).await {
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

async fn trigger(out: &Out, remote: &Remote, name: JobName) -> Result<(), CliError> {
    let run = remote.trigger(name).await?;
    if out.is_json() { out.json(&run) } else { out.line(&run.serial.to_string()) }
}

async fn cancel(out: &Out, remote: &Remote, name: JobName) -> Result<(), CliError> {
    let runs = remote.cancel_job(name.clone()).await?;
    if out.is_json() {
        return out.json(&runs);
    }
    let open: u32 = runs.iter().map(|run| run.counts.open()).sum();
    let runs = if runs.len() == 1 { "1 run".into() } else { format!("{} runs", runs.len()) };
    out.line(&format!("{name}: cancelled {runs}; {open} deliveries at clients are open"))
}

async fn remove(out: &Out, remote: &Remote, name: JobName) -> Result<(), CliError> {
    remote.remove(name.clone()).await?;
    if out.is_json() {
        out.json(&serde_json::json!({ "removed": name }))
    } else {
        out.line(&format!("removed {name}"))
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
        status(view, now),
        when(next),
        when(state.last_serial.map(crate::Serial::time)),
        spec.target.to_string().into(),
        spec.command.as_str().into(),
        show::rule(&spec.rule).into(),
    ]
}

fn status(view: &JobView, now: Timestamp) -> Field {
    let status = view.state.status();
    let tone = match status {
        JobStatus::Active => Tone::Good,
        JobStatus::Paused => Tone::Busy,
        JobStatus::Ended => Tone::Quiet,
    };
    let until = view.state.paused.as_ref().and_then(|paused| paused.until);
    let text = match until {
        Some(until) => format!("{status}, ends {}", relative(until, now)),
        None => status.to_string(),
    };
    Field::toned(text, tone)
}

pub(super) fn next_due(view: &JobView, now: Timestamp) -> String {
    match view.state.next_due {
        Some(at) => moment(at, now),
        None => "none, its rule has ended".to_owned(),
    }
}

/// A job with its statistics, as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    view: &'a JobView,
    statistics: &'a JobStatistics,
}

async fn show_one(out: &Out, remote: &Remote, name: JobName) -> Result<(), CliError> {
    let view = remote.get(name.clone()).await?;
    let statistics = remote.job_statistics(name).await?;
    if out.is_json() {
        return out.json(&Shown { view: &view, statistics: &statistics });
    }
    show_definition(out, &view)?;
    statistics::write(out, &(&statistics).into())
}

fn show_definition(out: &Out, view: &JobView) -> Result<(), CliError> {
    let JobView { job, state } = view;
    let spec = &job.spec;
    let mut pairs: Vec<(&str, Field)> = vec![("name", spec.name.as_str().into())];
    pairs.extend(spec.description.as_deref().map(|text| ("description", text.into())));
    pairs.push(("status", status(view, out.now)));
    pairs.push(("target", spec.target.to_string().into()));
    pairs.push(("command", format!("{} {}", spec.command, spec.params).into()));
    pairs.push(("rule", show::rule(&spec.rule).into()));
    pairs.extend(policies(view));
    pairs.push(("next", next_due(view, out.now).into()));
    pairs.extend(state.paused.as_ref().map(|paused| {
        let since = moment(paused.at, out.now);
        ("paused", format!("{since}{}", pauses::terms(paused, out.now)).into())
    }));
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

/// What a job does in each case, as its owner wrote it or by default.
fn policies(view: &JobView) -> Vec<(&'static str, Field)> {
    let JobView { job, state } = view;
    let spec = &job.spec;
    let mut pairs: Vec<(&str, Field)> = Vec::new();
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
    for (name, value) in [
        ("retry", json!(spec.retry)),
        ("timeout", json!(spec.timeout)),
        ("delivery", json!(spec.delivery)),
    ] {
        pairs.push((name, policy(&value).into()));
    }
    pairs.extend(spec.rollout.as_ref().map(|it| ("rollout", policy(&json!(it)).into())));
    pairs.extend(spec.expires_after.map(|after| ("expires_after", duration::format(after).into())));
    pairs.extend(spec.pause_on_failure.map(|limit| {
        let text = format!("after {} in a row; now {}", limit.get(), state.failures);
        ("pause_on_failure", text.into())
    }));
    pairs.push(("priority", spec.priority.to_string().into()));
    pairs.extend(spec.per_client.map(|limit| ("per_client", limit.to_string().into())));
    pairs.extend(spec.history.map(|keep| ("history", format!("keeps {keep}").into())));
    pairs.push(("on_client_crash", spec.on_client_crash.to_string().into()));
    pairs
}

/// A policy in words: its fields and what they have.
fn policy(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(fields) => {
            let part = |(name, value)| format!("{name} {}", policy(value));
            fields.iter().map(part).collect::<Vec<_>>().join(", ")
        }
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pause::Paused;

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
        let paused = Paused { at: now, reason: None, until: None };
        view.state.paused = Some(paused.clone());
        let text = format!("{:?}", row(&view, now));
        assert!(text.contains("\"paused\"") && !text.contains("in 5m"), "{text}");
        let until = Some(now.plus(Duration::from_secs(7_200)));
        view.state.paused = Some(Paused { until, ..paused });
        let text = format!("{:?}", row(&view, now));
        assert!(text.contains("paused, ends in 2h"), "{text}");
    }
}
