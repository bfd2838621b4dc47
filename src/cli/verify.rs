//! `fleetcron verify`: decides again on what a store has recorded, and tells what other definitions
//! of jobs would have changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::args::Global;
use super::error::CliError;
use super::output::{Field, Out, Tone, note};
use super::{Done, Verdict, apply};
use crate::reenact::{Change, Changed, Difference, ReenactError, Source, Verified, WhatIf};
use crate::run::DeliveryState;
use crate::store::{Store, StoreOptions, kind_at, open_at};
use crate::time::Timestamp;

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// Decide again on what a store has recorded, and compare every event and every write with what
/// was written then. The server must not run on it: stop it, or restore a backup somewhere else.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The directory of the store.
    #[arg(long, value_name = "DIR", default_value = super::DATA)]
    data: PathBuf,
    /// The store as it was before the records begin, if older ones were removed: a backup that was
    /// taken while the server was down, restored.
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Tell what would have happened with these definitions of jobs and calendars instead.
    #[arg(long, value_name = "DIR|FILE")]
    changed: Option<PathBuf>,
    /// With --changed: since when they would have held. Default: since the records begin.
    #[arg(long, value_name = "TIME", requires = "changed")]
    since: Option<Timestamp>,
}

pub(super) async fn execute(args: VerifyArgs, global: &Global) -> Done {
    let out = Out::new(global);
    let changed = match &args.changed {
        Some(path) => Some(Changed { apply: apply::load(path)?, since: args.since }),
        None => None,
    };
    let store = open(&args.data)?;
    let base = args.base.as_deref().map(open).transpose()?;
    // It computes for as long as it takes; nothing else is to be done meanwhile.
    let done = tokio::task::spawn_blocking(move || {
        let source = Source { store: store.as_ref(), base: base.as_deref() };
        match changed {
            Some(changed) => crate::reenact::what_if(source, &changed).map(Outcome::WhatIf),
            None => crate::reenact::verify(source, &mut tell()).map(Outcome::Verified),
        }
    });
    let done = done.await.map_err(|error| CliError::Server(error.to_string()))?;
    match done.map_err(refused)? {
        Outcome::Verified(verified) => show(&out, &verified),
        Outcome::WhatIf(what_if) => show_what_if(&out, &what_if),
    }
}

enum Outcome {
    Verified(Verified),
    WhatIf(WhatIf),
}

/// A store that is there.
fn open(path: &Path) -> Result<Arc<dyn Store>, CliError> {
    if kind_at(path).map_err(CliError::store)?.is_none() {
        let message = format!("there is no store in {}: name the server's --data", path.display());
        return Err(CliError::Usage(message));
    }
    open_at(path, StoreOptions::default()).map_err(CliError::store)
}

fn refused(error: ReenactError) -> CliError {
    match error {
        ReenactError::Store(error) => CliError::server(error),
        other => CliError::Usage(other.to_string()),
    }
}

fn tell() -> impl FnMut(u64) {
    let mut last = Instant::now();
    move |commits| {
        if last.elapsed() >= TOLD_EVERY {
            last = Instant::now();
            note(&format!("{commits} commits verified so far"));
        }
    }
}

fn show(out: &Out, verified: &Verified) -> Done {
    let verdict = match &verified.difference {
        Some(_) => Verdict::Failed,
        None => Verdict::Succeeded,
    };
    if out.is_json() {
        out.json(verified)?;
        return Ok(verdict);
    }
    let span = span(verified.from, verified.to);
    let Verified { commits, inputs, starts, cut_short, events, pages, pages_missing, .. } =
        verified;
    out.line(&format!(
        "{inputs} inputs in {commits} commits{span}, {starts} starts of the server, {cut_short} \
         commits cut short by a crash"
    ))?;
    if *pages_missing > 0 {
        out.line(&format!(
            "{pages_missing} pages of the ledger are no longer kept, and not compared"
        ))?;
    }
    match &verified.difference {
        None => out.toned(
            &format!(
                "the same decisions: {events} events on {pages} pages, and all writes beside them"
            ),
            Tone::Good,
        )?,
        Some(difference) => show_difference(out, difference)?,
    }
    Ok(verdict)
}

fn span(from: Option<Timestamp>, to: Option<Timestamp>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!(" from {from} to {to}"),
        _ => String::new(),
    }
}

fn show_difference(out: &Out, difference: &Difference) -> Result<(), CliError> {
    let Difference { commit, at, recorded, decided, note } = difference;
    out.toned(&format!("commit {commit} of {at} comes out otherwise"), Tone::Bad)?;
    if let Some(note) = note {
        return out.line(note);
    }
    let only = |these: &[String], others: &[String]| {
        these.iter().filter(|line| !others.contains(line)).cloned().collect::<Vec<_>>()
    };
    for line in only(recorded, decided) {
        out.toned(&format!("- recorded: {line}"), Tone::Bad)?;
    }
    for line in only(decided, recorded) {
        out.toned(&format!("+ decided:  {line}"), Tone::Busy)?;
    }
    Ok(())
}

fn show_what_if(out: &Out, what_if: &WhatIf) -> Done {
    if out.is_json() {
        out.json(what_if)?;
        return Ok(Verdict::Succeeded);
    }
    for change in &what_if.changes {
        let (line, tone) = told(change);
        out.toned(&line, tone)?;
    }
    let shown = what_if.changes.len() as u64;
    let WhatIf { firings_gone, firings_new, deliveries_changed, .. } = what_if;
    let all = firings_gone + firings_new + deliveries_changed;
    if all > shown {
        note(&format!("{} changes are not shown", all - shown));
    }
    let mut states: BTreeMap<DeliveryState, (u64, u64)> = BTreeMap::new();
    for (state, count) in &what_if.deliveries_before {
        states.entry(*state).or_default().0 = *count;
    }
    for (state, count) in &what_if.deliveries_after {
        states.entry(*state).or_default().1 = *count;
    }
    let row = |name: String, before: u64, after: u64| -> Vec<Field> {
        vec![name.into(), before.to_string().into(), after.to_string().into()]
    };
    let mut rows = vec![row("firings".into(), what_if.firings_before, what_if.firings_after)];
    let named = |state: DeliveryState| format!("deliveries {state}");
    rows.extend(states.into_iter().map(|(state, (was, is))| row(named(state), was, is)));
    out.table(&["WHAT", "AS IT IS", "CHANGED"], rows)?;
    let WhatIf { answers_given, answers_recorded, from, to, .. } = what_if;
    out.line(&format!(
        "{firings_gone} firings gone, {firings_new} new, {deliveries_changed} deliveries changed{}; \
         {answers_given} of {answers_recorded} recorded answers are given again",
        span(*from, *to)
    ))?;
    Ok(Verdict::Succeeded)
}

fn told(change: &Change) -> (String, Tone) {
    match change {
        Change::FiringGone { firing, deliveries } => {
            (format!("- {} {} to {deliveries}", firing.scheduled_at, firing.job), Tone::Bad)
        }
        Change::FiringNew { firing, deliveries } => {
            (format!("+ {} {} to {deliveries}", firing.scheduled_at, firing.job), Tone::Good)
        }
        Change::Delivery { firing, client, before, after } => {
            let state = |state: &Option<DeliveryState>| {
                state.map_or_else(|| "open or none".to_owned(), |state| state.to_string())
            };
            let (was, is) = (state(before), state(after));
            let line = format!("~ {} {} {client}: {was} → {is}", firing.scheduled_at, firing.job);
            (line, Tone::Busy)
        }
    }
}
