//! `fleetcron jobs history`: what a job keeps of its past, in one order of time.

use clap::Args;
use serde::Serialize;

use super::args::LIST_LIMIT;
use super::connect::read_all;
use super::error::CliError;
use super::output::{Field, NOTHING, Out, Tone, moment, note};
use super::show;
use crate::engine::Page;
use crate::history::PastQuery;
use crate::id::JobName;
use crate::job_diff::FieldChange;
use crate::job_past::{JobRevision, MissedRow, Place, RevisionChange};
use crate::remote::Remote;
use crate::time::Timestamp;

/// The arguments of `jobs history`.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The job's name; it may be that of a removed job.
    name: JobName,
    /// Show at most so many. Default: 1000.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// One thing that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Item {
    Revision(Box<JobRevision>),
    Missed(MissedRow),
}

impl Item {
    fn at(&self) -> Timestamp {
        match self {
            Self::Revision(revision) => revision.at,
            Self::Missed(row) => row.at,
        }
    }
}

pub(super) async fn history(out: &Out, remote: &Remote, args: HistoryArgs) -> Result<(), CliError> {
    let HistoryArgs { name, limit } = args;
    let limit = limit.unwrap_or(LIST_LIMIT);
    let query = |page: Page<Place>| PastQuery { before: page.after, limit: page.limit };
    let read = async |page| remote.missed(name.clone(), query(page)).await;
    let (missed, more_missed) = read_all(limit, MissedRow::place, read).await?;
    let read = async |page| remote.revisions(name.clone(), query(page)).await;
    let (revisions, more) = read_all(limit, JobRevision::place, read).await?;
    let mut items = merged(missed, revisions);
    let more = more || more_missed || items.len() > limit;
    items.truncate(limit);
    if out.is_json() {
        out.json(&items)?;
    } else {
        let rows = items.iter().flat_map(|item| rows(item, out.now)).collect();
        out.table(&["WHEN", "WHAT", "NO", "DETAILS"], rows)?;
    }
    if more {
        note(&format!("more than {limit} things happened; --limit shows more"));
    }
    Ok(())
}

/// The newest first. What a definition brings about at once comes after it.
fn merged(missed: Vec<MissedRow>, revisions: Vec<JobRevision>) -> Vec<Item> {
    let missed = missed.into_iter().map(Item::Missed);
    let mut items: Vec<Item> =
        missed.chain(revisions.into_iter().map(Box::new).map(Item::Revision)).collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.at()));
    items
}

fn rows(item: &Item, now: Timestamp) -> Vec<Vec<Field>> {
    let (what, no, details) = match item {
        Item::Revision(revision) => {
            let what = match revision.change {
                RevisionChange::Created => Field::toned("created", Tone::Good),
                RevisionChange::Changed => "changed".into(),
                RevisionChange::Removed => Field::toned("removed", Tone::Bad),
            };
            (what, revision.revision.to_string(), changed(revision))
        }
        Item::Missed(row) => {
            (Field::toned("missed", Tone::Busy), row.no.to_string(), vec![told(row)])
        }
    };
    let mut details = details.into_iter();
    let first = details.next().unwrap_or_else(|| NOTHING.to_owned());
    let first = vec![moment(item.at(), now).into(), what, no.into(), first.into()];
    let further = details.map(|line| vec!["".into(), "".into(), "".into(), line.into()]);
    std::iter::once(first).chain(further).collect()
}

/// What a revision is about, a line each.
fn changed(revision: &JobRevision) -> Vec<String> {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
    let line = |field: &FieldChange| {
        format!("{}: {} → {}", field.field, value(&field.before), value(&field.after))
    };
    match (revision.change, &revision.diff, &revision.spec) {
        (RevisionChange::Changed, Some(diff), _) => diff.iter().map(line).collect(),
        (RevisionChange::Changed, None, _) => {
            vec!["the revision before it is no longer kept".to_owned()]
        }
        (RevisionChange::Created, _, Some(spec)) => {
            vec![format!("{} to {}, {}", spec.command, spec.target, show::rule(&spec.rule))]
        }
        (RevisionChange::Created | RevisionChange::Removed, ..) => Vec::new(),
    }
}

fn told(row: &MissedRow) -> String {
    let least = if row.counted_exactly { "" } else { "at least " };
    let which = match row.count {
        1 => format!("1 firing, of {}", row.first),
        count => format!("{least}{count} firings, {} to {}", row.first, row.last),
    };
    let fired = match row.fired {
        0 => String::new(),
        fired => format!("; {fired} more fired late"),
    };
    format!("{which}: {}{fired}", row.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::CatchUp;

    fn row(count: u64, counted_exactly: bool, fired: u64) -> MissedRow {
        let at: Timestamp = "2026-11-22T06:00:00Z".parse().unwrap();
        let (job, reason) = (crate::JobId::from_parts(at, 1), "the server was down".to_owned());
        let policy = CatchUp::Latest;
        MissedRow {
            job,
            no: 1,
            count,
            counted_exactly,
            first: at,
            last: at,
            reason,
            at,
            policy,
            fired,
        }
    }

    #[test]
    fn a_row_is_told_in_a_sentence() {
        let at = "2026-11-22T06:00:00.000Z";
        let expected = format!("1 firing, of {at}: the server was down");
        assert_eq!(told(&row(1, true, 0)), expected);
        let expected =
            format!("at least 10000 firings, {at} to {at}: the server was down; 1 more fired late");
        assert_eq!(told(&row(10_000, false, 1)), expected);
    }

    #[test]
    fn what_is_missed_at_once_comes_after_its_definition() {
        let row = row(1, true, 0);
        let revision = JobRevision {
            job: row.job,
            revision: 1,
            at: row.at,
            change: RevisionChange::Created,
            spec: None,
            diff: None,
        };
        let later =
            JobRevision { at: row.at.plus(std::time::Duration::from_secs(1)), ..revision.clone() };
        let items = merged(vec![row], vec![later, revision]);
        let kinds = items.iter().map(|item| matches!(item, Item::Missed(_)));
        assert_eq!(kinds.collect::<Vec<_>>(), [false, true, false], "the newest first");
    }
}
