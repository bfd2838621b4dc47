//! `fleetcron explain`: what was to be, and what became of it.

use clap::Args;
use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;

use super::args::Global;
use super::connect::connect;
use super::error::CliError;
use super::explained::{self, Sheet};
use super::output::Out;
use super::{Done, Verdict};
use crate::explain::{ClientQuery, Item, JobQuery, Only, Sums};
use crate::id::{ClientId, GroupName, JobName};
use crate::remote::RemoteError;
use crate::time::{Timestamp, duration};

/// The arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The job's name; it may be that of a removed job. Without it, a client's day is explained.
    #[arg(required_unless_present = "client", value_name = "JOB")]
    job: Option<JobName>,
    /// Only what was for this client.
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    /// Only what was for clients that are in this group now.
    #[arg(long, value_name = "NAME", requires = "job", conflicts_with = "client")]
    group: Option<GroupName>,
    /// From when on: a time, RFC 3339 with an offset, or how long ago, such as 24h. Default: a day
    /// before the end.
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    since: Option<When>,
    /// Until when, in the same way. Default: now.
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    until: Option<When>,
    /// Which of them: all, or problems, those that did not do what they were to do.
    #[arg(long, value_name = "WHICH", default_value_t)]
    only: Only,
    /// Show every delivery, not only the first that did not succeed.
    #[arg(long, requires = "job")]
    all_clients: bool,
}

/// A moment, or how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    At(Timestamp),
    Ago(std::time::Duration),
}

impl When {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ago) = duration::parse(text) {
            return Ok(Self::Ago(ago));
        }
        let told = |error: &dyn std::fmt::Display| format!("{error}, or how long ago, such as 24h");
        text.parse().map(Self::At).map_err(|error| told(&error))
    }

    fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.minus(ago),
        }
    }
}

pub(super) async fn execute(args: ExplainArgs, global: &Global) -> Done {
    let out = Out::new(global);
    let moment = |when: Option<When>| when.map(|when| when.moment(out.now));
    let (since, until) = (moment(args.since), moment(args.until));
    let remote = connect(global)?;
    let ExplainArgs { job, client, group, only, all_clients, .. } = args;
    let (items, sheet) = match (job, client) {
        (Some(job), client) => {
            let sheet = explained::of_job(&job);
            let query = JobQuery { job, client, group, since, until, only, all_clients };
            (remote.explain_job(query), sheet)
        }
        (None, Some(client)) => {
            let sheet = explained::of_client(&client);
            (remote.explain_client(ClientQuery { client, since, until, only }), sheet)
        }
        (None, None) => {
            let message = "name a job, or a client with --client".to_owned();
            return Err(CliError::Usage(message));
        }
    };
    let sums = tell(&out, items, sheet).await?;
    let well = sums.is_some_and(|sums| sums.problems == 0);
    Ok(if well { Verdict::Succeeded } else { Verdict::Failed })
}

/// Writes the items as they come, and gives the sums.
async fn tell(
    out: &Out,
    mut items: BoxStream<'static, Result<Item, RemoteError>>,
    mut sheet: Sheet,
) -> Result<Option<Sums>, CliError> {
    let mut sums = None;
    while let Some(item) = items.try_next().await? {
        if out.is_json() {
            out.json_line(&item)?;
        } else {
            sheet.put(out, &item)?;
        }
        if let Item::Sums(all) = item {
            sums = Some(*all);
        }
    }
    sheet.end(out)?;
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago_it_was() {
        let now: Timestamp = "2026-11-22T06:00:00Z".parse().unwrap();
        let of = |text: &str| When::parse(text).map(|when| when.moment(now).to_string());
        assert_eq!(of("24h").as_deref(), Ok("2026-11-21T06:00:00.000Z"));
        assert_eq!(of("2026-11-01T00:00:00+01:00").as_deref(), Ok("2026-10-31T23:00:00.000Z"));
        let error = of("yesterday").unwrap_err();
        assert!(error.contains("\"yesterday\"") && error.contains("such as 24h"), "{error}");
    }
}
