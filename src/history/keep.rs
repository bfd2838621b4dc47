//! What of the history is too old or too much: what retention looks at.
//!
//! Every read here is bounded: it says where to go on.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::id::{JobId, Serial};
use crate::keep::Keep;
use crate::run::Run;
use crate::store::records::{self, EndedRun};
use crate::store::{Order, Store, StoreError, key, walk};
use crate::time::Timestamp;

/// Records that one read looks at, at most.
pub const LOOKED_AT: usize = 2_000;

/// Where the history of one job is cut off: what it holds at most, counted from its newest run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The newest run that is too much, by number or by bytes; those before it are, too. `None`:
    /// there is none.
    pub too_much: Option<Serial>,
    /// Runs that ended before this moment are too old; `None`: age is not the job's matter.
    pub too_old: Option<Timestamp>,
}

impl Cut {
    /// Whether a run is beyond it.
    #[must_use]
    pub fn is_beyond(&self, run: &EndedRun) -> bool {
        self.too_much.is_some_and(|last| run.serial <= last)
            || self.too_old.is_some_and(|moment| run.ended_at < moment)
    }

    /// Whether every run from this serial on, that one too, is within it.
    fn ends_before(&self, serial: Serial) -> bool {
        // No run ends before it is due, and its serial's time is when it was due.
        self.too_much.is_none_or(|last| last < serial)
            && self.too_old.is_none_or(|moment| moment <= serial.time())
    }
}

/// Where a job's history is to be cut off at `now`, and how many of its runs were read for that:
/// as many as it keeps, some 50 bytes each; without a limit of number or bytes none.
fn cut(
    store: &dyn Store,
    job: JobId,
    keep: &Keep,
    now: Timestamp,
) -> Result<(Cut, u64), StoreError> {
    let too_old = keep.age().map(|age| now.minus(age));
    let (mut runs, mut bytes) = (0, 0_u64);
    if keep.runs().is_none() && keep.bytes().is_none() {
        return Ok((Cut { too_much: None, too_old }, runs));
    }
    for entry in walk(store, key::ended_of(Some(job)), Order::Down) {
        let (key, value) = entry?;
        let run = records::ended_run(&key, &value)?;
        runs += 1;
        bytes = bytes.saturating_add(run.bytes);
        if keep.runs().is_some_and(|most| runs > most)
            || keep.bytes().is_some_and(|most| bytes > most)
        {
            return Ok((Cut { too_much: Some(run.serial), too_old }, runs));
        }
    }
    Ok((Cut { too_much: None, too_old }, runs))
}

/// A part of what is to be forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OldRuns {
    /// The runs, in serial order.
    pub runs: Vec<EndedRun>,
    /// The last that was looked at; `None`: there was none.
    pub last: Option<Serial>,
    /// Whether there may be more after it.
    pub more: bool,
}

/// Where to go on within the runs of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within {
    cut: Cut,
    after: Option<Serial>,
}

/// What is beyond the limits of some jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beyond {
    /// The runs; those of a job in serial order.
    pub runs: Vec<EndedRun>,
    /// How many of the jobs are done with.
    pub done: usize,
    /// Where to go on within the next one; `None`: at its start.
    pub within: Option<Within>,
}

/// Ended runs that are beyond their jobs' own limits at `now`. Goes on `within` the first of the
/// jobs. Ends when it has found [`LOOKED_AT`] or looked at more, but for the runs that the last
/// job keeps.
pub fn beyond(
    store: &dyn Store,
    jobs: &[(JobId, Keep)],
    now: Timestamp,
    mut within: Option<Within>,
) -> Result<Beyond, StoreError> {
    let mut found = Beyond::default();
    let mut looked_at = 0;
    for (job, keep) in jobs {
        let Within { cut, after } = if let Some(within) = within.take() {
            within
        } else {
            let (cut, read) = cut(store, *job, keep, now)?;
            looked_at += usize::try_from(read).unwrap_or(usize::MAX);
            Within { cut, after: None }
        };
        let part = beyond_cut(store, *job, &cut, after)?;
        looked_at += part.runs.len() + 1;
        found.runs.extend(part.runs);
        if part.more {
            found.within = Some(Within { cut, after: part.last });
            break;
        }
        found.done += 1;
        if looked_at >= LOOKED_AT {
            break;
        }
    }
    Ok(found)
}

/// Ended runs of a job that are beyond a cut, after a serial. Looks at [`LOOKED_AT`] at most.
fn beyond_cut(
    store: &dyn Store,
    job: JobId,
    cut: &Cut,
    after: Option<Serial>,
) -> Result<OldRuns, StoreError> {
    let Range { mut start, end } = key::ended_of(Some(job));
    if let Some(after) = after {
        start = key::ended(Some(job), after.next());
    }
    let mut found = OldRuns { last: after, ..OldRuns::default() };
    for (looked_at, entry) in walk(store, start..end, Order::Up).enumerate() {
        let (key, value) = entry?;
        let run = records::ended_run(&key, &value)?;
        if cut.ends_before(run.serial) {
            break;
        }
        found.last = Some(run.serial);
        if cut.is_beyond(&run) {
            found.runs.push(run);
        }
        if looked_at + 1 == LOOKED_AT {
            found.more = true;
            break;
        }
    }
    Ok(found)
}

/// Which runs are too old, whatever their job.
#[derive(Debug, Clone)]
pub struct OldRunsQuery<'a> {
    /// After this serial; `None`: from the first.
    pub after: Option<Serial>,
    /// Those that ended before this moment; `None`: all that ended.
    pub before: Option<Timestamp>,
    /// Not those of these jobs.
    pub except: &'a BTreeSet<JobId>,
}

/// Runs that ended before a moment, in serial order. Looks at [`LOOKED_AT`] at most.
pub fn old_runs(store: &dyn Store, query: &OldRunsQuery<'_>) -> Result<OldRuns, StoreError> {
    let mut keys = key::all(key::RUN);
    if let Some(after) = query.after {
        keys.start = key::run(after.next());
    }
    if let Some(moment) = query.before {
        // No run ends before it is due, and its serial's time is when it was due.
        keys.end = key::run(Serial::from_parts(moment, 0));
    }
    let mut found = OldRuns { last: query.after, ..OldRuns::default() };
    for (looked_at, entry) in walk(store, keys, Order::Up).enumerate() {
        let (key, value) = entry?;
        let run: Run = records::read("run", &key, &value)?;
        found.last = Some(run.serial);
        let of_others = run.job_id.is_none_or(|job| !query.except.contains(&job));
        let old = |run: &EndedRun| query.before.is_none_or(|moment| run.ended_at < moment);
        found.runs.extend(EndedRun::of(&run).filter(|run| of_others && old(run)));
        if looked_at + 1 == LOOKED_AT {
            found.more = true;
            break;
        }
    }
    Ok(found)
}

/// The ended runs that were due in a span, from a serial of it on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// The runs, in serial order.
    pub runs: Vec<EndedRun>,
    /// The last that was looked at, if there may be more after it.
    pub next: Option<Serial>,
}

/// The ended runs that were due in a span, `after` a serial of it. Looks at [`LOOKED_AT`] at most.
pub fn census(
    store: &dyn Store,
    span: &Range<Timestamp>,
    after: Option<Serial>,
) -> Result<Census, StoreError> {
    let start = match after {
        Some(after) => key::run(after.next()),
        None => key::run(Serial::from_parts(span.start, 0)),
    };
    let end = key::run(Serial::from_parts(span.end, 0));
    let mut found = Census::default();
    for (looked_at, entry) in walk(store, start..end, Order::Up).enumerate() {
        let (key, value) = entry?;
        let run: Run = records::read("run", &key, &value)?;
        found.runs.extend(EndedRun::of(&run));
        if looked_at + 1 == LOOKED_AT {
            found.next = Some(run.serial);
            break;
        }
    }
    Ok(found)
}

/// Runs of which a part is forgotten, `limit` at most: a crash has come between.
pub fn forgetting(store: &dyn Store, limit: usize) -> Result<Vec<Serial>, StoreError> {
    let found = walk(store, key::all_forgetting(), Order::Up).take(limit).map(|entry| {
        let (key, _) = entry?;
        records::part_of("run that is being forgotten", &key, key::forgetting_in)
    });
    found.collect()
}

/// Runs that are not yet listed by job, of a store from before there were such lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unlisted {
    /// The runs.
    pub runs: Vec<Serial>,
    /// The last that was looked at, if there may be more after it.
    pub next: Option<Serial>,
}

/// Ended runs `after` a serial that are not listed by job; `None`: all are listed. Looks at
/// [`LOOKED_AT`] at most.
pub fn unlisted(store: &dyn Store, after: Option<Serial>) -> Result<Option<Unlisted>, StoreError> {
    if store.get(&key::ended_runs_listed())?.is_some() {
        return Ok(None);
    }
    let mut keys = key::all(key::RUN);
    if let Some(after) = after {
        keys.start = key::run(after.next());
    }
    let mut found = Unlisted::default();
    for (looked_at, entry) in walk(store, keys, Order::Up).enumerate() {
        let (key, value) = entry?;
        let run: Run = records::read("run", &key, &value)?;
        if let Some(ended) = EndedRun::of(&run)
            && ended.job.is_some()
            && store.get(&key::ended(ended.job, ended.serial))?.is_none()
        {
            found.runs.push(run.serial);
        }
        if looked_at + 1 == LOOKED_AT {
            found.next = Some(run.serial);
            break;
        }
    }
    Ok(Some(found))
}

/// Those of some runs of which anything is left.
pub fn left(store: &dyn Store, runs: &[Serial]) -> Result<Vec<Serial>, StoreError> {
    let mut left = Vec::new();
    for serial in runs {
        if store.get(&key::run(*serial))?.is_some() {
            left.push(*serial);
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests;
