//! The jobs of a store, read at the start: a bounded number of them whole, of the others what tells
//! when they are due.
//!
//! Promises: each job comes with its standing, or the store is told to be damaged; what is not read
//! whole is read later by its number. Imports the engine's ports and the rest of the store.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{Entry, Order, Store, StoreError, key, walk};
use super::{part_of, read};
use crate::engine::{Definitions, JobHead, JobHeads, StoredJobs, Unread};
use crate::id::{JobId, JobName};
use crate::job::{Job, JobState};
use crate::keep::Keep;
use crate::schedule::Rule;

/// Pieces of a walk that a thread is ahead.
const AHEAD: usize = 64;

/// How long a store that is being opened again, as after its disk was full, is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Jobs with their standings.
type Jobs = Vec<(Job, JobState)>;

/// Every job with its standing.
pub(super) fn load(store: &dyn Store) -> Result<Jobs, StoreError> {
    let mut jobs = walk(store, key::all(key::JOB), Order::Up);
    let mut states = walk(store, key::all(key::JOB_STATE), Order::Up);
    let paired = std::iter::from_fn(|| pair(&mut jobs, &mut states).transpose());
    paired.map(|pair| whole(&pair?)).collect()
}

/// The first `at_hand` jobs whole, and the heads of all others.
pub(super) fn load_some(
    store: &Arc<dyn Store>,
    at_hand: usize,
) -> Result<(Jobs, StoredJobs), StoreError> {
    let definitions = Arc::new(Stored(Arc::clone(store)));
    let mut jobs = walk(store.as_ref(), key::all(key::JOB), Order::Up);
    let mut states = walk(store.as_ref(), key::all(key::JOB_STATE), Order::Up);
    let mut all = Vec::new();
    let mut heads = JobHeads::default();
    while let Some(pair) = pair(&mut jobs, &mut states)? {
        all.push(whole(&pair)?);
        if all.len() == at_hand {
            heads = heads_behind(store.as_ref(), pair.id)?;
            break;
        }
    }
    Ok((all, StoredJobs { heads, definitions, at_hand }))
}

/// The heads of all jobs behind this one. There can be millions: two threads read ahead.
fn heads_behind(store: &dyn Store, last: JobId) -> Result<JobHeads, StoreError> {
    let behind = |mut start: Vec<u8>, kind| {
        start.push(0);
        start..key::all(kind).end
    };
    thread::scope(|scope| {
        let ahead = |keys: Range<Vec<u8>>| {
            let (pieces, ready) = sync_channel(AHEAD);
            scope.spawn(move || {
                for piece in walk(store, keys, Order::Up).steps() {
                    // Whoever does not read on has found a fault.
                    if pieces.send(piece).is_err() {
                        break;
                    }
                }
            });
            Ahead { ready, piece: Vec::new().into_iter() }
        };
        let mut jobs = ahead(behind(key::job(last), key::JOB));
        let mut states = ahead(behind(key::job_state(last), key::JOB_STATE));
        let mut heads = JobHeads::default();
        while let Some(pair) = pair(&mut jobs, &mut states)? {
            heads.push(head(&pair)?);
        }
        Ok(heads)
    })
}

/// What a thread has read of a walk, in order.
struct Ahead {
    ready: Receiver<Result<Vec<Entry>, StoreError>>,
    piece: std::vec::IntoIter<Entry>,
}

impl Iterator for Ahead {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.piece.next() {
                return Some(Ok(entry));
            }
            match self.ready.recv().ok()? {
                Ok(piece) => self.piece = piece.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The records of one job, as they are stored.
struct Pair {
    id: JobId,
    job: Entry,
    state: Entry,
}

/// The next job and its standing; both walks are in the order of the jobs' numbers.
fn pair(
    jobs: &mut impl Iterator<Item = Result<Entry, StoreError>>,
    states: &mut impl Iterator<Item = Result<Entry, StoreError>>,
) -> Result<Option<Pair>, StoreError> {
    let Some(job) = jobs.next().transpose()? else { return Ok(None) };
    let id = part_of("job", &job.0, key::job_in)?;
    while let Some(state) = states.next().transpose()? {
        let of = part_of("job state", &state.0, key::job_in)?;
        if of == id {
            return Ok(Some(Pair { id, job, state }));
        }
        if of > id {
            break;
        }
    }
    Err(StoreError::corrupt("job state", &key::job_state(id), "it is missing"))
}

fn whole(pair: &Pair) -> Result<(Job, JobState), StoreError> {
    let Pair { job, state, .. } = pair;
    Ok((read("job", &job.0, &job.1)?, read("job state", &state.0, &state.1)?))
}

/// What of a job's record is read at once. The rest is read when the job is needed.
#[derive(Deserialize)]
struct JobPart<'a> {
    #[serde(borrow)]
    spec: SpecPart<'a>,
}

#[derive(Deserialize)]
struct SpecPart<'a> {
    name: JobName,
    #[serde(borrow)]
    rule: &'a RawValue,
    #[serde(default)]
    history: Option<Keep>,
}

fn head(pair: &Pair) -> Result<JobHead, StoreError> {
    let Pair { id, job: (key, value), state } = pair;
    let damaged = |error: serde_json::Error| StoreError::corrupt("job", key, error);
    let JobPart { spec } = serde_json::from_slice(value).map_err(damaged)?;
    // The rule itself takes longer to read than all else, and few name calendars.
    let mut calendars = Vec::new();
    if spec.rule.get().contains("\"calendars\"") {
        let rule: Rule = serde_json::from_str(spec.rule.get()).map_err(damaged)?;
        calendars = rule.calendars().into_iter().cloned().collect();
    }
    let state: JobState = read("job state", &state.0, &state.1)?;
    Ok(JobHead::new(*id, spec.name, &state, calendars, spec.history))
}

/// The jobs of a store that are not at hand.
struct Stored(Arc<dyn Store>);

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").finish_non_exhaustive()
    }
}

impl Stored {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let begun = Instant::now();
        loop {
            match self.0.get(key) {
                // It is opened again just now.
                Err(StoreError::Stopped) if begun.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(5));
                }
                read => return read,
            }
        }
    }

    fn part<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        key: &[u8],
    ) -> Result<T, StoreError> {
        let value = self.get(key)?;
        let value = value.ok_or_else(|| StoreError::corrupt(what, key, "it is missing"))?;
        read(what, key, &value)
    }
}

impl Definitions for Stored {
    fn read(&self, id: JobId) -> Result<(Job, JobState), Unread> {
        let job = self.part("job", &key::job(id));
        let both = job.and_then(|job| Ok((job, self.part("job state", &key::job_state(id))?)));
        both.map_err(|error| Unread(Box::new(error)))
    }
}
