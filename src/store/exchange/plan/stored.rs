//! What the store has already.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::super::export::run_alone;
use super::super::import::{ImportOptions, next_client};
use super::{Checked, Refusal, conflict};
use crate::calendar::CalendarRecord;
use crate::engine::MAX_CALENDARS;
use crate::id::{CalendarName, ClientId, JobId, JobName, Serial};
use crate::idempotency::Repeat;
use crate::job::Job;
use crate::job_past::RemovedJob;
use crate::store::{Order, Store, StoreError, everything, key, records, walk};

/// The digest of the lines of a run.
pub(super) type RunDigest = [u8; 32];

pub(super) struct Stored<'a> {
    store: &'a dyn Store,
    pub(super) options: ImportOptions,
    pub(super) is_empty: bool,
    pub(super) next_client: u32,
    pub(super) calendars: usize,
    pub(super) repeats: usize,
    names: HashMap<JobName, JobId>,
    removed: HashMap<JobId, RemovedJob>,
}

impl<'a> Stored<'a> {
    pub(super) fn read(store: &'a dyn Store, options: ImportOptions) -> Result<Self, StoreError> {
        let mut names = HashMap::new();
        for entry in walk(store, key::all(key::JOB), Order::Up) {
            let (key, value) = entry?;
            let job: Job = records::read("job", &key, &value)?;
            names.insert(job.spec.name, job.id);
        }
        let mut removed = HashMap::new();
        for entry in walk(store, key::all(key::REMOVED), Order::Up) {
            let (key, value) = entry?;
            let job: RemovedJob = records::read("removed job", &key, &value)?;
            removed.insert(job.job, job);
        }
        let count = |kind: u8, most: usize| -> Result<usize, StoreError> {
            let mut count = 0;
            for entry in walk(store, key::all(kind), Order::Up).take(most) {
                entry?;
                count += 1;
            }
            Ok(count)
        };
        Ok(Self {
            store,
            options,
            is_empty: is_empty(store)?,
            next_client: next_client(store)?,
            calendars: count(key::CALENDAR, MAX_CALENDARS)?,
            repeats: count(key::REPEAT, crate::MAX_REPEATS)?,
            names,
            removed,
        })
    }

    /// How many jobs there are.
    pub(super) fn jobs(&self) -> usize {
        self.names.len()
    }

    pub(super) fn is_new_client(&self, id: &ClientId) -> Result<bool, StoreError> {
        Ok(records::client_no(self.store, id)?.is_none())
    }

    pub(super) fn has_calendar(&self, name: &CalendarName) -> Result<bool, StoreError> {
        Ok(self.store.get(&key::calendar(name))?.is_some())
    }

    pub(super) fn is_new_repeat(&self, repeat: &Repeat) -> Result<bool, StoreError> {
        Ok(self.store.get(&key::repeat(&repeat.key))?.is_none())
    }

    /// Whether a calendar is new; one that is there must be the same.
    pub(super) fn calendar(&self, calendar: &CalendarRecord) -> Result<bool, Refusal> {
        let name = calendar.spec.name();
        let there: Option<CalendarRecord> =
            records::get(self.store, "calendar", &key::calendar(name))?;
        match there {
            Some(there) if there.spec != calendar.spec => conflict(format!(
                "calendar {name} is there with other days; make them the same, or remove one"
            )),
            there => Ok(there.is_none()),
        }
    }

    /// Whether a job is new; one that is there must be the same.
    pub(super) fn job(&self, job: &Job) -> Result<bool, Refusal> {
        let Job { id, revision, .. } = job;
        let name = &job.spec.name;
        if let Some(gone) = self.removed.get(id) {
            return conflict(format!("job {name} ({id}) was removed there at {}", gone.removed_at));
        }
        match records::job(self.store, *id)? {
            Some(there) if there == *job => Ok(false),
            Some(there) => conflict(format!(
                "job {name} ({id}) is there with another definition: {} at revision {}, here revision {revision}",
                there.spec.name, there.revision
            )),
            None => match self.names.get(name) {
                Some(other) => conflict(format!(
                    "another job is named {name} there ({other}); rename or remove it first"
                )),
                None => Ok(true),
            },
        }
    }

    /// That a removed job is new or the same.
    pub(super) fn removed(&self, removed: &RemovedJob) -> Checked {
        let RemovedJob { job, name, .. } = removed;
        if records::job(self.store, *job)?.is_some() {
            return conflict(format!("job {name} ({job}) is removed here and is there"));
        }
        match self.removed.get(job) {
            Some(there) if there != removed => {
                conflict(format!("job {name} ({job}) was removed there as {}", there.name))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn has_run(&self, serial: Serial) -> Result<bool, StoreError> {
        Ok(records::run(self.store, serial)?.is_some())
    }

    /// The digest of a run that is there.
    pub(super) fn run_digest(&self, serial: Serial) -> Result<RunDigest, Refusal> {
        let mut digest = Hashing(Sha256::new());
        run_alone(self.store, serial, &mut digest).map_err(|error| match error {
            super::super::ExportError::Store(error) => Refusal::from(error),
            other => Refusal::from(std::io::Error::other(other)),
        })?;
        Ok(digest.0.finalize().into())
    }
}

/// Hashes what is written.
struct Hashing(Sha256);

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether there is nothing but facts about the store itself.
fn is_empty(store: &dyn Store) -> Result<bool, StoreError> {
    for entry in walk(store, everything(), Order::Up) {
        let (key, _) = entry?;
        if key.first() != Some(&key::META) {
            return Ok(false);
        }
    }
    Ok(true)
}
