//! Jobs: a definition and a standing each, revisions and rows without a gap, and nothing of jobs
//! that never were.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};

use super::cursor::Cursor;
use super::report::LEFTOVER;
use super::{Known, Report};
use crate::engine::JobHead;
use crate::id::{JobId, JobName};
use crate::job::{Job, JobState};
use crate::job_past::{JobRevision, RevisionChange};
use crate::store::{Store, StoreError, format, key, kinds, records};

const STANDING: &str = "a job and its standing";
const HEAD: &str = "heads of jobs";
const REVISIONS: &str = "revisions of a job";
const MISSED: &str = "rows of missed firings";
const NAME: &str = "names of jobs";
const REMOVED: &str = "removed jobs";

/// The key of a revision, its number, and what made it if it can be read.
type Revision = (Vec<u8>, u32, Option<RevisionChange>);

/// What there is of one job.
#[derive(Debug, Default)]
struct Found {
    job: Option<Job>,
    /// There, if not readable.
    is_live: bool,
    state: Option<JobState>,
    is_removed: bool,
    /// The last revision that is no longer the current one.
    revision: Option<Revision>,
    /// The last row of missed firings.
    row: Option<(Vec<u8>, u64)>,
}

pub(super) fn check(
    store: &dyn Store,
    known: &mut Known,
    report: &mut Report,
) -> Result<(), StoreError> {
    let kinds = [key::JOB, key::JOB_STATE, key::REVISION, key::MISSED];
    let [mut jobs, mut states, mut revisions, mut rows] = cursors(store, kinds)?;
    let mut names = Names::default();
    // What else is wrong with the facts is told elsewhere.
    let with_heads = matches!(format::has_heads(store), Ok(true));
    loop {
        let owners = [&jobs, &states, &revisions, &rows].map(Cursor::owner);
        let Some(owner) = owners.into_iter().flatten().min() else { return Ok(()) };
        let id = kinds::job(owner);
        let mut found =
            Found { is_removed: known.removed.binary_search(&id).is_ok(), ..Found::default() };
        if let Some((key, value)) = jobs.take(owner)? {
            found.is_live = true;
            found.job = records::read::<Job>(STANDING, &key, &value).ok();
            jobs.pass(owner)?;
        }
        let state = states.take(owner)?;
        states.pass(owner)?;
        if let Some((key, value)) = &state {
            found.state = records::read::<JobState>(STANDING, key, value).ok();
            head((id, key, value), &found, with_heads, report);
        }
        standing(id, &found, state.is_some(), report);
        found.revision = read_revisions(&mut revisions, owner, report)?;
        found.row = read_rows(&mut rows, owner, report)?;
        past(id, &found, report);
        if let Some(job) = &found.job {
            names.add(store, job, report);
        }
    }
}

pub(super) fn cursors<const N: usize>(
    store: &dyn Store,
    kinds: [u8; N],
) -> Result<[Cursor<'_>; N], StoreError> {
    let mut cursors = Vec::with_capacity(N);
    for kind in kinds {
        cursors.push(Cursor::new(store, kind)?);
    }
    // One was made for each kind.
    cursors.try_into().map_err(|_| StoreError::Stopped)
}

fn standing(id: JobId, found: &Found, has_standing: bool, report: &mut Report) {
    match (found.is_live, has_standing) {
        (true, false) => {
            report.broken(&key::job_state(id), STANDING, format!("job {id} has none"));
        }
        (false, true) => {
            report.broken(&key::job_state(id), STANDING, format!("there is no job {id}"));
        }
        _ => {}
    }
    if found.is_live && found.is_removed {
        report.broken(&key::job(id), REMOVED, format!("job {id} is there and removed"));
    }
}

/// That the start finds in a job's standing what is so.
fn head(
    (id, key, value): (JobId, &[u8], &[u8]),
    found: &Found,
    with_heads: bool,
    report: &mut Report,
) {
    let (Some(job), Some(state)) = (&found.job, &found.state) else { return };
    let Some(stored) = records::split(value).1 else {
        if with_heads {
            report.broken(key, HEAD, format!("job {id} has none"));
        }
        return;
    };
    let is = JobHead::of(job, state);
    // What cannot be read is told by itself.
    if let Ok(head) = records::read_head(id, stored)
        && head != is
    {
        let due = |head: &JobHead| head.due.map_or("never".to_owned(), |at| at.to_string());
        let told = format!("of {}, due {}", head.name, due(&head));
        let problem = format!("it is {told}; the job is {}, due {}", is.name, due(&is));
        report.broken(key, HEAD, problem);
    }
}

fn read_revisions(
    cursor: &mut Cursor<'_>,
    owner: [u8; 16],
    report: &mut Report,
) -> Result<Option<Revision>, StoreError> {
    let mut last: Option<Revision> = None;
    while let Some((key, value)) = cursor.take(owner)? {
        // What cannot be read is told by itself.
        let Some(no) = key::revision_in(&key) else { continue };
        if let Some((_, before, _)) = &last
            && before.checked_add(1) != Some(no)
        {
            report.broken(&key, REVISIONS, format!("revision {no} follows revision {before}"));
        }
        let revision = records::read::<JobRevision>(REVISIONS, &key, &value).ok();
        last = Some((key, no, revision.map(|revision| revision.change)));
    }
    Ok(last)
}

fn read_rows(
    cursor: &mut Cursor<'_>,
    owner: [u8; 16],
    report: &mut Report,
) -> Result<Option<(Vec<u8>, u64)>, StoreError> {
    let mut last: Option<(Vec<u8>, u64)> = None;
    while let Some((key, _)) = cursor.take(owner)? {
        let Some(no) = key::missed_in(&key) else { continue };
        if let Some((_, before)) = &last
            && before.checked_add(1) != Some(no)
        {
            report.broken(&key, MISSED, format!("row {no} follows row {before}"));
        }
        last = Some((key, no));
    }
    Ok(last)
}

/// That revisions and rows end where the job, or its removal, says.
fn past(id: JobId, found: &Found, report: &mut Report) {
    if !found.is_live && !found.is_removed {
        let keys = found.revision.iter().map(|(key, ..)| (key, REVISIONS));
        for (key, rule) in keys.chain(found.row.iter().map(|(key, _)| (key, MISSED))) {
            let problem = format!("job {id} is neither there nor removed");
            report.fault(key, rule, problem, LEFTOVER);
        }
        return;
    }
    if let Some((key, no, change)) = &found.revision {
        match &found.job {
            Some(job) if no.checked_add(1) != Some(job.revision) => {
                let (name, now) = (&job.spec.name, job.revision);
                let problem = format!("the last is {no}, and job {name} is at revision {now}");
                report.broken(key, REVISIONS, problem);
            }
            None if found.is_removed && *change != Some(RevisionChange::Removed) => {
                let problem = format!("job {id} is removed, and its last revision is no removal");
                report.broken(key, REVISIONS, problem);
            }
            _ => {}
        }
    }
    if let Some(state) = &found.state {
        // 0 was recorded before rows were kept.
        let told = state.missed.as_ref().map_or(0, |missed| missed.row);
        let last = found.row.as_ref().map_or(0, |(_, no)| *no);
        if told != last {
            let key =
                found.row.as_ref().map_or_else(|| key::missed(id, told), |(key, _)| key.clone());
            let problem = format!("the last row is {last}, and the job's standing tells of {told}");
            report.broken(&key, MISSED, problem);
        }
    }
}

/// The names of live jobs, each by its hash: 24 bytes a job.
#[derive(Default)]
struct Names {
    hasher: RandomState,
    jobs: HashMap<u64, JobId>,
}

impl Names {
    fn add(&mut self, store: &dyn Store, job: &Job, report: &mut Report) {
        let name: &JobName = &job.spec.name;
        let other = match self.jobs.entry(self.hasher.hash_one(name.as_str())) {
            Entry::Vacant(place) => {
                place.insert(job.id);
                return;
            }
            Entry::Occupied(place) => *place.get(),
        };
        // Two names may have one hash.
        if records::job(store, other).is_ok_and(|it| it.is_some_and(|it| it.spec.name == *name)) {
            let problem = format!("{name} is the name of job {other}, too");
            report.broken(&key::job(job.id), NAME, problem);
        }
    }
}
