//! The serials of a job's runs, in their order, by the list that each job has of its ended runs:
//! what a rare job did is found without a look at what all others did.
//!
//! Runs of which retention has forgotten the job are not found so. A store from before there were
//! such lists has none until housekeeping has made them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::PART;
use super::query::Span;
use crate::id::{JobId, Serial};
use crate::run::Run;
use crate::store::{Order, Store, StoreError, key, records, walk};

/// See the module.
#[derive(Debug)]
pub(super) struct Listed {
    /// Where to read on in the list of each job.
    lists: BTreeMap<JobId, Range<Vec<u8>>>,
    /// Those that are in no list: open, or half forgotten.
    others: BTreeSet<Serial>,
}

impl Listed {
    /// Those of some jobs in a span; `None`: there are no such lists.
    pub(super) fn open(
        store: &dyn Store,
        jobs: impl IntoIterator<Item = JobId>,
        span: Span,
    ) -> Result<Option<Self>, StoreError> {
        if store.get(&key::ended_runs_listed())?.is_none() {
            return Ok(None);
        }
        let [first, last] = [span.since, span.until].map(|at| Serial::from_parts(at, 0));
        let keys = |job: JobId| key::ended(Some(job), first)..key::ended(Some(job), last);
        let lists: BTreeMap<_, _> = jobs.into_iter().map(|job| (job, keys(job))).collect();
        // Before the lists: what ends between the two looks is seen twice rather than not at all.
        let mut others: BTreeSet<Serial> = records::open_serials(store)?.into_iter().collect();
        for entry in walk(store, key::all_forgetting(), Order::Up) {
            const WHAT: &str = "run that is being forgotten";
            others.insert(records::part_of(WHAT, &entry?.0, key::forgetting_in)?);
        }
        others.retain(|serial| (first..last).contains(serial));
        let mut own = BTreeSet::new();
        for serial in others {
            let run: Option<Run> = records::run(store, serial)?;
            if run.and_then(|run| run.job_id).is_some_and(|job| lists.contains_key(&job)) {
                own.insert(serial);
            }
        }
        Ok(Some(Self { lists, others: own }))
    }

    /// The next serials, [`PART`] at most; none are left when there are none.
    pub(super) fn next(&mut self, store: &dyn Store) -> Result<Vec<Serial>, StoreError> {
        let mut found = BTreeSet::new();
        // Up to here each list has been read.
        let mut read_to: Option<Serial> = None;
        for keys in self.lists.values() {
            let mut last = None;
            let mut count = 0;
            for entry in walk(store, keys.clone(), Order::Up).take(PART) {
                let (_, serial) = records::part_of("ended run", &entry?.0, key::ended_in)?;
                found.insert(serial);
                (last, count) = (Some(serial), count + 1);
            }
            if count == PART {
                read_to = read_to.into_iter().chain(last).min();
            }
        }
        found.extend(self.others.iter().take(PART));
        if let Some(more) = self.others.iter().nth(PART) {
            read_to = read_to.into_iter().chain([*more]).min();
        }
        let is_read = |serial: &Serial| read_to.is_none_or(|to| *serial <= to);
        let found: Vec<Serial> = found.into_iter().take_while(is_read).take(PART).collect();
        if let Some(last) = found.last() {
            for (job, keys) in &mut self.lists {
                keys.start = keys.start.clone().max(key::ended(Some(*job), last.next()));
            }
            self.others = self.others.split_off(&last.next());
        }
        Ok(found)
    }
}
