//! Calendars: the rules of jobs name those that there are.

use super::{Known, Report};
use crate::job::Job;
use crate::store::{Order, Store, StoreError, key, records, walk};

const RULE: &str = "calendars of a job";

pub(super) fn check(
    store: &dyn Store,
    _: &mut Known,
    report: &mut Report,
) -> Result<(), StoreError> {
    for entry in walk(store, key::all(key::JOB), Order::Up) {
        let (key, value) = entry?;
        // What cannot be read is told by itself.
        let Ok(job) = records::read::<Job>(RULE, &key, &value) else { continue };
        for name in job.spec.rule.calendars() {
            if store.get(&key::calendar(name))?.is_none() {
                let problem =
                    format!("job {} leaves out calendar {name}, which is missing", job.spec.name);
                report.broken(&key, RULE, problem);
            }
        }
    }
    Ok(())
}
