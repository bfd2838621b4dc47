//! A job's standing as it is stored: with what tells at the start when the job must be looked at.
//!
//! Promises: the start reads one small record of each job and not its definition; reading never
//! panics. Imports the engine's ports and the rest of the records.
//!
//! Behind the standing's JSON comes a byte 0, which no JSON has, and then the job's
//! [`JobHead`]: a byte that says what follows (1: when it is due, 2: when its pause ends, 4: more
//! than most jobs have), the two moments as signed varints of milliseconds, the name with its length
//! before it, and to the end the JSON of [`More`].
//!
//! Format 2 had no heads: a store of it gets them when it is opened, see [`complete`].

use serde::{Deserialize, Serialize};

use super::inline::BETWEEN;
use super::jobs::pairs;
use super::{Op, Store, StoreError, key, put_value, split, unwritable};
use crate::bytes::{Damaged, Reader, put_bytes, put_signed};
use crate::engine::JobHead;
use crate::id::{CalendarName, JobId};
use crate::job::{Job, JobState};
use crate::keep::Keep;
use crate::time::Timestamp;

const WHAT: &str = "job state";

const DUE: u8 = 1;
const WAKES: u8 = 2;
const MORE: u8 = 4;

/// Standings that one batch completes.
const BATCH: usize = 100;

/// Batches to a commit, when standings are completed.
const BATCHES: usize = 16;

/// What of a job's head most jobs do not have.
#[derive(Debug, Default, Serialize, Deserialize)]
struct More {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    calendars: Vec<CalendarName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    history: Option<Keep>,
}

/// A job's standing with its head.
pub(super) fn encode(job: &Job, state: &JobState) -> Result<Op, StoreError> {
    let key = key::job_state(job.id);
    let unwritable = |error: serde_json::Error| unwritable(WHAT, &key, &error);
    let mut value = serde_json::to_vec(state).map_err(unwritable)?;
    value.push(BETWEEN);
    append(&mut value, JobHead::of(job, state)).map_err(unwritable)?;
    put_value(WHAT, key, value)
}

fn append(out: &mut Vec<u8>, head: JobHead) -> Result<(), serde_json::Error> {
    let JobHead { name, due, wakes, calendars, history, .. } = head;
    let more = (!calendars.is_empty() || history.is_some()).then_some(More { calendars, history });
    let has = |flag, there| if there { flag } else { 0 };
    out.push(has(DUE, due.is_some()) | has(WAKES, wakes.is_some()) | has(MORE, more.is_some()));
    for at in [due, wakes].into_iter().flatten() {
        put_signed(out, at.millis());
    }
    put_bytes(out, name.as_str().as_bytes());
    more.map_or(Ok(()), |more| serde_json::to_writer(out, &more))
}

/// The head of the job whose standing this is.
pub(super) fn head(key: &[u8], value: &[u8], id: JobId) -> Result<JobHead, StoreError> {
    let stored = split(value).1.ok_or_else(|| Damaged("it has no head".to_owned()));
    let head = stored.and_then(|stored| read_head(id, stored));
    head.map_err(|Damaged(problem)| StoreError::corrupt(WHAT, key, problem))
}

/// A head as it lies behind a standing.
pub(in crate::store) fn read_head(id: JobId, stored: &[u8]) -> Result<JobHead, Damaged> {
    let mut reader = Reader::new(stored, "a job's head");
    let has = reader.byte()?;
    if has & !(DUE | WAKES | MORE) != 0 {
        return Err(Damaged(format!("byte {has} begins a job's head")));
    }
    let mut moment = |flag| match has & flag {
        0 => Ok(None),
        _ => reader.signed().map(|millis| Some(Timestamp::from_millis(millis))),
    };
    let (due, wakes) = (moment(DUE)?, moment(WAKES)?);
    let name = reader.text()?.parse().map_err(|error| Damaged(format!("its head: {error}")))?;
    let mut more = More::default();
    if has & MORE != 0 {
        more = serde_json::from_slice(reader.rest())
            .map_err(|error| Damaged(format!("its head: {error}")))?;
    } else if !reader.is_empty() {
        return Err(Damaged(format!("{} bytes follow its head", reader.rest().len())));
    }
    Ok(JobHead { id, name, due, wakes, calendars: more.calendars, history: more.history })
}

/// Gives each standing its head. Done again from the beginning if a crash has cut it short.
pub(in crate::store) fn complete(store: &dyn Store) -> Result<(), StoreError> {
    let (mut batches, mut batch) = (Vec::new(), Vec::new());
    for pair in pairs(store) {
        let (job, state) = pair?.whole()?;
        batch.push(encode(&job, &state)?);
        if batch.len() == BATCH {
            batches.push(std::mem::take(&mut batch));
            if batches.len() == BATCHES {
                store.commit(std::mem::take(&mut batches))?;
            }
        }
    }
    batch.push(Op::Delete(key::standings_without_heads()));
    batches.push(batch);
    store.commit(batches)
}

/// What is read as a head is written as one that reads as the same.
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::store) fn head_comes_back(data: &[u8]) {
    let id = JobId::from_bytes([7; 16]);
    let Ok(head) = read_head(id, data) else { return };
    let mut again = Vec::new();
    append(&mut again, head.clone()).expect("what was JSON is JSON again");
    assert_eq!(read_head(id, &again), Ok(head));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::Change;
    use crate::pause::Paused;
    use crate::store::faulty::FaultyStore;
    use crate::store::records::read;
    use crate::store::records::tests::{a_job, at};
    use crate::store::{FORMAT, MemoryStore, Order, prepare, records};

    /// Any standing that a job may have, as far as its head goes.
    fn standings() -> impl Strategy<Value = JobState> {
        let moment = || proptest::option::of(any::<i32>().prop_map(|seconds| at(seconds.into())));
        (moment(), moment(), any::<bool>()).prop_map(|(next_due, until, paused)| JobState {
            next_due,
            paused: paused.then(|| Paused { at: at(1), reason: None, until }),
            ..JobState::default()
        })
    }

    /// A job, which may name calendars and say what it keeps.
    fn jobs() -> impl Strategy<Value = Job> {
        (0_i64..1_000, any::<bool>(), any::<bool>()).prop_map(|(n, calendars, keeps)| {
            let mut job = a_job(n);
            if calendars {
                let rule = r#"{"cron": "0 6 * * *", "exclude": {"calendars": ["a", "b"]}}"#;
                job.spec.rule = serde_json::from_str(rule).unwrap();
            }
            if keeps {
                job.spec.history = serde_json::from_str(r#"{"runs": 100, "for": "30d"}"#).unwrap();
            }
            job
        })
    }

    proptest! {
        #[test]
        fn a_standing_comes_back_with_its_head(job in jobs(), state in standings()) {
            let Op::Put(key, value) = encode(&job, &state).unwrap() else { panic!("a put") };
            prop_assert_eq!(head(&key, &value, job.id).unwrap(), JobHead::of(&job, &state));
            prop_assert_eq!(read::<JobState>("job state", &key, &value).unwrap(), state);
            // Cut short anywhere it is damaged, or its end was not needed.
            let begin = split(&value).0.len();
            for end in begin..value.len() {
                let cut = head(&key, &value[..end], job.id);
                prop_assert!(cut.is_err(), "{} of {}", end, value.len());
            }
        }

        #[test]
        fn any_bytes_are_a_head_or_damaged(data in proptest::collection::vec(any::<u8>(), 0..40)) {
            head_comes_back(&data);
        }
    }

    fn all(store: &MemoryStore) -> Vec<(Job, JobState)> {
        pairs(store).map(|pair| pair.unwrap().whole().unwrap()).collect()
    }

    /// A store as format 2 had it.
    fn without_heads(count: i64) -> MemoryStore {
        let store = MemoryStore::new();
        prepare(&store).unwrap();
        for n in 0..count {
            let job = Arc::new(a_job(n));
            let state = JobState { next_due: Some(at(n)), ..JobState::default() };
            let unit = vec![Change::PutJob(Arc::clone(&job)), Change::PutJobState(job, state)];
            let mut ops = records::encode(&store, &unit).unwrap();
            for op in &mut ops {
                if let Op::Put(key, value) = op
                    && key.first() == Some(&key::JOB_STATE)
                {
                    value.truncate(split(value).0.len());
                }
            }
            store.commit(vec![ops]).unwrap();
        }
        store.commit(vec![vec![Op::Put(key::format(), 2_u32.to_be_bytes().into())]]).unwrap();
        store
    }

    #[test]
    fn standings_of_the_format_before_get_their_heads_wherever_a_crash_comes() {
        const JOBS: i64 = 1_950;
        let before = all(&without_heads(JOBS));
        for batches in [0, 1, 2, 9, 17, 18, 20, 21, usize::MAX] {
            let store = FaultyStore::failing_after(without_heads(JOBS), batches);
            assert_eq!(prepare(&store).is_ok(), batches >= 21, "{batches}");
            let store = store.into_inner();
            prepare(&store).unwrap();
            let format = store.get(&key::format()).unwrap();
            assert_eq!(format, Some(FORMAT.to_be_bytes().into()));
            assert_eq!(store.get(&key::standings_without_heads()).unwrap(), None);
            for entry in crate::store::walk(&store, key::all(key::JOB_STATE), Order::Up) {
                let (key, value) = entry.unwrap();
                head(&key, &value, key::job_in(&key).unwrap()).unwrap();
            }
            assert_eq!(all(&store), before);
        }
    }
}
