//! `fleetcron history`: what has happened, from the ledger.

use std::io::{self, Write as _};

use clap::Args;
use futures_util::TryStreamExt as _;

use super::args::{Format, Global};
use super::connect::connect;
use super::error::CliError;
use super::forecast::short;
use super::output::{Field, Out, note};
use super::sentence::{about, ago, kind, sentence};
use super::{Done, Verdict};
use crate::actor::Actor;
use crate::history::{
    CsvLines, DEFAULT_EVENTS, EventKind, EventOrder, EventQuery, MAX_EVENTS, Recorded,
    ResultsShown, end_state,
};
use crate::id::{ClientId, GroupName, JobName, Serial};
use crate::remote::Remote;
use crate::run::DeliveryState;

/// The arguments of `history`.
#[expect(clippy::doc_markdown, reason = "the help shows these texts as they stand")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Only since then: a time, or how long ago, such as 2h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before then, in the same forms.
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    until: Option<String>,
    /// Only of this job and its runs.
    #[arg(long, value_name = "NAME")]
    job: Option<JobName>,
    /// Only of this client.
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    /// Only of clients that are in this group now.
    #[arg(long, value_name = "NAME")]
    group: Option<GroupName>,
    /// Only of this run.
    #[arg(long)]
    serial: Option<Serial>,
    /// Only ends of deliveries and attempts in this state, such as failed; several with commas.
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = end_state)]
    state: Vec<DeliveryState>,
    /// Only events of this kind, such as run_started; several with commas.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<EventKind>,
    /// Only what this one brought about: server, chores, library, token:NAME or client:ID.
    #[arg(long)]
    actor: Option<Actor>,
    /// Only with this text, in upper or lower case, in a result, a reason or the event.
    #[arg(long)]
    text: Option<String>,
    /// The newest first, which is the default unless events are followed.
    #[arg(long, conflicts_with_all = ["oldest", "follow"])]
    newest: bool,
    /// The oldest first.
    #[arg(long)]
    oldest: bool,
    /// Show at most so many. Default: 100 as a table or as JSON, otherwise all.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,
    /// Show what comes, too; without --since that alone.
    #[arg(long)]
    follow: bool,
    /// Show results whole, however large they are.
    #[arg(long)]
    whole_results: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a number from 1 on".to_owned()),
        Ok(number) => Ok(number),
    }
}

pub(super) async fn execute(args: EventsArgs, global: &Global) -> Done {
    let out = Out::new(global);
    let query = query(&args, &out)?;
    let remote = connect(global)?;
    match (global.output, args.follow) {
        (Format::Table | Format::Json, false) => list(&out, &remote, query).await?,
        (format, follow) => stream(&out, &remote, query, (format, follow)).await?,
    }
    Ok(Verdict::Succeeded)
}

fn query(args: &EventsArgs, out: &Out) -> Result<EventQuery, CliError> {
    let moment = |flag: &str, text: &Option<String>| {
        let moment = text.as_ref().map(|text| ago(text, out.now)).transpose();
        moment.map_err(|problem| CliError::Usage(format!("{flag} {problem}")))
    };
    let order = if args.oldest || args.follow { EventOrder::Oldest } else { EventOrder::Newest };
    let results = if args.whole_results { ResultsShown::Whole } else { ResultsShown::Cut };
    let query = EventQuery {
        from: moment("--since", &args.since)?,
        to: moment("--until", &args.until)?,
        job: args.job.clone(),
        client: args.client.clone(),
        group: args.group.clone(),
        serial: args.serial,
        states: args.state.clone(),
        kinds: args.kind.clone(),
        actor: args.actor.clone(),
        text: args.text.clone(),
        order,
        after: None,
        limit: args.limit,
        results,
    };
    query.check().map_err(|problem| CliError::Usage(problem.to_string()))?;
    Ok(query)
}

/// A list up to its limit, page by page.
async fn list(out: &Out, remote: &Remote, mut query: EventQuery) -> Result<(), CliError> {
    let limit = query.limit.unwrap_or(DEFAULT_EVENTS);
    let mut events: Vec<Recorded> = Vec::new();
    let more = loop {
        // One more than is shown tells whether there are more.
        let wanted = limit.saturating_add(1) - events.len();
        query.limit = Some(wanted.min(MAX_EVENTS));
        let page = remote.history(query.clone()).await?;
        events.extend(page.events);
        if events.len() > limit {
            events.truncate(limit);
            break true;
        }
        query.after = page.next;
        if query.after.is_none() {
            break false;
        }
    };
    if out.is_json() {
        out.json(&events)?;
    } else {
        out.table(
            &["WHEN", "WHO", "WHAT", "JOB / CLIENT", "DETAILS"],
            events.iter().map(row).collect(),
        )?;
    }
    if events.is_empty() {
        note("no events");
    }
    if more {
        note(&format!("there are more than {limit} events; --limit shows more"));
    }
    Ok(())
}

fn row(recorded: &Recorded) -> Vec<Field> {
    let event = &recorded.event;
    let (text, tone) = kind(&event.what);
    vec![
        short(event.at).into(),
        event.actor.to_string().into(),
        tone.map_or_else(|| text.clone().into(), |tone| Field::toned(text.clone(), tone)),
        about(&event.what).into(),
        sentence(&event.what).into(),
    ]
}

/// Events as they come, each on a line.
async fn stream(
    out: &Out,
    remote: &Remote,
    query: EventQuery,
    (format, follow): (Format, bool),
) -> Result<(), CliError> {
    let mut events =
        if follow { remote.follow_history(query) } else { remote.export_history(query) };
    let mut csv = CsvLines::new();
    if format == Format::Csv {
        write(&csv.lines([]).map_err(io::Error::other)?)?;
    }
    while let Some(event) = events.try_next().await? {
        match format {
            Format::Csv => write(&csv.lines([&event]).map_err(io::Error::other)?)?,
            Format::Json | Format::Ndjson => out.json_line(&event)?,
            Format::Table => out.line(&line(&event))?,
        }
    }
    Ok(())
}

/// An event as a line of its own, for lists whose end is not known yet.
fn line(recorded: &Recorded) -> String {
    let event = &recorded.event;
    let (when, who, what) = (short(event.at), event.actor.to_string(), kind(&event.what).0);
    let (about, details) = (about(&event.what), sentence(&event.what));
    format!("{when}  {who:<16}  {what:<19}  {about:<24}  {details}").trim_end().to_owned()
}

fn write(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}
