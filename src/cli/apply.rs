//! `fleetcron apply`: brings about the jobs that files define, and shows the difference first.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::Global;
use super::connect::connect;
use super::error::CliError;
use super::forecast::short;
use super::output::{Out, Tone, note};
use super::{Done, Verdict};
use crate::engine::{Apply, JobAction, JobChange, NextChange};
use crate::job::JobSpec;
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
    let jobs = load(&args.path)?;
    let remote = connect(global)?;
    let apply = Apply { jobs, prune: args.prune, dry_run: true };
    let mut changes = remote.apply(apply.clone()).await?;
    if !out.is_json() {
        show(&out, &changes, args.dry_run)?;
    }
    let changing = changes.iter().any(|change| change.action != JobAction::Keep);
    if !args.dry_run && changing {
        changes = remote.apply(Apply { dry_run: false, ..apply }).await?;
    }
    if out.is_json() {
        out.json(&changes)?;
    } else {
        out.line(&summary(&changes, args.dry_run))?;
    }
    Ok(Verdict::Succeeded)
}

/// The job definitions of a file, or of all files of a directory.
pub(super) fn load(path: &Path) -> Result<Vec<JobSpec>, CliError> {
    let loaded = read_dir_or_file(path).map_err(|errors| CliError::Usage(errors.to_string()))?;
    Ok(loaded.into_iter().map(|job| job.spec).collect())
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
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
    let updated = change.action == JobAction::Update;
    change
        .fields
        .iter()
        .filter(|_| updated)
        .map(|field| {
            format!("    {}: {} → {}", field.field, shown(&field.before), shown(&field.after))
        })
        .collect()
}

/// How the next firings change.
fn next(change: &JobChange) -> Option<String> {
    let shown = |firings: &[Timestamp]| match firings {
        [] => "none".to_owned(),
        firings => firings.iter().map(|at| short(*at)).collect::<Vec<_>>().join(", "),
    };
    let NextChange { before, after } = change.next.as_ref()?;
    Some(match change.action {
        JobAction::Create => format!("    next: {}", shown(after)),
        _ => format!("    next: {} → {}", shown(before), shown(after)),
    })
}

fn warn(change: &JobChange) {
    for warning in &change.warnings {
        note(&format!("warning: job {}: {warning}", change.name));
    }
}

fn summary(changes: &[JobChange], dry_run: bool) -> String {
    let count = |action| changes.iter().filter(|change| change.action == action).count();
    let (creates, updates) = (count(JobAction::Create), count(JobAction::Update));
    let (removes, keeps) = (count(JobAction::Remove), count(JobAction::Keep));
    if dry_run {
        format!(
            "dry run: {creates} to create, {updates} to update, {removes} to remove; \
             {keeps} unchanged"
        )
    } else {
        format!("{creates} created, {updates} updated, {removes} removed; {keeps} unchanged")
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
        let changes = [JobAction::Create, JobAction::Keep, JobAction::Keep].map(change);
        assert_eq!(summary(&changes, false), "1 created, 0 updated, 0 removed; 2 unchanged");
        assert!(summary(&changes, true).starts_with("dry run: 1 to create, 0 to update"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = load(Path::new("/nowhere/jobs.json")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/jobs.json"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
