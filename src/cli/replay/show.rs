//! Replays, their plans and their runs as rows and words.

use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::{Field, NOTHING, Out, Tone, moment, note, ran, relative};
use crate::cli::{Done, Verdict, show};
use crate::id::{ClientId, ReplayId};
use crate::remote::Remote;
use crate::replay::{LeftOut, PlannedRun, Replay, ReplayKind, ReplayPlan, ReplayRun, ReplayTerms};
use crate::time::Timestamp;

/// Clients that one row of a plan names, at most.
const NAMED: usize = 8;

/// Replays as rows of a list.
pub(super) fn row(replay: &Replay, now: Timestamp) -> Vec<Field> {
    vec![
        replay.id.to_string().into(),
        replay.kind.to_string().into(),
        replay.job.as_ref().map_or(NOTHING, |job| job.as_str()).into(),
        relative(replay.created_at, now).into(),
        format!("{}/{}", replay.ended, replay.items).into(),
        format!("{}/{}", replay.counts.succeeded, replay.deliveries).into(),
        standing(replay),
    ]
}

/// How a replay stands, in a few words and their colour.
fn standing(replay: &Replay) -> Field {
    let open = replay.started - replay.ended;
    match (replay.ended_at, replay.cancelled_at) {
        (None, None) => Field::toned(format!("{open} open"), Tone::Busy),
        (None, Some(_)) => Field::toned(format!("cancelled, {open} open"), Tone::Busy),
        (Some(_), Some(_)) => Field::toned("cancelled", Tone::Bad),
        (Some(_), None) if replay.all_succeeded() => Field::toned("succeeded", Tone::Good),
        (Some(_), None) => Field::toned(show::counts(&replay.counts).join(", "), Tone::Bad),
    }
}

/// Tells that a replay was made. With its number more can be asked.
pub(super) fn made(out: &Out, replay: &Replay, followed: bool) -> Result<(), CliError> {
    let Replay { id, items, deliveries, left_out, .. } = replay;
    tell_left_out(left_out);
    if out.is_json() {
        // Of one that is followed, its runs are the data, a line each.
        return if followed { Ok(()) } else { out.json(replay) };
    }
    out.line(&format!("replay {id}: {items} runs with {deliveries} deliveries"))
}

fn tell_left_out(left_out: &LeftOut) {
    let LeftOut { removed, open, had_run } = *left_out;
    for (count, what) in [
        (removed, "deliveries to clients that were removed since"),
        (open, "deliveries that have not ended"),
        (had_run, "occurrences that have a run"),
    ] {
        if count > 0 {
            note(&format!("left out: {count} {what}"));
        }
    }
}

/// Shows what a replay would run.
pub(super) fn plan(out: &Out, plan: &ReplayPlan) -> Result<(), CliError> {
    if out.is_json() {
        out.json(plan)?;
    } else {
        let headings = ["AGAIN", "SCHEDULED", "BEGINS", "JOB", "COMMAND", "DELIVERIES", "CLIENTS"];
        // A back-fill repeats no run.
        let from = usize::from(plan.kind == ReplayKind::Backfill);
        let rows = plan.runs.iter().map(|run| planned(run).split_off(from)).collect();
        out.table(&headings[from..], rows)?;
    }
    tell_left_out(&plan.left_out);
    note(&format!("{} runs with {} deliveries would run", plan.runs.len(), plan.deliveries));
    Ok(())
}

fn planned(run: &PlannedRun) -> Vec<Field> {
    let mut clients: Vec<&str> = run.clients.iter().take(NAMED).map(ClientId::as_str).collect();
    if run.deliveries > clients.len() as u64 {
        clients.push("…");
    }
    let begins =
        run.after_ms.map_or_else(|| "in turn".to_owned(), |after| format!("+{}", ran(after)));
    vec![
        run.serial.map_or_else(|| NOTHING.to_owned(), |serial| serial.to_string()).into(),
        run.scheduled_at.to_string().into(),
        begins.into(),
        run.job.as_ref().map_or(NOTHING, |job| job.as_str()).into(),
        run.command.as_str().into(),
        run.deliveries.to_string().into(),
        clients.join(" ").into(),
    ]
}

/// Shows a replay and the runs that it has made.
pub(super) async fn one(out: &Out, remote: &Remote, id: ReplayId) -> Result<(), CliError> {
    let replay = remote.replay(id).await?;
    let runs: Vec<ReplayRun> = remote.replay_runs(id, false).try_collect().await?;
    if out.is_json() {
        return out.json(&json!({ "replay": replay, "runs": runs }));
    }
    pairs(out, &replay)?;
    if !runs.is_empty() {
        out.line("")?;
    }
    let rows = runs.iter().map(|run| run_row(run, out.now)).collect();
    out.table(&["ITEM", "SERIAL", "AGAIN", "JOB", "SCHEDULED", "FIRED", "OK", "STANDING"], rows)
}

fn pairs(out: &Out, replay: &Replay) -> Result<(), CliError> {
    let mut pairs: Vec<(&str, Field)> =
        vec![("replay", replay.id.to_string().into()), ("kind", replay.kind.to_string().into())];
    pairs.extend(replay.job.as_ref().map(|job| ("job", job.as_str().into())));
    pairs.extend(replay.from.map(|at| ("from", at.to_string().into())));
    pairs.extend(replay.to.map(|at| ("to", at.to_string().into())));
    pairs.push(("terms", terms(&replay.terms).into()));
    let times = [
        ("made", Some(replay.created_at)),
        ("cancelled", replay.cancelled_at),
        ("ended", replay.ended_at),
    ];
    for (name, at) in times {
        pairs.extend(at.map(|at| (name, moment(at, out.now).into())));
    }
    pairs.extend(replay.reason.as_ref().map(|reason| ("reason", reason.as_str().into())));
    let Replay { items, started, ended, deliveries, counts, .. } = replay;
    pairs.push(("runs", format!("{items} ({started} begun, {ended} ended)").into()));
    let ends = show::counts(counts).join(", ");
    pairs.push(("deliveries", format!("{deliveries} ({ends})").into()));
    let LeftOut { removed, open, had_run } = replay.left_out;
    let left_out = [(removed, "removed"), (open, "open"), (had_run, "with a run")];
    let left_out = left_out.into_iter().filter(|(count, _)| *count > 0);
    let left_out: Vec<String> = left_out.map(|(count, why)| format!("{count} {why}")).collect();
    if !left_out.is_empty() {
        pairs.push(("left out", left_out.join(", ").into()));
    }
    pairs.push(("standing", standing(replay)));
    out.pairs(pairs)
}

/// Terms in a few words.
fn terms(terms: &ReplayTerms) -> String {
    let ReplayTerms { target, speed, max_open, overlap, no_rollout } = terms;
    let speed = speed.map(|speed| format!("{speed} times as fast"));
    let overlap = overlap.and_then(|overlap| serde_json::to_value(overlap).ok());
    [
        Some(speed.unwrap_or_else(|| "as fast as limits allow".to_owned())),
        Some(format!("at most {} runs under way", max_open.get())),
        target.as_ref().map(|target| format!("to {target}")),
        overlap.and_then(|overlap| Some(format!("overlap {}", overlap.as_str()?))),
        no_rollout.then(|| "without rollouts".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}

fn run_row(made: &ReplayRun, now: Timestamp) -> Vec<Field> {
    let run = &made.run;
    let again = run.replay_of.and_then(|of| of.serial);
    vec![
        (made.item + 1).to_string().into(),
        run.serial.to_string().into(),
        again.map_or_else(|| NOTHING.to_owned(), |serial| serial.to_string()).into(),
        run.job.as_ref().map_or(NOTHING, |job| job.as_str()).into(),
        run.scheduled_at.to_string().into(),
        relative(run.fired_at, now).into(),
        format!("{}/{}", run.counts.succeeded, run.counts.total).into(),
        show::standing(run),
    ]
}

/// Shows the runs of a replay as they end, until it has.
pub(super) async fn follow(out: &Out, remote: &Remote, id: ReplayId) -> Done {
    let items = remote.replay(id).await?.items;
    let mut runs = remote.replay_runs(id, true);
    while let Some(made) = runs.try_next().await? {
        if out.is_json() {
            out.json_line(&made)?;
        } else {
            let run = &made.run;
            let ends = match (show::ends(run).join(", "), &run.reason) {
                (ends, None) => ends,
                (ends, Some(reason)) if ends.is_empty() => reason.clone(),
                (ends, Some(reason)) => format!("{ends}; {reason}"),
            };
            let item = made.item + 1;
            out.line(&format!("{item}/{items}  {}  {}  {ends}", run.scheduled_at, run.serial))?;
        }
    }
    let replay = remote.wait_replay(id).await?;
    let ends = show::counts(&replay.counts).join(", ");
    let how = if replay.cancelled_at.is_some() { "was cancelled" } else { "has ended" };
    note(&format!("replay {id} {how}: {} of {items} runs; {ends}", replay.started));
    Ok(if replay.all_succeeded() { Verdict::Succeeded } else { Verdict::Failed })
}
