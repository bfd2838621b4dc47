//! Ended runs: how they are listed by job, and how they are forgotten, a bounded part at a time.

use std::collections::HashSet;

use super::{Op, Order, Store, StoreError, key, part_of, put, run, walk};
use crate::engine::Change;
use crate::id::{JobId, Serial};
use crate::run::Run;
use crate::store::{Batch, MAX_OPS};
use crate::time::Timestamp;

/// Operations by which one unit forgets runs or jobs, at most: one batch with its page of the
/// ledger, and what is decided meanwhile waits for no more than that.
pub(super) const FORGOTTEN_AT_ONCE: usize = 128;

const _: () = assert!(FORGOTTEN_AT_ONCE + 16 <= MAX_OPS);

/// The run itself, its place among those of its job, and the note that it is being forgotten.
const OWN_KEYS: usize = 3;

/// What the list of a job's ended runs tells of one. Stored as 20 bytes, big-endian: when it ended
/// (milliseconds after 1970, u64), bytes (u64), deliveries (u32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedRun {
    /// The job; `None`: it was submitted.
    pub job: Option<JobId>,
    /// The run.
    pub serial: Serial,
    /// When its last delivery ended.
    pub ended_at: Timestamp,
    /// About how many bytes it takes with its responses, see [`Run::kept_bytes`].
    pub bytes: u64,
    /// How many deliveries it had.
    pub deliveries: u32,
}

impl EndedRun {
    /// What is told of a run; `None`: it is open, or being forgotten.
    #[must_use]
    pub fn of(run: &Run) -> Option<Self> {
        let ended_at = run.ended_at.filter(|_| !run.forgotten)?;
        let Run { job_id: job, serial, .. } = *run;
        Some(Self { job, serial, ended_at, bytes: run.kept_bytes(), deliveries: run.counts.total })
    }

    fn encode(&self) -> Vec<u8> {
        let ended = u64::try_from(self.ended_at.millis()).unwrap_or(0);
        let mut value = Vec::with_capacity(20);
        value.extend(ended.to_be_bytes());
        value.extend(self.bytes.to_be_bytes());
        value.extend(self.deliveries.to_be_bytes());
        value
    }
}

/// What an entry of the list tells.
pub fn ended_run(key: &[u8], value: &[u8]) -> Result<EndedRun, StoreError> {
    const WHAT: &str = "ended run";
    let (job, serial) = part_of(WHAT, key, key::ended_in)?;
    let parts = || {
        let (ended, rest) = value.split_first_chunk()?;
        let (bytes, rest) = rest.split_first_chunk()?;
        let deliveries = u32::from_be_bytes(rest.try_into().ok()?);
        Some((u64::from_be_bytes(*ended), u64::from_be_bytes(*bytes), deliveries))
    };
    let (ended, bytes, deliveries) = parts()
        .ok_or_else(|| StoreError::corrupt(WHAT, key, format!("{} bytes, not 20", value.len())))?;
    let ended_at = Timestamp::from_millis(i64::try_from(ended).unwrap_or(i64::MAX));
    Ok(EndedRun { job, serial, ended_at, bytes, deliveries })
}

/// The operation that lists a run by its job, if it has one and has ended.
pub(super) fn index(run: &Run) -> Option<Op> {
    let ended = EndedRun::of(run).filter(|ended| ended.job.is_some())?;
    Some(Op::Put(key::ended(ended.job, ended.serial), ended.encode()))
}

/// A batch that lists runs by job which ended before there were such lists, those of them that are
/// there; with `all` there are no others. At most as many runs as a batch has operations, less one.
pub fn list(store: &dyn Store, runs: &[Serial], all: bool) -> Result<Batch, StoreError> {
    let mut batch = Vec::with_capacity(runs.len() + 1);
    for serial in runs {
        batch.extend(run(store, *serial)?.as_ref().and_then(index));
    }
    if all {
        batch.push(Op::Put(key::ended_runs_listed(), Vec::new()));
    }
    Ok(batch)
}

/// Whether a unit finds what it deletes by searching the store.
pub(in crate::store) fn searches(unit: &[Change]) -> bool {
    let forgets = |change: &Change| {
        matches!(change, Change::ForgetRun(_) | Change::ForgetJob(_) | Change::ForgetReplay(_))
    };
    unit.iter().any(forgets)
}

/// Whether a unit reads in the store what one of these units, which are not there yet, changes.
pub(in crate::store) fn looks_at_any_of(unit: &[Change], before: &[Vec<Change>]) -> bool {
    let (mut runs, mut jobs, mut replays) = (HashSet::new(), HashSet::new(), HashSet::new());
    for change in unit {
        match change {
            Change::ForgetRun(serial) => drop(runs.insert(*serial)),
            Change::ForgetJob(removed) => drop(jobs.insert(removed.job)),
            Change::ForgetReplay(id) => drop(replays.insert(*id)),
            _ => {}
        }
    }
    (!runs.is_empty() || !jobs.is_empty() || !replays.is_empty())
        && before.iter().flatten().any(|change| match change {
            Change::PutMissed(row) => jobs.contains(&row.job),
            Change::PutRevision(revision) => jobs.contains(&revision.job),
            Change::PutRemoved(removed) | Change::ForgetJob(removed) => jobs.contains(&removed.job),
            Change::PutRun(run) => runs.contains(&run.serial),
            Change::PutOpen { serial, .. }
            | Change::PutMarks { serial, .. }
            | Change::PutPage { serial, .. }
            | Change::PutLate { serial, .. }
            | Change::ForgetRun(serial) => runs.contains(serial),
            Change::PutReplay(replay) => replays.contains(&replay.id),
            Change::PutReplayParts(id, _)
            | Change::ForgetReplay(id)
            | Change::PutReplayRun { replay: id, .. } => replays.contains(id),
            _ => false,
        })
}

/// Deletes what there is of a run, as much as there is room for in this unit. What is left keeps
/// the run, marked, and a note by which it is found again.
pub(super) fn forget(
    store: &dyn Store,
    ops: &mut Vec<Op>,
    serial: Serial,
) -> Result<(), StoreError> {
    let ranges = [key::OPEN, key::MARK, key::PAGE, key::RESULT, key::LATE]
        .map(|kind| key::of_run(kind, serial));
    // What this very unit has put is not in the store yet.
    let put_here: Vec<Op> = ops
        .iter()
        .filter(|op| ranges.iter().any(|range| range.contains(&op.key().to_vec())))
        .map(|op| Op::Delete(op.key().to_vec()))
        .collect();
    let Some(room @ 1..) = FORGOTTEN_AT_ONCE.checked_sub(ops.len() + put_here.len() + OWN_KEYS)
    else {
        return Ok(());
    };
    ops.extend(put_here);
    let record = run(store, serial)?;
    let mut found = Vec::new();
    for entry in ranges.into_iter().flat_map(|range| walk(store, range, Order::Up)).take(room + 1) {
        found.push(entry?.0);
    }
    let all = found.len() <= room;
    ops.extend(found.into_iter().take(room).map(Op::Delete));
    let job = record.as_ref().and_then(|run| run.job_id);
    ops.push(Op::Delete(key::ended(job, serial)));
    if all {
        ops.push(Op::Delete(key::run(serial)));
        ops.push(Op::Delete(key::forgetting(serial)));
        return Ok(());
    }
    ops.push(Op::Put(key::forgetting(serial), Vec::new()));
    if let Some(run) = record.filter(|run| !run.forgotten) {
        ops.push(put("run", key::run(serial), &Run { forgotten: true, ..run })?);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
