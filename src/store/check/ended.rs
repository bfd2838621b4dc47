//! The list of ended runs by job: it tells of each run that has ended what the run is.
//!
//! A store from before there was such a list has none of earlier runs until it is said to be whole.
//! Runs without a job need none; an older version has listed them too.

use super::report::LEFTOVER;
use super::{Known, Report};
use crate::run::Run;
use crate::store::records::EndedRun;
use crate::store::{Order, Store, StoreError, key, records, walk};

const RULE: &str = "ended runs by job";

pub(super) fn check(
    store: &dyn Store,
    _: &mut Known,
    report: &mut Report,
) -> Result<(), StoreError> {
    for entry in walk(store, key::all_ended(), Order::Up) {
        let (key, value) = entry?;
        // What cannot be read is told by itself.
        let Ok(listed) = records::ended_run(&key, &value) else { continue };
        let serial = listed.serial;
        let run = store.get(&key::run(serial))?;
        let Some(run) = run else {
            report.fault(&key, RULE, format!("run {serial} is missing"), LEFTOVER);
            continue;
        };
        if let Ok(run) = records::read::<Run>(RULE, &key, &run)
            && EndedRun::of(&run) != Some(listed)
        {
            report.broken(&key, RULE, format!("run {serial} has not ended so"));
        }
    }
    if store.get(&key::ended_runs_listed())?.is_none() {
        return Ok(());
    }
    for entry in walk(store, key::all(key::RUN), Order::Up) {
        let (key, value) = entry?;
        let Ok(run) = records::read::<Run>(RULE, &key, &value) else { continue };
        if let Some(ended) = EndedRun::of(&run)
            && ended.job.is_some()
            && store.get(&key::ended(ended.job, ended.serial))?.is_none()
        {
            let problem = format!("ended run {} is not among those of its job", run.serial);
            report.broken(&key, RULE, problem);
        }
    }
    Ok(())
}
