//! What jobs keep of their past: its keys and values.

use super::{Op, Order, Store, StoreError, get, key, put, walk};
use crate::engine::Change;
use crate::id::JobId;
use crate::job::Job;
use crate::job_past::{JobRevision, MISSED_KEPT, REVISIONS_KEPT, RemovedJob};

/// Records of removed jobs that one unit forgets, at most: with the last job's own keys they are
/// one batch.
const FORGOTTEN_AT_ONCE: usize = super::ended::FORGOTTEN_AT_ONCE - 2;

/// The operations of a change of this kind; of others there are none.
pub(super) fn encode(
    store: &dyn Store,
    ops: &mut Vec<Op>,
    change: &Change,
) -> Result<(), StoreError> {
    match change {
        Change::PutMissed(row) => {
            ops.push(put("row of missed firings", key::missed(row.job, row.no), row)?);
            // Numbers begin at 1.
            if row.no > MISSED_KEPT {
                ops.push(Op::Delete(key::missed(row.job, row.no - MISSED_KEPT)));
            }
        }
        Change::PutRevision(revision) => {
            let (job, no) = (revision.job, revision.revision);
            ops.push(put("job revision", key::revision(job, no), &**revision)?);
            // One less than are kept: the current one is not among them.
            if no >= REVISIONS_KEPT {
                ops.push(Op::Delete(key::revision(job, no - (REVISIONS_KEPT - 1))));
            }
        }
        Change::PutRemoved(removed) => {
            let [named, timed] = keys(removed);
            ops.push(put("removed job", named, removed)?);
            ops.push(put("removed job", timed, removed)?);
        }
        Change::ForgetJob(removed) => forget(store, ops, removed)?,
        _ => {}
    }
    Ok(())
}

fn keys(removed: &RemovedJob) -> [Vec<u8>; 2] {
    let RemovedJob { job, name, removed_at } = removed;
    [key::removed(name, *job), key::removal(*removed_at, *job)]
}

/// As many as there is room for, the oldest first, and the keys by which the job is found last: until then it is found again.
fn forget(store: &dyn Store, ops: &mut Vec<Op>, removed: &RemovedJob) -> Result<(), StoreError> {
    let records = [key::MISSED, key::REVISION]
        .into_iter()
        .flat_map(|kind| walk(store, key::of_job(kind, removed.job), Order::Up));
    let Some(mut left) = FORGOTTEN_AT_ONCE.checked_sub(ops.len()) else { return Ok(()) };
    for entry in records {
        if left == 0 {
            return Ok(());
        }
        ops.push(Op::Delete(entry?.0));
        left -= 1;
    }
    ops.extend(keys(removed).map(Op::Delete));
    Ok(())
}

/// A job's definition as it is now.
pub fn job(store: &dyn Store, id: JobId) -> Result<Option<Job>, StoreError> {
    get(store, "job", &key::job(id))
}

/// A revision of a job that is no longer the current one, or its removal.
pub fn revision(
    store: &dyn Store,
    id: JobId,
    revision: u32,
) -> Result<Option<JobRevision>, StoreError> {
    get(store, "job revision", &key::revision(id, revision))
}

#[cfg(test)]
mod tests;
