//! `fleetcron jobs pause` and `resume`: of single jobs, and of all whose names begin alike.

use std::time::Duration;

use clap::Args;

use super::error::CliError;
use super::jobs::{each, next_due};
use super::output::{Out, moment, note};
use crate::engine::Pause;
use crate::id::JobName;
use crate::pause::{JobSelection, PauseTerms, Paused, SelectionChange};
use crate::remote::Remote;
use crate::time::{Timestamp, duration};

/// The arguments of `jobs resume`.
#[derive(Debug, Args)]
pub(super) struct Selected {
    /// The jobs' names; one that ends in a / means all jobs whose names begin so.
    #[arg(required_unless_present = "all", value_name = "NAME")]
    names: Vec<JobName>,
    /// All jobs.
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

/// The arguments of `jobs pause`.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    selected: Selected,
    /// Why; shown with the jobs.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// When they resume by themselves, such as 2026-11-22T06:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with = "lasting")]
    until: Option<Timestamp>,
    /// After how long they resume by themselves, such as 2h.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    lasting: Option<Duration>,
}

/// One job, or all whose names begin alike.
enum Which {
    One(JobName),
    Many(JobSelection),
}

impl Selected {
    fn which(self) -> Vec<Which> {
        if self.all {
            return vec![Which::Many(JobSelection::All)];
        }
        let which = |name: JobName| {
            let many = name.as_str().ends_with('/');
            if many { Which::Many(JobSelection::Under(name)) } else { Which::One(name) }
        };
        self.names.into_iter().map(which).collect()
    }
}

pub(super) async fn pause(out: &Out, remote: &Remote, args: PauseArgs) -> Result<(), CliError> {
    let PauseArgs { selected, reason, until, lasting } = args;
    let terms = PauseTerms { reason, until, lasting };
    let act = async |which| pause_one(out, remote, which, terms.clone()).await;
    each(selected.which(), act).await
}

async fn pause_one(
    out: &Out,
    remote: &Remote,
    which: Which,
    terms: PauseTerms,
) -> Result<(), CliError> {
    let job = match which {
        Which::One(job) => job,
        Which::Many(jobs) => {
            return told(out, "paused", &remote.pause_all(jobs, terms).await?);
        }
    };
    let view = remote.pause_with(Pause { job: job.clone(), terms }).await?;
    if out.is_json() {
        return out.json(&view);
    }
    let terms = view.state.paused.map(|paused| self::terms(&paused, out.now)).unwrap_or_default();
    out.line(&format!("paused {job}{terms}"))
}

pub(super) async fn resume(out: &Out, remote: &Remote, args: Selected) -> Result<(), CliError> {
    each(args.which(), async |which| resume_one(out, remote, which).await).await
}

async fn resume_one(out: &Out, remote: &Remote, which: Which) -> Result<(), CliError> {
    let name = match which {
        Which::One(name) => name,
        Which::Many(jobs) => return told(out, "resumed", &remote.resume_all(jobs).await?),
    };
    let job = remote.resume(name.clone()).await?;
    if out.is_json() {
        return out.json(&job);
    }
    out.line(&format!("resumed {name}; next firing: {}", next_due(&job, out.now)))
}

fn told(out: &Out, done: &str, change: &SelectionChange) -> Result<(), CliError> {
    if out.is_json() {
        return out.json(change);
    }
    for name in &change.changed {
        out.line(&format!("{done} {name}"))?;
    }
    if !change.unchanged.is_empty() {
        let standing = if done == "paused" { "paused already" } else { "not paused" };
        let some = change.unchanged.len();
        let total = some + change.changed.len();
        note(&format!("{some} of {total} were {standing} and stay as they are"));
    }
    Ok(())
}

/// A pause's end and reason, to be written behind other words.
pub(super) fn terms(paused: &Paused, now: Timestamp) -> String {
    let until = paused.until.map(|until| format!(", until {}", moment(until, now)));
    let reason = paused.reason.as_ref().map(|reason| format!(": {reason}"));
    format!("{}{}", until.unwrap_or_default(), reason.unwrap_or_default())
}
