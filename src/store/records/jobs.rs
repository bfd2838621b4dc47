//! The jobs of a store, read at the start: a bounded number of them whole, of the others what tells
//! when they are due.
//!
//! Promises: a job that is read comes with its standing, or the store is told to be damaged; what is
//! not read whole is read later by its number. Of the jobs that are not read whole only the
//! standings are looked at: that one of these is without a job is told when it is needed, and by
//! [`check`](super::super::check), which alone tells that a job is without a standing. Imports the
//! engine's ports and the rest of the store.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::{Entry, Order, Store, StoreError, key, walk};
use super::{part_of, read, standings};
use crate::engine::{Definitions, JobHeads, StoredJobs, Unread};
use crate::id::JobId;
use crate::job::{Job, JobState};

/// How long a store that is being opened again, as after its disk was full, is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Standings that are read at a time: at most 8 MiB.
const STEP: usize = 128;

/// Jobs with their standings.
type Jobs = Vec<(Job, JobState)>;

/// Every job with its standing.
pub(super) fn load(store: &dyn Store) -> Result<Jobs, StoreError> {
    pairs(store).map(|pair| pair?.whole()).collect()
}

/// The first `at_hand` jobs whole, and the heads of all others.
pub(super) fn load_some(
    store: &Arc<dyn Store>,
    at_hand: usize,
) -> Result<(Jobs, StoredJobs), StoreError> {
    let definitions = Arc::new(Stored(Arc::clone(store)));
    let mut all = Vec::new();
    let mut heads = JobHeads::default();
    for pair in pairs(store.as_ref()) {
        let pair = pair?;
        all.push(pair.whole()?);
        if all.len() == at_hand {
            heads = heads_behind(store.as_ref(), pair.id)?;
            break;
        }
    }
    Ok((all, StoredJobs { heads, definitions, at_hand }))
}

/// The heads of all jobs behind this one. There can be millions: two threads read, one from the
/// first up and one from the last down, until they meet.
fn heads_behind(store: &dyn Store, last: JobId) -> Result<JobHeads, StoreError> {
    let mut first = key::job_state(last);
    first.push(0);
    let unread = Mutex::new(first..key::all(key::JOB_STATE).end);
    let read = |order| read_heads(store, &unread, order);
    thread::scope(|scope| {
        let down = scope.spawn(|| read(Order::Down));
        let (mut heads, middle) = read(Order::Up)?;
        let (others, _) = down.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        // Where they met, both may have read the same.
        heads.append(others, middle.unwrap_or(last));
        Ok(heads)
    })
}

/// Reads heads from one end of the standings that nobody has read, until there are none; and the
/// number of the last job that was read.
fn read_heads(
    store: &dyn Store,
    unread: &Mutex<Range<Vec<u8>>>,
    order: Order,
) -> Result<(JobHeads, Option<JobId>), StoreError> {
    let (mut heads, mut reached) = (JobHeads::default(), None);
    loop {
        let keys = unread.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let entries = store.scan(&keys.start..&keys.end, order, STEP)?;
        for (key, value) in &entries {
            let id = part_of("job state", key, key::job_in)?;
            heads.push(standings::head(key, value, id)?);
            reached = Some(id);
        }
        let Some((last, _)) = entries.into_iter().next_back() else { return Ok((heads, reached)) };
        let mut unread = unread.lock().unwrap_or_else(PoisonError::into_inner);
        match order {
            Order::Up => {
                unread.start = last;
                // The smallest key above it.
                unread.start.push(0);
            }
            Order::Down => unread.end = last,
        }
    }
}

/// Every job with its standing, as they are stored.
pub(super) fn pairs(store: &dyn Store) -> impl Iterator<Item = Result<Pair, StoreError>> + '_ {
    let mut jobs = walk(store, key::all(key::JOB), Order::Up);
    let mut states = walk(store, key::all(key::JOB_STATE), Order::Up);
    std::iter::from_fn(move || pair(&mut jobs, &mut states).transpose())
}

/// The records of one job, as they are stored.
pub(super) struct Pair {
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

impl Pair {
    /// The job and its standing.
    pub(super) fn whole(&self) -> Result<(Job, JobState), StoreError> {
        let Self { job, state, .. } = self;
        Ok((read("job", &job.0, &job.1)?, read("job state", &state.0, &state.1)?))
    }
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
