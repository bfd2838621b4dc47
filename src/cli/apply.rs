//! `fleetcron apply`: brings about the jobs and calendars that files define, and shows the
//! difference first.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::Global;
use super::connect::connect;
use super::error::CliError;
use super::forecast::short;
use super::output::{Out, Tone, note};
use super::{Done, Verdict};
use crate::engine::{
    Applied, Apply, CalendarChange, FieldChange, JobAction, JobChange, NextChange,
};
use crate::job_files::read_dir_or_file;
use crate::time::Timestamp;

/// The arguments of `apply`.
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// A file of job definitions, or a directory of such files.
    #[arg(value_name = "DIR|FILE")]
    path: PathBuf,
    /// Remove every job that the files do not define.
    #[arg(long)]
    prune: bool,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn execute(args: ApplyArgs, global: &Global) -> Done {
    let out = Out::new(global);
    let apply = Apply { prune: args.prune, dry_run: true, ..load(&args.path)? };
    let remote = connect(global)?;
    let mut applied = remote.apply(apply.clone()).await?;
    if !out.is_json() {
        for change in &applied.calendars {
            show_calendar(&out, change, args.dry_run)?;
        }
        show(&out, &applied.jobs, args.dry_run)?;
    }
    if !args.dry_run && is_change(&applied) {
        applied = remote.apply(Apply { dry_run: false, ..apply }).await?;
    }
    if out.is_json() {
        out.json(&applied)?;
    } else {
        out.line(&summary(&applied, args.dry_run))?;
    }
    Ok(Verdict::Succeeded)
}

/// The definitions of a file, or of all files of a directory, to be applied without prune.
pub(super) fn load(path: &Path) -> Result<Apply, CliError> {
    let loaded = read_dir_or_file(path).map_err(|errors| CliError::Usage(errors.to_string()))?;
    Ok(Apply {
        calendars: loaded.calendars.into_iter().map(|calendar| calendar.spec).collect(),
        jobs: loaded.jobs.into_iter().map(|job| job.spec).collect(),
        ..Apply::default()
    })
}

fn is_change(applied: &Applied) -> bool {
    let calendars = applied.calendars.iter().map(|change| change.action);
    let mut actions = calendars.chain(applied.jobs.iter().map(|change| change.action));
    actions.any(|action| action != JobAction::Keep)
}

fn show_calendar(out: &Out, change: &CalendarChange, foresee: bool) -> Result<(), CliError> {
    let (sign, tone) = match change.action {
        JobAction::Create => ("+", Tone::Good),
        JobAction::Update => ("~", Tone::Busy),
        JobAction::Remove | JobAction::Keep => return Ok(()),
    };
    out.toned(&format!("{sign} calendar {}", change.name), tone)?;
    if change.action == JobAction::Update {
        for line in differences(&change.fields) {
            out.line(&line)?;
        }
    }
    moved(out, change, foresee)
}

/// The jobs that a change of a calendar moves.
fn moved(out: &Out, change: &CalendarChange, foresee: bool) -> Result<(), CliError> {
    for moved in &change.moved {
        let next = moved.next.as_ref().filter(|_| foresee);
        let next = next.map(|next| format!("    {}: {}", moved.job, both(next)));
        match (moved.after, next) {
            (None, _) => out.toned(&format!("    {} ends", moved.job), Tone::Bad)?,
            (Some(_), Some(next)) => out.line(&next)?,
            (Some(after), None) => out.line(&format!("    {} → {}", moved.job, short(after)))?,
        }
    }
    match change.more {
        0 => Ok(()),
        more => out.line(&format!("    and {more} more jobs")),
    }
}

fn show(out: &Out, changes: &[JobChange], foresee: bool) -> Result<(), CliError> {
    for change in changes {
        let (sign, tone) = match change.action {
            JobAction::Create => ("+", Tone::Good),
            JobAction::Update => ("~", Tone::Busy),
            JobAction::Remove => ("-", Tone::Bad),
            JobAction::Keep => {
                warn(change);
                continue;
            }
        };
        out.toned(&format!("{sign} {}", change.name), tone)?;
        for line in fields(change).into_iter().chain(next(change).filter(|_| foresee)) {
            out.line(&line)?;
        }
        warn(change);
    }
    Ok(())
}

/// The fields of an update, before and after; what a new job has is in its file.
fn fields(change: &JobChange) -> Vec<String> {
    if change.action == JobAction::Update { differences(&change.fields) } else { Vec::new() }
}

fn differences(fields: &[FieldChange]) -> Vec<String> {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
    let line = |field: &FieldChange| {
        format!("    {}: {} → {}", field.field, shown(&field.before), shown(&field.after))
    };
    fields.iter().map(line).collect()
}

/// How the next firings change.
fn next(change: &JobChange) -> Option<String> {
    let next = change.next.as_ref()?;
    Some(match change.action {
        JobAction::Create => format!("    next: {}", listed(&next.after)),
        _ => format!("    next: {}", both(next)),
    })
}

fn both(NextChange { before, after }: &NextChange) -> String {
    format!("{} → {}", listed(before), listed(after))
}

fn listed(firings: &[Timestamp]) -> String {
    match firings {
        [] => "none".to_owned(),
        firings => firings.iter().map(|at| short(*at)).collect::<Vec<_>>().join(", "),
    }
}

fn warn(change: &JobChange) {
    for warning in &change.warnings {
        note(&format!("warning: job {}: {warning}", change.name));
    }
}

fn summary(applied: &Applied, dry_run: bool) -> String {
    let count = |action| applied.jobs.iter().filter(|change| change.action == action).count();
    let (creates, updates) = (count(JobAction::Create), count(JobAction::Update));
    let (removes, keeps) = (count(JobAction::Remove), count(JobAction::Keep));
    let calendars = calendars(&applied.calendars, dry_run);
    if dry_run {
        format!(
            "dry run: {calendars}{creates} to create, {updates} to update, {removes} to remove; \
             {keeps} unchanged"
        )
    } else {
        format!(
            "{calendars}{creates} created, {updates} updated, {removes} removed; {keeps} unchanged"
        )
    }
}

/// What becomes of the calendars, to stand before the jobs; nothing when there are none.
fn calendars(changes: &[CalendarChange], dry_run: bool) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let count = |action| changes.iter().filter(|change| change.action == action).count();
    let (creates, updates) = (count(JobAction::Create), count(JobAction::Update));
    let keeps = count(JobAction::Keep);
    if dry_run {
        format!("calendars: {creates} to create, {updates} to update; {keeps} unchanged. Jobs: ")
    } else {
        format!("calendars: {creates} created, {updates} updated; {keeps} unchanged. Jobs: ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::FieldChange;

    fn change(action: JobAction) -> JobChange {
        let field = FieldChange {
            field: "rule.cron".into(),
            before: Some("\"0 3 * * *\"".into()),
            after: None,
        };
        let name = "backup".parse().unwrap();
        JobChange { name, action, fields: vec![field], warnings: vec![], next: None }
    }

    #[test]
    fn an_update_tells_before_and_after() {
        let expected = "    rule.cron: \"0 3 * * *\" → (none)";
        assert_eq!(fields(&change(JobAction::Update)), [expected]);
        assert!(fields(&change(JobAction::Create)).is_empty());
    }

    #[test]
    fn next_firings_are_told_before_and_after() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let mut change = change(JobAction::Update);
        assert_eq!(next(&change), None, "its rule stays");
        let before = vec![at("2026-11-23T03:00:00Z"), at("2026-11-24T03:00:00Z")];
        change.next = Some(NextChange { before, after: Vec::new() });
        let told = next(&change).unwrap();
        assert_eq!(told, "    next: 2026-11-23 03:00:00Z, 2026-11-24 03:00:00Z → none");
        change.action = JobAction::Create;
        change.next = Some(NextChange { after: vec![at("2026-11-23T04:30:00Z")], before: vec![] });
        assert_eq!(next(&change).unwrap(), "    next: 2026-11-23 04:30:00Z");
    }

    #[test]
    fn the_summary_counts_each_action() {
        let jobs = [JobAction::Create, JobAction::Keep, JobAction::Keep].map(change).to_vec();
        let mut applied = Applied { jobs, ..Applied::default() };
        assert_eq!(summary(&applied, false), "1 created, 0 updated, 0 removed; 2 unchanged");
        assert!(summary(&applied, true).starts_with("dry run: 1 to create, 0 to update"));
        let calendar = serde_json::json!({ "name": "se", "action": "update" });
        applied.calendars.push(serde_json::from_value(calendar).unwrap());
        let told = "calendars: 0 created, 1 updated; 0 unchanged. Jobs: 1 created, 0 updated,";
        assert!(summary(&applied, false).starts_with(told), "{}", summary(&applied, false));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = load(Path::new("/nowhere/jobs.json")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/jobs.json"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
