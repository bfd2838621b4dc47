//! Removed jobs: each is under its name and under the time of its removal.

use super::{Known, Report};
use crate::job_past::RemovedJob;
use crate::store::{Order, Store, StoreError, key, records, walk};

const RULE: &str = "the two keys of a removed job";

pub(super) fn check(
    store: &dyn Store,
    known: &mut Known,
    report: &mut Report,
) -> Result<(), StoreError> {
    for (kind, other_kind) in [(key::REMOVED, key::REMOVAL), (key::REMOVAL, key::REMOVED)] {
        for entry in walk(store, key::all(kind), Order::Up) {
            let (key, value) = entry?;
            // What cannot be read is told by itself.
            let Ok(removed) = records::read::<RemovedJob>(RULE, &key, &value) else { continue };
            let RemovedJob { job, name, removed_at } = &removed;
            let other = match other_kind {
                key::REMOVED => key::removed(name, *job),
                _ => key::removal(*removed_at, *job),
            };
            if store.get(&other)?.as_deref() != Some(value.as_slice()) {
                let problem = format!(
                    "removed job {name} ({job}) is not the same under {}",
                    key::show(&other)
                );
                report.broken(&key, RULE, problem);
            }
            if kind == key::REMOVED {
                known.removed.push(*job);
            }
        }
    }
    known.removed.sort_unstable();
    Ok(())
}
