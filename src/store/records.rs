//! From the engine's changes to keys and values, and back at the start.
//!
//! Promises: what [`write()`] has written, [`load`] gives back; no value is above
//! [`MAX_VALUE`]. Imports the engine's changes, the domain types and the rest of the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::page::{self, RESULT_PART};
use super::{MAX_VALUE, Op, Order, Store, StoreError, key, open_set, prepare, staging, walk};
use crate::client_record::{ClientRecord, Presence};
use crate::engine::{Change, Mark, PageEntry, Snapshot};
use crate::id::{ClientId, ClientNo, Serial};
use crate::run::{Counts, DeliveryState, Run};
use crate::target::Membership;
use crate::time::Timestamp;

mod ended;
mod inline;
mod jobs;
mod open;
mod past;
mod replays;
#[cfg(test)]
pub(crate) use replays::tests::unit as a_replay;
mod responses;
mod standings;
pub use past::{job, revision};
pub use responses::{outcome, result_text};
mod statistics;
pub use ended::{EndedRun, ended_run, list};
pub(super) use ended::{looks_at_any_of, searches};
pub(crate) use inline::pages;
pub(super) use inline::{run_of, split};
pub use open::open_clients;
pub(crate) use open::open_serials;
pub use replays::{replay, replay_items, replay_job, replay_run};
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use standings::head_comes_back;
pub(super) use standings::{complete as complete_standings, read_head};
pub use statistics::{counted, old_statistics, put_statistics, statistics};

/// Writes a decision's units in order, each as a whole or not at all; all are durable when it
/// returns. Units share one flush unless one is large, or forgets what one before it has written.
///
/// After [`StoreError::TooLarge`] or [`StoreError::Invalid`] that unit and those after it are not
/// written. After any other error it is not known which are: stop, and open the store again.
pub fn write(store: &dyn Store, units: &[Vec<Change>]) -> Result<(), StoreError> {
    let mut ready = Vec::with_capacity(units.len());
    for (at, unit) in units.iter().enumerate() {
        // It deletes what it finds, so what comes before must be there to be found.
        if looks_at_any_of(unit, &units[at - ready.len()..at]) {
            staging::write_units(store, std::mem::take(&mut ready))?;
        }
        match encode(store, unit) {
            Ok(ops) => ready.push(ops),
            Err(error) => {
                staging::write_units(store, ready)?;
                return Err(error);
            }
        }
    }
    staging::write_units(store, ready)
}

/// The operations of one unit. The store is read only to find what a forgotten run or job has
/// left.
pub fn encode(store: &dyn Store, unit: &[Change]) -> Result<Vec<Op>, StoreError> {
    let mut ops = Vec::with_capacity(unit.len());
    let inline = run_of(unit);
    for change in unit {
        encode_change(store, &mut ops, change, inline)?;
    }
    Ok(ops)
}

/// Adds the operations of one change to those of the unit before it; `inline` is the run whose
/// page goes into its record, see [`run_of`].
pub(super) fn encode_change(
    store: &dyn Store,
    ops: &mut Vec<Op>,
    change: &Change,
    inline: Option<Serial>,
) -> Result<(), StoreError> {
    match change {
        Change::PutJob(job) => ops.push(put("job", key::job(job.id), &**job)?),
        Change::PutJobState(job, state) => ops.push(standings::encode(job, state)?),
        Change::RemoveJob(id) => {
            ops.push(Op::Delete(key::job(*id)));
            ops.push(Op::Delete(key::job_state(*id)));
        }
        Change::PutRun(run) => {
            ops.push(put("run", key::run(run.serial), &**run)?);
            ops.extend(ended::index(run));
        }
        Change::PutOpen { serial, chunk, open } => {
            ops.push(put_set(key::open(*serial, *chunk), *chunk, open)?);
        }
        Change::PutBorder(at) => ops.push(Op::Put(key::border(), at.to_bytes().to_vec())),
        Change::PutMarks { serial, mark, chunk, clients } => {
            ops.push(put_set(key::mark(*serial, *mark as u8, *chunk), *chunk, clients)?);
        }
        Change::PutPage { serial, page, entries } => {
            put_page(ops, *serial, *page, entries, inline == Some(*serial))?;
        }
        Change::PutClient(client) => {
            ops.push(put("client", key::client(client.no), &**client)?);
            let no = client.no.0.to_be_bytes().to_vec();
            ops.push(Op::Put(key::client_id(&client.id), no));
        }
        Change::PutPresence(no, presence) => ops.push(put_presence(*no, presence)?),
        Change::ForgetRun(serial) => ended::forget(store, ops, *serial)?,
        Change::PutMissed(_)
        | Change::PutRevision(_)
        | Change::PutRemoved(_)
        | Change::ForgetJob(_) => past::encode(store, ops, change)?,
        Change::PutCalendar(record) => {
            ops.push(put("calendar", key::calendar(record.spec.name()), &**record)?);
        }
        Change::RemoveCalendar(name) => ops.push(Op::Delete(key::calendar(name))),
        Change::PutReplay(_)
        | Change::PutReplayParts(..)
        | Change::PutReplayRun { .. }
        | Change::ForgetReplay(_) => replays::encode(store, ops, change)?,
        Change::PutRepeat(repeat) => {
            ops.push(put("remembered submit", key::repeat(&repeat.key), &**repeat)?);
        }
        Change::PutLate { serial, client, answer } => {
            ops.push(put("late answer", key::late(*serial, *client), &**answer)?);
        }
        Change::ForgetRepeat(known) => ops.push(Op::Delete(key::repeat(known))),
        Change::PutSettings(settings) => ops.push(put("settings", key::settings(), settings)?),
    }
    Ok(())
}

fn put(what: &'static str, key: Vec<u8>, record: &impl Serialize) -> Result<Op, StoreError> {
    let value = serde_json::to_vec(record).map_err(|error| unwritable(what, &key, &error))?;
    put_value(what, key, value)
}

/// A value that is not too large.
fn put_value(what: &'static str, key: Vec<u8>, value: Vec<u8>) -> Result<Op, StoreError> {
    if value.len() > MAX_VALUE {
        let (key, size) = (key::show(&key), value.len());
        return Err(StoreError::TooLarge { what, key, size, max: MAX_VALUE });
    }
    Ok(Op::Put(key, value))
}

fn unwritable(what: &'static str, key: &[u8], error: &serde_json::Error) -> StoreError {
    StoreError::Invalid { what, key: key::show(key), problem: error.to_string() }
}

fn put_set(key: Vec<u8>, chunk: u32, open: &RoaringBitmap) -> Result<Op, StoreError> {
    if open.is_empty() {
        return Ok(Op::Delete(key));
    }
    match open_set::encode(chunk, open) {
        Ok(value) => Ok(Op::Put(key, value)),
        Err(no) => Err(StoreError::Invalid {
            what: "open deliveries",
            key: key::show(&key),
            problem: format!("client number {no} is not in chunk {chunk}"),
        }),
    }
}

fn put_page(
    ops: &mut Vec<Op>,
    serial: Serial,
    page: u32,
    entries: &[PageEntry],
    inline: bool,
) -> Result<(), StoreError> {
    let encoded = page::encode(entries);
    if inline
        && page == 0
        && let ([entry], [part]) = (entries, &encoded.parts[..])
        && !entry.retried
        && encoded.outside.is_empty()
        && inline::append(ops, serial, part)
    {
        return Ok(());
    }
    for (client, text) in encoded.outside {
        for (at, piece) in text.as_bytes().chunks(RESULT_PART).enumerate() {
            let part = part_no(at, "result", || key::result(serial, client, u16::MAX))?;
            ops.push(Op::Put(key::result(serial, client, part), piece.to_vec()));
        }
    }
    for (at, value) in encoded.parts.into_iter().enumerate() {
        let part = part_no(at, "page of responses", || key::page(serial, page, u16::MAX))?;
        ops.push(Op::Put(key::page(serial, page, part), value));
    }
    Ok(())
}

fn part_no(
    at: usize,
    what: &'static str,
    last: impl FnOnce() -> Vec<u8>,
) -> Result<u16, StoreError> {
    let max = usize::from(u16::MAX);
    u16::try_from(at).map_err(|_| StoreError::TooLarge {
        what,
        key: key::show(&last()),
        size: (at + 1) * RESULT_PART,
        max: max * RESULT_PART,
    })
}

fn put_presence(no: ClientNo, presence: &Presence) -> Result<Op, StoreError> {
    let reason = presence.reason.as_deref().map(|reason| page::cut_reason(reason).into_owned());
    put("presence", key::presence(no), &Presence { reason, ..presence.clone() })
}

/// Everything that the engine keeps in memory, with every job. Makes the store ready first, see
/// [`prepare`].
pub fn load(store: &dyn Store) -> Result<Snapshot, StoreError> {
    prepare(store)?;
    Ok(Snapshot { jobs: jobs::load(store)?, ..load_others(store)? })
}

/// The same with at most `at_hand` jobs, one at least: the engine reads the others from the store
/// when it needs them.
pub fn load_some(store: &Arc<dyn Store>, at_hand: usize) -> Result<Snapshot, StoreError> {
    prepare(store.as_ref())?;
    let (jobs, stored_jobs) = jobs::load_some(store, at_hand.max(1))?;
    let stored_jobs = Some(stored_jobs);
    Ok(Snapshot { jobs, stored_jobs, ..load_others(store.as_ref())? })
}

/// All but the jobs.
fn load_others(store: &dyn Store) -> Result<Snapshot, StoreError> {
    let last_run = key::all(key::RUN);
    let last_run = store.scan(&last_run.start..&last_run.end, Order::Down, 1)?;
    let last_serial = match last_run.first() {
        Some((key, _)) => Some(part_of("run", key, key::serial_in)?),
        None => None,
    };
    Ok(Snapshot {
        clients: load_clients(store)?,
        open_runs: open::load(store)?,
        last_serial,
        border: open::border(store)?,
        calendars: load_all(store, "calendar", key::CALENDAR)?,
        repeats: load_all(store, "remembered submit", key::REPEAT)?,
        settings: get(store, "settings", &key::settings())?.unwrap_or_default(),
        ledger_end: super::ledger::Head::of(store)?.end(),
        replays: replays::load(store)?,
        ..Snapshot::default()
    })
}

/// Every record of a kind.
fn load_all<T: DeserializeOwned>(
    store: &dyn Store,
    what: &'static str,
    kind: u8,
) -> Result<Vec<T>, StoreError> {
    walk(store, key::all(kind), Order::Up)
        .map(|entry| {
            let (key, value) = entry?;
            read(what, &key, &value)
        })
        .collect()
}

fn load_clients(store: &dyn Store) -> Result<Vec<(ClientRecord, Presence)>, StoreError> {
    let mut presences: HashMap<ClientNo, Presence> = HashMap::new();
    for entry in walk(store, key::all(key::PRESENCE), Order::Up) {
        let (key, value) = entry?;
        presences
            .insert(part_of("presence", &key, key::client_in)?, read("presence", &key, &value)?);
    }
    walk(store, key::all(key::CLIENT), Order::Up)
        .map(|entry| {
            let (key, value) = entry?;
            let client: ClientRecord = read("client", &key, &value)?;
            // A client that has never connected has none.
            let presence = presences.remove(&client.no).unwrap_or_default();
            Ok((client, presence))
        })
        .collect()
}

/// The marks on a run's open deliveries.
pub(super) fn marks(
    store: &dyn Store,
    serial: Serial,
) -> Result<BTreeMap<Mark, RoaringBitmap>, StoreError> {
    const WHAT: &str = "marks of deliveries";
    let mut marks: BTreeMap<Mark, RoaringBitmap> = BTreeMap::new();
    for entry in walk(store, key::of_run(key::MARK, serial), Order::Up) {
        let (key, value) = entry?;
        let (code, chunk) = part_of(WHAT, &key, key::mark_in)?;
        let mark = Mark::ALL
            .into_iter()
            .find(|mark| *mark as u8 == code)
            .ok_or_else(|| StoreError::corrupt(WHAT, &key, format!("mark {code} is not known")))?;
        open_set::decode(chunk, &value, marks.entry(mark).or_default())
            .map_err(|problem| StoreError::corrupt(WHAT, &key, problem))?;
    }
    Ok(marks)
}

/// A run as last put.
pub fn run(store: &dyn Store, serial: Serial) -> Result<Option<Run>, StoreError> {
    get(store, "run", &key::run(serial))
}

/// A client of the registry, removed or not.
pub fn client(store: &dyn Store, no: ClientNo) -> Result<Option<ClientRecord>, StoreError> {
    get(store, "client", &key::client(no))
}

/// The number of a client of the registry, removed or not.
pub fn client_no(store: &dyn Store, id: &ClientId) -> Result<Option<ClientNo>, StoreError> {
    let key = key::client_id(id);
    let Some(value) = store.get(&key)? else {
        return Ok(None);
    };
    let bytes = value.as_slice().try_into().map_err(|_| {
        StoreError::corrupt("client number", &key, format!("{} bytes, not 4", value.len()))
    })?;
    Ok(Some(ClientNo(u32::from_be_bytes(bytes))))
}

/// What a run's pages tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How many pages there are.
    pub pages: u32,
    /// How the ended deliveries ended, with the run's total.
    pub counts: Counts,
    /// About how many bytes the responses take.
    pub bytes: u64,
    /// Attempts that were followed by another, the last of each client: its number, and when.
    pub tried: Vec<(ClientNo, u32, Timestamp)>,
    /// Of a run with open membership: the clients whose delivery has ended.
    pub clients: RoaringBitmap,
    /// How each ended delivery ended, if the run has a rollout; otherwise empty.
    pub ends: Vec<(ClientNo, DeliveryState)>,
}

/// What a run's pages tell, by reading them all.
pub fn ended(store: &dyn Store, run: &Run) -> Result<Ended, StoreError> {
    const WHAT: &str = "page of responses";
    let mut counts = Counts { total: run.counts.total, ..Counts::default() };
    let mut tried = BTreeMap::new();
    let mut ends = Vec::new();
    let (mut pages, mut bytes) = (0, 0);
    let mut clients = RoaringBitmap::new();
    for entry in inline::pages(store, key::of_run(key::PAGE, run.serial)) {
        let (key, value) = entry?;
        pages = part_of(WHAT, &key, key::page_in)?.0.saturating_add(1);
        let damaged = |problem| StoreError::corrupt(WHAT, &key, problem);
        for row in page::rows(&value).map_err(damaged)? {
            let row = row.map_err(damaged)?;
            bytes = u64::saturating_add(bytes, row.kept_bytes());
            if row.retried {
                counts.retried += 1;
                tried.insert(row.client, (row.attempt, row.at));
            } else {
                counts.add(row.state);
                if run.membership == Membership::Open {
                    clients.insert(row.client.0);
                }
                ends.extend(run.rollout.as_ref().map(|_| (row.client, row.state)));
            }
        }
    }
    let tried = tried.into_iter().map(|(no, (attempt, at))| (no, attempt, at)).collect();
    Ok(Ended { pages, counts, bytes, tried, clients, ends })
}

pub(super) fn get<T: DeserializeOwned>(
    store: &dyn Store,
    what: &'static str,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    store.get(key)?.map(|value| read(what, key, &value)).transpose()
}

pub(crate) fn read<T: DeserializeOwned>(
    what: &'static str,
    key: &[u8],
    value: &[u8],
) -> Result<T, StoreError> {
    let value = match key.first() {
        // A run's page may lie behind it, a job's head lies behind its standing.
        Some(&(key::RUN | key::JOB_STATE)) => split(value).0,
        _ => value,
    };
    serde_json::from_slice(value).map_err(|error| StoreError::corrupt(what, key, error))
}

pub(crate) fn part_of<T>(
    what: &'static str,
    key: &[u8],
    part: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, StoreError> {
    part(key).ok_or_else(|| StoreError::corrupt(what, key, "its key has another length"))
}

#[cfg(test)]
pub(crate) mod tests;
