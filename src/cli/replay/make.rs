//! `fleetcron replay run` and `replay backfill`: which runs, how, and what that would be.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::show;
use crate::cli::args::Global;
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::cli::{Done, Verdict};
use crate::id::{ClientId, JobName, Serial};
use crate::job::Overlap;
use crate::remote::Remote;
use crate::replay::{Backfill, MaxOpen, Replay, ReplayTerms, RunAgain, RunSelection};
use crate::rollout::Decimal;
use crate::run::DeliveryState;
use crate::target::Target;
use crate::time::{Timestamp, duration};

/// The arguments of `replay run`.
#[expect(clippy::doc_markdown, reason = "the help shows these texts as they stand")]
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Only runs of this job.
    #[arg(long, value_name = "NAME")]
    job: Option<JobName>,
    /// Only runs from then on, RFC 3339 with an offset.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only runs before then.
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Only runs of so long a time up to now, such as 2h.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, conflicts_with = "from")]
    last: Option<Duration>,
    /// This run. May be repeated.
    #[arg(long = "serial", value_name = "SERIAL", required_unless_present_any = ["from", "last"])]
    serials: Vec<Serial>,
    /// Only deliveries that ended so: failed,timed_out. Default: all that have ended.
    #[arg(long = "state", value_name = "STATES", value_delimiter = ',', value_parser = end_state)]
    states: Vec<DeliveryState>,
    /// Only deliveries to this client.
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    #[command(flatten)]
    how: HowArgs,
}

/// The arguments of `replay backfill`.
#[derive(Debug, Args)]
pub(super) struct BackfillArgs {
    /// The job's name.
    job: JobName,
    /// The begin of the span, RFC 3339 with an offset.
    #[arg(long, value_name = "TIME")]
    from: Timestamp,
    /// The end of the span, which is not part of it. Default: now.
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Run those that have a run already, too.
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    how: HowArgs,
}

/// How a replay goes about it.
#[derive(Debug, Args)]
#[command(next_help_heading = "How it goes about it")]
struct HowArgs {
    /// Whom it is for, instead of the clients that had it: all, group:NAME or client:ID.
    #[arg(long)]
    target: Option<Target>,
    /// Keep the spacing of the past, so many times faster: 1, 2, 0.5. Default: as fast as limits
    /// allow.
    #[arg(long, value_name = "N")]
    speed: Option<Decimal>,
    /// Let at most so many of its runs be under way, up to 1000.
    #[arg(long, value_name = "N", default_value = "16")]
    max_open: MaxOpen,
    /// What other runs of the job mean for them. Default: what the runs had, or the job has.
    #[arg(long, value_name = "POLICY", value_parser =
        PossibleValuesParser::new(["skip", "queue", "replace", "allow"]).map(|text| overlap(&text)))]
    overlap: Option<Overlap>,
    /// Let each run go to all of its clients at once, whatever its rollout was.
    #[arg(long)]
    no_rollout: bool,
    /// Only tell what would run.
    #[arg(long)]
    dry_run: bool,
    /// Show each run once it has ended, until the replay has.
    #[arg(long, conflicts_with = "dry_run")]
    follow: bool,
}

/// One of the four values that the parser lets pass.
fn overlap(text: &str) -> Overlap {
    match text {
        "queue" => Overlap::Queue,
        "replace" => Overlap::Replace,
        "allow" => Overlap::Allow,
        _ => Overlap::Skip,
    }
}

fn end_state(text: &str) -> Result<DeliveryState, String> {
    let ends = || DeliveryState::ALL.into_iter().filter(|state| state.is_end());
    ends().find(|state| state.name() == text).ok_or_else(|| {
        let names: Vec<&str> = ends().map(DeliveryState::name).collect();
        format!("no delivery ends so; they end as {}", names.join(", "))
    })
}

impl HowArgs {
    fn terms(&self) -> ReplayTerms {
        ReplayTerms {
            target: self.target.clone(),
            speed: self.speed,
            max_open: self.max_open,
            overlap: self.overlap,
            no_rollout: self.no_rollout,
        }
    }
}

impl RunArgs {
    fn again(self, now: Timestamp) -> Result<RunAgain, CliError> {
        let terms = self.how.terms();
        let from = self.from.or(self.last.map(|last| now.minus(last)));
        let Self { job, to, serials, states, client, .. } = self;
        let select = RunSelection { job, from, to, serials, states, client };
        select.check().map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(RunAgain { select, terms })
    }
}

pub(super) async fn run(args: RunArgs, out: &Out, global: &Global) -> Done {
    let (dry_run, follow) = (args.how.dry_run, args.how.follow);
    let again = args.again(out.now)?;
    let remote = connect(global)?;
    if dry_run {
        show::plan(out, &remote.plan_again(again).await?)?;
        return Ok(Verdict::Succeeded);
    }
    made(out, &remote, remote.run_again(again).await?, follow).await
}

pub(super) async fn backfill(args: BackfillArgs, out: &Out, global: &Global) -> Done {
    let (dry_run, follow, terms) = (args.how.dry_run, args.how.follow, args.how.terms());
    let BackfillArgs { job, from, to, again, .. } = args;
    let fill = Backfill { from, to, again, terms };
    let remote = connect(global)?;
    if dry_run {
        show::plan(out, &remote.plan_backfill(job, fill).await?)?;
        return Ok(Verdict::Succeeded);
    }
    made(out, &remote, remote.backfill(job, fill).await?, follow).await
}

async fn made(out: &Out, remote: &Remote, replay: Replay, follow: bool) -> Done {
    show::made(out, &replay, follow)?;
    if follow { show::follow(out, remote, replay.id).await } else { Ok(Verdict::Succeeded) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    fn parse(line: &str) -> Result<RunAgain, String> {
        let words = std::iter::once("run").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let now = "2026-11-22T06:00:00Z".parse().unwrap();
        line.args.again(now).map_err(|error| error.to_string())
    }

    #[test]
    fn the_options_say_what_a_request_says() {
        let line = "--job db/backup --last 2h --state failed,timed_out --client web-01 --speed 2.5 \
                    --max-open 3 --overlap queue --no-rollout --target group:web";
        let request = r#"{
            "select": {"job": "db/backup", "from": "2026-11-22T04:00:00Z",
                       "states": ["failed", "timed_out"], "client": "web-01"},
            "terms": {"target": "group:web", "speed": 2.5, "max_open": 3, "overlap": "queue",
                      "no_rollout": true}}"#;
        assert_eq!(parse(line), Ok(serde_json::from_str(request).unwrap()));
        let bare = parse("--serial 01JD0000000000000000000000").unwrap();
        assert_eq!(bare.terms, ReplayTerms::default());
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_value() {
        for (line, problem) in [
            ("", "--serial"),
            ("--last 2h --from 2026-11-22T04:00:00Z", "--last"),
            ("--last 2h --state sent", "'sent'"),
            ("--last 2h --state lost", "timed_out"),
            ("--last 2h --speed 0", "number \"0\" is not valid"),
            ("--last 2h --max-open 0", "max_open \"0\" is not valid"),
            ("--last 2h --overlap wait", "'wait'"),
            ("--last 2h --to 2026-11-22T04:00:00Z", "is not before to"),
            ("--last 2h --dry-run --follow", "--follow"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(problem), "{line}: {error}");
        }
    }
}
