//! `fleetcron run`: a command on clients, now.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use futures_util::TryStreamExt as _;
use serde_json::json;

use super::args::Global;
use super::connect::connect;
use super::error::CliError;
use super::output::{Out, note};
use super::progress::Progress;
use super::rollouts::Rollouts;
use super::tries::Tries;
use super::{Done, Verdict, seen, show};
use crate::id::{ClientId, CommandName, Serial};
use crate::idempotency::{IdempotencyKey, Submitted};
use crate::job::{Offline, OnClientCrash};
use crate::json::Json;
use crate::policy::Priority;
use crate::remote::{Remote, RemoteError};
use crate::run::{Response, Run, Submission};
use crate::target::{Membership, Target};
use crate::time::duration;

/// The arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The command's name, for which the clients have a handler.
    #[arg(value_name = "NAME")]
    command: CommandName,
    /// Whom it is for: all, group:NAME, client:ID, or an expression of these such as
    /// "10% of group:web and not client:web-03".
    #[arg(long, value_name = "TARGET")]
    to: Target,
    /// The command's parameters.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    params: Json,
    /// Wait for every answer, and show them.
    #[arg(long)]
    wait: bool,
    /// Show what the clients' commands print, and how far they are, while they run.
    #[arg(long, requires = "wait")]
    follow: bool,
    /// Wait no longer than this; the deliveries stay open.
    #[arg(long, requires = "wait", value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// End deliveries that no client has accepted after this time.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    expires_after: Option<Duration>,
    /// What clients that are away get on return: every delivery, the latest, or none.
    #[arg(long, default_value = "queue", value_name = "POLICY", value_parser =
        PossibleValuesParser::new(["queue", "latest", "drop"]).map(|text| offline(&text)))]
    offline: Offline,
    /// What becomes of it when a client's process ends while it runs there: it ends as failed, or
    /// the client runs it again.
    #[arg(long, default_value = "fail", value_name = "POLICY", value_parser =
        PossibleValuesParser::new(["fail", "retry"]).map(|text| on_client_crash(&text)))]
    on_client_crash: OnClientCrash,
    /// What it overtakes among the commands that wait for a client: an urgent one goes before all
    /// others, a low one after them.
    #[arg(long, default_value = "normal", value_name = "CLASS", value_parser =
        PossibleValuesParser::new(["urgent", "normal", "low"]).map(|text| priority(&text)))]
    priority: Priority,
    #[command(flatten)]
    tries: Tries,
    /// Whether clients that come into the target while the run is open get it too: snapshot (they
    /// do not) or open.
    #[arg(long, default_value = "snapshot", value_name = "WHO", value_parser =
        PossibleValuesParser::new(["snapshot", "open"]).map(|text| membership(&text)))]
    membership: Membership,
    #[command(flatten)]
    rollouts: Rollouts,
    /// Submit it once: for 24 hours the same key gives back the first run.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<IdempotencyKey>,
    /// Give back the run of the same command, target and parameters, if one was submitted within
    /// this time and was unique, too.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    unique_within: Option<Duration>,
}

/// One of the three values that the parser lets pass.
fn offline(text: &str) -> Offline {
    match text {
        "latest" => Offline::Latest,
        "drop" => Offline::Drop,
        _ => Offline::Queue,
    }
}

/// One of the two values that the parser lets pass.
fn on_client_crash(text: &str) -> OnClientCrash {
    if text == "retry" { OnClientCrash::Retry } else { OnClientCrash::Fail }
}

/// One of the two values that the parser lets pass.
fn membership(text: &str) -> Membership {
    if text == "open" { Membership::Open } else { Membership::Snapshot }
}

/// One of the three values that the parser lets pass.
fn priority(text: &str) -> Priority {
    Priority::ALL.into_iter().find(|class| class.name() == text).unwrap_or_default()
}

pub(super) async fn execute(args: RunArgs, global: &Global) -> Done {
    let out = Out::new(global);
    let remote = connect(global)?;
    let submission = Submission {
        target: args.to,
        command: args.command,
        params: args.params,
        offline: args.offline,
        expires_after: args.expires_after,
        on_client_crash: args.on_client_crash,
        retry: args.tries.retry()?,
        timeout: args.tries.timeout()?,
        delivery: args.tries.delivery(),
        membership: args.membership,
        priority: args.priority,
        rollout: args.rollouts.rollout()?,
        idempotency_key: args.idempotency_key,
        unique_within: args.unique_within,
    };
    let Submitted { run, repeated } = remote.submit_once(submission).await?;
    if repeated {
        note(&format!("run {} was submitted before", run.serial));
    }
    if !args.wait {
        if out.is_json() {
            out.json(&run)?;
        } else {
            out.line(&run.serial.to_string())?;
        }
        return Ok(Verdict::Succeeded);
    }
    let clients = if run.counts.total == 1 { "client" } else { "clients" };
    note(&format!("run {} to {} {clients}", run.serial, run.counts.total));
    let answers = wait(&out, &remote, &run, args.timeout, args.follow).await?;
    let run = remote.run(run.serial).await?;
    report(&out, &remote, &run, &answers, args.follow).await?;
    Ok(verdict(&run))
}

/// Whether every delivery of a run has succeeded.
pub(super) fn verdict(run: &Run) -> Verdict {
    if run.all_succeeded() { Verdict::Succeeded } else { Verdict::Failed }
}

type Answers = BTreeMap<ClientId, Response>;

/// Gathers the answers until the run has ended or the time is up.
async fn wait(
    out: &Out,
    remote: &Remote,
    run: &Run,
    timeout: Option<Duration>,
    follow: bool,
) -> Result<Answers, CliError> {
    let mut answers = Answers::new();
    let progress = Progress::new(run.counts.total);
    let gathered = async {
        let shown = async {
            if !follow {
                return Ok(());
            }
            seen::show(out, &progress, remote, (run.serial, None)).await
        };
        let gathered = gather(remote, run.serial, &mut answers, &progress);
        let (gathered, shown) = tokio::join!(gathered, shown);
        gathered.map_err(CliError::from).and(shown)
    };
    match timeout {
        None => gathered.await?,
        Some(timeout) => {
            if let Ok(ended) = tokio::time::timeout(timeout, gathered).await {
                ended?;
            }
        }
    }
    Ok(answers)
}

async fn gather(
    remote: &Remote,
    serial: Serial,
    answers: &mut Answers,
    progress: &Progress,
) -> Result<(), RemoteError> {
    match collect(remote.follow(serial), answers, progress).await {
        Err(error) if error.is_connection() => {
            tracing::warn!(%serial, %error, "the stream of answers broke; waiting for the run's end");
            remote.wait(serial).await?;
            collect(remote.responses(serial), answers, progress).await
        }
        done => done,
    }
}

/// Takes each answer once, however often it comes.
async fn collect(
    mut responses: futures_util::stream::BoxStream<'static, Result<Response, RemoteError>>,
    answers: &mut Answers,
    progress: &Progress,
) -> Result<(), RemoteError> {
    while let Some(response) = responses.try_next().await? {
        if !response.retried && !answers.contains_key(&response.client) {
            progress.count(&response);
            answers.insert(response.client.clone(), response);
        }
    }
    Ok(())
}

async fn report(
    out: &Out,
    remote: &Remote,
    run: &Run,
    answers: &Answers,
    followed: bool,
) -> Result<(), CliError> {
    let open = match run.ended_at {
        Some(_) => Vec::new(),
        None => remote.open_deliveries(run.serial).await?,
    };
    if out.is_json() {
        let responses: Vec<_> = answers.values().collect();
        let report = json!({ "run": run, "responses": responses, "open": open });
        // What was shown before it is one object a line, and so is this then.
        return if followed { out.json_line(&report) } else { out.json(&report) };
    }
    show::answers(out, answers.values(), &open)?;
    note(&summary(run));
    Ok(())
}

/// How a run went, in a sentence.
fn summary(run: &Run) -> String {
    let counts = &run.counts;
    if run.ended_at.is_none() {
        let (open, total, serial) = (counts.open(), counts.total, run.serial);
        return format!(
            "{open} of {total} deliveries are still open and stay so; \
             see: fleetcron runs show {serial}"
        );
    }
    match counts.total {
        0 => format!("nobody to deliver to: target {} has no clients", run.target),
        total => format!("{}, of {total}", show::ends(run).join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn parse(words: &[&str]) -> Result<RunArgs, String> {
        let words = ["run"].iter().chain(words);
        Line::try_parse_from(words).map(|line| line.run).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_a_submission() {
        let args = parse(&["ping", "--to", "group:web"]).unwrap();
        assert_eq!((args.params.text(), args.offline), ("{}", Offline::Queue));
        assert_eq!((args.expires_after, args.wait), (None, false));
    }

    #[test]
    fn bad_parameters_are_told_with_line_and_column() {
        let error = parse(&["ping", "--to", "all", "--params", "{\"a\": }"]).unwrap_err();
        assert!(error.contains("{\"a\": }") && error.contains("line 1 column 7"), "{error}");
    }

    #[test]
    fn policies_and_durations_are_checked() {
        let args = parse(&["ping", "--to", "all", "--offline", "drop", "--expires-after", "1h"]);
        let args = args.unwrap();
        assert_eq!(args.offline, Offline::Drop);
        assert_eq!(args.expires_after, Some(Duration::from_secs(3_600)));
        let error = parse(&["ping", "--to", "all", "--offline", "keep"]).unwrap_err();
        assert!(error.contains("'keep'") && error.contains("latest"), "{error}");
        let error = parse(&["ping", "--to", "all", "--timeout", "5m"]).unwrap_err();
        assert!(error.contains("--wait"), "a timeout of nothing: {error}");
    }

    fn run(ended: bool, succeeded: u32) -> Run {
        let at = "2026-11-22T06:00:00Z";
        serde_json::from_value(json!({
            "serial": "01JD0000000000000000000000", "cause": "submit",
            "command": {"name": "ping"}, "target": "all", "scheduled_at": at, "fired_at": at,
            "ended_at": ended.then_some(at),
            "counts": {"total": 3, "succeeded": succeeded, "failed": 1},
        }))
        .unwrap()
    }

    #[test]
    fn only_a_run_that_succeeded_everywhere_is_a_success() {
        assert_eq!(verdict(&run(true, 2)), Verdict::Failed);
        assert_eq!(summary(&run(true, 2)), "2 succeeded, 1 failed, of 3");
        assert!(summary(&run(false, 1)).starts_with("1 of 3 deliveries are still open"));
        let mut good = run(true, 3);
        good.counts.failed = 0;
        assert_eq!(verdict(&good), Verdict::Succeeded);
        good.counts = crate::run::Counts::default();
        assert_eq!(verdict(&good), Verdict::Failed, "nobody was there");
    }
}
